#!/usr/bin/env bash
# cudarc's use_fast_math is not NVRTC's --use_fast_math: it only fuses, and it overrides fmad: Some(false).
#
# One would guess that CompileOptions { use_fast_math: Some(true) } passes the option of that name. It passes
# --fmad=true, which is NVRTC's default: division, roots, exp and subnormals stay as they were. The one thing it can
# change is the opposite of harmless: beside fmad: Some(false) it comes last and wins, so that a kernel which was to
# round twice is fused.
#
# Seen with cudarc 0.19.10 and NVRTC 13.5.37.
# It matters for measurements of what fast math costs or gains (nothing, by this field), and for references bit by bit.
# Instead: put "--use_fast_math" into the field `options`.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check --no-deps nvidia-cuda-nvrtc==13.5.37
mkdir "$tmp/src"
cat > "$tmp/Cargo.toml" <<'EOF_TOML'
[package]
name = "show"
version = "0.0.0"
edition = "2021"

[dependencies.cudarc]
version = "=0.19.10"
default-features = false
features = ["std", "nvrtc", "dynamic-loading", "cuda-13000"]
EOF_TOML
cat > "$tmp/src/main.rs" <<'EOF_RS'
use cudarc::nvrtc::{compile_ptx_with_opts, CompileOptions};

const SOURCE: &str =
    r#"extern "C" __global__ void k(float* a, float b, float c) { a[0] = a[0] * b + c; a[1] = a[1] / b; }"#;

fn main() {
    let none = CompileOptions::default;
    for (name, options) in [
        ("default", none()),
        ("use_fast_math", CompileOptions { use_fast_math: Some(true), ..none() }),
        ("fmad: false", CompileOptions { fmad: Some(false), ..none() }),
        ("fmad: false, use_fast_math", CompileOptions { fmad: Some(false), use_fast_math: Some(true), ..none() }),
        ("options: --use_fast_math", CompileOptions { options: vec!["--use_fast_math".into()], ..none() }),
    ] {
        let ptx = compile_ptx_with_opts(SOURCE, options).unwrap().to_src();
        let code = ptx.lines().filter_map(|line| line.split_whitespace().next());
        let code: Vec<_> = code.filter(|op| ["fma.", "mul.", "add.rn", "div."].iter().any(|w| op.starts_with(w))).collect();
        println!("{name}: {}", code.join(" "));
    }
}
EOF_RS
cat > "$tmp/expected" <<'EOF_EXPECTED'
default: fma.rn.f32 div.rn.f32
use_fast_math: fma.rn.f32 div.rn.f32
fmad: false: mul.rn.f32 add.rn.f32 div.rn.f32
fmad: false, use_fast_math: fma.rn.f32 div.rn.f32
options: --use_fast_math: fma.rn.ftz.f32 div.approx.ftz.f32
EOF_EXPECTED
cargo build --quiet --release --manifest-path "$tmp/Cargo.toml" --target-dir "$tmp/target"
nvrtc=$(dirname "$(find "$tmp/env" -name libnvrtc.so.13)")
LD_LIBRARY_PATH=$nvrtc "$tmp/target/release/show" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: cudarc 0.19.10's use_fast_math passes --fmad=true and nothing else"
