"""What scripts/bench holds its ratios to: for each, the goal, and the limit below which a change has made it worse."""

import statistics

# Key: (what is compared, the limit that holds, the goal). More is better for all of them. The limit is what was measured when it was
# set (2026-11-24, `scripts/bench --quick`), less 15 % for a busy machine: raise it when a change has made more of it. None: nothing was reached yet that could be kept.
# The goals are those of the project's design.
LIMITS = {
    "cat": ("cat's CPU ÷ Sonde's", 0.13, 0.40),
    "tcpdump": ("tcpdump's CPU ÷ Sonde's, a filter that matches nothing", 0.26, 0.90),
    "softflowd": ("softflowd's CPU ÷ Sonde's", 0.72, 3.0),
    "nfpcapd": ("nfpcapd's CPU ÷ Sonde's", 1.03, 4.0),
    "argus": ("argus' CPU ÷ Sonde's, records written", 1.29, 6.0),
    "tshark": ("tshark's CPU ÷ Sonde's, `-z conv,tcp`", 9.5, 40.0),
    "gzip": ("`gzip -dc`'s CPU ÷ Sonde's on the .gz", 1.25, 1.25),
    "threads": ("wall of one thread ÷ wall of two", None, 1.82),
    "rss": ("64 MiB ÷ peak resident set", 1.0, 1.0),
    "flood_rss": ("peak resident set of destinations called once ÷ `limits.memory`", 1.05, 1.05),
    "flood_beacons": ("beacons found among them, of 5", 5, 5),
    "allocations": ("no allocation by packets of known connections", 1, 1),
}
# Of these less is better.
MOST = {"flood_rss"}
RSS_MIB = 64


def median_ratio(rounds, above, below, what):
    """The median over rounds of one tool's figure divided by another's in the same round."""
    ratios = [
        figures[above][what] / figures[below][what]
        for figures in rounds
        if above in figures and figures.get(below, {}).get(what, 0) > 0
    ]
    return statistics.median(ratios) if ratios else None


def of_rounds(rounds):
    """What was reached, by key; what was not measured is left out."""
    reached = {
        name: median_ratio(rounds, name, "sonde", "cpu_s") for name in ("cat", "tcpdump", "softflowd", "nfpcapd", "argus", "tshark")
    }
    reached["gzip"] = median_ratio(rounds, "gzip -dc", "sonde, .gz", "cpu_s")
    reached["threads"] = median_ratio(rounds, "sonde", "sonde, two threads", "wall_s")
    peaks = [figures["sonde"]["rss_mib"] for figures in rounds if "sonde" in figures]
    reached["rss"] = RSS_MIB / max(peaks) if peaks else None
    return {key: value for key, value in reached.items() if value is not None}


def judge(reached):
    """A Markdown table of all limits, and the keys of those that do not hold."""
    lines = ["| what | reached | limit | goal | |", "|---|---:|---:|---:|---|"]
    broken = []
    for key, (what, limit, goal) in LIMITS.items():
        value = reached.get(key)
        if value is None:
            lines.append(f"| {what} | – | {limit or '–'} | {goal} | not measured |")
            continue
        within = (lambda bound: value <= bound) if key in MOST else (lambda bound: value >= bound)
        if limit is not None and not within(limit):
            broken.append(key)
            verdict = "BELOW ITS LIMIT" if key not in MOST else "ABOVE ITS LIMIT"
        else:
            verdict = "goal reached" if within(goal) else "short of the goal"
        sign = "≤" if key in MOST else "≥"
        bound = "–" if limit is None else f"{sign} {limit:g}"
        lines.append(f"| {what} | {value:.2f} | {bound} | {sign} {goal:g} | {verdict} |")
    return "\n".join(lines), broken
