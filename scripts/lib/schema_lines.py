"""What the checks of JSON against a schema share: lines in, complaints out, harmless to print."""

import json
import sys

# Of one line; the first says what is wrong.
MOST = 5


def hold(what, validator_of):
    """Holds each line of stdin to the validator that `validator_of(object)` gives. Whether anything is wrong, or nothing came."""
    count, bad = 0, 0
    # By "\n" alone: names hold other line ends.
    for number, line in enumerate(sys.stdin.buffer.read().decode("utf-8").split("\n"), 1):
        if not line:
            continue
        count += 1
        value = json.loads(line)
        for error in list(validator_of(value).iter_errors(value))[:MOST]:
            bad += 1
            path = "/".join(map(str, error.absolute_path))
            print(f"line {number}: {path}: {error.message[:300]}".encode("unicode_escape").decode())
    print(f"{count} {what}, {bad} errors")
    return bad > 0 or count == 0
