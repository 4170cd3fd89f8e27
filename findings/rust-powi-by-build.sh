#!/usr/bin/env bash
# In Rust, powi of constants has other bits in a release build than in a debug build, nearly always.
#
# One would guess that optimization leaves floating-point results alone, as it does for + and *; powi's documentation
# allows differences, yet one expects a rare last bit. Where both arguments are known, the optimizer computes the power
# accurately, as powf would; at run time powi is a chain of multiplications that rounds each time. For bases between
# 0.1 and 6 and exponents from 3 to 40 most of the results differ, in f32 as in f64. Functions such as f32's sinh, tan
# and log10 differ too, more rarely: the compiler folds them with other code than runs later.
#
# Seen with rustc on x86-64, whose version is printed; first with 1.95.0.
# It matters for schedules and golden values: lr * 0.95f32.powi(epoch) with both known is another number than the same
# in a loop, and a test that passes in debug may fail in release.
# Instead: multiply in a loop of one's own, or use powf where its accuracy is wanted; feed such tests with values that
# the compiler cannot see.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

{
    echo 'use std::hint::black_box as hidden;'
    echo 'fn main() { let (mut f, mut d, mut s, mut r) = (0, 0, 0, 0);'
    for i in $(seq 60); do
        base=$((i / 12)).$((100 + i * 13 % 900)) power=$((3 + i * 7 % 38))
        echo "f += (${base}_f32.powi($power).to_bits() != hidden(${base}_f32).powi(hidden($power)).to_bits()) as u32;"
        echo "d += (${base}_f64.powi($power).to_bits() != hidden(${base}_f64).powi(hidden($power)).to_bits()) as u32;"
        echo "s += (${base}_f32.sinh().to_bits() != hidden(${base}_f32).sinh().to_bits()) as u32;"
        echo "r += (${base}_f32.sqrt().to_bits() != hidden(${base}_f32).sqrt().to_bits()) as u32;"
    done
    echo 'let say = |n: u32| if n == 0 { "none" } else if n > 40 { "most" } else { "some" };'
    echo 'println!("of 60, other than at run time: powi f32 {}, powi f64 {}, sinh f32 {}, sqrt f32 {}",'
    echo '    say(f), say(d), say(s), say(r)); }'
} > "$tmp/show.rs"
for build in 0 3; do
    rustc --edition 2021 -C opt-level=$build -o "$tmp/show" "$tmp/show.rs"
    echo "opt-level $build: $("$tmp/show")"
done > "$tmp/seen"
cat > "$tmp/expected" <<'EOF_EXPECTED'
opt-level 0: of 60, other than at run time: powi f32 none, powi f64 none, sinh f32 none, sqrt f32 none
opt-level 3: of 60, other than at run time: powi f32 most, powi f64 most, sinh f32 some, sqrt f32 none
EOF_EXPECTED
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: $(rustc --version | cut -d' ' -f1,2) folds powi to other bits than it computes"
