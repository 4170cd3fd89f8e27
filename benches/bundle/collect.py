#!/usr/bin/env python3
"""Puts everything that run.sh left in a folder into results.json there, and judges it: collect.py OUT PART...

What run.sh had expected (expected.txt) must be there: each test program with exit status 0 and with at least one test that ran; each planted
mistake found, that is with exactly the exit status that the sanitizer was given, and the same kernel without a mistake passed; twenty runs with
one result; every benchmark, and at least one way of running PyTorch's. Where a sanitizer refuses the machine, as its own message says, its steps
are told as refused and are no failure. The verdict is "pass", "pass, with refusals" or "fail"; the exit status of the last is 1."""

import datetime
import json
import pathlib
import re
import shutil
import subprocess
import sys

FOUND = 9
TIMED_OUT = 124
NOT_LAUNCHED = 77
RUNS = 20
# Kinds of steps without which a part has not been run.
PARTS = {
    "parity": {"tests"},
    "sanitizers": {"control", "planted", "sanitized"},
    "same_bits": {"bits"},
    "bench": {"bench", "torch"},
}
# What compute-sanitizer says where it does not work on a machine at all.
REFUSAL = re.compile(
    r"=+ .*(Device not supported|not supported on|Internal Sanitizer Error|terminated before first instrumented|[Ii]nsufficient p)"
)
# A barrier that half of a warp passes by, or does not reach since it has returned: which of the two counts depends on the architecture.
EITHER = [{"planted_synccheck", "planted_synccheck_return"}]


def read(path):
    return path.read_text(errors="replace") if path.exists() else ""


def said(*command):
    """The first line of what a program says, if it is there and succeeds."""
    if not shutil.which(command[0]):
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else None


def parsed(path):
    try:
        return json.loads(read(path))
    except ValueError:
        # What failed left no JSON; its log says why.
        return None


def tests(log):
    """Tests that ran and tests that failed, of one program or several."""
    counts = re.findall(r"test result: \w+\. (\d+) passed; (\d+) failed", log)
    return sum(int(p) + int(f) for p, f in counts), sum(int(f) for _, f in counts)


class Judge:
    """What is said of the steps, one by one."""

    def __init__(self, out):
        self.out, self.steps, self.bits, self.measurements = out, {}, {}, {}
        self.failures, self.refused, self.notes = [], [], []
        lines = [line.split() for line in read(out / "expected.txt").splitlines()]
        # Asked for again, a step counts once.
        self.expected = {name: kind for kind, name in lines}
        for name, kind in self.expected.items():
            if kind != "bits":
                self.steps[name] = self.step(name)

    def step(self, name):
        status = read(self.out / f"{name}.status").split()
        log = read(self.out / f"{name}.log")
        step = {"exit": None, "seconds": None, "last_lines": log.splitlines()[-15:]}
        if len(status) == 2:
            step["exit"], step["seconds"] = map(int, status)
            step["timed_out"] = step["exit"] == TIMED_OUT
        ran, failed = tests(log)
        if self.expected[name] in ("tests", "sanitized"):
            step |= {"tests": ran, "failed": failed}
        blocking = read(self.out / f"{name}.blocking.log")
        if blocking:
            step["last_lines_when_launches_are_waited_for"] = blocking.splitlines()[-15:]
        return step

    def fail(self, name, problem):
        self.failures.append(f"{name}: {problem}")

    def ended(self, name, status=0):
        """Whether a step ended with a status; else says how it ended."""
        step = self.steps[name]
        if step["exit"] == status:
            return True
        if step["exit"] is None:
            problem = "is missing"
        elif step["timed_out"]:
            problem = f"timed out after {step['seconds']} s"
        elif step["exit"] == NOT_LAUNCHED:
            problem = "its kernel could not be launched"
        else:
            problem = f"exit status {step['exit']}, not {status}"
        self.fail(name, problem)
        return False

    def all(self, parts):
        kinds = set(self.expected.values())
        for part in parts:
            missing = PARTS.get(part, {part}) - kinds
            if missing:
                self.fail(part, f"no step of it: {', '.join(sorted(missing))}")
        for tool in ("memcheck", "racecheck", "initcheck", "synccheck"):
            control = self.steps.get(f"control_{tool}")
            if control and control["exit"] not in (0, None) and REFUSAL.search(read(self.out / f"control_{tool}.log")):
                self.refused += [name for name in self.expected if self.tool(name) == tool]
        for name in self.refused:
            self.steps[name]["refused"] = True
        for name, kind in self.expected.items():
            if name not in self.refused:
                getattr(self, f"judge_{kind}")(name)
        for group in sorted({self.group(name) for name, kind in self.expected.items() if kind == "torch"}):
            if not self.best(group):
                self.fail(group, "PyTorch has run in no way")

    @staticmethod
    def tool(name):
        """The sanitizer of a step."""
        return next((part for part in name.split("_") if part in ("memcheck", "racecheck", "initcheck", "synccheck")), None)

    def judge_tests(self, name):
        if self.ended(name) and self.steps[name]["tests"] == 0:
            self.fail(name, "no test ran")

    judge_sanitized = judge_tests

    def judge_control(self, name):
        self.ended(name)

    def judge_planted(self, name):
        others = [other for either in EITHER if name in either for other in either if other in self.steps]
        found = [other for other in others or [name] if self.steps[other]["exit"] == FOUND]
        if found and name not in found:
            self.notes.append(f"{name}: not found (exit status {self.steps[name]['exit']}), {found[0]} was")
        elif not found:
            self.ended(name, FOUND)

    def judge_bits(self, name):
        # A line for each different result: how often it came.
        lines = read(self.out / f"{name}.txt").splitlines()
        self.bits[name.removeprefix("same_bits_")] = lines
        if len(lines) != 1 or not lines[0].split() or lines[0].split()[0] != str(RUNS):
            self.fail(name, f"{lines or 'nothing'} is not one result {RUNS} times")

    def judge_bench(self, name):
        self.measurements[name] = parsed(self.out / f"{name}.json")
        if self.ended(name) and not (self.measurements[name] or {}).get("steps"):
            self.fail(name, "its JSON has no steps")
        for step in (self.measurements[name] or {}).get("steps", []):
            if step["of_passes"] is None and step["loss"] is None:
                self.fail(name, f"{step['name']}: the loss is not finite")

    def judge_torch(self, name):
        self.measurements[name] = parsed(self.out / f"{name}.json")
        step = self.steps[name]
        if step["exit"] != 0 or not self.measurements[name]:
            how = "timed out" if step.get("timed_out") else f"exit status {step['exit']}"
            self.notes.append(f"{name}: {how}; it is not among the ways that are compared")
        elif self.measurements[name]["loss"] is None:
            self.notes.append(f"{name}: the loss is not finite")

    @staticmethod
    def group(name):
        """As torch_vgg_bf16: what the ways have in common."""
        return "_".join(name.split("_")[:3])

    def best(self, group):
        """The fastest way of PyTorch: its name and median."""
        ways = [
            (found["time"]["median"], name)
            for name, found in self.measurements.items()
            if self.group(name) == group and found and self.steps[name]["exit"] == 0
        ]
        return min(ways, default=None)

    def comparison(self):
        """normscape's step beside PyTorch's fastest, in seconds."""
        rows = []
        for name in [name for name, kind in self.expected.items() if kind == "bench"]:
            precision = name.removeprefix("bench_")
            for step in (self.measurements.get(name) or {}).get("steps", []):
                network = {"vgg16 ×1 batch": "vgg", "dln batch": "dln"}.get(step["name"])
                best = self.best(f"torch_{network}_{precision}")
                if best:
                    ours = step["time"]["median"]
                    rows.append({
                        "step": step["name"],
                        "precision": precision,
                        "normscape": ours,
                        "torch": best[0],
                        "torch_way": best[1].split("_", 3)[3],
                        "ratio": ours / best[0],
                    })
        return rows


def main():
    out, parts = pathlib.Path(sys.argv[1]), sys.argv[2:]
    judge = Judge(out)
    judge.all(parts)
    info = parsed(out / "info.json") or {}
    cuda = info.get("cuda") or {}
    if not cuda.get("devices"):
        judge.fail("device", cuda.get("problem") or "normscape info names none")
    torch = said(sys.executable, "-c", "import torch; print(torch.__version__, torch.version.cuda)")
    verdict = "fail" if judge.failures else "pass, with refusals" if judge.refused else "pass"
    results = {
        "verdict": verdict,
        "failures": judge.failures,
        "refused": judge.refused,
        "notes": judge.notes,
        "parts": parts,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "version": info.get("version"),
        "commit": info.get("commit"),
        "device": (cuda.get("devices") or [None])[0],
        "driver": said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "cuda": {
            "driver": cuda.get("driver"),
            "nvrtc": cuda.get("nvrtc"),
            "cublas": cuda.get("cublas"),
            "torch": torch.split()[1] if torch else None,
        },
        "torch": torch.split()[0] if torch else None,
        "comparison": judge.comparison(),
        "measurements": judge.measurements,
        "steps": judge.steps,
        "same_bits": judge.bits,
        "info": info,
    }
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    for line in [*judge.failures, *(f"refused: {name}" for name in judge.refused), *judge.notes]:
        print(line)
    for row in results["comparison"]:
        ours, theirs = (1e3 * row[name] for name in ("normscape", "torch"))
        print(f"{row['step']}, {row['precision']}: {ours:.4g} ms, PyTorch ({row['torch_way']}) {theirs:.4g} ms, ratio {row['ratio']:.2f}")
    print(f"{out / 'results.json'}: {verdict}")
    sys.exit(1 if judge.failures else 0)


if __name__ == "__main__":
    main()
