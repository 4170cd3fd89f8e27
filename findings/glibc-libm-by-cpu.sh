#!/usr/bin/env bash
# One program, one machine, one C library: exp, pow and sin give other bits on a processor without FMA.
#
# One would guess that a binary and its libm decide a result, since every operation in it is IEEE arithmetic. glibc
# holds several builds of its functions and picks when the program starts, by what the processor has: those for FMA
# round once where the others round twice. In double precision some results in a thousand to ten thousand differ in the
# last bit; tanh, expm1 and atan are among them. The float functions expf, logf, powf and sinf gave the same here: they
# work in double inside.
#
# Seen with glibc 2.36 on x86-64 with FMA; a processor without it is played by GLIBC_TUNABLES. The script says so and
# stops where there is no FMA or another libc.
# It matters to whoever claims the same bits on every x86-64 machine: loss curves, golden files, hashes of results.
# Rust's f64::exp and Python's math.exp call these functions too.
# Instead: bring the functions (the libm crate, say, or one's own polynomial), or state the processor.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if ! grep -qw fma /proc/cpuinfo || ! ldd --version 2>&1 | grep -qi "glibc\|gnu libc"; then
    echo "ok: not to be seen here: it takes x86-64 with FMA and glibc"
    exit
fi
cat > "$tmp/show.c" <<'EOF_C'
#include <math.h>
#include <stdint.h>
#include <stdio.h>

#define NUMBER(i) ((double)((i) * 2654435761u % 1000003u) / 125000.0 + 0.001)
#define SHOW(name, call)                                                                  \
    {                                                                                     \
        uint64_t hash = 14695981039346656037u;                                            \
        for (uint32_t i = 0; i < 200000; i++) {                                           \
            volatile double x = NUMBER(i);                                                \
            union { double value; uint64_t bits; } y = {.value = (call)};                 \
            hash = (hash ^ y.bits) * 1099511628211u;                                      \
        }                                                                                 \
        printf("%s %016llx\n", name, (unsigned long long)hash);                           \
    }

int main(void) {
    SHOW("exp", exp(-x))
    SHOW("pow", pow(x, 1.7))
    SHOW("sin", sin(x))
    SHOW("tanh", tanh(x))
    SHOW("expm1", expm1(x))
    SHOW("sqrt", sqrt(x))
    SHOW("expf", expf(-(float)x))
    SHOW("powf", powf((float)x, 1.7f))
    SHOW("sinf", sinf((float)x))
    return 0;
}
EOF_C
cc -O2 -o "$tmp/show" "$tmp/show.c" -lm
"$tmp/show" > "$tmp/with"
GLIBC_TUNABLES=glibc.cpu.hwcaps=-FMA,-AVX2 "$tmp/show" > "$tmp/without"
while read -r name with && read -r _ without <&3; do
    if [ "$with" = "$without" ]; then echo "$name: the same bits"; else echo "$name: other bits without FMA"; fi
done < "$tmp/with" 3< "$tmp/without" > "$tmp/seen"
cat > "$tmp/expected" <<'EOF_EXPECTED'
exp: other bits without FMA
pow: other bits without FMA
sin: other bits without FMA
tanh: other bits without FMA
expm1: other bits without FMA
sqrt: the same bits
expf: the same bits
powf: the same bits
sinf: the same bits
EOF_EXPECTED
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: the bits of glibc $(ldd --version | sed -n "1s/.* //p")'s exp depend on whether the processor has FMA"
