"""Holds OCSF findings, one JSON object a line on stdin, to the published schema of their release.

Its packages stand in scripts/setup; the case `forms` runs it.
"""

import functools
import sys

import jsonschema
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from schema_lines import hold


@functools.cache
def validator(version, uid, profiles):
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))
    name = schema.lookup_class_name_from_uid(uid)
    return jsonschema.Draft202012Validator(schema.get_class_schema(name, list(profiles)))


def main():
    def of(finding):
        metadata = finding["metadata"]
        return validator(metadata["version"], finding["class_uid"], tuple(metadata["profiles"]))

    return hold("findings", of)


if __name__ == "__main__":
    sys.exit(main())
