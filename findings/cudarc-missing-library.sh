#!/usr/bin/env bash
# Where CUDA is not installed, cudarc's functions that return a Result panic.
#
# One would guess that CudaContext::new(0), which returns Result<_, DriverError>, answers a missing driver with an Err,
# so that `if let Ok(gpu) = ...` falls back to the CPU; being found at run time is what the dynamic-loading feature is
# for. No DriverError stands for a library that is not there: the first call into it panics, with the names that were
# tried. Nor does it help to begin with the driver's init() or the count of devices, which panic alike.
#
# Seen with cudarc 0.19.10; the script says so and stops where a CUDA driver is installed.
# It matters for programs that run with and without a GPU, above all those built with panic = "abort".
# Instead: ask cudarc::driver::sys::is_culib_present() first.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

mkdir "$tmp/src"
cat > "$tmp/Cargo.toml" <<'EOF_TOML'
[package]
name = "show"
version = "0.0.0"
edition = "2021"

[dependencies.cudarc]
version = "=0.19.10"
default-features = false
features = ["std", "driver", "dynamic-loading", "cuda-13000"]
EOF_TOML
cat > "$tmp/src/main.rs" <<'EOF_RS'
use cudarc::driver::{result, sys, CudaContext, DriverError};
use std::panic::catch_unwind;

fn say(name: &str, call: fn() -> Result<(), DriverError>) {
    let ended = match catch_unwind(call) {
        Ok(Ok(())) => "Ok",
        Ok(Err(_)) => "Err",
        Err(_) => "a panic",
    };
    println!("{name}: {ended}");
}

fn main() {
    std::panic::set_hook(Box::new(|_| ()));
    println!("is_culib_present: {}", unsafe { sys::is_culib_present() });
    say("result::init", result::init);
    say("CudaContext::device_count", || CudaContext::device_count().map(|_| ()));
    say("CudaContext::new", || CudaContext::new(0).map(|_| ()));
}
EOF_RS
cat > "$tmp/expected" <<'EOF_EXPECTED'
is_culib_present: false
result::init: a panic
CudaContext::device_count: a panic
CudaContext::new: a panic
EOF_EXPECTED
cargo run --quiet --release --manifest-path "$tmp/Cargo.toml" --target-dir "$tmp/target" > "$tmp/seen"
if grep -q "is_culib_present: true" "$tmp/seen"; then echo "ok: not to be seen where CUDA is installed"; exit; fi
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: cudarc 0.19.10 panics where the driver's library is missing"
