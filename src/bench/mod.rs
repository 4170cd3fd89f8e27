//! Benchmarks, as `normscape bench`, `cargo bench` and `cargo xtask bench` all run them.
//!
//! Times are medians with their spread. A kernel's time is given next to the machine's own measured limits.
//!
//! - [`timing`]: warm-up, repetitions, median and spread · [`limits`]: the machine's multiply-add rate and copy bandwidth
//! - [`step`]: one timed step · [`kind`]: the kinds of step, by name · [`results`]: the results of any benchmark
//! - on the CPU: [`layers`]: each pass of VGG-16's layers · [`steps`]: whole training and probe steps
//! - on a CUDA device: [`device`]: steps as graphs, layers and kernels beside the device's limits
//! - in the emulator: [`counters`]: what a step's kernels ask of memory and of their warps

pub mod counters;
mod cpu;
pub mod device;
pub mod kind;
pub mod layers;
pub mod limits;
pub mod results;
pub mod step;
pub mod steps;
pub mod timing;

pub use cpu::run;
pub use kind::StepKind;
pub use results::Results;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// Run at full size: half a minute on two cores. Otherwise the CPU takes a quarter of VGG-16's width, and a CUDA device takes networks
    /// just large enough to check that the benchmarks work, on the emulator too.
    pub full: bool,
    /// Time each pass of each layer too.
    pub layers: bool,
    /// The user named a precision. The CPU then times deep linear networks in f32; otherwise it uses f64, the precision of their runs.
    pub asked: bool,
}
