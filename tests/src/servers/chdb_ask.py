"""Asks today's ClickHouse (chdb, in this process) what Debian's of 2018 was asked, over the same rows.

usage: chdb_ask.py FOLDER SQL…   FOLDER holds TABLE.ndjson and questions.json; each SQL file is run first.
Prints its version, then the lines of each question's answer as one JSON list a line.
"""
import json
import pathlib
import re
import sys

from chdb import session

folder = pathlib.Path(sys.argv[1])
store = session.Session()


def statements(path):
    text = re.sub(r"^--.*$", "", pathlib.Path(path).read_text(), flags=re.M)
    return [one for one in text.split(";") if one.strip()]


for path in sys.argv[2:]:
    for one in statements(path):
        store.query(one)
for rows in sorted(folder.glob("*.ndjson")):
    # One insert for each part, so that states are merged, too.
    lines = rows.read_text().splitlines()
    for begin in range(0, len(lines), 20_000):
        part = "\n".join(lines[begin : begin + 20_000])
        store.query(f"INSERT INTO sonde.{rows.stem} FORMAT JSONEachRow {part}")
print(str(store.query("SELECT version()", "TSV")).strip())
store.query("USE sonde")
for question in json.loads((folder / "questions.json").read_text()):
    answer = str(store.query(question, "JSONEachRow"))
    print(json.dumps(sorted(json.loads(line)["line"] for line in answer.splitlines() if line)))
