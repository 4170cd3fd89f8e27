//! Results of benchmarks on any device: as JSON for programs (with these field names), and as tables for a terminal.

use super::limits::Limits;
use super::timing::Time;
use crate::report::{Cell, Table, significant};
use serde::Serialize;

/// Everything that was measured on one device in one precision.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// The version of normscape.
    pub version: &'static str,
    /// The commit that it was built from.
    pub commit: &'static str,
    /// `cpu`, or the CUDA device's name.
    pub device: String,
    /// f32, tf32 or bf16. On the CPU f32, where deep linear networks take their steps in f64 and say so in their names.
    pub precision: String,
    /// Threads that computed; `None` on a CUDA device.
    pub threads: Option<usize>,
    /// The device's limits.
    pub limits: Limits,
    /// Whole steps.
    pub steps: Vec<Step>,
    /// Each pass of each layer of VGG-16 with BatchNorm; empty where they were not asked for.
    pub layers: Vec<LayerTime>,
    /// The kernels of VGG-16's training step; empty on the CPU.
    pub kernels: Vec<KernelTime>,
}

/// One kind of step.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// The kind's name, as in `vgg16-0.25-batch`.
    pub name: String,
    /// Seconds per step.
    pub time: Time,
    /// For a probe: its time over the time of as many forward and backward passes as it has points or layers.
    pub of_passes: Option<f64>,
    /// For a training step: the last loss. It is finite, unless the step was timed on infinities.
    pub loss: Option<f64>,
    /// Bytes of the network, the batch and the parameter vectors.
    pub bytes: usize,
}

/// One kind of step timed alone, and where it ran.
#[derive(Debug, Clone, Serialize)]
pub struct OneStep {
    /// The version of normscape.
    pub version: &'static str,
    /// The commit that it was built from.
    pub commit: &'static str,
    /// `cpu`, or the CUDA device's name.
    pub device: String,
    /// f32, f64, tf32 or bf16.
    pub precision: String,
    /// Threads that computed; `None` on a CUDA device.
    pub threads: Option<usize>,
    /// What was timed.
    #[serde(flatten)]
    pub step: Step,
}

impl OneStep {
    /// The result with this program's version and commit.
    pub fn new(device: String, precision: &str, threads: Option<usize>, step: Step) -> OneStep {
        let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("NORMSCAPE_COMMIT"));
        OneStep { version, commit, device, precision: precision.into(), threads, step }
    }

    /// One line for a terminal.
    pub fn line(&self) -> String {
        let [median, min, max] = [self.step.time.median, self.step.time.min, self.step.time.max];
        let [median, min, max] = [median, min, max].map(|seconds| significant(1e3 * seconds, 4));
        let threads = self.threads.map_or(String::new(), |n| format!(", {n} threads"));
        let (name, runs) = (&self.step.name, self.step.time.runs * self.step.time.each);
        format!(
            "{name}: median {median} ms, least {min}, greatest {max}, of {runs} ({}, {}{threads})",
            self.device, self.precision
        )
    }
}

/// One pass of one layer.
#[derive(Debug, Clone, Serialize)]
pub struct LayerTime {
    /// The layer, as in `conv2, 64→64 at 32²`; `beside the layers` for loss, running statistics and update.
    pub layer: String,
    /// The pass, as in `weight gradient`.
    pub pass: &'static str,
    /// The algorithm of a convolution ([`crate::ops::conv2d::Algorithm`]). `None` for other layers, and on a device that has only one.
    pub algorithm: Option<&'static str>,
    /// What the pass took.
    #[serde(flatten)]
    pub work: Work,
}

/// All launches of one kernel with one grid in a training step.
#[derive(Debug, Clone, Serialize)]
pub struct KernelTime {
    /// The kernel.
    pub kernel: &'static str,
    /// Blocks of the grid along x, y, z.
    pub blocks: [u32; 3],
    /// What all these launches took.
    #[serde(flatten)]
    pub work: Work,
}

/// A piece of work, and its share of the device's limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Work {
    /// Number of launches; 1 on the CPU.
    pub launches: usize,
    /// Seconds of all launches together.
    pub seconds: f64,
    /// Bytes of the tensors that each launch reads and writes.
    pub bytes: u64,
    /// Multiplications and additions of the products over the valid taps; 0 where the work has no products.
    pub flops: f64,
    /// The same count with every tap taken as valid.
    pub nominal_flops: f64,
    /// The operations that were carried out: fewer than `flops` where an algorithm needs fewer.
    pub executed_flops: f64,
    /// Bytes per second over the measured bandwidth of copies; above 1 where a cache holds the tensors.
    pub of_bandwidth: f64,
    /// Operations carried out per second (`executed_flops`) over the measured rate of dense products; `None` where that rate is unknown.
    pub of_rate: Option<f64>,
}

impl Work {
    /// Adds one launch.
    pub fn add(&mut self, seconds: f64, bytes: u64, [nominal, effective]: [f64; 2]) {
        self.launches += 1;
        self.seconds += seconds;
        self.bytes += bytes;
        self.flops += effective;
        self.executed_flops += effective;
        self.nominal_flops += nominal;
    }

    /// Fills in the shares of the device's limits.
    pub fn of(self, limits: &Limits) -> Work {
        // What took no time that the clock sees has no rate.
        let share = |amount: f64, rate: f64| if self.seconds > 0.0 { amount / self.seconds / rate } else { 0.0 };
        let of_rate = limits.matrix.map(|rate| share(self.executed_flops, rate));
        Work { of_bandwidth: share(self.bytes as f64, limits.copy), of_rate, ..self }
    }
}

fn number(value: f64) -> Cell {
    Cell::number(significant(value, 3))
}

fn percent(share: Option<f64>) -> Cell {
    share.map_or(Cell::from(""), |share| Cell::number(format!("{:.0} %", 100.0 * share)))
}

impl Results {
    /// Tables for a terminal.
    pub fn tables(&self) -> String {
        let Results { device, precision, limits, .. } = self;
        let threads = self.threads.map_or(String::new(), |n| format!(", {n} threads"));
        let matrix =
            limits.matrix.map_or("no cuBLAS".into(), |rate| format!("dense products {:.3} TFLOP/s", rate / 1e12));
        let copy = limits.copy / 1e9;
        let mut text = format!("{device}, {precision}{threads}; copies {copy:.1} GB/s, {matrix}, measured here\n");
        let mut steps = Table::new(["step", "median ms", "min", "max", "of whole passes", "memory MiB"]);
        for step in &self.steps {
            let [median, min, max] = [step.time.median, step.time.min, step.time.max].map(|t| number(1e3 * t));
            let passes = step.of_passes.map_or(Cell::from(""), number);
            let memory = number(step.bytes as f64 / 1048576.0);
            steps.row([Cell::from(step.name.as_str()), median, min, max, passes, memory]);
        }
        text += &format!("\n{steps}");
        if !self.layers.is_empty() {
            let heads = [
                "layer",
                "pass",
                "algorithm",
                "µs",
                "MB",
                "GFLOP nominal",
                "effective",
                "executed",
                "of bandwidth",
                "of matrix rate",
            ];
            let mut layers = Table::new(heads);
            for LayerTime { layer, pass, algorithm, work } in &self.layers {
                layers.row([
                    Cell::from(layer.as_str()),
                    Cell::from(*pass),
                    Cell::from(algorithm.unwrap_or_default()),
                    number(1e6 * work.seconds),
                    number(work.bytes as f64 / 1e6),
                    number(work.nominal_flops / 1e9),
                    number(work.flops / 1e9),
                    number(work.executed_flops / 1e9),
                    percent(Some(work.of_bandwidth)),
                    percent(work.of_rate),
                ]);
            }
            text += &format!("\n{layers}");
        }
        if !self.kernels.is_empty() {
            let mut kernels = Table::new(["kernel", "blocks", "launches", "µs each", "of bandwidth", "of matrix rate"]);
            for KernelTime { kernel, blocks: [x, y, z], work } in &self.kernels {
                kernels.row([
                    Cell::from(*kernel),
                    Cell::from(format!("{x}×{y}×{z}")),
                    Cell::number(work.launches.to_string()),
                    number(1e6 * work.seconds / work.launches as f64),
                    percent(Some(work.of_bandwidth)),
                    percent(work.of_rate),
                ]);
            }
            text += &format!("\n{kernels}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_measured_limits() {
        let mut work = Work::default();
        work.add(0.25, 100, [20.0, 10.0]);
        work.add(0.25, 300, [20.0, 10.0]);
        let of = work.of(&Limits { matrix: Some(400.0), copy: 1600.0 });
        assert_eq!((of.launches, of.bytes, of.flops, of.nominal_flops), (2, 400, 20.0, 40.0));
        assert_eq!((of.of_bandwidth, of.of_rate), (0.5, Some(0.1)));
        assert_eq!(Work::default().of(&Limits { matrix: None, copy: 1.0 }).of_rate, None);
    }
}
