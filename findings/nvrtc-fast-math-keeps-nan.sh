#!/usr/bin/env bash
# NVRTC's --use_fast_math keeps NaN and infinity, unlike the C compiler's option of that name.
#
# One would guess from gcc and clang that fast math lets the compiler assume that no value is NaN or infinite, and
# reorder sums. With gcc's -ffast-math `x != x` is false even of a NaN. NVRTC's --use_fast_math turns on only flushing
# to zero, approximate division and roots, fused multiply-adds and the fast functions: x != x, isnan(x), x * 0, x - x
# and (x + big) - big all stay, so that tests for divergence still work. What does lose a NaN is in both modes the
# same: `x > 0 ? x : 0` is one max instruction, which gives 0 for NaN.
#
# Seen with NVRTC 13.5.37, for compute_90.
# It matters to whoever leaves the option off only for its isnan(), or writes one source for both the CPU and the GPU.
# Instead: on the GPU choose by the accuracy of division and exp; on the CPU keep NaN with -fno-finite-math-only.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check --no-deps nvidia-cuda-nvrtc==13.5.37

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


here = pathlib.Path(sys.argv[0]).resolve().parent
main = """
#include <stdio.h>
#include <stdlib.h>
int main(void) { volatile float a = strtof("nan", 0); float x = a; printf("%%d\\n", (int)(float)(%s)); return 0; }
"""
for by, on_cpu in (("x != x ? 1 : 0", True), ("isnan(x) ? 1 : 0", False), ("x * 0", False), ("x - x", False),
                   ("(x + 1e10f) - 1e10f", False), ("x > 0 ? x : 0", False)):
    source = f'extern "C" __global__ void k(float* a) {{ float x = a[0]; a[1] = {by}; }}'
    ptx = compiled(source, "PTX", "--gpu-architecture=compute_90", "--use_fast_math").decode()
    code = " ".join(re.findall(r"\b((?:mul|add|sub|max|setp|selp)\.[\w.]+)", ptx))
    said = ""
    if on_cpu:
        (here / "cpu.c").write_text(main % by)
        answers = []
        for options in (["-O2"], ["-O2", "-ffast-math"]):
            subprocess.run(["cc", *options, here / "cpu.c", "-o", here / "cpu"], check=True)
            run = subprocess.run([here / "cpu"], capture_output=True, text=True, check=True)
            answers.append(f"cc {' '.join(options)}, of NaN: {run.stdout.strip()}")
        said = f" ({'; '.join(answers)})"
    print(f"{by}: {code}{said}")
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
x != x ? 1 : 0: setp.nan.ftz.f32 selp.f32 (cc -O2, of NaN: 1; cc -O2 -ffast-math, of NaN: 0)
isnan(x) ? 1 : 0: setp.gtu.ftz.f32 selp.f32
x * 0: mul.ftz.f32
x - x: sub.ftz.f32
(x + 1e10f) - 1e10f: add.ftz.f32 add.ftz.f32
x > 0 ? x : 0: max.ftz.f32
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: NVRTC 13.5.37's --use_fast_math keeps NaN"
