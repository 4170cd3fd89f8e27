//! Benchmarks: what `normscape bench`, `cargo bench` and `cargo xtask bench` all run.
//!
//! Times are medians with their spread; a kernel's time stands beside the machine's own measured limits.
//!
//! - [`timing`]: warm-up, repetitions, median and spread · [`limits`]: the machine's multiply-add rate and copy bandwidth
//! - [`step`]: a step that is timed · [`kind`]: which there are, by name · [`results`]: what all of them give
//! - on the CPU: [`layers`]: each pass of VGG-16's layers · [`steps`]: whole training and probe steps
//! - on a CUDA device: [`device`]: steps as graphs, layers and kernels beside the device's limits

pub mod device;
pub mod kind;
pub mod layers;
pub mod limits;
pub mod results;
pub mod step;
pub mod steps;
pub mod timing;

use crate::Result;
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

/// Runs the benchmarks on the current thread pool. `say` hears what is about to be measured.
pub fn run(choice: Choice, mut say: impl FnMut(&str) + Send) -> Result<Results> {
    say("limits of the machine");
    let limits = limits::measure();
    let steps = steps::measure(choice, &mut say)?;
    let layers = if choice.layers {
        layers::measure(if choice.full { 1.0 } else { 0.25 }, &limits, &mut say)
    } else {
        Vec::new()
    };
    Ok(Results {
        version: env!("CARGO_PKG_VERSION"),
        commit: env!("NORMSCAPE_COMMIT"),
        device: "cpu".into(),
        precision: "f32".into(),
        threads: Some(rayon::current_num_threads()),
        limits,
        steps,
        layers,
        kernels: Vec::new(),
    })
}
