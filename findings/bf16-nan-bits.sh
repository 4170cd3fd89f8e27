#!/usr/bin/env bash
# CUDA and ml_dtypes turn one NaN into different bfloat16 bits.
#
# One would guess that a NaN rounded to bfloat16 is the float32's upper half, quiet, or at least that the peers agree.
# CUDA's cuda_bf16.h makes every NaN 0x7fff, sign and payload lost (its code for GPUs that lack the instruction says
# so; the instruction cvt.rn.bf16.f32 is documented to give that canonical NaN too). ml_dtypes makes 0x7fc0 and keeps
# the sign (0xffc0). So two arrays that agree in every number and are NaN in the same places differ in bytes.
#
# Seen with NVRTC 13.5.37's headers for compute_75, and ml_dtypes 0.6.0.
# It matters where runs are compared byte by byte or by hash, and one of them diverged.
# Instead: compare NaN with NaN as equal, or set all NaN to one pattern before hashing.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check --no-deps nvidia-cuda-nvrtc==13.5.37 nvidia-cuda-runtime==13.5.37 nvidia-cuda-crt==13.5.37 \
    numpy==2.3.5 ml_dtypes==0.6.0

cat > "$tmp/show.py" <<'EOF_PY'
import ctypes, pathlib, re, sys
import ml_dtypes, numpy

cuda = next(pathlib.Path(sys.prefix).glob("lib/python3*/site-packages/nvidia/cu13"))
nvrtc = ctypes.CDLL(str(cuda / "lib/libnvrtc.so.13"))
source = b"""#include <cuda_bf16.h>
extern "C" __global__ void k(const float* from, __nv_bfloat16* to) { to[0] = __float2bfloat16(from[0]); }"""
program = ctypes.c_void_p()
nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"k.cu", 0, None, None)
options = [b"--gpu-architecture=compute_75", f"-I{cuda}/include".encode()]
assert nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options)) == 0
size = ctypes.c_size_t()
nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
ptx = ctypes.create_string_buffer(size.value)
nvrtc.nvrtcGetPTX(program, ptx)
ptx = ptx.value.decode()

# |x| as bits above those of infinity is a NaN; what is chosen then is the upper half of the result.
test = re.search(r"setp\.gt\.u32\s+(%p\d+), %r\d+, 2139095040;", ptx)
chosen = re.search(rf"selp\.b16\s+%rs\d+, (\d+), %rs\d+, {test.group(1)};", ptx)
print(f"CUDA, any NaN: {int(chosen.group(1)):#06x}")
for bits in (0x7FC00000, 0xFFC00000, 0x7FC12345):
    value = numpy.array([bits], numpy.uint32).view(numpy.float32)
    print(f"ml_dtypes, {bits:#010x}: {value.astype(ml_dtypes.bfloat16).view(numpy.uint16)[0]:#06x}")
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
CUDA, any NaN: 0x7fff
ml_dtypes, 0x7fc00000: 0x7fc0
ml_dtypes, 0xffc00000: 0xffc0
ml_dtypes, 0x7fc12345: 0x7fc0
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: CUDA's bfloat16 NaN is 0x7fff, that of ml_dtypes 0x7fc0 or 0xffc0"
