#!/usr/bin/env bash
# half's from_f64 does not round to nearest, and f16's result depends on the processor.
#
# One would guess that from_f64 gives the nearest bfloat16 or half, ties to even, where going through f32 may round
# twice. bf16::from_f64 drops the lower 32 bits of the number before it rounds, so that a value just above the middle
# of two neighbours goes down. f16::from_f64 goes through f32 where the processor has F16C, which takes a value just
# below the middle up, and drops those bits elsewhere: f16::from_f64_const, which is the code of such a processor,
# differs from it on the same number. Each way is wrong for some numbers that another has right.
#
# Seen with half 2.7.1 on x86-64 with F16C; without it the script says so and stops.
# It matters for references: weights or hyperparameters kept in double and rounded once are not what PyTorch, NumPy
# (for float16) or a correctly rounding GPU makes of them.
# Instead: round to f32 by round-to-odd first and then to 16 bits, or work on the bits of the f64.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if ! grep -qw f16c /proc/cpuinfo; then
    echo "ok: not to be seen here: it takes x86-64 with F16C"
    exit
fi
mkdir "$tmp/src"
cat > "$tmp/Cargo.toml" <<'EOF_TOML'
[package]
name = "show"
version = "0.0.0"
edition = "2021"

[dependencies]
half = "=2.7.1"
EOF_TOML
cat > "$tmp/src/main.rs" <<'EOF_RS'
use half::{bf16, f16};

fn main() {
    let little = 2f64.powi(-40);
    // bf16's neighbours of 1 are 2^-7 apart, f16's 2^-10.
    for (name, half) in [("bf16", 2f64.powi(-8)), ("f16", 2f64.powi(-11))] {
        for (place, x, right) in [
            ("just above a middle", 1.0 + half + little, 1.0 + 2.0 * half),
            ("just below a middle", 1.0 + 3.0 * half - little, 1.0 + 2.0 * half),
        ] {
            let found = if name == "bf16" {
                [bf16::from_f64(x).to_f64(), bf16::from_f64_const(x).to_f64(), bf16::from_f32(x as f32).to_f64()]
            } else {
                [f16::from_f64(x).to_f64(), f16::from_f64_const(x).to_f64(), f16::from_f32(x as f32).to_f64()]
            };
            let say = |i: usize| if found[i] == right { "right" } else { "wrong" };
            println!("{name}, {place}: from_f64 {}, from_f64_const {}, through f32 {}", say(0), say(1), say(2));
        }
    }
}
EOF_RS
cat > "$tmp/expected" <<'EOF_EXPECTED'
bf16, just above a middle: from_f64 wrong, from_f64_const wrong, through f32 wrong
bf16, just below a middle: from_f64 right, from_f64_const right, through f32 wrong
f16, just above a middle: from_f64 wrong, from_f64_const wrong, through f32 wrong
f16, just below a middle: from_f64 wrong, from_f64_const right, through f32 wrong
EOF_EXPECTED
cargo run --quiet --release --manifest-path "$tmp/Cargo.toml" --target-dir "$tmp/target" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: half 2.7.1 rounds f64 to neither the nearest bfloat16 nor one half on every processor"
