#!/usr/bin/env bash
# An .npz file with the arrays "x" and "x.npy" gives "x" for both.
#
# One would guess that each name in NpzFile.files reads its own array; savez takes any names, and stores "x" as x.npy
# and "x.npy" as x.npy.npy. The file lists both, but a lookup first asks whether the name is a member of the archive,
# and x.npy is one: that of "x". The array saved as "x.npy" can only be had as "x.npy.npy", which is in no list.
# Nothing is raised.
#
# Seen with NumPy 2.3.5.
# It matters where names come from elsewhere (files, layers, tensors of another format) and are used as keys.
# Instead: refuse or escape names that end in .npy before savez.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5

cat > "$tmp/show.py" <<'EOF_PY'
import io
import numpy

file = io.BytesIO()
numpy.savez(file, **{"x": numpy.array([1]), "x.npy": numpy.array([2, 2])})
file.seek(0)
arrays = numpy.load(file)
print("names:", arrays.files)
for name in ("x", "x.npy", "x.npy.npy"):
    print(f"{name}: {arrays[name].tolist()}")
print("all of them:", {name: array.tolist() for name, array in arrays.items()})
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
names: ['x', 'x.npy']
x: [1]
x.npy: [1]
x.npy.npy: [2, 2]
all of them: {'x': [1], 'x.npy': [1]}
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: NumPy 2.3.5 reads x where x.npy is asked for"
