#!/usr/bin/env python3
"""Puts everything that run.sh left in a folder into results.json there: JSON as it is, exit status and seconds of each step, the last lines
of each log."""

import json
import pathlib
import sys


def main():
    out = pathlib.Path(sys.argv[1])
    results = {"measurements": {}, "steps": {}, "same_bits": {}}
    for path in sorted(out.glob("*.json")):
        if path.name == "results.json":
            continue
        try:
            results["measurements"][path.stem] = json.loads(path.read_text())
        except ValueError:
            # What failed left no JSON; its log says why.
            results["measurements"][path.stem] = None
    for path in sorted(out.glob("*.status")):
        status, seconds = map(int, path.read_text().split())
        log = out / f"{path.stem}.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        results["steps"][path.stem] = {"exit": status, "seconds": seconds, "last_lines": lines[-15:]}
    for path in sorted(out.glob("same_bits_*.txt")):
        # One line for each different result: how often it came.
        results["same_bits"][path.stem.removeprefix("same_bits_")] = path.read_text().splitlines()
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(out / "results.json")


if __name__ == "__main__":
    main()
