"""Writes what a program is made of, as a CycloneDX 1.5 document, from what cargo says of the workspace.

usage: cargo metadata --format-version 1 --locked --filter-platform TRIPLE | sbom.py PACKAGE [SECONDS]

Only what is linked in (normal dependencies, and what they are built with) is listed; test-only crates are not. The same lock file
gives the same bytes: the serial number is a digest of the content, and the time is SECONDS (SOURCE_DATE_EPOCH).
"""

import datetime
import hashlib
import json
import sys
import uuid


def reference(package):
    """Package URL: the name that scanners look advisories up by. Our own crates are in no registry."""
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums):
    """One crate."""
    told = {
        "type": "application" if not package["source"] and package["name"] == "sonde" else "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package.get("license"):
        told["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if package.get("repository"):
        told["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        told["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return told


def read_checksums(root):
    """What the lock file says of each crate's archive."""
    import tomllib

    with open(f"{root}/Cargo.lock", "rb") as file:
        lock = tomllib.load(file)
    return {(p["name"], p["version"]): p.get("checksum") for p in lock["package"]}


def linked(metadata, start):
    """The crates that `start` is linked with, and what each needs."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    needs, waiting = {}, [start]
    while waiting:
        at = waiting.pop()
        if at in needs:
            continue
        wanted = [
            dep["pkg"]
            for dep in nodes[at]["deps"]
            if any(kind["kind"] in (None, "build") for kind in dep["dep_kinds"])
        ]
        needs[at] = sorted(set(wanted))
        waiting.extend(wanted)
    return needs


def document(metadata, name, seconds, checksums):
    """The whole document."""
    packages = {package["id"]: package for package in metadata["packages"]}
    members = set(metadata["workspace_members"])
    start = next(at for at in members if packages[at]["name"] == name)
    needs = linked(metadata, start)
    others = sorted((packages[at] for at in needs if at != start), key=lambda p: (p["name"], p["version"]))
    told = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": component(packages[start], checksums),
        },
        "components": [component(package, checksums) for package in others],
        "dependencies": sorted(
            ({"ref": reference(packages[at]), "dependsOn": sorted(reference(packages[n]) for n in needs[at])} for at in needs),
            key=lambda row: row["ref"],
        ),
    }
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()
    return {"$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json", "serialNumber": f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=4)}", **told}


def main():
    """Reads stdin, writes stdout."""
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    metadata = json.load(sys.stdin)
    seconds = int(sys.argv[2]) if len(sys.argv) == 3 else 0
    told = document(metadata, sys.argv[1], seconds, read_checksums(metadata["workspace_root"]))
    json.dump(told, sys.stdout, indent=1, sort_keys=False)
    print()


if __name__ == "__main__":
    main()
