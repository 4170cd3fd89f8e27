#!/usr/bin/env bash
# PyTorch's GroupNorm on the CPU is wrong by a factor of a hundred and more in channels_last, far from zero.
#
# One would guess that a memory format changes speed and perhaps the last bits. group_norm of a contiguous tensor finds
# the variance from the differences to the mean, and stays right for values such as 10000 with a spread of 1. Of the
# same tensor in channels_last it finds the variance as the mean of the squares less the square of the mean, in
# float32: the two cancel, the variance comes out as 0 or near it, and the "normalized" values are anything up to 316,
# the inverse root of the default eps. Nothing is NaN, and batch_norm of the same tensor stays right in both formats.
#
# Seen with PyTorch 2.15.0 from PyPI, on the CPU.
# It matters where inputs or activations are not centred (raw pixels, sums without a norm before them), and where
# channels_last is turned on for speed in a comparison of normalizations.
# Instead: call contiguous() before GroupNorm on a CPU, or centre what goes in.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.3.5

cat > "$tmp/show.py" <<'EOF_PY'
import torch
import torch.nn.functional as F

pattern = torch.tensor([-1.0, 1.0]).repeat(2, 4, 8, 4)  # (2, 4, 8, 8), of mean 0 and variance 1 in each group
for offset in (0, 100, 1000, 3000, 10000):
    x = pattern + offset
    last = x.to(memory_format=torch.channels_last)
    assert torch.equal(x, last)
    most = lambda y: y.abs().max().item()
    show = lambda y: "1" if abs(most(y) - 1) < 0.01 else "over 100" if most(y) > 100 else "wrong"
    print(f"values {offset} ± 1: the largest |output| of group_norm is {show(F.group_norm(x, 2))} contiguous,",
          f"{show(F.group_norm(last, 2))} channels_last; of batch_norm",
          f"{show(F.batch_norm(x, None, None, training=True))}, {show(F.batch_norm(last, None, None, training=True))}")
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
values 0 ± 1: the largest |output| of group_norm is 1 contiguous, 1 channels_last; of batch_norm 1, 1
values 100 ± 1: the largest |output| of group_norm is 1 contiguous, 1 channels_last; of batch_norm 1, 1
values 1000 ± 1: the largest |output| of group_norm is 1 contiguous, wrong channels_last; of batch_norm 1, 1
values 3000 ± 1: the largest |output| of group_norm is 1 contiguous, wrong channels_last; of batch_norm 1, 1
values 10000 ± 1: the largest |output| of group_norm is 1 contiguous, over 100 channels_last; of batch_norm 1, 1
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: PyTorch 2.15.0's group_norm in channels_last loses the variance far from zero"
