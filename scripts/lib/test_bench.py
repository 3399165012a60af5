"""Checks of the benchmark scripts on a split made by hand: python3 scripts/lib/test_bench.py"""
import json
import unittest

import bench_events
import bench_score

EVENTS = [json.dumps(record, separators=(",", ":")) for record in (
    {"k": "meta", "v": 1, "split": "hand", "seed": 1, "epoch": 1700006400},
    {"k": "host", "h": 7, "days": 2, "role": "server"},
    {"k": "proc", "p": 0, "exe": "upd", "user": "ann", "sig": 0, "loc": "memfd", "par": "web", "lol": 1, "br": 0, "age": 3},
    {"k": "seen", "n": "known.com", "age": 10},
    {"k": "q", "t": 1.1, "p": 0, "n": "a.evil.co.uk", "y": "TXT", "r": 3, "l": 0},
    {"k": "c", "t": 86399.999, "p": 0, "d": "1.2.3.4", "n": "a.evil.co.uk", "o": 443, "x": "t", "b": [5, 0], "u": .3, "j": "ja4-x"},
    {"k": "x", "t": 86400.123, "p": 0, "d": "1.2.3.4", "n": "a.evil.co.uk", "o": 443, "b": [1, 2]})]
LABELS = [json.dumps(dict(label, h=7, p=[0], t0=60.0)) for label in (
    {"i": "bad", "kind": "mal", "fam": "cs", "d": ["9.9.9.9"], "n": ["a.evil.co.uk"]},
    {"i": "good", "kind": "ben", "fam": "updater", "d": [], "n": ["u.known.com"]})]


def alert(points, **destination):
    group = {"group": destination.pop("group")} if "group" in destination else {}
    return json.dumps({"@timestamp": "2023-11-15T00:02:00.500000000Z", "host": {"name": "h7"}, "process": {"executable": "upd"},
                       "destination": destination, "sonde": {"points": points, "detected_after_callbacks": 9, **group}})


class Bench(unittest.TestCase):
    def test_times_do_not_drift_and_exchanges_find_their_connection(self):
        records = [json.loads(line) for line in bench_events.Converter().convert(EVENTS)]
        self.assertEqual([r["type"] for r in records], ["sonde.events", "host", "process", "known_destination", "dns", "connection", "connection"])
        whole, exchange = records[-2:]
        self.assertEqual((whole["time"], whole["end"]), ("2023-11-15T23:59:59.999000000Z", "2023-11-16T00:00:00.299000000Z"))
        self.assertEqual((exchange["time"], exchange["start"]), ("2023-11-16T00:00:00.123000000Z", whole["time"]))
        self.assertEqual(exchange["local_port"], whole["local_port"])
        self.assertRegex(whole["ja4"], r"^t13d[0-9a-f]{6}_[0-9a-f]{12}_[0-9a-f]{12}$")
        self.assertEqual((records[2]["location"], records[2]["parent_class"], records[2]["script_host"]), ("memory", "web_server", True))

    def test_cold_has_no_history(self):
        text = "".join(bench_events.Converter(cold=True).convert(EVENTS))
        self.assertIn('"history":false', text)
        self.assertNotIn("known_destination", text)
        self.assertNotIn("age_days", text)

    def test_alerts_match_by_host_program_and_any_destination(self):
        split = bench_score.Split(EVENTS, LABELS)
        raw = [alert(.5, domain="other.org", group=["9.9.9.9", "other.org"]), alert(2.0, domain="b.known.com", ip="9.9.9.9"),
               alert(0.0, ip="8.8.8.8"), alert(.1, domain="other.org", group=["x.org", "y.org"])]
        result = bench_score.Result(split, [bench_score.from_line(line, split.epoch) for line in raw])
        self.assertEqual(result.found, {"bad": .5})
        self.assertEqual(list(result.first(-.5)), [(60.5, 9)])
        self.assertEqual({key[2]: score for key, score in result.false.items()}, {"known.com": 2.0, "8.8.8.8": 0.0, "*": .1})
        self.assertEqual(result.blame[7, "upd", "known.com"], "updater")
        self.assertEqual(result.false_per_day(-.5), 1.5)
        self.assertEqual(result.average_precision(), .5)
        self.assertIn("callbacks to first alert: median 9", bench_score.report(result))


if __name__ == "__main__":
    unittest.main()
