#!/usr/bin/env bash
# At a tie, PyTorch's ways to take a maximum or to clamp have different gradients, and sort disagrees with topk.
#
# One would guess that all of them send the gradient to the first of the tied elements, or all of them divide it. The
# whole-tensor max(), amax(), the infinity norm and median() divide it; max over a dimension and topk send it to the
# first, sort to the last place of the sorted tensor, which is another element; maximum(x, bound) gives a half at the
# bound, and clamp gives a half or nothing there according to whether the bound is a tensor or a number.
#
# Seen with PyTorch 2.15.0 from PyPI, on the CPU.
# It matters where ties are common: bfloat16 values, max pooling of flat pixels, activations clipped at a bound, and
# norms by the largest absolute value, of which the gradient is the point.
# Instead: say which subgradient a reference takes, and write the comparison for that one function.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check --no-compile torch==2.15.0 numpy==2.3.5

cat > "$tmp/show.py" <<'EOF_PY'
import torch

for name, f in (
    ("x.max()", lambda x: x.max()),
    ("x.amax()", lambda x: x.amax()),
    ("x.norm(p=inf)", lambda x: x.norm(p=float("inf"))),
    ("x.median()", lambda x: x.median()),
    ("x.max(dim=0).values", lambda x: x.max(dim=0).values),
    ("x.topk(1).values", lambda x: x.topk(1).values[0]),
    ("x.sort().values[-1]", lambda x: x.sort().values[-1]),
    ("maximum(x, 2)", lambda x: torch.maximum(x, torch.tensor(2.0)).sum()),
    ("minimum(x, 2)", lambda x: torch.minimum(x, torch.tensor(2.0)).sum()),
    ("clamp(x, max=2.0)", lambda x: torch.clamp(x, max=2.0).sum()),
    ("clamp(x, max=tensor(2.0))", lambda x: torch.clamp(x, max=torch.tensor(2.0)).sum()),
):
    x = torch.tensor([2.0, 2.0, 1.0], requires_grad=True)
    f(x).backward()
    print(f"x = [2, 2, 1]; {name}: {x.grad.tolist()}")
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
x = [2, 2, 1]; x.max(): [0.5, 0.5, 0.0]
x = [2, 2, 1]; x.amax(): [0.5, 0.5, 0.0]
x = [2, 2, 1]; x.norm(p=inf): [0.5, 0.5, 0.0]
x = [2, 2, 1]; x.median(): [0.5, 0.5, 0.0]
x = [2, 2, 1]; x.max(dim=0).values: [1.0, 0.0, 0.0]
x = [2, 2, 1]; x.topk(1).values: [1.0, 0.0, 0.0]
x = [2, 2, 1]; x.sort().values[-1]: [0.0, 1.0, 0.0]
x = [2, 2, 1]; maximum(x, 2): [0.5, 0.5, 0.0]
x = [2, 2, 1]; minimum(x, 2): [0.5, 0.5, 1.0]
x = [2, 2, 1]; clamp(x, max=2.0): [0.0, 0.0, 1.0]
x = [2, 2, 1]; clamp(x, max=tensor(2.0)): [0.5, 0.5, 1.0]
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: PyTorch 2.15.0 has several gradients for one tied maximum"
