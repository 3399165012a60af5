"""Holds JSON objects, one a line on stdin, to a JSON Schema. The case `forms` runs it.

usage: check_schema.py docs/alert.schema.json < lines
"""

import json
import sys

import jsonschema
from schema_lines import hold


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    return hold("objects", lambda _: validator)


if __name__ == "__main__":
    sys.exit(main())
