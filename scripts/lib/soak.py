"""What scripts/soak does once its lab is there: load, faults, samples, verdict. Needs nothing but Python's own library."""

import argparse
import gzip
import http.server
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

SERVER = "198.18.77.9"
# Seconds of one outage, and from one to the next.
AWAY, EVERY = 15, 45
# Growth that is told from noise: of memory in KiB a minute after warming up, of descriptors in all.
MOST_KIB_A_MINUTE, MOST_DESCRIPTORS = 1024, 8


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes records by `_bulk`, and refuses them during an outage."""

    protocol_version = "HTTP/1.1"
    ids, copies, away = set(), 0, threading.Event()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if Receiver.away.is_set():
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        items = []
        for line in body.split(b"\n")[::2]:
            if line:
                told = json.loads(line)["create"]["_id"]
                status = 409 if told in Receiver.ids else 201
                Receiver.copies += status == 409
                Receiver.ids.add(told)
                items.append({"create": {"_id": told, "status": status}})
        answer = json.dumps({"errors": any(i["create"]["status"] == 409 for i in items), "items": items}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def read(path):
    with open(path) as file:
        return file.read()


class Sample:
    """One look at the sensor's process."""

    def __init__(self, pid):
        self.at = time.monotonic()
        fields = dict(line.split(":", 1) for line in read(f"/proc/{pid}/status").splitlines() if ":" in line)
        self.kib = int(fields["VmRSS"].split()[0])
        self.threads = int(fields["Threads"])
        self.descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        stat = read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
        self.cpu = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def slope(points):
    """Least squares: units of y for one of x."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    across = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / across if across else 0.0


class Soak:
    """The sensor, and all that it has to bear."""

    def __init__(self, options):
        self.options = options
        self.over = threading.Event()
        self.done = {"short processes": 0, "reloads": 0, "flaps of an address": 0, "replays": 0, "outages": 0, "beacons": 0}
        self.failed = []
        self.children = []

    def start(self):
        o = self.options
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ports = [f"http:{SERVER}:{8000 + n}" for n in range(60)]
        self.spawn(["ip", "netns", "exec", o.lab, f"{o.tools}/sonde-emulate", "serve", *ports], stdin=subprocess.PIPE)
        with open(f"{o.work}/sonde.toml", "w") as file:
            file.write(
                f'[attribution]\nlayer = "{o.layer}"\n[learning]\nperiod_days = 0\n[state]\ndir = "{o.work}/state"\ninterval_secs = 10\n'
                f'[control]\nsocket = "{o.work}/control"\n[sinks.soc]\nrecords = ["alert", "audit", "health"]\nflush_secs = 0\n'
                f'[sinks.soc.elastic]\nurl = "http://127.0.0.1:{server.server_port}"\n'
            )
        self.out, self.log = open(f"{o.work}/alerts", "w"), open(f"{o.work}/log", "w")
        self.sensor = subprocess.Popen(
            [o.sonde, "run", "--config", f"{o.work}/sonde.toml", "--verbose", "--format", "ndjson"],
            stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.log,
        )
        for _ in range(300):
            if "the sensor is running" in read(f"{o.work}/log"):
                return
            if self.sensor.poll() is not None:
                break
            time.sleep(0.1)
        sys.exit("the sensor did not start:\n" + read(f"{o.work}/log")[-3000:])

    def spawn(self, command, **more):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
        self.children.append(child)
        return child

    def again(self, every, name, deed):
        """Does a deed now and then, on a thread of its own."""

        def loop():
            while not self.over.wait(every):
                deed()
                self.done[name] += 1

        threading.Thread(target=loop, daemon=True).start()

    def churn(self):
        for _ in range(4):
            subprocess.run(["/bin/true"], check=False)
        port = 8050 + random.randrange(10)
        subprocess.run(["curl", "-s", "-m", "2", "-o", "/dev/null", f"http://{SERVER}:{port}/"], check=False)

    def beacon(self):
        port = 8000 + self.done["beacons"] % 50
        command = [f"{self.options.tools}/sonde-emulate", "beacon", "--transport", "http", "--to", f"{SERVER}:{port}"]
        self.spawn([*command, "--interval", "1.3", "--count", "25"])

    def flap(self):
        link = self.options.link
        for verb in ("add", "del"):
            subprocess.run(["ip", "addr", verb, "198.18.78.1/24", "dev", link], check=False, stderr=subprocess.DEVNULL)

    def replay(self):
        o = self.options
        made = f"{o.work}/replay.pcap.gz"
        if not os.path.exists(made):
            subprocess.run([f"{o.tools}/sonde-gen", "destinations", made, "--destinations", "20000"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ran = subprocess.run([o.sonde, "replay", made, "--format", "ndjson"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if ran.returncode not in (0, 1):
            self.failed.append(f"a replay ended with {ran.returncode}")

    def outage(self):
        Receiver.away.set()
        self.over.wait(AWAY)
        Receiver.away.clear()

    def reload(self):
        self.sensor.send_signal(signal.SIGHUP)

    def run(self):
        self.start()
        self.again(0.5, "short processes", self.churn)
        self.again(7, "beacons", self.beacon)
        self.again(5, "reloads", self.reload)
        self.again(3, "flaps of an address", self.flap)
        self.again(20, "replays", self.replay)
        self.again(EVERY - AWAY, "outages", self.outage)
        begun, samples = time.monotonic(), []
        while time.monotonic() - begun < self.options.minutes * 60:
            time.sleep(2)
            if self.sensor.poll() is not None:
                sys.exit("the sensor ended:\n" + read(f"{self.options.work}/log")[-3000:])
            samples.append(Sample(self.sensor.pid))
        self.over.set()
        Receiver.away.clear()
        time.sleep(1)
        health = self.drained()
        self.sensor.send_signal(signal.SIGTERM)
        status = self.sensor.wait(timeout=15)
        for child in self.children:
            child.kill()
        self.tell(samples, health, status)

    def health(self):
        o = self.options
        asked = subprocess.run([o.sonde, "status", "--format", "json", "--socket", f"{o.work}/control"], capture_output=True, check=False)
        return json.loads(asked.stdout)

    def drained(self):
        """How it is once the server has had time to take what waited."""
        until = time.monotonic() + 90
        while True:
            health = self.health()
            if health["sinks"]["soc"]["counts"]["spooled"] == 0 or time.monotonic() > until:
                return health
            time.sleep(1)

    def tell(self, samples, health, status):
        told = [json.loads(line) for line in read(f"{self.options.work}/alerts").splitlines() if line]
        ids = [alert["event"]["id"] for alert in told]
        lost = [one for one in ids if one not in Receiver.ids]
        warm = samples[len(samples) // 3:]
        growth = slope([(s.at / 60, s.kib) for s in warm])
        early = max(s.descriptors for s in samples[: len(samples) // 3])
        late = max(s.descriptors for s in warm)
        cpu = (samples[-1].cpu - samples[0].cpu) / (samples[-1].at - samples[0].at) * 100
        counters, account = health["counters"], health["account"]
        print(f"{self.options.minutes} minutes: " + ", ".join(f"{count} {what}" for what, count in self.done.items()))
        print(f"connections {counters['connections']}, with their process {counters['attributed']}; process events {counters['process_events']}; lost {health['lost'] or 'nothing'}")
        print(f"memory: {warm[0].kib} KiB after a third, {warm[-1].kib} KiB at the end, slope {growth:+.1f} KiB a minute (at most {MOST_KIB_A_MINUTE})")
        print(f"descriptors: at most {early} in the first third, {late} later; threads {samples[0].threads} to {samples[-1].threads}")
        print(f"processor: {cpu:.2f} % of one")
        print(f"alerts: {len(ids)} told, {len(lost)} not at the server; {Receiver.copies} sent twice; account of the sink {health['sinks']['soc']['counts']}")
        problems = list(self.failed)
        if growth > MOST_KIB_A_MINUTE:
            problems.append("memory grows")
        if late > early + MOST_DESCRIPTORS:
            problems.append("descriptors grow")
        if lost or not ids:
            problems.append(f"alerts were lost: {lost[:3]}" if ids else "no alert came: the load is none")
        for name, ledger in account.items():
            parts = ledger["aggregated"] + ledger["evicted"] + ledger["waiting"] + sum(ledger["ignored"].values())
            print(f"{name}: {ledger}")
            if parts != ledger["seen"]:
                problems.append(f"{name} do not add up")
        if status:
            problems.append(f"the sensor ended with {status}")
        if problems:
            sys.exit("FAILED: " + "; ".join(problems))
        print("All held.")


def main():
    """Arguments in, figures out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, required=True)
    for name in ("layer", "sonde", "tools", "work", "lab", "link"):
        parser.add_argument(f"--{name}", required=True)
    Soak(parser.parse_args()).run()


if __name__ == "__main__":
    main()
