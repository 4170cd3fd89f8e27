#!/usr/bin/env python3
"""Everything that is to be done first on a machine with a GPU and no Rust, in at most nine minutes.

    contact.py [OUT]                   the first command: every part of plan.py, the strongest and cheapest first
    contact.py [OUT] --again PART...   the second: PyTorch's autotuned ways beside normscape, and the parts named (patterns, as 'parity *')

OUT is $OUT, or `results`, where none is named. It then holds results.json, which is written anew after every part, and log.txt, the end of each part's
output. Nothing else is left behind.

Each part is a process of its own under `timeout -k 5`, since a fault of a kernel spoils a process's context, and a hung kernel its process. One clock
is over all: what does not fit any more is left out, and results.json says so. After a part that lost the device, hung or died, the next one begins
only if a fresh process of `normscape info` and one small operator give the right answer.

The verdict is "pass", "incomplete" (nothing failed, something was left out) or "fail". Exit status: 0, 0, 1; 2 where the folder or an option is
wrong. Python's standard library is enough. PYTHON names a Python with PyTorch, unless it is the one that runs this."""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import plan
import reading

HERE = pathlib.Path(__file__).resolve().parent
# Seconds that a part has after it was asked to end; the program answers the first request by ending its step, which a hung kernel never does.
KILL_AFTER = 5
# Bytes of a part's output that log.txt keeps.
KEPT = 64 << 10


class Session:
    """The clock, the folders, what was found so far, and the parts that are running."""

    def __init__(self, args):
        self.args, self.began = args, time.monotonic()
        self.started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self.out = pathlib.Path(args.out)
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "log.txt").write_text("")
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="normscape-contact-"))
        self.records, self.running, self.stopped = [], [], None
        self.env = dict(os.environ)
        self.env |= {
            "NORMSCAPE_TEST_DEVICE": args.device,
            "NORMSCAPE_GOLDEN": str(HERE / "golden"),
            "NORMSCAPE_CACHE": str(self.work / "cache"),
            "TORCHINDUCTOR_CACHE_DIR": str(self.work / "inductor"),
            "CI": "false",
        }
        # The program asks python3 where NVIDIA's packages are: it must be the one with PyTorch.
        python = shutil.which(os.environ.get("PYTHON", sys.executable)) or sys.executable
        self.python = python
        self.env["PATH"] = f"{pathlib.Path(python).parent}{os.pathsep}{self.env.get('PATH', os.defpath)}"

    def left(self):
        return self.args.seconds - (time.monotonic() - self.began)

    def there(self, tool):
        return shutil.which(tool, path=self.env["PATH"]) is not None

    def record(self, name):
        """What became of a part; an empty record where it has not been run."""
        return next((record for record in self.records if record["part"] == name), {})

    def figures(self, name):
        return self.record(name).get("figures") or {}

    def add(self, record):
        self.records.append(record)
        why = f": {record['why']}" if record.get("why") else ""
        seconds = f" after {record['seconds']:.1f} s" if record.get("seconds") is not None else ""
        print(f"[{time.monotonic() - self.began:5.0f} s] {record['part']}: {record['status']}{seconds}{why}", flush=True)
        self.write()

    def leave_out(self, part, why):
        self.add({"part": part.name, "command": part.shown(), "status": "left out", "why": why})

    def write(self):
        """Puts results.json in its place as a whole, so that whoever is stopped in between leaves the one before."""
        text = json.dumps(reading.summary(self), indent=1) + "\n"
        new = self.out / "results.json.new"
        with open(new, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.out / "results.json")

    def end(self):
        """Stops what runs, and lets the working folder go."""
        for process in self.running:
            kill(process)
        shutil.rmtree(self.work, ignore_errors=True)


def kill(process):
    # `timeout` leads a group of its own, in which all that it started is.
    try:
        os.killpg(process.popen.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


class Running:
    """A part's process. Its output goes to files: nobody waits for a pipe that a hung process holds."""

    def __init__(self, session, part, limit, cut=False):
        self.part, self.limit, self.cut, self.began = part, limit, cut, time.monotonic()
        stem = session.work / f"output-{len(session.records)}-{id(self)}"
        self.files = [stem.with_suffix(suffix) for suffix in (".out", ".err")]
        command = ["timeout", "-k", str(KILL_AFTER), f"{limit:g}", *part.command]
        with open(self.files[0], "wb") as out, open(self.files[1], "wb") as err:
            env = session.env | part.env
            self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, cwd=session.work)

    def ended(self):
        """Whether it has ended. One that no signal ends, since it hangs in the driver, is given up two seconds after its last."""
        if self.popen.poll() is not None:
            return True
        if time.monotonic() - self.began > self.limit + KILL_AFTER + 2:
            kill(self)
            return True
        return False

    def record(self, session):
        seconds, rc = time.monotonic() - self.began, self.popen.poll()
        out, err = (file.read_bytes().decode(errors="replace") for file in self.files)
        for file in self.files:
            file.unlink()
        with open(session.out / "log.txt", "a") as log:
            log.write(f"==== {self.part.name}: {self.part.shown()}\n{out[-KEPT:]}{err[-KEPT:]}\n")
        return reading.judge(self.part, rc, seconds, self.limit, self.cut, out, err)


def answers(session):
    """Whether a fresh process still gets right answers from the device."""
    good = True
    for part in plan.probe(session):
        if good:
            running = Running(session, part, max(1.0, min(20.0, round(session.left(), 1))))
            session.running = [running]
            while not running.ended():
                time.sleep(0.02)
            session.running = []
            record = running.record(session)
            good = record["status"] == "passed"
            session.add(record)
    return good


def run(session, parts, width):
    """Runs parts, so many at a time. After one that spoilt the device nothing more begins before it has answered again."""
    parts, spoilt = list(parts), False
    while parts or session.running or spoilt:
        if spoilt and not session.running:
            spoilt = False
            if not answers(session):
                session.stopped = "the device does not answer any more"
        while parts and not spoilt and len(session.running) < width:
            part = parts.pop(0)
            limit = min(part.limit, session.args.limit or part.limit)
            room = round(session.left() - KILL_AFTER, 1)
            why = session.stopped or part.without(session)
            if not why and room < min(part.needs, limit):
                why = f"{max(0.0, session.left()):.0f} s were left"
            if why:
                session.leave_out(part, why)
            else:
                if part.prepare:
                    part.prepare()
                session.running.append(Running(session, part, min(limit, room), room < limit))
        for running in [running for running in session.running if running.ended()]:
            session.running.remove(running)
            record = running.record(session)
            session.add(record)
            spoilt |= part_spoils(running.part, record)
        time.sleep(0.02)


def part_spoils(part, record):
    return part.on_device and record["status"] in ("lost", "timed out", "died")


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default=os.environ.get("OUT") or "results", metavar="OUT")
    parser.add_argument("--again", nargs="*", metavar="PART", help="the second command, with parts to run again")
    parser.add_argument("--only", nargs="+", metavar="PART", help="of the first command these parts alone (patterns)")
    parser.add_argument("--before", metavar="FILE", help="results.json of the first command, whose measurements count too")
    parser.add_argument("--seconds", type=float, default=540, help="the clock over all [540]")
    parser.add_argument("--limit", type=float, help="the most seconds of any part, where that is to be less than it has")
    parser.add_argument("--device", default="cuda", choices=["cuda", "emulator"], help="emulator tries the script itself [cuda]")
    parser.add_argument("--scale", default="full", choices=["full", "tiny"], help="tiny: small shapes, for a device that is a stand-in [full]")
    args = parser.parse_args()
    missing = [name for name in ("normscape", "tests/operators", "tests/device") if not (HERE / name).exists()]
    if missing or not shutil.which("timeout"):
        parser.error(f"{HERE} has no {', '.join(missing)}" if missing else "there is no `timeout` (coreutils)")
    return args


def main():
    args = options()
    try:
        session = Session(args)
        session.before = json.loads(pathlib.Path(args.before).read_text()) if args.before else {}
    except (OSError, ValueError) as error:
        print(f"contact.py: {error}", file=sys.stderr)
        sys.exit(2)

    def stop(*_):
        session.stopped = "it was stopped from outside"
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        stages = plan.first(session) if args.again is None else plan.again(session)
        for width, parts in stages:
            wanted = [part for part in parts if not args.only or plan.is_named(part, args.only)]
            run(session, wanted, width)
    except KeyboardInterrupt:
        session.stopped = session.stopped or "it was interrupted"
    finally:
        session.end()
        session.write()
    summary = reading.summary(session)
    print("\n".join(reading.lines(summary)))
    print(f"{session.out / 'results.json'}: {summary['verdict']}")
    sys.exit(1 if summary["verdict"] == "fail" else 0)


if __name__ == "__main__":
    main()
