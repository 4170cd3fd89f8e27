#!/usr/bin/env bash
# safetensors.numpy writes bfloat16 and float8 arrays, and cannot read them back.
#
# One would guess that what save() takes, load() of the same module and version gives back; or else that save()
# refuses it. It accepts ml_dtypes' arrays and writes a good file, which the Rust crate and PyTorch read; load() of
# that file raises KeyError with nothing but the dtype's name, and takes every other tensor of the file down with it.
#
# Seen with safetensors 0.8.0, ml_dtypes 0.6.0 and NumPy 2.3.5.
# It matters where a run's checkpoints are bfloat16 and are looked at with NumPy.
# Instead: read the header by hand and view the bytes as ml_dtypes.bfloat16, or load with another framework.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.3.5 ml_dtypes==0.6.0

cat > "$tmp/show.py" <<'EOF_PY'
import json, struct
import ml_dtypes, numpy
from safetensors.numpy import load, save

for of in (numpy.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn):
    array = numpy.arange(3).astype(of)
    file = save({"weight": array, "bias": numpy.zeros(2, numpy.float32)})
    header = json.loads(file[8 : 8 + struct.unpack("<Q", file[:8])[0]])
    name = header["weight"]["dtype"]
    try:
        read = sorted(load(file))
    except Exception as error:
        read = repr(error)
    print(f"{array.dtype}: written as {name}; load: {read}")
    begin, end = header["weight"]["data_offsets"]
    start = 8 + struct.unpack("<Q", file[:8])[0]
    print("  by hand:", numpy.frombuffer(file[start + begin : start + end], of).astype(float).tolist())
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
float16: written as F16; load: ['bias', 'weight']
  by hand: [0.0, 1.0, 2.0]
bfloat16: written as BF16; load: KeyError('BF16')
  by hand: [0.0, 1.0, 2.0]
float8_e4m3fn: written as F8_E4M3; load: KeyError('F8_E4M3')
  by hand: [0.0, 1.0, 2.0]
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: safetensors 0.8.0 writes bfloat16 and float8 from NumPy and does not read them"
