#!/usr/bin/env python3
"""Makes verdicts.md from the claims of finished reproductions.

    experiments/verdicts.py "CIFAR-10=one/claims.json" "generated images=another/claims.json" > experiments/verdicts.md
"""

import json
import sys

VERDICTS = ["reproduced", "in part", "true as corrected", "not borne out", "needs a larger scale", "not tested"]

HEAD = """# What the scale `quick` shows of the paper's claims, and why not where it does not

`normscape reproduce --scale quick` on two cores, on the CPU: VGG in f32, the deep linear network in f64. One run with each data set; the deep linear
network is the same in both. The rules, all numbers, and the runs of each claim stand in `report.html` and `claims.json`. Made by `verdicts.py`.
"""

ENGINE = """**The engine** is not where the cause was found. Operators, both networks' gradients and Hessian-vector products agree with float64 PyTorch and
with central differences; the theorems' identities hold on random instances and on the engine's own BatchNorm.
"""


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def measured(claim):
    """The first four numbers of a claim."""
    number = lambda value: value if isinstance(value, str) else f"{value:.3g}"
    shown = [f"{name}: {number(value)}" for name, value in claim["measured"].items() if "draws that diverged" not in name]
    return cell("; ".join(shown[:4]))


def row(verdict, claims):
    """A claim's row under a verdict that some data set has given it."""
    verdicts = {claim["verdict"] for claim in claims}
    numbers = [measured(claim) if len(verdicts) == 1 else f"{claim['verdict']}. {measured(claim)}" for claim in claims]
    numbers[1:] = ["the same" if of == numbers[0] else of for of in numbers[1:]]
    why = next(claim["remark"] for claim in claims if claim["verdict"] == verdict)
    return [f"`{claims[0]['id']}`", cell(claims[0]["statement"]), *numbers, cell(why)]


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def main(arguments):
    names, paths = zip(*(argument.split("=", 1) for argument in arguments))
    sets = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            sets.append([claim for claim in json.load(file) if claim["kind"] == "paper"])
    counts = [[sum(claim["verdict"] == verdict for claim in claims) for verdict in VERDICTS] for claims in sets]
    rows = [[name, sum(count), *count] for name, count in zip(names, counts)]
    print(HEAD)
    print(table(["", "claims of the paper", *VERDICTS], rows))
    print(ENGINE)
    for verdict in VERDICTS[1:]:
        of_claims = zip(*sets, strict=True)
        # Under the verdict of the first data set, and under "not borne out" what is so on any.
        listed = [
            of for of in of_claims
            if of[0]["verdict"] == verdict or verdict == "not borne out" and any(claim["verdict"] == verdict for claim in of)
        ]
        if listed:
            head = ["claim", "what it says", *(f"measured, {name}" for name in names), "why"]
            print(f"## {verdict[0].upper()}{verdict[1:]}\n")
            print(table(head, [row(verdict, of) for of in listed]))


if __name__ == "__main__":
    main(sys.argv[1:])
