"""A processor of rotel: appends each log record that it received to the file `records.jsonl` beside this one, as JSON."""
import json
import os

KEPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "records.jsonl")


def plain(value):
    inner = None if value is None else value.value
    kind = type(inner).__name__
    if kind == "KeyValueList":
        return {pair.key: plain(pair.value) for pair in inner}
    if kind == "ArrayValue":
        return [plain(item) for item in inner]
    return inner


def process_logs(resource_logs):
    with open(KEPT, "a", encoding="utf-8") as kept:
        for scope in resource_logs.scope_logs:
            for log in scope.log_records:
                kept.write(json.dumps({
                    "resource": {pair.key: plain(pair.value) for pair in resource_logs.resource.attributes},
                    "time": log.time_unix_nano,
                    "observed": log.observed_time_unix_nano,
                    "number": log.severity_number,
                    "text": log.severity_text,
                    "event": log.event_name,
                    "attributes": {pair.key: plain(pair.value) for pair in log.attributes},
                    "body": plain(log.body),
                }) + "\n")
