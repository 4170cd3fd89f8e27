#!/usr/bin/env bash
# NumPy's mean of a thousand bfloat16 ones is 0.256.
#
# One would guess 1, as NumPy's mean of float16 ones is: for float16 it adds up in float32, and its sum goes pairwise.
# For ml_dtypes' bfloat16 neither holds. NumPy knows the type only as one that a package brought: it adds one by one in
# bfloat16, sticks at 256, whose next number is 258, and divides that by 1000. sum, cumsum, mean and var are all wrong,
# without a warning, and the larger the array the more so; dot and the norm are right.
#
# Seen with NumPy 2.3.5 and ml_dtypes 0.6.0.
# It matters where bfloat16 activations or gradients are brought to NumPy for statistics.
# Instead: say dtype=numpy.float32 in sum, mean and var, or convert first.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 ml_dtypes==0.6.0

cat > "$tmp/show.py" <<'EOF_PY'
import ml_dtypes, numpy

for of in (numpy.float16, ml_dtypes.bfloat16):
    ones = numpy.ones(1000, of)
    steps = numpy.tile(numpy.array([1, 3], of), 500)  # of mean 2 and variance 1
    print(f"{ones.dtype}: a thousand ones: sum {float(ones.sum()):g}, mean {float(ones.mean()):.4f},",
          f"dot {float(ones @ ones):g}, norm {float(numpy.linalg.norm(ones)):.3f},",
          f"mean in float32 {float(ones.mean(dtype=numpy.float32)):g}; 1 and 3 by turns: mean {float(steps.mean()):.4f},",
          f"variance {float(steps.var()):.4f}")
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
float16: a thousand ones: sum 1000, mean 1.0000, dot 1000, norm 31.625, mean in float32 1; 1 and 3 by turns: mean 2.0000, variance 1.0000
bfloat16: a thousand ones: sum 256, mean 0.2559, dot 1000, norm 31.623, mean in float32 1; 1 and 3 by turns: mean 1.0234, variance 1.0234
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: NumPy 2.3.5 with ml_dtypes 0.6.0 adds bfloat16 one by one in bfloat16"
