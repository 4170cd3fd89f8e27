"""What the parts of contact.py have said: figures from their output, what became of each, and the summary of all."""

import csv
import datetime
import io
import json
import math
import re

TIMED_OUT = 124
KILLED = 128 + 9
# Lines of a part's output that results.json keeps, and letters of a line.
LAST, LONG = 12, 300
# The words of normscape's own errors (src/runtime/cuda/gpu/api.rs), and those of PyTorch for the same codes.
LOST = re.compile(
    r"the device is lost"
    r"|CUDA error: (an illegal memory access|unspecified launch failure|misaligned address|an illegal instruction|hardware stack error"
    r"|device-side assert|invalid program counter|operation not supported on global/shared address space|uncorrectable ECC error"
    r"|the launch timed out|context is destroyed)"
)
# What the tools say where they do not work on a machine at all.
REFUSED = re.compile(
    r"=+ .*(Device not supported|not supported on|Internal Sanitizer Error|terminated before first instrumented|[Ii]nsufficient p)"
    r"|ERR_NVGPUCTRPERM|Failed to initialize the profiler|LibraryNotLoaded"
    r"|No module named 'torch'"
)
# PyTorch's ways by what they show: a compiler that has done what it can, and a step without the host.
COMPILED = {"default", "reduce-overhead", "max-autotune", "max-autotune-graph"}
CAPTURED = {"graph", "max-autotune-graph"}


class Problem(Exception):
    """An output that is not what a part that succeeds leaves."""


def nothing(_out, _err):
    return {}


def json_of(out, _err):
    try:
        found = json.loads(out)
    except ValueError as error:
        raise Problem(f"its output is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Problem("its JSON is no object")
    return found


def last_line(out, err):
    lines = out.strip().splitlines()
    return json_of(lines[-1] if lines else "", err)


def info(out, err):
    found = json_of(out, err)
    if not (found.get("cuda") or {}).get("devices"):
        raise Problem((found.get("cuda") or {}).get("problem") or "it names no device")
    return found


def right(out, err):
    """The answer of one operator on a golden case."""
    errors = {name: of.get("relative_error") for name, of in json_of(out, err).get("arrays", {}).items()}
    if not errors or not all(isinstance(error, (int, float)) and error <= 1e-5 for error in errors.values()):
        raise Problem(f"its errors are {errors}")
    return errors


def tests(out, err):
    counts = re.findall(r"test result: \w+\. (\d+) passed; (\d+) failed", out + err)
    passed, failed = (sum(int(count[i]) for count in counts) for i in (0, 1))
    figures = {"passed": passed, "failed": failed}
    if failed:
        figures["names"] = sorted(set(re.findall(r"^test (\S+) \.\.\. FAILED", out, re.MULTILINE)))[:50]
        raise Problem(f"{failed} tests failed", figures)
    if not passed:
        raise Problem("no test ran", figures)
    return figures


def csv_rows(out, _err):
    rows = list(csv.DictReader(io.StringIO(out), skipinitialspace=True))
    if not rows:
        raise Problem("it names no card")
    return {"cards": rows}


def sanitizer(out, err):
    found = re.findall(r"^=+ (?:ERROR|RACECHECK) SUMMARY: .*", out + err, re.MULTILINE)
    return {"summary": found[-1].lstrip("= ")} if found else {}


def bench(out, err):
    found = json_of(out, err)
    steps = found.get("steps") or ([found] if "time" in found else [])
    if not steps:
        raise Problem("its JSON has no steps")
    # A loss that is not finite is null; a probe has none.
    bad = [step["name"] for step in steps if step.get("of_passes") is None and step.get("loss", 0) is None]
    if bad:
        raise Problem(f"the loss is not finite: {', '.join(bad)}", found)
    return found | {"steps": steps}


def torch(out, err):
    found = last_line(out, err)
    if not isinstance((found.get("time") or {}).get("median"), (int, float)):
        raise Problem("its JSON has no time", found)
    if found.get("loss") is None:
        raise Problem("the loss is not finite", found)
    return found


def ncu(out, _err):
    """Metrics by name, each with its unit, of the one launch that was profiled."""
    lines = out.splitlines()
    begin = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    rows = list(csv.DictReader(lines[begin:])) if begin is not None else []
    metrics = {row["Metric Name"]: f"{row['Metric Value']} {row.get('Metric Unit') or ''}".strip() for row in rows if row.get("Metric Name")}
    if not metrics:
        raise Problem("no launch of this kernel was profiled")
    return {"grid": rows[0].get("Grid Size"), "block": rows[0].get("Block Size"), "metrics": metrics}


def judge(part, rc, seconds, limit, cut, out, err):
    """The record of a part that has ended, or (`rc` is None) that no signal ended. `cut`: it had less time than it may have, since the clock was over."""
    said = f"{out}\n{err}"
    lines = [line[:LONG] for line in said.splitlines() if line.strip()][-LAST:]
    # `timeout` tells a signal by its own death or by 128 and its number, as a shell does.
    signalled = None if rc is None else -rc if rc < 0 else rc - 128 if 128 < rc <= 128 + 64 else None
    timed_out = rc is None or rc == TIMED_OUT or (signalled == KILLED - 128 and seconds >= limit)
    record = {"part": part.name, "command": part.shown(), "rc": rc, "seconds": round(seconds, 3), "timed_out": timed_out}
    if signalled and not timed_out:
        record["signal"] = signalled
    figures, problem = {}, None
    try:
        figures = part.reads(out, err)
    except Problem as found:
        problem, figures = found.args[0], (found.args[1] if len(found.args) > 1 else {})
    if part.on_device and LOST.search(said):
        status, why = "lost", LOST.search(said)[0]
    elif timed_out and cut and rc is not None:
        status, why = "cut off", f"the clock was over after {limit:g} s of it"
    elif timed_out:
        status, why = "timed out", f"it had {limit:g} s" + (", and no signal ended it" if rc is None else "")
    elif signalled:
        status, why = "died", f"signal {signalled}"
    elif rc == part.expects and not problem:
        status, why = "passed", None
    elif part.tool and REFUSED.search(said):
        status, why = "refused", REFUSED.search(said)[0].lstrip("= ")
    elif rc != part.expects:
        status, why = "failed", f"exit status {rc}, not {part.expects}" + (f"; {problem}" if problem else "")
    else:
        status, why = "failed", problem
    return record | {"status": status, "why": why, "last_lines": lines, "figures": figures}


def ours(parts, precision):
    """The median seconds of normscape's step of VGG-16 with BatchNorm."""
    steps = [step for part in parts if part["part"].startswith(f"bench {precision}") and part["status"] == "passed" for step in part["figures"]["steps"]]
    found = [step["time"]["median"] for step in steps if step.get("name") == "vgg16-1-batch"]
    return min(found, default=None)


def comparison(parts):
    """normscape's step beside PyTorch's fastest; without a ratio unless PyTorch was compiled in one way and captured in one."""
    rows = []
    for precision in ("bf16", "tf32", "f32"):
        ways = {}
        for part in parts:
            if part["part"].startswith(f"torch {precision} ") and part["status"] == "passed":
                ways[part["part"].split(" ", 2)[2]] = part["figures"]["time"]["median"]
        mine = ours(parts, precision)
        if mine is None and not ways:
            continue
        lacking = [what for what, names in (("compiled", COMPILED), ("captured as one graph", CAPTURED)) if not names & ways.keys()]
        best = min(ways, key=ways.get, default=None)
        row = {"step": "vgg16-1-batch", "precision": precision, "normscape": mine, "torch": ways, "best": best, "ratio": None}
        if lacking or mine is None:
            row["why_no_ratio"] = "normscape was not timed" if mine is None else f"no way of PyTorch that is {' and none that is '.join(lacking)} ran"
        elif math.isfinite(mine) and ways[best] > 0:
            row["ratio"] = mine / ways[best]
        rows.append(row)
    return rows


def summary(session):
    """What results.json holds."""
    parts = session.records
    failures = [f"{part['part']}: {part['why'] or part['status']}" for part in parts if part["status"] in ("failed", "died", "timed out", "lost")]
    # PyTorch and the profiler are measured with, not tested.
    failures = [line for line in failures if not line.startswith(("torch", "ncu", "card"))]
    aside = {part["part"]: f"{part['status']}: {part['why']}" for part in parts if part["status"] != "passed"}
    verdict = "fail" if failures or not parts else "incomplete" if aside else "pass"
    known = session.figures("info")
    cuda = known.get("cuda") or {}
    return {
        "verdict": verdict,
        "failures": failures,
        "not_passed": aside,
        "stopped": session.stopped,
        "started": session.started,
        "written": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "clock": session.args.seconds,
        "scale": session.args.scale,
        "version": known.get("version"),
        "commit": known.get("commit"),
        "device": (cuda.get("devices") or [None])[0],
        "driver": cuda.get("driver"),
        "torch": session.figures("torch").get("torch"),
        "comparison": comparison([*session.before.get("parts", []), *parts]),
        "parts": parts,
    }


def lines(found):
    """The summary for people."""
    yield from found["failures"]
    count = {}
    for part in found["parts"]:
        count[part["status"]] = count.get(part["status"], 0) + 1
    yield ", ".join(f"{number} {status}" for status, number in count.items())
    for row in found["comparison"]:
        mine = "not timed" if row["normscape"] is None else f"{1e3 * row['normscape']:.4g} ms"
        ways = ", ".join(f"{way} {1e3 * seconds:.4g} ms" for way, seconds in row["torch"].items()) or "none"
        ratio = row.get("why_no_ratio") if row["ratio"] is None else f"ratio {row['ratio']:.2f}"
        yield f"{row['step']}, {row['precision']}: {mine}; PyTorch: {ways}; {ratio}"
