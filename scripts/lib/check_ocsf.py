"""Holds OCSF findings, one JSON object a line on stdin, to the published schema of their release.

Its packages stand in scripts/setup; the case `forms` runs it.
"""

import json
import sys

import jsonschema
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema


def main():
    schemas, count, bad = {}, 0, 0
    for number, line in enumerate(sys.stdin.buffer.read().decode("utf-8").split("\n"), 1):
        if not line:
            continue
        count += 1
        finding = json.loads(line)
        metadata = finding["metadata"]
        key = (metadata["version"], *metadata["profiles"])
        if key not in schemas:
            schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=key[0]))
            name = schema.lookup_class_name_from_uid(finding["class_uid"])
            schemas[key] = jsonschema.Draft202012Validator(schema.get_class_schema(name, list(key[1:])))
        for error in list(schemas[key].iter_errors(finding))[:5]:
            bad += 1
            path = "/".join(map(str, error.absolute_path))
            print(f"line {number}: {path}: {error.message[:300]}".encode("unicode_escape").decode())
    print(f"{count} findings, {bad} errors")
    return bad > 0 or count == 0


if __name__ == "__main__":
    sys.exit(main())
