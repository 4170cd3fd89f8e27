//! The benchmarks that run on the CPU.

use super::results::Results;
use super::{Choice, layers, limits, steps};
use crate::Result;

/// Runs the benchmarks on the current thread pool. `say` is called with the name of each measurement before it begins.
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
