//! Benchmarks: what `normscape bench`, `cargo bench` and `cargo xtask bench` all run.
//!
//! Times are medians with their spread; a kernel's time stands beside the machine's own measured limits.
//!
//! - [`timing`]: warm-up, repetitions, median and spread · [`limits`]: the machine's multiply-add rate and copy bandwidth
//! - [`step`]: a step that is timed · [`kind`]: which there are, by name · [`results`]: what all of them give
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
    /// At full size: half a minute on two cores. Without, the CPU takes a quarter of VGG-16's width, a CUDA device next to nothing, to
    /// see that it works, on the emulator too.
    pub full: bool,
    /// Each pass of each layer too.
    pub layers: bool,
    /// The precision was asked for: deep linear networks are timed on the CPU in f32, and not in f64, in which their runs are made else.
    pub asked: bool,
}
