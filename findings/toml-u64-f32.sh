#!/usr/bin/env bash
# toml reads an integer past i64 or not, by the type asked for; and a float too large for f32 becomes infinity.
#
# One would guess that a document is valid or not whatever reads it, and that a number that does not fit its field is
# an error. The toml crate refuses 9223372036854775808 as toml::Value (TOML's integers are signed) and accepts the same
# text for a u64 field, and writes such numbers too: what one program saves, another that goes through Value cannot
# read. 1e400 is refused for f64 and for f32; 1e39 for an f32 field is infinity without a word. serde_json draws the
# same line.
#
# Seen with toml 1.2.1 and serde_json 1.0.145.
# It matters for seeds, which are often any u64, and for learning rates and bounds kept as f32.
# Instead: keep seeds below 2^63 or as text; read floats as f64, check that they are finite after rounding.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

mkdir "$tmp/src"
cat > "$tmp/Cargo.toml" <<'EOF_TOML'
[package]
name = "show"
version = "0.0.0"
edition = "2021"

[dependencies]
serde_json = "=1.0.145"
toml = "=1.2.1"
EOF_TOML
cat > "$tmp/src/main.rs" <<'EOF_RS'
use std::collections::BTreeMap;

fn main() {
    let said = |ok: bool| if ok { "read" } else { "refused" };
    let seed = toml::to_string(&BTreeMap::from([("seed", 1u64 << 63)])).unwrap();
    println!("written from a u64: {}", seed.trim());
    println!("as u64: {}", said(toml::from_str::<BTreeMap<String, u64>>(&seed).is_ok()));
    println!("as toml::Value: {}", said(toml::from_str::<toml::Value>(&seed).is_ok()));
    for number in ["1e39", "1e400"] {
        let text = format!("x = {number}");
        let show = |x: Option<f64>| x.map_or("refused".into(), |x| x.to_string());
        println!(
            "{number}: toml f32 {}, serde_json f32 {}, toml f64 {}",
            show(toml::from_str::<BTreeMap<String, f32>>(&text).ok().map(|m| m["x"].into())),
            show(serde_json::from_str::<f32>(number).ok().map(f64::from)),
            if toml::from_str::<BTreeMap<String, f64>>(&text).is_ok() { "read" } else { "refused" },
        );
    }
}
EOF_RS
cat > "$tmp/expected" <<'EOF_EXPECTED'
written from a u64: seed = 9223372036854775808
as u64: read
as toml::Value: refused
1e39: toml f32 inf, serde_json f32 inf, toml f64 read
1e400: toml f32 refused, serde_json f32 refused, toml f64 refused
EOF_EXPECTED
cargo run --quiet --release --manifest-path "$tmp/Cargo.toml" --target-dir "$tmp/target" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: toml 1.2.1 takes 2^63 by the type asked for, and 1e39 as an infinite f32"
