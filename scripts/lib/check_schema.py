"""Holds JSON objects, one a line on stdin, to a JSON Schema. The case `forms` runs it.

usage: check_schema.py docs/alert.schema.json < lines
"""

import json
import sys

import jsonschema


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    count, bad = 0, 0
    for number, line in enumerate(sys.stdin.buffer.read().decode("utf-8").split("\n"), 1):
        if not line:
            continue
        count += 1
        for error in list(validator.iter_errors(json.loads(line)))[:5]:
            bad += 1
            path = "/".join(map(str, error.absolute_path))
            print(f"line {number}: {path}: {error.message[:300]}".encode("unicode_escape").decode())
    print(f"{count} objects, {bad} errors")
    return bad > 0 or count == 0


if __name__ == "__main__":
    sys.exit(main())
