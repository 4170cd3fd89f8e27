#!/usr/bin/env bash
# Two saves of the same tensors and the same metadata are different safetensors files.
#
# One would guess that the format, whose tensors are sorted and aligned with care, writes the same bytes for the same
# content; its files are compared and cached by their hash everywhere. The tensors are indeed written in one order, but
# the metadata passes through a hash map with a random seed: with two entries or more, their order in the header
# changes from save to save within one process, and so does the file's hash.
#
# Seen with safetensors 0.8.0 from Python. In Rust, serialize() takes that hash map from the caller.
# It matters to whoever claims that a run repeats "to the byte", or finds a checkpoint by its SHA-256.
# Instead: keep to one entry of metadata (one JSON text, say), or compare the tensors and not the files.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.3.5

cat > "$tmp/show.py" <<'EOF_PY'
import hashlib
import numpy
from safetensors.numpy import save

tensors = {"a": numpy.zeros(1, numpy.float32), "b": numpy.ones(2, numpy.float32)}
for entries in (None, 1, 8):
    metadata = entries and {f"key{i}": str(i) for i in range(entries)}
    files = [save(tensors, metadata=metadata) for _ in range(50)]
    hashes = {hashlib.sha256(file).hexdigest() for file in files}
    print(f"{entries} entries, saved 50 times:", "one file" if len(hashes) == 1 else "files that differ")
    assert len({len(file) for file in files}) == 1
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
None entries, saved 50 times: one file
1 entries, saved 50 times: one file
8 entries, saved 50 times: files that differ
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: safetensors 0.8.0 writes metadata in a random order"
