"""Makes docs/alert.schema.json from the reference of the fields, docs/alerts.md, so that the two cannot part.

usage: make_schema.py docs/alerts.md > docs/alert.schema.json
"""

import json
import re
import sys

TYPES = {
    "text": {"type": "string"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "true/false": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "format": "date-time"},
    "address": {"type": "string"},
}
# Fields whose values are words of ours.
WORDS = {
    "event.kind": ["alert", "event"],
    "network.transport": ["tcp", "udp", "icmp"],
    "network.protocol": ["tls", "quic", "http", "ssh", "dns"],
    "sonde.change": ["created", "updated", "closed", "final"],
    "sonde.severity": ["info", "low", "medium", "high", "critical"],
    "sonde.level": ["connection", "process", "group", "exchange", "dns"],
    "sonde.class": None,
}


def main():
    lines = open(sys.argv[1], encoding="utf-8").read().splitlines()
    rows = [re.match(r"\| `([a-z@][^`]*)` \| ([a-z/]+)(, always)? \| (.*) \|$", line) for line in lines]
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Alert of Sonde",
        "description": "One line of `sonde run`, `sonde replay --format ndjson` and `sonde explain --format json`. "
        "Made from docs/alerts.md by scripts/lib/make_schema.py. New fields may come: skip what you do not know.",
        "type": "object",
        "properties": {},
        "required": [],
    }
    for row in filter(None, rows):
        path, kind, always, meaning = row.groups()
        leaf = {**TYPES[kind], "description": meaning}
        if path in WORDS:
            leaf["enum"] = WORDS[path] or [word for word in re.findall(r"`([a-z_]+)`", meaning)]
        if path in ("sonde.score",):
            leaf |= {"minimum": 0, "maximum": 1}
        at, parts = schema, path.split(".")
        for index, part in enumerate(parts):
            last = index + 1 == len(parts)
            name, is_list = part.removesuffix("[]"), part.endswith("[]")
            if always and name not in at["required"]:
                at["required"].append(name)
            inner = leaf if last else {"type": "object", "properties": {}, "required": []}
            found = at["properties"].setdefault(name, {"type": "array", "items": inner} if is_list else inner)
            at = found["items"] if is_list else found
    prune(schema)
    json.dump(schema, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def prune(node):
    """Takes away lists of required fields that are empty."""
    children = list(node.get("properties", {}).values()) + [node[key] for key in ["items"] if key in node]
    for child in children:
        prune(child)
    if node.get("required") == []:
        del node["required"]


if __name__ == "__main__":
    main()
