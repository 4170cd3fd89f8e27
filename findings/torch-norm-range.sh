#!/usr/bin/env bash
# PyTorch's norms square first: half of float32's range has norm 0 or infinity, and clipping such a gradient zeroes it.
#
# One would guess that a norm is scaled against overflow, as BLAS's nrm2 is, since the norm of [1e20, 1e20] is an
# ordinary float32; and that clip_grad_norm_ of a large but finite gradient leaves one of the length asked for. The
# norm is infinite, the factor 1 / infinity, and the clipped gradient is all zeros: training stands still, with nothing
# that is NaN. Small values fare alike: the norm of [1e-25, 1e-25] is 0. The cosine of such a vector with itself is 0
# for 1e20 and 2e-34 for 1e-25, not 1. A p-norm overflows where no square does: of [3, 3] at p = 100, with NaN for
# gradients. torch.dist of single numbers takes another way and is right.
#
# Seen with PyTorch 2.15.0 from PyPI, on the CPU.
# It matters to whoever measures gradients' norms and angles, or clips them, near a divergence.
# Instead: take such norms in float64, or divide by the largest absolute value first.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check --no-compile torch==2.15.0 numpy==2.3.5

cat > "$tmp/show.py" <<'EOF_PY'
import torch
import torch.nn.functional as F

for value in (1e20, 1e-25):
    x = torch.tensor([value, value])
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = x.clone()
    before = torch.nn.utils.clip_grad_norm_([weight], 1.0)
    print(f"[{value:g}, {value:g}]: norm {x.norm():g}, in float64 {x.double().norm():.4g},",
          f"clip_grad_norm_ to 1 says {before:g} and leaves {weight.grad.tolist()},",
          f"normalize {F.normalize(x, dim=0)[0]:.3g}, cosine with itself {F.cosine_similarity(x, x, dim=0):.3g}")
print(f"dist(1e20, 0) = {torch.dist(torch.tensor([1e20]), torch.tensor([0.0])):g}")
x = torch.tensor([3.0, 3.0], requires_grad=True)
norm = x.norm(p=100)
norm.backward()
print(f"[3, 3], p = 100: norm {norm:g}, gradient {x.grad.tolist()}")
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
[1e+20, 1e+20]: norm inf, in float64 1.414e+20, clip_grad_norm_ to 1 says inf and leaves [0.0, 0.0], normalize 0, cosine with itself 0
[1e-25, 1e-25]: norm 0, in float64 1.414e-25, clip_grad_norm_ to 1 says 0 and leaves [1.0000000195414814e-25, 1.0000000195414814e-25], normalize 1e-13, cosine with itself 2e-34
dist(1e20, 0) = 1e+20
[3, 3], p = 100: norm inf, gradient [nan, nan]
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: PyTorch 2.15.0's norms overflow and underflow by their squares"
