#!/usr/bin/env bash
# safetensors.numpy saves a transposed array with its elements in the wrong places, and says nothing.
#
# One would guess that save() writes the values that the array shows, or refuses an array that is not C-contiguous, as
# the package's PyTorch side refuses such a tensor. The NumPy side writes the shape of the view and the bytes of the
# memory behind it: a transposed (or Fortran-ordered) matrix comes back as another matrix of the same shape, and a
# view of every second element as the first ones.
#
# Seen with safetensors 0.8.0 and NumPy 2.3.5.
# It matters where weights are turned over between frameworks: `kernel.T` is what such converters save.
# Instead: save numpy.ascontiguousarray(array).
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.3.5

cat > "$tmp/show.py" <<'EOF_PY'
import numpy
from safetensors.numpy import load, save

matrix = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
for name, array in (("as it is", matrix), ("transposed", matrix.T), ("Fortran order", numpy.asfortranarray(matrix)),
                    ("every second", matrix.reshape(-1)[::2]),
                    ("transposed, made contiguous", numpy.ascontiguousarray(matrix.T))):
    print(f"{name}: {array.tolist()} comes back as {load(save({'a': array}))['a'].tolist()}")
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
as it is: [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] comes back as [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
transposed: [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] comes back as [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
Fortran order: [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] comes back as [[0.0, 3.0, 1.0], [4.0, 2.0, 5.0]]
every second: [0.0, 2.0, 4.0] comes back as [0.0, 1.0, 2.0]
transposed, made contiguous: [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] comes back as [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: safetensors 0.8.0 saves a transposed NumPy array as another one"
