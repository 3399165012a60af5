"""Scores alerts against the labels of the detection benchmark.

The matching rule is the benchmark's: an alert finds a malicious instance when host and program agree and one of its
destinations belongs to the instance. Every other alert is a false one, counted once per host, program and registrable
domain (one per host and program for alerts over several destinations).
"""
import ipaddress
import json
import math
from collections import Counter, defaultdict
from datetime import datetime

SECOND_LEVEL = {"co", "com", "org", "net", "ac", "gov", "edu", "ne", "or", "go", "gob"}
THRESHOLDS = {"normal": -0.5, "strict": 1.0}


def is_address(text):
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def registrable(name):
    """The benchmark's simple rule, enough for its simulated names; an address is its own."""
    labels = name.split(".")
    if len(labels) <= 2 or is_address(name):
        return name
    country = len(labels[-1]) == 2 and labels[-2] in SECOND_LEVEL
    return ".".join(labels[-3 if country else -2:])


class Split:
    """What the event file says of hosts and programs, and the labels."""

    def __init__(self, event_lines, label_lines):
        self.days, self.epoch, self.host_days = 0, 0, {}
        self.program = {}
        host = None
        for line in event_lines:
            # Few of a million lines are about hosts and processes: parse only those.
            if line.startswith(('{"k":"c"', '{"k":"q"', '{"k":"x"', '{"k":"seen"')):
                continue
            record = json.loads(line)
            if record["k"] == "meta":
                self.epoch = record["epoch"]
            elif record["k"] == "host":
                host = record["h"]
                self.days += record["days"]
                self.host_days[host] = record["days"]
            elif record["k"] == "proc":
                self.program[host, record["p"]] = record["exe"]
        self.family, self.malicious, self.benign = {}, defaultdict(list), defaultdict(list)
        for line in label_lines:
            label = json.loads(line)
            bad = label["kind"] == "mal"
            if bad:
                self.family[label["i"]] = label["fam"]
            destinations = {registrable(name) for name in label["n"]} | set(label["d"])
            for process in label["p"]:
                key = label["h"], self.program.get((label["h"], process))
                (self.malicious if bad else self.benign)[key].append((destinations, label))


def from_line(line, epoch):
    """An alert, of Sonde or already in the benchmark's form; None if it names no program or destination."""
    alert = json.loads(line)
    return alert if "rd" in alert else from_sonde(alert, epoch)


def from_sonde(alert, epoch):
    """An alert of `sonde replay` in the benchmark's form, with the callbacks it took."""

    def field(path):
        """ECS names may come nested or dotted."""
        if path in alert:
            return alert[path]
        value = alert
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    host, program = field("host.name"), field("process.executable") or field("process.name")
    destination = field("destination.domain") or field("destination.ip")
    points = field("sonde.points")
    if points is None and (score := field("sonde.score")) is not None:
        # The documented scale, turned round: score = 1/(1 + 4^(-(S + 0.5)/1.5)).
        score = min(max(score, 1e-9), 1 - 1e-9)
        points = -0.5 - 1.5 * math.log(1 / score - 1, 4)
    if not host or not program or not destination or points is None:
        return None
    moment = datetime.fromisoformat(field("@timestamp")[:26].rstrip("Z") + "+00:00").timestamp()
    scored = {"h": int(host.removeprefix("h")), "t": round(moment - epoch, 6), "exe": program,
              "rd": registrable(destination), "score": points, "callbacks": field("sonde.detected_after_callbacks")}
    if group := field("sonde.group"):
        scored["group"] = sorted({registrable(name) for name in group})
    return scored


class Result:
    """Highest score and alerts of each malicious instance, highest score of each false alert."""

    def __init__(self, split, alerts):
        self.split = split
        self.found, self.alerts, self.false, self.blame = {}, defaultdict(list), {}, {}
        for alert in alerts:
            destinations = set(alert.get("group", ())) | {alert["rd"]}
            key = alert["h"], alert["exe"]
            hits = [label for known, label in split.malicious.get(key, ()) if known & destinations]
            for label in hits:
                instance, score = label["i"], alert["score"]
                self.found[instance] = max(self.found.get(instance, score), score)
                self.alerts[instance].append((score, alert["t"] - label["t0"], alert.get("callbacks")))
            if not hits:
                incident = (*key, "*" if "group" in alert else alert["rd"])
                self.false[incident] = max(self.false.get(incident, alert["score"]), alert["score"])
                families = {label["fam"] for known, label in split.benign.get(key, ()) if known & destinations}
                self.blame.setdefault(incident, min(families, default=f"({alert['exe']})"))

    def recall(self, threshold):
        return sum(score > threshold for score in self.found.values()) / max(len(self.split.family), 1)

    def false_per_day(self, threshold):
        return sum(score > threshold for score in self.false.values()) / max(self.split.days, 1)

    def first(self, threshold, instances=None):
        """Seconds from the start of each found instance to its first alert, and the callbacks it took, where known."""
        for instance in self.alerts if instances is None else instances:
            over = [(after, callbacks) for score, after, callbacks in self.alerts.get(instance, ()) if score > threshold]
            if over:
                yield min(over, key=lambda alert: alert[0])

    def average_precision(self):
        """Area under the precision-recall curve: precision summed over the steps of recall, ties taken together."""
        ranked = sorted([(score, True) for score in self.found.values()] + [(score, False) for score in self.false.values()],
                        key=lambda pair: -pair[0])
        area = hits = reached = 0
        for place, (score, good) in enumerate(ranked):
            hits += good
            if place + 1 == len(ranked) or ranked[place + 1][0] != score:
                area += (hits - reached) * hits / (place + 1)
                reached = hits
        return area / max(len(self.split.family), 1)


def quantile(values, share):
    """The value at that share of the sorted list, the upper one of two."""
    values = sorted(values)
    return values[min(int(len(values) * share), len(values) - 1)] if values else None


def shown(value, form):
    return "-" if value is None else format(value, form)


def figures(result):
    """The same for machines."""
    normal = THRESHOLDS["normal"]
    callbacks = [count for _, count in result.first(normal) if count is not None]
    rates = {name: {"recall": result.recall(limit), "false_per_host_day": result.false_per_day(limit),
                    "hours_median": quantile([after / 3600 for after, _ in result.first(limit)], .5)}
             for name, limit in THRESHOLDS.items()}
    return {"host_days": result.split.days, "instances": len(result.split.family), **rates, "pr_auc": result.average_precision(),
            "callbacks_median": quantile(callbacks, .5), "callbacks_p90": quantile(callbacks, .9)}


def report(result):
    split = result.split
    text = [f"{split.days} host-days, {len(split.family)} malicious instances, {len(result.found)} with any alert, "
            f"{len(result.false)} false incidents with any alert"]
    for name, threshold in THRESHOLDS.items():
        hours = [after / 3600 for after, _ in result.first(threshold)]
        text.append(f"{name:6} (points > {threshold:4.1f}): recall {100 * result.recall(threshold):5.1f} %, false alerts per host-day "
                    f"{result.false_per_day(threshold):.3f}, median hours to alert {shown(quantile(hours, .5), '.2f')}")
    text.append(f"PR-AUC {result.average_precision():.3f}")
    normal, strict = THRESHOLDS["normal"], THRESHOLDS["strict"]
    callbacks = [count for _, count in result.first(normal) if count is not None]
    text.append(f"callbacks to first alert: median {shown(quantile(callbacks, .5), 'd')}, 90 % {shown(quantile(callbacks, .9), 'd')}")
    missed = Counter(family for instance, family in split.family.items() if not result.found.get(instance, -99) > normal)
    text.append("missed at the normal threshold: " + (", ".join(f"{name} {n}" for name, n in missed.most_common()) or "none"))

    text += ["", f"{'family':20} {'n':>4} {'normal':>7} {'strict':>7} {'hours':>7} {'callbacks':>9}"]
    families = defaultdict(list)
    for instance, family in split.family.items():
        families[family].append(instance)
    for family, instances in sorted(families.items()):
        share = [100 * sum(result.found.get(i, -99) > limit for i in instances) / len(instances) for limit in (normal, strict)]
        first = list(result.first(normal, instances))
        hours = quantile([after / 3600 for after, _ in first], .5)
        count = quantile([count for _, count in first if count is not None], .5)
        text.append(f"{family:20} {len(instances):4} {share[0]:5.0f} % {share[1]:5.0f} % {shown(hours, '7.2f'):>7} {shown(count, 'd'):>9}")

    text += ["", f"{'false alerts from':30} {'normal':>7} {'strict':>7}"]
    blame = defaultdict(Counter)
    for incident, score in result.false.items():
        for limit in (normal, strict):
            blame[result.blame[incident]][limit] += score > limit
    for family, counts in sorted(blame.items(), key=lambda item: (-item[1][normal], item[0])):
        if counts[normal]:
            text.append(f"{family:30} {counts[normal]:7} {counts[strict]:7}")
    return "\n".join(text)
