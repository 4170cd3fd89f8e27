//! Whole training steps, and the landscape probe beside them.

use super::timing::{Time, time};
use crate::Result;
use crate::network::{Dln, Engine, Network, Norm, Normalisation, Scalar, dln, initial_parameters, vgg};
use crate::ops::sgd::Sgd;
use crate::probe::line::{Room, landscape};
use crate::runtime::cpu::Cpu;
use crate::runtime::rng::{Purpose, normal, word};
use crate::runtime::state::StepState;
use crate::runtime::storage::Storage;
use crate::runtime::tensor::{In, Out};
use serde::Serialize;
use std::sync::Arc;

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
    let start = initial_parameters(&network, 1);
    let mut engine = Engine::new(Cpu::<f32>::default(), network, n, Arc::default())?;
    let (theta, grad) = (engine.vector()?, engine.vector()?);
    engine.backend().upload_f32(&start, Out(theta))?;
    let len = engine.network().input(n).len();
    let x: Vec<f32> = (0..len).map(|i| normal(word(1, Purpose::Data, 0, 0, i as u64))).collect();
    if len == n * 3 * 32 * 32 {
        let labels: Vec<u32> = (0..n as u32).map(|i| i % 10).collect();
        engine.set_labelled(&x, &labels)?;
    } else {
        let target: Vec<f32> = x.iter().rev().copied().collect();
        engine.set_target(&x, &target)?;
    }
    engine.set_state(&StepState::new(1, 0, rate))?;
    let (loss, correct, state) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct), engine.state());
    let mut failed = None;
    let mut step = || -> Result<()> {
        engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct))?;
        engine.move_running(0.1)?;
        engine.backend().sgd(Out(theta), In(grad), None, 0.0, 0.0, In(state))
    };
    let taken = time(2.0, || failed = failed.take().or(step().err()));
    let bytes = engine.backend().bytes();
    steps.push(Step { name: name.to_owned(), time: taken, bytes });
    let s: Vec<f64> = (1..=POINTS).map(|i| rate * i as f64).collect();
    let room = Room::new(&mut engine, s.len())?;
    let taken = time(1.0, || failed = failed.take().or(landscape(&mut engine, In(theta), In(grad), &s, room).err()));
    let bytes = engine.backend().bytes();
    steps.push(Step { name: format!("{name}, landscape of {POINTS} points"), time: taken, bytes });
    failed.map_or(Ok(()), Err)
}
