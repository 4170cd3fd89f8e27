#!/usr/bin/env bash
# The tf32 rounding that every device has takes three instructions on each of them; the one that came with sm_90 takes one.
#
# cvt.rna.tf32.f32 (ties away from 0) is PTX since sm_80, and one would guess it to be a conversion of the hardware, as cvt.rn.bf16.f32 is. On no
# architecture is it: the compiler makes a comparison with infinity, an integer addition of half a unit and a mask of it (the mask goes where only mma
# reads the result). cvt.rn.tf32.f32 (ties to even), which PTX has from sm_90 on, is one F2FP. In a product's loop that rounds its operands as it
# reads them, the first costs as much as the mma.
#
# Seen with NVRTC 13.0.88 and nvdisasm 13.2.86.
# It matters for hand-written tf32 kernels, most of which take cvt.rna, as older documents say.
# Instead: cvt.rn from sm_90 on, or operands that whoever produces them has rounded.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check --no-deps nvidia-cuda-nvrtc==13.0.88 nvidia-cuda-nvdisasm==13.2.86

cat > "$tmp/show.py" <<'EOF_PY'
import ctypes, pathlib, re, subprocess, sys

cuda = next(pathlib.Path(sys.prefix).glob("lib/python3*/site-packages/nvidia/cu13"))
for library in sorted((cuda / "lib").glob("libnvrtc*"), key=lambda path: "builtins" not in path.name):
    nvrtc = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
disassembler = cuda / "bin/nvdisasm"
disassembler.chmod(0o755)
cubin = pathlib.Path(sys.argv[1]) / "k.cubin"

for conversion, first in (("cvt.rna.tf32.f32", 80), ("cvt.rn.tf32.f32", 90), ("cvt.rn.bf16x2.f32", 80)):
    operands = "%0, %1, %1" if "x2" in conversion else "%0, %1"
    source = ('extern "C" __global__ void k(const float* x, unsigned* y) { unsigned r; '
              f'asm("{conversion} {operands};" : "=r"(r) : "f"(x[threadIdx.x])); y[threadIdx.x] = r; }}')
    for arch in (80, 89, 90, 100, 120):
        if arch < first:
            continue
        program, size = ctypes.c_void_p(), ctypes.c_size_t()
        nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"k.cu", 0, None, None)
        options = (ctypes.c_char_p * 1)(f"--gpu-architecture=sm_{arch}".encode())
        if nvrtc.nvrtcCompileProgram(program, 1, options):
            nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            nvrtc.nvrtcGetProgramLog(program, log)
            sys.exit(log.value.decode())
        nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
        code = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetCUBIN(program, code)
        cubin.write_bytes(code.raw)
        text = subprocess.run([disassembler, cubin], capture_output=True, text=True, check=True).stdout
        names = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", text)
        # Between the load and the store; what computes addresses and sets constants left out.
        names = names[names.index(next(n for n in names if n.startswith("LDG"))) + 1:]
        names = names[:names.index(next(n for n in names if n.startswith("STG")))]
        kept = [n.split(".")[0] for n in names if re.match(r"F2F|FSETP|LOP3|IMAD\.IADD|IADD|VIADD", n)]
        print(f"{conversion} on sm_{arch}: {' '.join(kept)}")
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
cvt.rna.tf32.f32 on sm_80: FSETP IMAD LOP3
cvt.rna.tf32.f32 on sm_89: FSETP IMAD LOP3
cvt.rna.tf32.f32 on sm_90: FSETP IMAD LOP3
cvt.rna.tf32.f32 on sm_100: FSETP IMAD LOP3
cvt.rna.tf32.f32 on sm_120: FSETP IMAD LOP3
cvt.rn.tf32.f32 on sm_90: F2FP
cvt.rn.tf32.f32 on sm_100: F2FP
cvt.rn.tf32.f32 on sm_120: F2FP
cvt.rn.bf16x2.f32 on sm_80: F2FP
cvt.rn.bf16x2.f32 on sm_89: F2FP
cvt.rn.bf16x2.f32 on sm_90: F2FP
cvt.rn.bf16x2.f32 on sm_100: F2FP
cvt.rn.bf16x2.f32 on sm_120: F2FP
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" "$tmp" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: cvt.rna.tf32.f32 takes three instructions everywhere, cvt.rn.tf32.f32 one"
