"""Converts a split of the detection benchmark to Sonde's events (docs/events.md), and reads its labels.

The benchmark gives seconds since its epoch and short keys; each record becomes one line, in the same order. Lines are
put together as text, because a million calls of json.dumps would take most of the time.
"""
import hashlib
import json
import subprocess
import time
from functools import lru_cache

LOCATION = {"sys": "system", "prog": "programs", "home": "home", "tmp": "temporary", "memfd": "memory"}
PARENT = {"svc": "service", "shell": "shell", "cron": "scheduler", "office": "office", "browser": "browser", "web": "web_server"}
QUERY_TYPE = {"A": 1, "NS": 2, "CNAME": 5, "NULL": 10, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "HTTPS": 65, "ANY": 255}
DAY = 86400


def lines(path):
    """Lines of a plain or zstd-compressed file."""
    if str(path).endswith(".zst"):
        # Splits are packed with a long window, which the tool opens only when told to.
        command = ["zstd", "-dcq", "--long=27", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as tool:
            yield from tool.stdout
        if tool.returncode:
            raise SystemExit(f"{path}: zstd ended with {tool.returncode}")
    else:
        with open(path, encoding="utf-8") as file:
            yield from file


def host_name(number):
    return f"h{number}"


@lru_cache(maxsize=1 << 12)
def minute(number):
    """RFC 3339 up to the minutes, of minutes since 1970."""
    return time.strftime("%Y-%m-%dT%H:%M:", time.gmtime(number * 60))


def rfc3339(micros):
    minutes, rest = divmod(micros, 60_000_000)
    seconds, fraction = divmod(rest, 1_000_000)
    return f'"{minute(minutes)}{seconds:02d}.{fraction:06d}000Z"'


@lru_cache(maxsize=1 << 16)
def quoted(text):
    return json.dumps(text, ensure_ascii=False)


@lru_cache(maxsize=1 << 16)
def ja4(token, transport):
    """The benchmark's fingerprint is a token of any length: 36 characters of the usual shape, the same for the same token."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    return f"{'t' if transport == 't' else 'q'}13d{digest[:6]}_{digest[6:18]}_{digest[18:30]}"


@lru_cache(maxsize=1 << 16)
def stand_in(name):
    """An address for a destination of which only the name is known, out of the range for benchmarks (RFC 2544)."""
    digest = hashlib.sha256(name.encode()).digest()
    return f"198.{18 + digest[0] % 2}.{digest[1]}.{digest[2]}"


class Converter:
    """One split, line by line. `cold`: without any history, as on the day of installation."""

    def __init__(self, cold=False):
        self.cold = cold
        self.epoch = 0
        self.start_of_host('""', "")
        self.skipped = 0

    def start_of_host(self, host, epoch_text):
        self.host = host
        self.epoch_text = epoch_text
        # Text of the process of each number, and local port and start of the latest connection of each kind.
        self.processes = {}
        self.open = {}
        self.port = 0

    def micros(self, seconds):
        # Whole microseconds, so that no fraction of a binary float is left in the text.
        return self.epoch + round(seconds * 1_000_000)

    def head(self, when, kind):
        return f'{{"time":{when},"host":{self.host},"type":"{kind}"'

    def convert(self, source):
        yield '{"type":"sonde.events","version":1}\n'
        handlers = {"meta": self.meta, "host": self.on_host, "proc": self.process, "seen": self.seen,
                    "c": self.connection, "x": self.exchange, "q": self.query}
        for line in source:
            if record := json.loads(line):
                handler = handlers.get(record["k"])
                text = handler(record) if handler else None
                if text:
                    yield text
                elif record["k"] != "meta" and not (self.cold and record["k"] == "seen"):
                    self.skipped += 1

    def meta(self, record):
        if record.get("v", 1) != 1:
            raise SystemExit(f"the benchmark has version {record['v']}; this converter knows version 1")
        self.epoch = round(record["epoch"] * 1_000_000)

    def on_host(self, record):
        self.start_of_host(quoted(host_name(record["h"])), rfc3339(self.epoch))
        # The observation began at the epoch: a time that is left out equals the line's own.
        return f'{self.head(self.epoch_text, "host")},"history":{"false" if self.cold else "true"}}}\n'

    def process(self, record):
        key = self.processes[record["p"]] = f',"process":{{"pid":{record["p"]},"start":{self.epoch_text}}}'
        fields = [("image", record["exe"]), ("user", record.get("user"))]
        fields += [("signed", bool(record["sig"])), ("location", LOCATION.get(record["loc"]))]
        fields += [("parent_class", PARENT.get(record["par"], "other"))]
        fields += [("script_host", bool(record["lol"])), ("browser", bool(record["br"]))]
        if not self.cold:
            fields += [("age_days", float(record["age"]) if "age" in record else None)]
        text = "".join(f',"{name}":{json.dumps(value)}' for name, value in fields if value is not None)
        return f'{self.head(self.epoch_text, "process")}{key}{text}}}\n'

    def seen(self, record):
        if self.cold:
            return None
        name, age = quoted(record["n"]), float(record["age"])
        return f'{self.head(self.epoch_text, "known_destination")},"name":{name},"age_days":{age!r}}}\n'

    def tuple_and_names(self, record, transport, port, fingerprint):
        """Text of both ends, process and names. The benchmark does not tell our end: any private address does."""
        name = record.get("n", "")
        remote = record.get("d") or stand_in(name)
        text = [f',"transport":"{"udp" if transport == "u" else "tcp"}","local_ip":"10.0.0.2","local_port":{port}'
                f',"remote_ip":"{remote}","remote_port":{record["o"]}{self.processes[record["p"]]}']
        if name:
            # The benchmark's one name stands for SNI, CONNECT host or look-up alike.
            text.append(f',"fqdn":{quoted(name)}')
        if fingerprint:
            text.append(f',"protocol":"{"quic" if transport == "u" else "tls"}","ja4":"{ja4(fingerprint, transport)}"')
        return "".join(text)

    def connection(self, record):
        if not record.get("n") and not record.get("d"):
            return None
        self.port = 1024 if self.port in (0, 65535) else self.port + 1
        start = self.micros(record["t"])
        when = rfc3339(start)
        transport = record["x"]
        self.open[record["p"], record.get("d"), record.get("n"), record["o"]] = (self.port, when)
        sent, received = record["b"]
        rest = self.tuple_and_names(record, transport, self.port, record.get("j"))
        end = rfc3339(start + round(record["u"] * 1_000_000))
        outcome = ',"outcome":"established"' if received else ""
        return (f'{self.head(when, "connection")},"phase":"whole"{rest},"end":{end}'
                f',"bytes_out":{int(sent)},"bytes_in":{int(received)}{outcome}}}\n')

    def exchange(self, record):
        if not record.get("n") and not record.get("d"):
            return None
        when = rfc3339(self.micros(record["t"]))
        key = record["p"], record.get("d"), record.get("n"), record["o"]
        if key not in self.open:
            # Opened before the window: it gets a port of its own, and starts with its first exchange.
            self.port = 1024 if self.port in (0, 65535) else self.port + 1
            self.open[key] = (self.port, when)
        port, start = self.open[key]
        rest = self.tuple_and_names(record, "t", port, "")
        sent, received = record["b"]
        start = "" if start == when else f',"start":{start}'
        return (f'{self.head(when, "connection")},"phase":"exchange"{start}{rest}'
                f',"bytes_out":{int(sent)},"bytes_in":{int(received)}}}\n')

    def query(self, record):
        kind = record["y"]
        kind = kind if isinstance(kind, int) else QUERY_TYPE.get(kind, 0)
        answer = record.get("a")
        addresses = f',"addresses":{json.dumps([answer] if isinstance(answer, str) else answer)}' if answer else ""
        ttl = f',"ttl_secs":{int(record["l"])}' if record["l"] else ""
        when = rfc3339(self.micros(record["t"]))
        return (f'{self.head(when, "dns")}{self.processes[record["p"]]},"query":{quoted(record["n"])},"query_type":{kind}'
                f',"response_code":{record["r"]}{addresses}{ttl}}}\n')


def convert(source, target, cold=False):
    """Writes the events of the split at `source` to the open file `target`; how many records had no counterpart."""
    converter = Converter(cold)
    target.writelines(converter.convert(lines(source)))
    return converter.skipped
