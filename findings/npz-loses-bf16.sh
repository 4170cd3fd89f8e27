#!/usr/bin/env bash
# numpy.savez of bfloat16 and float8 arrays succeeds, and the file no longer says what they are.
#
# One would guess that savez keeps the type or raises, as it does for objects when pickling is off. The types that
# ml_dtypes brings have no name in the .npy format, so the header says '<V2' or, for float8_e4m3fn and int4 alike,
# '<V1': bytes without meaning. Loading gives a void array even where ml_dtypes is imported, and arithmetic fails far
# from the place that saved. float8_e5m2 alone is written as '<f1', a name that numpy.load does not know: that file is
# refused.
#
# Seen with NumPy 2.3.5 and ml_dtypes 0.6.0.
# It matters where runs keep bfloat16 arrays in .npz files.
# Instead: keep array.view(numpy.uint16) and the type's name beside it, or float32; to rescue a file, view the void
# array as the right type.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 ml_dtypes==0.6.0

cat > "$tmp/show.py" <<'EOF_PY'
import io
import ml_dtypes, numpy

for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int4"):
    of = numpy.dtype(getattr(ml_dtypes, name))
    file = io.BytesIO()
    numpy.savez(file, a=numpy.array([1, 2, 3]).astype(of))
    header = file.getvalue()
    header = header[header.index(b"{") : header.index(b"}") + 1].decode()
    file.seek(0)
    try:
        read = numpy.load(file)["a"]
    except ValueError as error:
        print(f"{name}: {header}; load: {error}")
        continue
    try:
        read + read
        adds = "adds"
    except TypeError as error:
        adds = type(error).__name__
    print(f"{name}: {header}; loaded as {read.dtype}; a + a: {adds};",
          f"viewed again: {read.view(of).astype(float).tolist()}")
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
bfloat16: {'descr': '<V2', 'fortran_order': False, 'shape': (3,), }; loaded as |V2; a + a: UFuncTypeError; viewed again: [1.0, 2.0, 3.0]
float8_e4m3fn: {'descr': '<V1', 'fortran_order': False, 'shape': (3,), }; loaded as |V1; a + a: UFuncTypeError; viewed again: [1.0, 2.0, 3.0]
float8_e5m2: {'descr': '<f1', 'fortran_order': False, 'shape': (3,), }; load: descr is not a valid dtype descriptor: '<f1'
int4: {'descr': '<V1', 'fortran_order': False, 'shape': (3,), }; loaded as |V1; a + a: UFuncTypeError; viewed again: [1.0, 2.0, 3.0]
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: NumPy 2.3.5 saves ml_dtypes' types as void"
