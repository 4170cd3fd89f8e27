//! Benchmarks on a CUDA device: whole steps as graphs, and each kernel beside the device's measured limits.

use super::step::Bench;
use crate::Result;
use crate::network::{Dln, Network, Norm, Normalisation, dln, vgg};
use crate::report::{Cell, Table, significant};
use crate::runtime::cuda::driver::{Driver, Gemm, Operand, Region};
use crate::runtime::cuda::ledger::{Entry, Ledger};
use crate::runtime::cuda::{Cuda, Mode};
use crate::runtime::tensor::{ArenaId, DType};
use serde::Serialize;
use std::collections::BTreeMap;

/// Points of the probe that is timed.
const POINTS: usize = 4;

/// One kind of step, in seconds on the device.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// As in `vgg16 ×1 batch`.
    pub name: String,
    /// Median, least and largest of `repeats`.
    pub median: f64,
    /// Least.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Repetitions.
    pub repeats: usize,
    /// Bytes planned on the device.
    pub bytes: usize,
}

/// All launches of one kernel with one grid in a training step.
#[derive(Debug, Clone, Serialize)]
pub struct KernelTime {
    /// The kernel.
    pub kernel: &'static str,
    /// Blocks.
    pub blocks: [u32; 3],
    /// Launches in the step.
    pub launches: usize,
    /// Seconds of all of them, each waited for: with what a launch costs by itself.
    pub seconds: f64,
    /// Bytes that one launch reads and writes.
    pub bytes: u64,
    /// Operations of one launch, nominal and effective.
    pub flops: [f64; 2],
    /// Bytes per second over the measured copy bandwidth.
    pub of_bandwidth: f64,
    /// Effective operations per second over the measured matrix rate.
    pub of_rate: f64,
}

/// What was measured on one device in one precision.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceResults {
    /// Of normscape.
    pub version: &'static str,
    /// Of its source.
    pub commit: &'static str,
    /// The device's name.
    pub device: String,
    /// f32, tf32 or bf16.
    pub precision: String,
    /// Bytes per second of a copy on the device, read and written bytes counted.
    pub copy: f64,
    /// Operations per second of a dense product of 4096³ in the precision; none without cuBLAS.
    pub matrix: Option<f64>,
    /// Whole steps.
    pub steps: Vec<Step>,
    /// The kernels of the step of VGG-16 with BatchNorm.
    pub kernels: Vec<KernelTime>,
}

/// Bytes per second of a copy between two halves of `bytes`.
fn copy_rate(driver: &mut dyn Driver, bytes: usize) -> Result<f64> {
    let arena = ArenaId::numbered(0);
    driver.allocate(arena, 2 * bytes)?;
    let [from, to] = [0, bytes].map(|offset| Region { arena, offset, bytes });
    let mut least = f64::INFINITY;
    for _ in 0..20 {
        driver.mark(0)?;
        driver.copy(from, to)?;
        driver.mark(1)?;
        least = least.min(driver.elapsed()?);
    }
    Ok(2.0 * bytes as f64 / least)
}

/// Operations per second of a dense product of `side`³; the operands lie in arena 0.
fn matrix_rate(driver: &mut dyn Driver, mode: Mode, side: usize) -> Result<Option<f64>> {
    if !driver.has_gemm() {
        return Ok(None);
    }
    let (operands, each) = if mode == Mode::Bf16 { (DType::Bf16, 2) } else { (DType::F32, 4) };
    let region =
        |i: usize| Region { arena: ArenaId::numbered(0), offset: i * side * side * each, bytes: side * side * each };
    let operand = |i| Operand { region: region(i), transposed: false };
    // Numbers, not zeros: a device computes zeros with less power, and so faster.
    let noise: Vec<u8> =
        (0..2 * side * side * each).map(|i| if i % each == each - 1 { 0x3C } else { (i * 37 % 251) as u8 }).collect();
    driver.upload(Region { bytes: noise.len(), ..region(0) }, &noise)?;
    let product = Gemm {
        m: side,
        n: side,
        k: side,
        a: operand(0),
        b: operand(1),
        operands,
        tf32: mode == Mode::Tf32,
        out: region(2),
        result: operands,
    };
    let mut least = f64::INFINITY;
    for _ in 0..10 {
        driver.mark(0)?;
        driver.gemm(product)?;
        driver.mark(1)?;
        least = least.min(driver.elapsed()?);
    }
    Ok(Some(2.0 * (side as f64).powi(3) / least))
}

/// Times `repeats` calls of `work`, after a few that warm up and record.
fn time<D: Driver>(
    name: String,
    bench: &mut Bench<Cuda<D>>,
    repeats: usize,
    work: impl Fn(&mut Bench<Cuda<D>>) -> Result<()>,
) -> Result<Step> {
    for _ in 0..3 {
        work(bench)?;
    }
    let mut times = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        bench.engine.backend().driver().mark(0)?;
        work(bench)?;
        bench.engine.backend().driver().mark(1)?;
        times.push(bench.engine.backend().driver().elapsed()?);
    }
    times.sort_by(f64::total_cmp);
    use crate::runtime::storage::Storage;
    let bytes = bench.engine.backend().bytes();
    let (median, min, max) = (times[repeats / 2], times[0], times[repeats - 1]);
    Ok(Step { name, median, min, max, repeats, bytes })
}

/// Launches of one kernel and grid together.
fn together(entries: &[Entry], copy: f64, matrix: Option<f64>) -> Vec<KernelTime> {
    let mut all: BTreeMap<(&'static str, [u32; 3], u64), KernelTime> = BTreeMap::new();
    for entry in entries {
        let bytes = entry.bytes[0] + entry.bytes[1];
        let kernel = all.entry((entry.kernel, entry.grid.blocks, bytes)).or_insert(KernelTime {
            kernel: entry.kernel,
            blocks: entry.grid.blocks,
            launches: 0,
            seconds: 0.0,
            bytes,
            flops: entry.flops,
            of_bandwidth: 0.0,
            of_rate: 0.0,
        });
        kernel.launches += 1;
        kernel.seconds += entry.seconds.unwrap_or(0.0);
    }
    let mut all: Vec<_> = all.into_values().collect();
    for kernel in &mut all {
        let each = kernel.seconds / kernel.launches as f64;
        kernel.of_bandwidth = kernel.bytes as f64 / each / copy;
        kernel.of_rate = matrix.map_or(0.0, |rate| kernel.flops[1] / each / rate);
    }
    all.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    all
}

/// Measures on devices that `open` gives, one for each part, so that none holds the memory of another. Without `full` networks are small:
/// to see that it works, on the emulator too.
pub fn measure(
    open: impl Fn() -> Result<Box<dyn Driver>>,
    mode: Mode,
    full: bool,
    say: &mut dyn FnMut(&str),
) -> Result<DeviceResults> {
    say("limits of the device");
    let mut driver = open()?;
    let device = driver.properties().name.clone();
    let copy = copy_rate(driver.as_mut(), if full { 1 << 30 } else { 1 << 22 })?;
    let matrix = matrix_rate(driver.as_mut(), mode, if full { 4096 } else { 128 })?;
    drop(driver);
    let (width, batch, repeats) = if full { (1.0, 128, 200) } else { (0.0625, 4, 3) };
    let mut networks: Vec<(String, Network, usize, f64)> = Vec::new();
    for norm in [Norm::Batch, Norm::None] {
        let normalisation = Normalisation::new(norm);
        networks.push((format!("vgg16 ×{width} {norm}"), vgg("vgg16", width, normalisation)?, batch, 0.01));
        let samples = if full { 1000 } else { 64 };
        networks.push((format!("dln {norm}"), dln(Dln::default(), normalisation)?, samples, 1e-9));
    }
    let (mut steps, mut kernels) = (Vec::new(), Vec::new());
    for (name, network, n, rate) in networks {
        say(&name);
        if kernels.is_empty() {
            let ledger = Ledger::new(open()?, true);
            let mut bench = Bench::new(Cuda::new(ledger, mode)?, network.clone(), n, rate, 1)?;
            for _ in 0..2 {
                // The first step loads kernels; the second is kept.
                bench.step()?;
            }
            kernels = together(bench.engine.backend().driver().last_work(), copy, matrix);
        }
        let mut bench = Bench::new(Cuda::new(open()?, mode)?, network, n, rate, POINTS)?;
        steps.push(time(name.clone(), &mut bench, repeats, Bench::step)?);
        let (few, layers) = (repeats.div_ceil(4), bench.layers());
        steps.push(time(format!("{name}, landscape of {POINTS} points"), &mut bench, few, Bench::probe)?);
        steps.push(time(format!("{name}, covariate shift of {layers} layers"), &mut bench, few, Bench::shift)?);
    }
    let precision = format!("{mode:?}").to_lowercase();
    let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("NORMSCAPE_COMMIT"));
    Ok(DeviceResults { version, commit, device, precision, copy, matrix, steps, kernels })
}

impl DeviceResults {
    /// Tables for a terminal.
    pub fn tables(&self) -> String {
        let number = |value: f64| Cell::number(significant(value, 3));
        let mut steps = Table::new(["step", "median ms", "min", "max", "memory MiB"]);
        for step in &self.steps {
            let [median, min, max] = [step.median, step.min, step.max].map(|t| number(1e3 * t));
            steps.row([Cell::from(step.name.as_str()), median, min, max, number(step.bytes as f64 / 1048576.0)]);
        }
        let mut kernels = Table::new(["kernel", "blocks", "launches", "µs each", "of bandwidth", "of matrix rate"]);
        for k in &self.kernels {
            let percent = |share: f64| Cell::number(format!("{:.0} %", 100.0 * share));
            let [x, y, z] = k.blocks;
            kernels.row([
                Cell::from(k.kernel),
                Cell::from(format!("{x}×{y}×{z}")),
                Cell::number(k.launches.to_string()),
                number(1e6 * k.seconds / k.launches as f64),
                percent(k.of_bandwidth),
                percent(k.of_rate),
            ]);
        }
        let matrix =
            self.matrix.map_or("no cuBLAS".into(), |rate| format!("dense products {:.1} TFLOP/s", rate / 1e12));
        let DeviceResults { device, precision, copy, .. } = self;
        format!("{device}, {precision}; copies {:.0} GB/s, {matrix}, measured here\n\n{steps}\n{kernels}", copy / 1e9)
    }
}
