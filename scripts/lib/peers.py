"""What the benchmarks share: programs to compare with, and how one run of a program is measured."""

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
TARGET = TARGET if TARGET.is_absolute() else ROOT / TARGET
BUILD_TIMEOUT = 1800
EX_UNAVAILABLE = 69

# Program and its Debian package.
PEERS = [
    ("tcpdump", "tcpdump"),
    ("softflowd", "softflowd"),
    ("nfpcapd", "nfdump"),
    ("argus", "argus-server"),
    ("tshark", "tshark"),
]


def say(text):
    print(text, file=sys.stderr, flush=True)


def build(program):
    """Builds a program of the workspace in release; its path. Naming both packages gives what they share the same features, so
    that it is built once."""
    say(f"building {program} (release)")
    command = ["cargo", "build", "--release", "--locked", "-p", "sonde", "-p", "sonde-tests", "--bin", program]
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, timeout=BUILD_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        say(f"bench: {program} was not built: {error}")
        sys.exit(EX_UNAVAILABLE)
    if done.returncode != 0:
        say(f"bench: {program} did not build")
        sys.exit(EX_UNAVAILABLE)
    return TARGET / "release" / program


def find(program):
    # Daemons live in sbin, which is often not in a user's PATH.
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")


def install_peers(arguments, skipped):
    missing = [package for program, package in PEERS if program not in skipped and not find(program)]
    if not missing:
        return
    hint = f"apt-get install --no-install-recommends {' '.join(missing)}"
    if arguments.no_install or os.geteuid() != 0 or not shutil.which("apt-get"):
        say(f"missing peers are left out; to have them: {hint}")
        return
    say(f"installing {' '.join(missing)}")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    for command in (["apt-get", "update", "-qq"], install):
        try:
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, timeout=600, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            say(f"{command[1]} failed ({error}); missing peers are left out; to have them: {hint}")
            return


def version_of(program, *arguments):
    """The version number among what a program says of itself, or nothing."""
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    text = done.stdout + done.stderr
    for line in sorted(text.splitlines(), key=lambda line: "ersion" not in line):
        for word in line.replace(",", " ").split():
            number = word.rstrip(".")
            if number[:1].isdigit() and "." in number:
                return number
    return ""


def run(command, scratch, timeout, stdin=subprocess.DEVNULL, stdout=None):
    """One run; (CPU seconds, peak resident set in MiB, wall seconds, error or None). Its output goes to the file `stdout`."""
    for name in ("nfdump", "home", "tmp"):
        shutil.rmtree(scratch / name, ignore_errors=True)
        (scratch / name).mkdir()
    (scratch / "argus.out").unlink(missing_ok=True)
    environment = dict(os.environ, LC_ALL="C", TZ="UTC", NO_COLOR="1")
    environment.update(HOME=str(scratch / "home"), XDG_CONFIG_HOME=str(scratch / "home"))
    environment.update(TMPDIR=str(scratch / "tmp"), WIRESHARK_CONFIG_DIR=str(scratch / "home"))
    with open(scratch / "stderr", "wb") as errors, open(stdout or os.devnull, "wb") as out:
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=scratch,
            env=environment,
            stdin=stdin,
            stdout=out,
            stderr=errors,
            start_new_session=True,
        )
        # The alarm ends the whole group of a run that hangs; wait4 then returns as usual.
        expired = []

        def end(_signal, _frame):
            expired.append(True)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        signal.signal(signal.SIGALRM, end)
        signal.alarm(timeout)
        _, status, usage = os.wait4(process.pid, 0)
        signal.alarm(0)
        wall = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    error = None
    if expired:
        error = f"ended after {timeout} s"
    elif process.returncode != 0:
        tail = (scratch / "stderr").read_text(errors="replace").strip().splitlines()[-1:]
        error = f"exit code {process.returncode}: {' '.join(tail)}"
    # ru_maxrss is in KiB on Linux.
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, wall, error


def machine():
    cpu = platform.processor() or "unknown"
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    kernel = f"{platform.system()} {platform.release()} {platform.machine()}"
    return f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, {kernel}, load {load:.1f} at the start"
