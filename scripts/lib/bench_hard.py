"""Makes a split of the detection benchmark harder: the implants keep program, destination and sizes, and call on schedules that
hide a rhythm. The traffic beside them stays as it is.

The schedules are own constructions; what they tell is whether such a sleep is found at all, not how often it is used.
"""
import json
import random
from collections import defaultdict

import bench_events
import bench_score

# Families whose schedule is not that of plain connections stay as they are.
OTHERS = {"inconn30", "dns_beacon", "rotate3", "longpoll", "proxy_connect"}


def memoryless(mean):
    return lambda draw: draw.expovariate(1 / mean)


def jitter(sleep, part):
    return lambda draw: sleep * (1 - part * draw.random())


def nothing(_draw):
    return ()


def spread(sleep, count):
    """So many decoy calls, anywhere in the sleep."""
    return lambda draw: [draw.uniform(1.5, sleep) for _ in range(count)]


def half(sleep):
    """A decoy call in every second sleep."""
    return lambda draw: [draw.uniform(1.5, sleep)] if draw.random() < .5 else []


def burst(draw):
    """None to three decoy calls right behind the callback."""
    return [draw.uniform(1.5, 12) for _ in range(draw.choice((0, 0, 1, 2, 3)))]


# Family: the next sleep in seconds, and the decoys that follow a callback, in seconds after it.
SCHEDULES = {
    "memoryless 30 s": (memoryless(30), nothing),
    "memoryless 60 s": (memoryless(60), nothing),
    "memoryless 5 min": (memoryless(300), nothing),
    "memoryless 15 min": (memoryless(900), nothing),
    "jitter 70 %, 60 s": (jitter(60, .7), nothing),
    "jitter 90 %, 60 s": (jitter(60, .9), nothing),
    "jitter 90 %, 5 min": (jitter(300, .9), nothing),
    "one decoy, 60 s": (jitter(60, 0), spread(60, 1)),
    "one decoy, 60 s, jitter 20 %": (jitter(60, .2), spread(60, 1)),
    "two decoys, 2 min, jitter 10 %": (jitter(120, .1), spread(120, 2)),
    "half a decoy, 60 s, jitter 30 %": (jitter(60, .3), half(60)),
    "decoys in bursts, 2 min, jitter 20 %": (jitter(120, .2), burst),
    "2 h, jitter 50 %": (jitter(7200, .5), nothing),
    "90 min, jitter 30 %": (jitter(5400, .3), nothing),
    "3 h, jitter 20 %": (jitter(10800, .2), nothing),
}


def calls(schedule, start, end, draw):
    sleep, decoys = SCHEDULES[schedule]
    while start < end:
        yield start
        yield from (start + after for after in decoys(draw))
        start += max(.3, sleep(draw))


def harden(events, labels, seed=7):
    """Lines of the harder split: events, labels."""
    labels = [json.loads(line) for line in labels]
    chosen = [label for label in labels if label["kind"] == "mal" and label["fam"] not in OTHERS]
    # Instances of a family have different footholds, so the schedules go round across the families.
    for number, label in enumerate(sorted(chosen, key=lambda label: label["i"])):
        label["fam"] = list(SCHEDULES)[number * 7 % len(SCHEDULES)]
    of_host = defaultdict(list)
    for label in chosen:
        of_host[label["h"]].append((set(label["p"]), {bench_score.registrable(name) for name in label["n"]} | set(label["d"]), label))
    out, host, days, body, own = [], None, 0, [], defaultdict(list)

    def finish():
        for _, _, label in of_host.get(host, ()):
            samples = own[label["i"]]
            if samples:
                draw = random.Random(f"{seed} {label['i']}")
                for moment in calls(label["fam"], samples[0]["t"], days * 86400, draw):
                    body.append(dict(draw.choice(samples), t=round(moment, 3)))
        body.sort(key=lambda record: record["t"])
        out.extend(json.dumps(record, separators=(",", ":")) for record in body)
        body.clear()
        own.clear()

    for line in events:
        record = json.loads(line)
        if record["k"] == "host":
            finish()
            host, days = record["h"], record["days"]
        if "t" not in record:
            out.append(line.rstrip("\n"))
            continue
        names = {bench_score.registrable(record.get("n", "")), record.get("d", "")}
        whose = [label for processes, known, label in of_host.get(host, ()) if record["p"] in processes and names & known]
        if record["k"] == "c" and whose:
            own[whose[0]["i"]].append(record)
        else:
            body.append(record)
    finish()
    return out, [json.dumps(label) for label in labels]


def write(source, labels, target_events, target_labels):
    """Writes the harder split of the one at `source` and `labels`."""
    out, told = harden(bench_events.lines(source), bench_events.lines(labels))
    target_events.write_text("\n".join(out) + "\n", encoding="utf-8")
    target_labels.write_text("\n".join(told) + "\n", encoding="utf-8")
