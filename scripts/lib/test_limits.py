"""Checks of the limits that scripts/bench holds: python3 scripts/lib/test_limits.py"""

import unittest

import limits


def figures(cpu, wall=1.0, rss=20):
    return {"cpu_s": cpu, "wall_s": wall, "rss_mib": rss}


class Limits(unittest.TestCase):
    def test_ratios_are_taken_within_a_round_and_their_median_counts(self):
        # A busy second round slows both, and the third was measured beside something else.
        rounds = [{"sonde": figures(1), "softflowd": figures(2)}, {"sonde": figures(10), "softflowd": figures(22)},
                  {"sonde": figures(1), "softflowd": figures(9)}, {"sonde": figures(1)}]
        self.assertEqual(limits.of_rounds(rounds)["softflowd"], 2.2)
        self.assertNotIn("tshark", limits.of_rounds(rounds))

    def test_less_than_a_limit_is_broken_and_less_than_a_goal_is_said(self):
        (_, softflowd, _), (_, nfpcapd, _), (_, _, argus) = (limits.LIMITS[key] for key in ("softflowd", "nfpcapd", "argus"))
        text, broken = limits.judge({"softflowd": softflowd * 0.99, "nfpcapd": nfpcapd * 1.01, "argus": argus})
        self.assertEqual(broken, ["softflowd"])
        said = {word: next(row for row in text.splitlines() if word in row) for word in ("softflowd", "nfpcapd", "argus", "tshark")}
        self.assertIn("BELOW ITS LIMIT", said["softflowd"])
        self.assertIn("short of the goal", said["nfpcapd"])
        self.assertIn("goal reached", said["argus"])
        self.assertIn("not measured", said["tshark"])

    def test_memory_may_be_less_and_not_more(self):
        self.assertEqual(limits.judge({"flood_rss": 0.3})[1], [])
        self.assertEqual(limits.judge({"flood_rss": 1.06})[1], ["flood_rss"])
        rounds = [{"sonde": figures(1, rss=20)}, {"sonde": figures(1, rss=128)}]
        self.assertEqual(limits.judge(limits.of_rounds(rounds))[1], ["rss"])

    def test_no_limit_is_beyond_its_goal(self):
        for key, (_, limit, goal) in limits.LIMITS.items():
            self.assertTrue(limit is None or limit <= goal, key)


if __name__ == "__main__":
    unittest.main()
