//! Benchmarks: what `normscape bench`, `cargo bench` and `cargo xtask bench` all run.
//!
//! Times are medians with their spread; a kernel's time stands beside the machine's own measured limits.
//!
//! - [`timing`]: warm-up, repetitions, median and spread · [`limits`]: the machine's multiply-add rate and copy bandwidth
//! - [`device`]: on a CUDA device, each kernel beside the device's limits · [`step`]: a step that is timed
//! - [`convolution`]: VGG-16's convolutions, each pass of each layer · [`steps`]: whole training and probe steps

pub mod convolution;
pub mod device;
pub mod limits;
pub mod step;
pub mod steps;
pub mod timing;

use crate::Result;
use crate::report::{Cell, Table, significant};
use serde::Serialize;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// Whole steps of VGG-16 at full width too: half a minute on two cores.
    pub full: bool,
    /// Single convolutions too.
    pub layers: bool,
}

/// Everything that a benchmark found.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// Of normscape.
    pub version: &'static str,
    /// Of its source.
    pub commit: &'static str,
    /// Threads that computed.
    pub threads: usize,
    /// The machine's limits with so many threads.
    pub limits: limits::Limits,
    /// Whole steps.
    pub steps: Vec<steps::Step>,
    /// Single convolutions.
    pub convolutions: Vec<convolution::Pass>,
}

/// Runs the benchmarks on the current thread pool. `say` hears what is about to be measured.
pub fn run(choice: Choice, mut say: impl FnMut(&str) + Send) -> Result<Results> {
    say("limits of the machine");
    let limits = limits::measure();
    let steps = steps::measure(choice.full, &mut say)?;
    let convolutions = if choice.layers {
        convolution::measure(if choice.full { 1.0 } else { 0.25 }, &limits, &mut say)
    } else {
        Vec::new()
    };
    let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("NORMSCAPE_COMMIT"));
    Ok(Results { version, commit, threads: rayon::current_num_threads(), limits, steps, convolutions })
}

impl Results {
    /// Tables for a terminal.
    pub fn tables(&self) -> String {
        let number = |value: f64| Cell::number(significant(value, 3));
        let mut steps = Table::new(["step", "median ms", "min", "max", "of whole passes", "memory MiB"]);
        for step in &self.steps {
            let [median, min, max] = [step.time.median, step.time.min, step.time.max].map(|t| number(1e3 * t));
            let passes = step.of_passes.map_or(Cell::from(""), number);
            let memory = number(step.bytes as f64 / 1048576.0);
            steps.row([Cell::from(step.name.as_str()), median, min, max, passes, memory]);
        }
        let mut text = format!(
            "{} threads; multiply-adds {:.0} GFLOP/s, copies {:.1} GB/s, measured here\n\n{steps}",
            self.threads,
            self.limits.flops / 1e9,
            self.limits.copy / 1e9
        );
        if !self.convolutions.is_empty() {
            let mut table = Table::new(["convolution", "median ms", "min", "GFLOP/s effective", "of the limit"]);
            for pass in &self.convolutions {
                let share = Cell::number(format!("{:.0} %", 100.0 * pass.share));
                let [median, min] = [pass.time.median, pass.time.min].map(|t| number(1e3 * t));
                table.row([
                    Cell::from(pass.name.as_str()),
                    median,
                    min,
                    number(pass.flops / pass.time.median / 1e9),
                    share,
                ]);
            }
            text += &format!("\n{table}");
        }
        text
    }
}
