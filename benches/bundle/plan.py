"""What contact.py runs, in which order, for how long at the most: the strongest and cheapest first."""

import dataclasses
import fnmatch
import pathlib
import shlex
import subprocess

import checks
import reading

HERE = pathlib.Path(__file__).resolve().parent
# What a sanitizer, and then the script, ends with where it has found something.
FOUND = 9
# How many parts that time nothing run at once: a context takes longer to make than most of them to run.
AT_ONCE = 4
# The layer of VGG-16 that stands for a production shape under a sanitizer: 512 to 512 channels at 4².
LAYER = 7
# Kernels that are profiled, and those that are taken where no benchmark says which are the slowest.
PROFILED = 6
USUAL = ["product_tile_128_bf16", "product_tile_64_bf16", "weight_gradient_tile_128_bf16", "weight_gradient_tile_64_bf16", "stem_bf16", "sgd_recast"]


@dataclasses.dataclass
class Part:
    """A command, and what its output is read for."""

    name: str
    command: list
    # Standard output and standard error to figures; raises reading.Problem where they are not what they must be.
    reads: object = reading.nothing
    limit: float = 60
    # With fewer seconds than this left it is not begun.
    needs: float = 6
    # The exit status of success.
    expects: int = 0
    env: dict = dataclasses.field(default_factory=dict)
    # The program that it needs, and parts without whose success it says nothing.
    tool: str = None
    after: tuple = ()
    # Whether it may spoil the device for others.
    on_device: bool = True
    # Makes what it reads, right before it begins.
    prepare: object = None

    def shown(self):
        return shlex.join(str(word) for word in self.command).replace(f"{HERE}/", "")

    def without(self, session):
        """Why it cannot be run, if it cannot."""
        if self.tool and not session.there(self.tool):
            return f"there is no {self.tool}"
        for name in self.after:
            status = session.record(name).get("status")
            if status and status != "passed":
                return f"{name}: {status}"
        return None


def normscape(*words):
    return [str(HERE / "normscape"), *map(str, words)]


def check(session, *words, **more):
    """A part that is a comparison of checks.py."""
    args = session.args
    command = [session.python, str(HERE / "checks.py"), *map(str, words), "--device", args.device, "--scale", args.scale]
    return Part(" ".join(map(str, words)), command, reading.last_line, **more)


def tests(program, session):
    """The modules of a test program that concern a device, each a part: `parity conv2d`, `kernels deep_linear`."""
    try:
        listed = subprocess.run([str(HERE / "tests" / program), "--list"], capture_output=True, text=True, timeout=20, check=False, env=session.env).stdout
    except (OSError, subprocess.TimeoutExpired):
        listed = ""
    names = [line.split(": ")[0] for line in listed.splitlines() if line.endswith(": test")]
    kept = {"parity": "parity", "cuda_kernels": "kernels", "cuda_networks": "networks", "cuda_precision": "precision"}
    modules = dict.fromkeys(tuple(name.split("::")[:2]) for name in names if name.split("::")[0] in kept)
    for first, second in modules:
        command = [str(HERE / "tests" / program), "--test-threads", "1", f"{first}::{second}"]
        # Of the networks each test is a module of its own.
        yield Part(f"{kept[first]} {second}", command, reading.tests)


def golden():
    """Operators and small networks against the numbers of PyTorch in f64."""
    command = [str(HERE / "tests" / "operators"), "--test-threads", "1", "--quiet", "--skip", "tangents::", "cuda_f32"]
    return Part("golden", command, reading.tests)


def info(session):
    words = ["info", "--json"]
    reads = reading.info if session.args.device == "cuda" else reading.json_of
    return Part("info", normscape(*words), reads, needs=1)


def probe(session):
    """What a device must answer that is to be used further."""
    case = HERE / "golden" / "conv2d_one.npz"
    words = ["op", "conv2d", "--input", case, "--output", session.work / "probe.npz", "--device", session.args.device, "--precision", "f32", "--json", "--quiet"]
    number = sum(record["part"].startswith("probe") for record in session.records) // 2 + 1
    yield dataclasses.replace(info(session), name=f"probe {number}: info")
    yield Part(f"probe {number}: op conv2d", normscape(*words), reading.right, needs=1)


def card():
    asked = "name,driver_version,memory.total,clocks.max.sm,clocks.sm,power.limit,ecc.mode.current,mig.mode.current,persistence_mode"
    return Part("card", ["nvidia-smi", f"--query-gpu={asked}", "--format=csv"], reading.csv_rows, limit=15, needs=1, tool="nvidia-smi", on_device=False)


def sanitizer(session, tool):
    return ["compute-sanitizer", "--tool", tool, "--error-exitcode", str(FOUND)]


def control(session, tool):
    """A kernel without a mistake, which must pass, and one with a mistake, which must be found: else the tool says nothing."""
    command = [*sanitizer(session, tool), session.python, str(HERE / "planted.py")]
    more = {"limit": 20, "tool": "compute-sanitizer", "on_device": False}
    yield Part(f"{tool} without a mistake", [*command, "none"], reading.sanitizer, **more)
    yield Part(f"{tool} with a mistake", [*command, tool], expects=FOUND, after=(f"{tool} without a mistake",), **more)


def sanitized(session, tool):
    case = session.work / "case.npz"

    def prepare():
        if not case.exists():
            checks.write_case(session.args, LAYER, case)

    after = tuple(f"{tool} {how} a mistake" for how in ("without", "with"))
    words = ["op", "conv2d", "--input", case, "--output", session.work / f"{tool}.npz", "--device", session.args.device, "--precision", "bf16", "--quiet"]
    more = {"tool": "compute-sanitizer", "after": after, "needs": 15}
    yield Part(f"{tool} conv2d", [*sanitizer(session, tool), *normscape(*words)], reading.nothing, prepare=prepare, **more)
    cluster = [str(HERE / "tests" / "device"), "--test-threads", "1", "cuda_kernels::deep_linear::runs_go"]
    yield Part(f"{tool} cluster", [*sanitizer(session, tool), *cluster], reading.tests, **more)


def bench(session, precision, alone=False):
    args = session.args
    full = ["--full", "--layers"] if args.scale == "full" else ["--step", "dln-batch", "--seconds", "0.01"]
    if alone:
        full = ["--step", "vgg16-1-batch" if args.scale == "full" else "dln-batch", "--seconds", "2" if args.scale == "full" else "0.01"]
    words = ["bench", *full, "--device", args.device, "--precision", precision, "--json", "--quiet"]
    name = f"bench {precision} step" if alone else f"bench {precision}"
    return Part(name, normscape(*words), reading.bench, needs=10)


def apart(session, precision):
    """A step whose launches begin each when the one before has ended: what it is to the other is not known yet."""
    return Part(f"apart {precision} step", bench(session, precision, alone=True).command, reading.bench, needs=10, env={"NORMSCAPE_LAUNCHES": "apart"})


def torch(session, precision, way, **more):
    steps = ["--steps", "200", "--warm-up", "20"]
    command = [session.python, str(HERE / "peers" / "vgg.py"), "--device", session.args.device, "--precision", precision, "--way", way, *steps]
    return Part(f"torch {precision} {way}", command, reading.torch, after=("torch",), **more)


def torch_there(session):
    say = "import json, torch; print(json.dumps({'torch': torch.__version__, 'cuda': torch.version.cuda}))"
    return Part("torch", [session.python, "-c", say], reading.last_line, limit=30, needs=2, tool=session.python, on_device=False)


def slowest(session):
    """The kernels that a step spends most in, by the benchmark before."""
    seconds = {}
    for kernel in session.figures("bench bf16").get("kernels", []):
        seconds[kernel["kernel"]] = seconds.get(kernel["kernel"], 0) + kernel["seconds"]
    return sorted(seconds, key=seconds.get, reverse=True)[:PROFILED] or USUAL


def profiled(session):
    words = bench(session, "bf16", alone=True).command
    sections = [f"--section={name}" for name in ("SpeedOfLight", "MemoryWorkloadAnalysis", "Occupancy", "LaunchStats", "WarpStateStats")]
    parts = []
    for kernel in slowest(session):
        # Not the first launch, whose caches are cold.
        which = ["--kernel-name-base", "function", "--kernel-name", kernel, "--launch-skip", "1", "--launch-count", "1"]
        command = ["ncu", "--clock-control", "none", "--csv", *which, *sections, *words]
        # Where the first is refused its counters, so are the others.
        after = (parts[0].name,) if parts else ()
        parts.append(Part(f"ncu {kernel}", command, reading.ncu, limit=30, needs=8, tool="ncu", after=after))
    return parts


def first(session):
    """Stages of the first command: how many parts at once, and the parts, which may depend on what came before."""
    yield 1, [info(session), card()]
    # A device that does not answer is told after the first part; what follows would only fail.
    if session.record("info").get("status") == "failed":
        session.stopped = "there is no device"
    yield 1, list(control(session, "memcheck"))
    yield AT_ONCE, [check(session, "bits", group) for group in ["conv2d", "dln", *(group for group in checks.EXACT if group != "conv2d")]]
    yield AT_ONCE, [*tests("operators", session), golden()]
    yield AT_ONCE, [check(session, "layer", number, needs=15) for number in range(len(checks.LAYERS))]
    kernels = list(tests("device", session))
    yield AT_ONCE, [part for part in kernels if part.name.startswith("kernels")]
    yield AT_ONCE, [check(session, "replay", *what) for what in (("vgg", "bf16"), ("dln", "f32"), ("vgg", "f32"))]
    yield 1, [bench(session, "bf16"), torch_there(session), torch(session, "bf16", "graph", needs=15)]
    yield 1, profiled(session)
    yield 1, [*sanitized(session, "memcheck"), *control(session, "racecheck"), *sanitized(session, "racecheck")]
    yield 1, [bench(session, "f32"), bench(session, "tf32")]
    yield 1, [apart(session, "bf16"), check(session, "equal", "bf16")]
    # What is good to have: the ratio to PyTorch, and whole networks.
    yield 1, [torch(session, "bf16", "reduce-overhead", needs=30)]
    yield AT_ONCE, [part for part in kernels if not part.name.startswith("kernels")]


def again(session):
    """Stages of the second command. Autotuning tries hundreds of kernels: it alone may take longer than a minute."""
    yield 1, [info(session), card()]
    named = session.args.again
    stages = list(first(session)) if named else []
    yield 1, [part for _, parts in stages for part in parts if part.name not in ("info", "card") and is_named(part, named)]
    yield 1, [bench(session, "bf16", alone=True), torch_there(session), torch(session, "bf16", "graph", needs=15)]
    yield 1, [torch(session, "bf16", way, limit=240, needs=60) for way in ("max-autotune-graph", "max-autotune")]


def is_named(part, patterns):
    return any(fnmatch.fnmatch(part.name, pattern) for pattern in patterns)
