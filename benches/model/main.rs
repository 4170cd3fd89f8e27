//! What each kernel of a training step should take on an H200, from its bytes, its operations and how many blocks fit: a MODEL, not a
//! measurement. It is there to be held against one.
//!
//! `cargo bench --bench model [-- f32|tf32|bf16]`. The step is asked of a device that does nothing, at full size.

use normscape::bench::step::Bench;
use normscape::network::{Norm, Normalisation, vgg};
use normscape::runtime::cuda::driver::Properties;
use normscape::runtime::cuda::kernels::RESOURCES;
use normscape::runtime::cuda::ledger::{Dry, Entry, Ledger};
use normscape::runtime::cuda::{Cuda, Mode};
use std::collections::BTreeMap;

/// The device, as its data sheet and public measurements have it.
const MULTIPROCESSORS: f64 = 132.0;
/// Bytes per second that a copy reaches.
const BANDWIDTH: f64 = 4.3e12;
/// Seconds from the end of one kernel of a graph to the start of the next.
const GAP: f64 = 1.5e-6;
/// Registers, threads, blocks and bytes of shared memory of a multiprocessor.
const REGISTERS: f64 = 65_536.0;
const THREADS: f64 = 2_048.0;
const BLOCKS: f64 = 32.0;
const SHARED: f64 = 228.0 * 1024.0;
/// Threads of a multiprocessor from which on memory is kept busy, about; and from which on its units multiply at their full rate.
const BUSY: f64 = 512.0;
const MULTIPLYING: f64 = 256.0;

/// Operations per second of the units that a kernel multiplies on: FMA units in exact f32; tensor cores by mma.sync reach about 60 % of
/// what wgmma does on this generation.
fn rate(mode: Mode) -> f64 {
    match mode {
        Mode::F32 => 60e12,
        Mode::Tf32 => 0.6 * 494e12,
        Mode::Bf16 => 0.6 * 989e12,
    }
}

/// Blocks of a kernel that a multiprocessor holds at once; 2 where the build did not compile kernels.
fn resident(entry: &Entry) -> f64 {
    let threads = f64::from(entry.grid.threads);
    let Some(found) = RESOURCES.iter().find(|r| r.kernel == entry.kernel && r.arch == 90) else { return 2.0 };
    let registers = REGISTERS / (f64::from(found.registers).max(1.0) * threads);
    let shared = SHARED / (f64::from(found.shared + entry.grid.shared) + 1024.0);
    registers.min(shared).min(THREADS / threads).min(BLOCKS).floor().max(1.0)
}

/// Launches of one kernel with one grid: how many, seconds of all, one of them, what limits them.
type Kind = (usize, f64, Entry, &'static str);

/// Seconds that a launch should take, and what limits it.
fn predict(entry: &Entry, mode: Mode) -> (f64, &'static str) {
    let blocks: f64 = entry.grid.blocks.iter().map(|&n| f64::from(n)).product();
    let (threads, most) = (f64::from(entry.grid.threads), resident(entry));
    let reach = ((blocks * threads).min(MULTIPROCESSORS * most * threads) / (MULTIPROCESSORS * BUSY)).min(1.0);
    let memory = (entry.bytes[0] + entry.bytes[1]) as f64 / (BANDWIDTH * reach.max(1.0 / MULTIPROCESSORS));
    // The multiprocessor that has most to do decides: so many blocks, and so many of them at once.
    let busiest = (blocks / MULTIPROCESSORS).ceil().max(1.0);
    let share = (busiest.min(most) * threads / MULTIPLYING).min(1.0);
    let arithmetic = busiest * entry.flops[1] / blocks / (rate(mode) / MULTIPROCESSORS * share);
    match () {
        () if memory.max(arithmetic) < GAP => (GAP, "launch"),
        () if arithmetic > memory => (arithmetic + GAP, "arithmetic"),
        () => (memory + GAP, "memory"),
    }
}

fn main() -> normscape::Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    println!("# Model, not measured: one training step of VGG-16, batch 128, BatchNorm, on an H200");
    println!("\nBytes count each tensor of a launch once; operations are effective (valid taps only).");
    for (mode, name) in [(Mode::F32, "f32"), (Mode::Tf32, "tf32"), (Mode::Bf16, "bf16")] {
        if !asked.is_empty() && !asked.iter().any(|a| a == name) {
            continue;
        }
        let properties = Properties {
            name: "model".into(),
            capability: 90,
            multiprocessors: MULTIPROCESSORS as u32,
            shared: 227 << 10,
            hopper: true,
        };
        let network = vgg("vgg16", 1.0, Normalisation::new(Norm::Batch))?;
        let backend = Cuda::new(Ledger::new(Dry::new(properties), false), mode)?;
        let mut bench = Bench::new(backend, network, 128, 0.1, 1)?;
        for _ in 0..2 {
            // The first step rounds θ for itself; from the second on the update has done so.
            bench.step()?;
        }
        let mut all: BTreeMap<(&str, [u32; 3], u64), Kind> = BTreeMap::new();
        for entry in bench.engine.backend().driver().last_work() {
            let (seconds, limit) = predict(entry, mode);
            let key = (entry.kernel, entry.grid.blocks, entry.bytes[0] + entry.bytes[1]);
            let kept = all.entry(key).or_insert((0, 0.0, *entry, limit));
            kept.0 += 1;
            kept.1 += seconds;
        }
        let mut rows: Vec<_> = all.into_values().collect();
        rows.sort_by(|a, b| b.1.total_cmp(&a.1));
        let total: f64 = rows.iter().map(|row| row.1).sum();
        let launches: usize = rows.iter().map(|row| row.0).sum();
        println!("\n## {name}: {:.3} ms predicted, {launches} launches\n", 1e3 * total);
        println!("| kernel | blocks | launches | µs each | MB | GFLOP | limited by |");
        println!("|---|---|---|---|---|---|---|");
        for (count, seconds, entry, limit) in rows {
            let [x, y, z] = entry.grid.blocks;
            println!(
                "| {} | {x}×{y}×{z} | {count} | {:.1} | {:.1} | {:.2} | {limit} |",
                entry.kernel,
                1e6 * seconds / count as f64,
                (entry.bytes[0] + entry.bytes[1]) as f64 / 1e6,
                entry.flops[1] / 1e9
            );
        }
    }
    Ok(())
}
