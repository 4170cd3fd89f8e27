#!/usr/bin/env bash
# NVRTC's --fmad=false is not in the PTX of bfloat16 arithmetic.
#
# One would guess that a kernel compiled with --fmad=false rounds after every multiplication, whichever form of the
# result is loaded. For float and double that holds: the PTX says mul.rn and add.rn, which nothing may fuse. The
# arithmetic of cuda_bf16.h is inline assembly that says mul.bf16 and add.bf16, without .rn, whether the option is
# given or not: the two PTX texts are the same. A CUBIN from NVRTC honours the option, since NVRTC passes it on to its
# own assembler; whoever takes the PTX instead (nvrtcGetPTX, cudarc's compile_ptx) assembles it with ptxas's own
# default, which is to fuse, and gets one rounding where two were asked for.
#
# Seen with NVRTC, ptxas and nvdisasm 13.5.37, for sm_90.
# It matters to whoever compares a GPU's bfloat16 results bit by bit with a reference on the CPU.
# Instead: take the CUBIN; or give ptxas (or the driver's JIT, CU_JIT_FMA) the option again; or call __hmul_rn and
# __hadd_rn, which say .rn.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check --no-deps nvidia-cuda-nvrtc==13.5.37 \
    nvidia-cuda-nvcc==13.5.37 nvidia-cuda-nvdisasm==13.5.37 nvidia-cuda-runtime==13.5.37 nvidia-cuda-crt==13.5.37

cat > "$tmp/show.py" <<'EOF_PY'
import ctypes, pathlib, re, subprocess, sys

cuda = next(pathlib.Path(sys.prefix).glob("lib/python3*/site-packages/nvidia/cu13"))
nvrtc = ctypes.CDLL(str(cuda / "lib/libnvrtc.so.13"))
tmp = pathlib.Path(sys.argv[1])


def compiled(source, *options):
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"k.cu", 0, None, None)
    options = [f"-I{cuda}/include", "--gpu-architecture=sm_90", *options]
    array = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
    assert nvrtc.nvrtcCompileProgram(program, len(options), array) == 0
    parts = []
    for kind in ("PTX", "CUBIN"):
        size = ctypes.c_size_t()
        getattr(nvrtc, f"nvrtcGet{kind}Size")(program, ctypes.byref(size))
        part = ctypes.create_string_buffer(size.value)
        getattr(nvrtc, f"nvrtcGet{kind}")(program, part)
        parts.append(part.raw)
    return parts[0].rstrip(b"\0"), parts[1]


def arithmetic(cubin):
    (tmp / "k.cubin").write_bytes(cubin)
    text = subprocess.run([cuda / "bin/nvdisasm", "-c", tmp / "k.cubin"], capture_output=True, text=True, check=True)
    return " ".join(re.findall(r"\b(?:[FH](?:FMA|MUL|ADD)2?)\b", text.stdout))


def assembled(ptx, *options):
    (tmp / "k.ptx").write_bytes(ptx)
    command = [cuda / "bin/ptxas", "-arch=sm_90", *options, "-o", tmp / "own.cubin", tmp / "k.ptx"]
    subprocess.run(command, check=True)
    return arithmetic((tmp / "own.cubin").read_bytes())


for name, of, by in (("float", "float", "a[0] * a[1] + a[2]"),
                     ("bfloat16", "__nv_bfloat16", "__hadd(__hmul(a[0], a[1]), a[2])"),
                     ("bfloat16, _rn", "__nv_bfloat16", "__hadd_rn(__hmul_rn(a[0], a[1]), a[2])")):
    source = f'#include <cuda_bf16.h>\nextern "C" __global__ void k({of}* a) {{ a[3] = {by}; }}'
    fused, unfused = compiled(source), compiled(source, "--fmad=false")
    print(f"{name}: the PTX is {'the same with and without' if fused[0] == unfused[0] else 'another with'} --fmad=false")
    print(f"  by default:               {arithmetic(fused[1])}")
    print(f"  --fmad=false, its CUBIN:  {arithmetic(unfused[1])}")
    print(f"  --fmad=false, its PTX:    {assembled(unfused[0])}")
    print(f"  ... and ptxas -fmad=false: {assembled(unfused[0], '-fmad=false')}")
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
float: the PTX is another with --fmad=false
  by default:               FFMA
  --fmad=false, its CUBIN:  FMUL FADD
  --fmad=false, its PTX:    FMUL FADD
  ... and ptxas -fmad=false: FMUL FADD
bfloat16: the PTX is the same with and without --fmad=false
  by default:               HFMA2
  --fmad=false, its CUBIN:  HMUL2 HADD2
  --fmad=false, its PTX:    HFMA2
  ... and ptxas -fmad=false: HMUL2 HADD2
bfloat16, _rn: the PTX is the same with and without --fmad=false
  by default:               HMUL2 HADD2
  --fmad=false, its CUBIN:  HMUL2 HADD2
  --fmad=false, its PTX:    HMUL2 HADD2
  ... and ptxas -fmad=false: HMUL2 HADD2
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" "$tmp" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: NVRTC 13.5.37's PTX of bfloat16 arithmetic forgets --fmad=false, and ptxas fuses it"
