//! Whole training steps, and the landscape probe beside them.

use super::step::Bench;
use super::timing::{Time, time};
use crate::Result;
use crate::network::{Dln, Network, Norm, Normalisation, dln, vgg};
use crate::runtime::cpu::Cpu;
use crate::runtime::storage::Storage;
use serde::Serialize;

/// One kind of step.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// As in `vgg16 ×0.25 batch`.
    pub name: String,
    /// Seconds.
    pub time: Time,
    /// Memory of network, batch and parameter vectors.
    pub bytes: usize,
}

/// Points of the probe that is timed.
const POINTS: usize = 4;

/// Times the steps of the paper's networks; VGG-16 at full width only with `full`.
pub fn measure(full: bool, say: &mut dyn FnMut(&str)) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for norm in [Norm::Batch, Norm::None] {
        let normalisation = Normalisation::new(norm);
        for width in [0.25, 1.0] {
            if width < 1.0 || full {
                let name = format!("vgg16 ×{width} {norm}");
                one(&name, vgg("vgg16", width, normalisation)?, 128, 0.01, &mut steps, say)?;
            }
        }
        one(&format!("dln {norm}"), dln(Dln::default(), normalisation)?, 1000, 1e-9, &mut steps, say)?;
    }
    Ok(steps)
}

/// A training step (forward, backward, update, running statistics) and a probe of [`POINTS`] points, on random data.
fn one(
    name: &str,
    network: Network,
    n: usize,
    rate: f64,
    steps: &mut Vec<Step>,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    say(name);
    let mut bench = Bench::new(Cpu::<f32>::default(), network, n, rate, POINTS)?;
    let mut failed = None;
    let taken = time(2.0, || failed = failed.take().or(bench.step().err()));
    let bytes = bench.engine.backend().bytes();
    steps.push(Step { name: name.to_owned(), time: taken, bytes });
    let taken = time(1.0, || failed = failed.take().or(bench.probe().err()));
    steps.push(Step { name: format!("{name}, landscape of {POINTS} points"), time: taken, bytes });
    failed.map_or(Ok(()), Err)
}
