"""Drives a headless Chromium through its DevTools pipe: steps as JSON on stdin, what each gave as JSON on stdout.

Needs nothing but Python and Chromium. The browser has no network: a namespace without any where that is allowed, and no
name that resolves in any case. Steps: {"open": file, "width", "height", "dark", "paper", "scriptless"}, {"js": expression},
{"goto": address, "width", "height", "dark"}: a page that is served on this machine, and then the browser shares its
network; {"until": expression, "within": seconds}: the time in milliseconds at which it held, or null;
{"shot": file, "whole", "most"}, {"axe": script}. The answer has "steps", what each gave; "requests", all but the page itself, and to others than who serves it;
and "console", errors and exceptions among it.
"""

import base64
import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile
import time

PATIENCE = 120


class Browser:
    """Chromium, spoken to over two pipes in messages that end with a nought."""

    def __init__(self, program, profile, networked):
        down, self.down = os.pipe()
        self.up, up = os.pipe()
        flags = [
            "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--no-first-run", "--disable-gpu", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
            "--no-pings", "--no-default-browser-check", "--disable-dev-shm-usage", "--font-render-hinting=none",
            "--disable-features=Translate,OptimizationHints,MediaRouter,AutofillServerCommunication",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={profile}", "about:blank",
        ]
        alone = ["unshare", "--map-root-user", "--net"]
        self.own = ("file:", "about:")
        if networked or subprocess.run(alone + ["true"], capture_output=True, check=False).returncode != 0:
            alone = []

        def pipes():
            # The child reads from 3 and writes to 4; first out of the way of either.
            down_high, up_high = os.dup(down), os.dup(up)
            os.dup2(down_high, 3)
            os.dup2(up_high, 4)

        self.child = subprocess.Popen(
            alone + [program] + flags, preexec_fn=pipes, close_fds=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(down)
        os.close(up)
        self.rest, self.next, self.session, self.events = b"", 0, None, []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.ask(domain + ".enable")

    def read(self, until):
        """The next message, or None when the time is up."""
        while b"\0" not in self.rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.up], [], [], left)[0]:
                return None
            more = os.read(self.up, 1 << 16)
            if not more:
                sys.exit("the browser ended")
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def ask(self, method, **params):
        self.next += 1
        message = {"id": self.next, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.down, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while (answer := self.read(until)) is not None:
            if answer.get("id") == self.next:
                if "error" in answer:
                    sys.exit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)
        sys.exit(f"{method}: no answer")

    def gone(self, method):
        """Forgets what came of it so far."""
        self.events = [event for event in self.events if event.get("method") != method]

    def wait(self, method):
        until = time.monotonic() + PATIENCE
        while not any(event.get("method") == method for event in self.events):
            event = self.read(until)
            if event is None:
                sys.exit(f"{method} did not come")
            self.events.append(event)

    def run(self, expression):
        answer = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            return {"failed": answer["exceptionDetails"]["exception"].get("description", "?")}
        return answer["result"].get("value")

    def step(self, step):
        if "open" in step or "goto" in step:
            self.ask(
                "Emulation.setDeviceMetricsOverride", width=step.get("width", 1440), height=step.get("height", 900),
                deviceScaleFactor=step.get("scale", 1), mobile=False,
            )
            scheme = "dark" if step.get("dark") else "light"
            media = "print" if step.get("paper") else ""
            self.ask("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])
            # Another fragment of the same page would not load it again.
            self.ask("Emulation.setScriptExecutionDisabled", value=bool(step.get("scriptless")))
            self.gone("Page.loadEventFired")
            self.ask("Page.navigate", url="about:blank")
            self.wait("Page.loadEventFired")
            if "goto" in step:
                url = step["goto"]
                self.own += (url.partition("#")[0],)
            else:
                path, _, fragment = step["open"].partition("#")
                url = pathlib.Path(path).resolve().as_uri() + ("#" + fragment if fragment else "")
            self.gone("Page.loadEventFired")
            began = time.monotonic()
            answer = self.ask("Page.navigate", url=url)
            if "errorText" in answer:
                sys.exit(f"{url}: {answer['errorText']}")
            self.wait("Page.loadEventFired")
            if step.get("scriptless"):
                time.sleep(0.3)
            else:
                # Two frames: then it is laid out and painted.
                self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            return round((time.monotonic() - began) * 1000)
        if "js" in step:
            return self.run(step["js"])
        if "until" in step:
            until = time.monotonic() + step["within"]
            while time.monotonic() < until:
                if self.run(step["until"]) is True:
                    return round(time.time() * 1000)
                time.sleep(0.05)
            return None
        if "shot" in step:
            clip = {}
            if step.get("whole"):
                size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
                height = min(size["height"], step.get("most", 6000))
                clip = {"clip": {"x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1}, "captureBeyondViewport": True}
            data = self.ask("Page.captureScreenshot", format="png", **clip)["data"]
            return pathlib.Path(step["shot"]).write_bytes(base64.b64decode(data))
        if "axe" in step:
            self.run(pathlib.Path(step["axe"]).read_text(encoding="utf-8") + "; true")
            return self.run(
                "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations.map(one => ({id: one.id,"
                " impact: one.impact, help: one.help, nodes: one.nodes.slice(0, 5).map(node => node.html.slice(0, 200) + ' ' + (node.any[0]?.message ?? ''))})))"
            )
        return sys.exit(f"no step: {step}")


def console(events):
    for event in events:
        params = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                yield "exception: " + json.dumps(params["exceptionDetails"])[:400]
            case "Runtime.consoleAPICalled":
                yield params["type"] + ": " + json.dumps(params["args"])[:400]
            case "Log.entryAdded":
                yield params["entry"]["level"] + ": " + params["entry"]["text"]


def requests(browser):
    for event in browser.events:
        if event.get("method") == "Network.requestWillBeSent":
            url = event["params"]["request"]["url"]
            served = url.startswith("http") and url.startswith(browser.own)
            if not served and (event["params"]["type"] != "Document" or not url.startswith(browser.own)):
                yield url


def main():
    steps = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(sys.argv[1], profile, any("goto" in step for step in steps))
        try:
            results = [browser.step(step) for step in steps]
        finally:
            browser.child.terminate()
            browser.child.wait(10)
    json.dump({"steps": results, "requests": [*requests(browser)], "console": [*console(browser.events)]}, sys.stdout)


main()
