#!/usr/bin/env bash
# NVRTC's --fmad=false is not in the LTO IR: what the linker says counts, and it fuses by default.
#
# One would guess that options that change a kernel's rounding are settled when it is compiled, and that linking keeps
# them. With link-time optimization the arithmetic is settled in nvJitLink: the same source compiled with --fmad=true
# and with --fmad=false gives fused code in both cases, unless -fma=0 is said again at the link, and unfused in both if
# it is. No warning tells that the two sides disagree.
#
# Seen with NVRTC, nvJitLink and nvdisasm 13.5.37, for sm_90.
# It matters where device code is linked at run time (libraries of kernels, callbacks) and must round as the CPU does.
# Instead: give the linker the options for rounding too, or write __fmul_rn and __fadd_rn, which survive it.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check --no-deps nvidia-cuda-nvrtc==13.5.37 \
    nvidia-nvjitlink==13.5.37 nvidia-cuda-nvdisasm==13.5.37

cat > "$tmp/show.py" <<'EOF_PY'
import ctypes, pathlib, re, subprocess, sys

cuda = next(pathlib.Path(sys.prefix).glob("lib/python3*/site-packages/nvidia/cu13"))
nvrtc = ctypes.CDLL(str(cuda / "lib/libnvrtc.so.13"))


def compiled(source, kind, *options):
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"k.cu", 0, None, None)
    array = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
    assert nvrtc.nvrtcCompileProgram(program, len(options), array) == 0
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{kind}Size")(program, ctypes.byref(size))
    part = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{kind}")(program, part)
    return part.raw


linker = ctypes.CDLL(str(next((cuda / "lib").glob("libnvJitLink.so.13"))))
here = pathlib.Path(sys.argv[0]).resolve().parent


def linked(ir, *options):
    options = ("-arch=sm_90", "-lto", *options)
    handle, size = ctypes.c_void_p(), ctypes.c_size_t()
    array = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
    call = lambda name: getattr(linker, f"nvJitLink{name}", None) or getattr(linker, f"__nvJitLink{name}_13_0")
    for name, arguments in (
        ("Create", (ctypes.byref(handle), len(options), array)),
        ("AddData", (None, 3, ir, ctypes.c_size_t(len(ir)), b"k")),  # 3: LTO IR
        ("Complete", (None,)),
        ("GetLinkedCubinSize", (None, ctypes.byref(size))),
    ):
        assert call(name)(*[handle if a is None else a for a in arguments]) == 0, name
    cubin = ctypes.create_string_buffer(size.value)
    assert call("GetLinkedCubin")(handle, cubin) == 0
    (here / "k.cubin").write_bytes(cubin.raw)
    text = subprocess.run([cuda / "bin/nvdisasm", "-c", here / "k.cubin"], capture_output=True, text=True, check=True)
    return " ".join(re.findall(r"\bF(?:FMA|MUL|ADD)\b", text.stdout))


for by in ("a[0] * a[1] + a[2]", "__fadd_rn(__fmul_rn(a[0], a[1]), a[2])"):
    source = f'extern "C" __global__ void k(float* a) {{ a[3] = {by}; }}'
    for fmad in ("true", "false"):
        ir = compiled(source, "LTOIR", "--gpu-architecture=compute_90", "-dlto", f"--fmad={fmad}")
        print(f"{by}, compiled with --fmad={fmad}: linked {linked(ir)}; linked with -fma=0 {linked(ir, '-fma=0')}")
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
a[0] * a[1] + a[2], compiled with --fmad=true: linked FFMA; linked with -fma=0 FMUL FADD
a[0] * a[1] + a[2], compiled with --fmad=false: linked FFMA; linked with -fma=0 FMUL FADD
__fadd_rn(__fmul_rn(a[0], a[1]), a[2]), compiled with --fmad=true: linked FMUL FADD; linked with -fma=0 FMUL FADD
__fadd_rn(__fmul_rn(a[0], a[1]), a[2]), compiled with --fmad=false: linked FMUL FADD; linked with -fma=0 FMUL FADD
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: NVRTC 13.5.37's --fmad=false is forgotten by link-time optimization"
