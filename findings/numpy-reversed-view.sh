#!/usr/bin/env bash
# NumPy's exp of a reversed view has other bits than exp of the array, element by element.
#
# One would guess that an elementwise function gives one value one result. On processors with AVX-512 NumPy has two
# implementations of many functions, a vector one and the C library's, and picks by the memory layout: an array, a view
# of every second element, its transpose and a single number take the vector one, a view with a negative stride the
# other (an output that overlaps the input does too). Both are good to about one unit in the last place, and they
# differ in it: exp in one element in twenty, cbrt in half. Without AVX-512 all layouts agree, and the values are the C
# library's; so the bits depend on the processor as well.
#
# Seen with NumPy 2.3.5 on x86-64 with AVX-512; the script says so and stops where there is none.
# It matters to whoever keeps results of NumPy as golden values, or flips an array (images, time axes) before a
# formula.
# Instead: compare with a tolerance of some units in the last place, or make the array contiguous first and set
# NPY_DISABLE_CPU_FEATURES for golden values.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5

cat > "$tmp/show.py" <<'EOF_PY'
import os, subprocess, sys

code = """
import numpy
from numpy._core._multiarray_umath import __cpu_features__ as features
if not features["AVX512_SKX"] and not __import__("os").environ.get("NPY_DISABLE_CPU_FEATURES"):
    raise SystemExit(3)
x = numpy.random.default_rng(0).uniform(0.01, 10, 4096)
for name in ("exp", "cbrt", "expm1", "log1p", "sqrt"):
    f = getattr(numpy, name)
    strided = numpy.repeat(x, 2)[::2]
    said = lambda other: "other bits" if (other != f(x)).any() else "the same bits"
    print(f"  {name}: strided {said(f(strided))}, one by one {said(numpy.array([f(v) for v in x]))},",
          f"reversed {said(f(x[::-1])[::-1])}")
"""
features = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"
for name, off in (("as it is", ""), ("without AVX-512", features)):
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True,
                         env={**os.environ, "NPY_DISABLE_CPU_FEATURES": off})
    if run.returncode == 3:
        print("no AVX-512 here")
        break
    run.check_returncode()
    print(f"{name}:\n{run.stdout}", end="")
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
as it is:
  exp: strided the same bits, one by one the same bits, reversed other bits
  cbrt: strided the same bits, one by one the same bits, reversed other bits
  expm1: strided the same bits, one by one the same bits, reversed other bits
  log1p: strided the same bits, one by one the same bits, reversed other bits
  sqrt: strided the same bits, one by one the same bits, reversed the same bits
without AVX-512:
  exp: strided the same bits, one by one the same bits, reversed the same bits
  cbrt: strided the same bits, one by one the same bits, reversed the same bits
  expm1: strided the same bits, one by one the same bits, reversed the same bits
  log1p: strided the same bits, one by one the same bits, reversed the same bits
  sqrt: strided the same bits, one by one the same bits, reversed the same bits
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" > "$tmp/seen"
if grep -q "^no AVX-512" "$tmp/seen"; then echo "ok: not to be seen on a processor without AVX-512"; exit; fi
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: NumPy 2.3.5 gives a reversed view other bits where there is AVX-512"
