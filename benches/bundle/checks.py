#!/usr/bin/env python3
"""Comparisons that take several runs of normscape: each is one part of contact.py, in a process of its own.

    checks.py bits GROUP --hashes FILE    the bits of operators on golden cases, or of runs (`dln`), against hashes that the emulator has given
    checks.py write --hashes FILE         makes those hashes: on the machine that packs the bundle, with --device emulator
    checks.py layer NUMBER                a convolution of VGG-16 in three passes: f32 against the CPU, tf32 and bf16 against f32
    checks.py replay vgg|dln PRECISION    a run that replays a recorded graph against one whose every step is a process's first, which is direct
    checks.py equal PRECISION             five runs of the same options

The last line of the output is JSON. Exit status: 0 as expected; 1 not; that of normscape where it fails, with what it said."""

import argparse
import array
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
# Operators whose kernels add, multiply, divide and take roots, in an order that nothing changes. Others call exp, log or pow, of which a GPU has its
# own; products of tf32 and bf16 are added by tensor cores in an order of their own.
EXACT = {
    "conv2d": ["f32"],
    "linear": ["f32"],
    "weight_norm": ["f32"],
    "max_pool2d": ["f32", "bf16"],
    "batch_norm": ["f32", "bf16"],
    "batch_renorm": ["f32", "bf16"],
    "group_norm": ["f32", "bf16"],
    "instance_norm": ["f32", "bf16"],
    "layer_norm": ["f32", "bf16"],
    "rms_norm": ["f32", "bf16"],
    "lp_norm": ["f32", "bf16"],
}
RUNS = [f"--model dln --norm {norm} --depth {depth} --samples 40 --steps 3" for norm in ("none", "batch", "layer", "weight", "l2") for depth in (2, 9)]
# Side of the map, channels in and out: every convolution of VGG-16 that differs from the others.
LAYERS = [(32, 3, 64), (32, 64, 64), (16, 64, 128), (16, 128, 128), (8, 128, 256), (8, 256, 256), (4, 256, 512), (4, 512, 512), (2, 512, 512)]
# The relative errors that the parity tests allow; f32 is compared with another algorithm, in f32 too.
BOUNDS = {"f32": 1e-4, "tf32": 2e-3, "bf16": 2e-2}


class Failed(Exception):
    """normscape has failed: its exit status."""


def normscape(args, *words):
    """Runs the program; gives its standard output. Raises Failed, after it has passed on what the program said."""
    done = subprocess.run([args.normscape, *words, "--quiet"], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        print(f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout}{done.stderr}", file=sys.stderr)
        raise Failed(done.returncode if done.returncode > 0 else 128 - done.returncode)
    return done.stdout


def arrays(path):
    """A short hash of each array of an .npz file."""
    with zipfile.ZipFile(path) as file:
        return {name.removesuffix(".npy"): hashlib.sha256(file.read(name)).hexdigest()[:16] for name in sorted(file.namelist())}


def parameters(run, step):
    """A short hash of a run's parameters after a step; what the file says about the run is left out."""
    content = (run / f"checkpoints/step-{step}/parameters.safetensors").read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    header.pop("__metadata__", None)
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode() + content[begin:]).hexdigest()[:16]


def golden(group):
    """The golden cases of an operator. Of two operators whose names begin alike the longer one has the file."""
    longer = [name for name in EXACT if name.startswith(group) and name != group]
    files = sorted((HERE / "golden").glob(f"{group}_*.npz"))
    return [file for file in files if not any(file.name.startswith(f"{name}_") for name in longer)]


def hashes(args, group, folder):
    """The hashes of a group, by case and array."""
    if group == "dln":
        found = {}
        for number, options in enumerate(RUNS):
            run = folder / f"run-{number}"
            normscape(args, "train", *options.split(), "--seed", "3", "--device", args.device, "--precision", "f32", "--out", str(run))
            found[options] = {"parameters": parameters(run, 3)}
        return found
    found = {}
    for case in golden(group):
        for precision in EXACT[group]:
            to = folder / "found.npz"
            normscape(args, "op", group, "--input", str(case), "--output", str(to), "--device", args.device, "--precision", precision)
            found[f"{case.stem} {precision}"] = arrays(to)
    return found


def bits(args, folder):
    expected = json.loads(pathlib.Path(args.hashes).read_text())[args.what[0]]
    found = hashes(args, args.what[0], folder)
    names = {(case, name) for of in (expected, found) for case in of for name in of[case]}
    different = sorted(f"{case}: {name}" for case, name in names if expected.get(case, {}).get(name) != found.get(case, {}).get(name))
    return not different and bool(found), {"cases": len(found), "arrays": len(names), "different": different}


def write(args, folder):
    found = {group: hashes(args, group, folder) for group in [*EXACT, "dln"]}
    missing = [group for group, cases in found.items() if not cases]
    if not missing:
        pathlib.Path(args.hashes).write_text(json.dumps(found, indent=1) + "\n")
    return not missing, {"groups": {group: len(cases) for group, cases in found.items()}, "missing": missing}


def extents(args, number):
    """Images, input and output channels and the side of a layer's map."""
    side, channels, outputs = LAYERS[number]
    if args.scale == "full":
        return 128, channels, outputs, side
    return 4, max(3, channels // 16), outputs // 16, min(side, 8)


def numbers(shape, seed):
    """An array of that shape in numpy's format: ±[½, 2), each a number of bf16, so that every precision has the same operands.

    They come again after 65,521 of them: a prime, so that no row and no map begins like another."""
    period = 65521
    drawn = array.array("H", random.Random(seed).randbytes(2 * period))
    words = array.array("I", (((w & 0x807F) | (126 + (w >> 7 & 1)) << 7) << 16 for w in drawn))
    if sys.byteorder == "big":
        words.byteswap()
    count = 1
    for extent in shape:
        count *= extent
    block = words.tobytes()
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + (block * (-(-count // period)))[: 4 * count]


def write_case(args, number, path):
    n, c, k, side = extents(args, number)
    with zipfile.ZipFile(path, "w") as file:
        for seed, (name, shape) in enumerate({"x": (n, c, side, side), "weight": (k, c, 3, 3), "grad_y": (n, k, side, side)}.items()):
            file.writestr(f"{name}.npy", numbers(shape, seed))


def with_expected(operands, results, to):
    """A case that expects what an earlier run has found."""
    with zipfile.ZipFile(to, "w") as file:
        for path, prefix in ((operands, ""), (results, "expect.")):
            with zipfile.ZipFile(path) as source:
                for name in source.namelist():
                    file.writestr(prefix + name, source.read(name))


def layer(args, folder):
    number = int(args.what[0])
    operands, results, expecting = (folder / name for name in ("operands.npz", "results.npz", "expecting.npz"))
    write_case(args, number, operands)
    errors, beyond = {}, []
    run = ["op", "conv2d", "--json", "--output", str(results), "--input"]
    normscape(args, *run, str(operands), "--device", "cpu", "--precision", "f32")
    for precision in BOUNDS:
        # f32 by the CPU, the others by f32.
        if precision != "bf16":
            with_expected(operands, results, expecting)
        told = normscape(args, *run, str(expecting), "--device", args.device, "--precision", precision)
        found = {name: of.get("relative_error") for name, of in json.loads(told)["arrays"].items()}
        errors[precision] = found
        for name in ("y", "grad_x", "grad_weight"):
            error = found.get(name)
            if not isinstance(error, float) or not error <= BOUNDS[precision]:
                beyond.append(f"{precision} {name}: {error} beyond {BOUNDS[precision]}")
    return not beyond, {"extents": extents(args, number), "relative_errors": errors, "beyond": beyond}


def train(args, what, precision, run, *more):
    full = args.scale == "full"
    if what == "dln":
        options = ["--model", "dln", "--norm", "batch", *([] if full else ["--depth", "3", "--samples", "40"])]
    else:
        options = ["--model", "vgg11", "--norm", "batch", "--data", "images", "--width", "0.25" if full else "0.02"]
        options += ["--batch", "128" if full else "4", "--limit-train", "512" if full else "16", "--limit-test", "128" if full else "4"]
    device = ["--device", args.device, "--precision", precision]
    normscape(args, "train", *options, *device, "--seed", "3", "--out", str(run), *more)


def replay(args, folder):
    what, precision = args.what
    steps, recorded, direct = 5, folder / "recorded", folder / "direct"
    train(args, what, precision, recorded, "--steps", str(steps))
    train(args, what, precision, direct, "--steps", "1")
    for step in range(2, steps + 1):
        normscape(args, "train", "--resume", "--out", str(direct), "--device", args.device, "--steps", str(step))
    found = [parameters(run, steps) for run in (recorded, direct)]
    return found[0] == found[1], {"replayed": found[0], "direct": found[1]}


def equal(args, folder):
    found = []
    for number in range(5):
        run = folder / f"run-{number}"
        train(args, "vgg", args.what[0], run, "--steps", "8" if args.scale == "full" else "2")
        found.append(parameters(run, 8 if args.scale == "full" else 2))
    return len(set(found)) == 1, {"results": found}


def main():
    checks = {"bits": bits, "write": write, "layer": layer, "replay": replay, "equal": equal}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", choices=checks)
    parser.add_argument("what", nargs="*")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--scale", choices=["full", "tiny"], default="full")
    parser.add_argument("--hashes", default=str(HERE / "bits.json"))
    parser.add_argument("--normscape", default=os.environ.get("NORMSCAPE", str(HERE / "normscape")))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            good, figures = checks[args.check](args, pathlib.Path(folder))
        except Failed as failed:
            sys.exit(failed.args[0])
    print(json.dumps(figures))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
