#!/usr/bin/env bash
# A network that has overflowed trains on in PyTorch with a finite loss, where it has batch norm.
#
# One would guess that activations too large for float32's squares make NaN, as they do in layer_norm and group_norm,
# and that a diverged run can be told by its loss. batch_norm's variance overflows to infinity, its inverse root is 0,
# and the output is exactly 0 everywhere: the loss is that of a network that says the same for every input (near ln 10
# for ten classes), the gradients are finite, those before the norm exactly 0. It happens before var() itself
# overflows, for the sum of squares is what does; layer_norm gives zeros too in that narrow range, and NaN beyond it.
# The running mean stays finite, the running variance becomes infinite, and from then on evaluation gives a constant
# too, whatever comes in.
#
# Seen with PyTorch 2.15.0 from PyPI, on the CPU.
# It matters where divergence is judged, as in comparisons of learning rates with and without batch norm: "did not
# diverge" may mean "overflowed and went silent".
# Instead: watch the running variances for infinity, or the batch's statistics, not only the loss.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check --no-compile torch==2.15.0 numpy==2.3.5

cat > "$tmp/show.py" <<'EOF_PY'
import torch
import torch.nn as nn
import torch.nn.functional as F

x = torch.tensor([1.0, -1.0, 3.0, 0.0])
shown = lambda y: [round(v, 3) for v in y.flatten().tolist()]
for scale in (5e18, 1e19, 1e20, 1e38):
    y = x * scale
    print(f"scale {scale:g}: variance {y.var(unbiased=False):.3g};",
          "batch_norm", shown(F.batch_norm(y[:, None], None, None, training=True)),
          "layer_norm", [abs(v) for v in shown(F.layer_norm(y, (4,)))])

for name, norm in (("plain", []), ("batch norm", [nn.BatchNorm1d(16)])):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), *norm, nn.ReLU(), nn.Linear(16, 10))
    inputs, targets = torch.randn(32, 8), torch.arange(32) % 10
    loss = F.cross_entropy(net(inputs * 1e20), targets)
    loss.backward()
    print(f"{name}: loss {loss:.2g}, largest gradient of the first layer {net[0].weight.grad.abs().max():.2g}")
    if norm:
        print("running variances:", set(net[1].running_var.tolist()),
              "running means finite:", bool(net[1].running_mean.isfinite().all()))
        out = net.eval()(inputs)
        print("evaluated on inputs near 1: one answer for all:", bool((out == out[0]).all()))
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
scale 5e+18: variance 5.47e+37; batch_norm [0.169, -1.183, 1.521, -0.507] layer_norm [0.169, 1.183, 1.521, 0.507]
scale 1e+19: variance 2.19e+38; batch_norm [0.0, 0.0, 0.0, 0.0] layer_norm [0.0, 0.0, 0.0, 0.0]
scale 1e+20: variance inf; batch_norm [0.0, 0.0, 0.0, 0.0] layer_norm [nan, nan, nan, nan]
scale 1e+38: variance inf; batch_norm [0.0, 0.0, 0.0, 0.0] layer_norm [nan, nan, nan, nan]
plain: loss 1.9e+19, largest gradient of the first layer 9.1e+18
batch norm: loss 2.3, largest gradient of the first layer 0
running variances: {inf} running means finite: True
evaluated on inputs near 1: one answer for all: True
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: PyTorch 2.15.0's batch_norm turns an overflow into zeros"
