//! Whole training steps, and probes beside them.

use super::Choice;
use super::results::Step;
use super::step::Bench;
use super::timing::time;
use crate::Result;
use crate::network::{Dln, Network, Norm, Normalisation, Scalar, dln, vgg};
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::storage::Storage;

/// Points of the probe that is timed.
const POINTS: usize = 4;

/// Times the steps of the paper's networks; VGG-16 at full width only with `full`.
pub fn measure(choice: Choice, say: &mut dyn FnMut(&str)) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for norm in [Norm::Batch, Norm::None] {
        let normalisation = Normalisation::new(norm);
        for width in [0.25, 1.0] {
            if width < 1.0 || choice.full {
                let name = format!("vgg16 ×{width} {norm}");
                one::<f32>(&name, vgg("vgg16", width, normalisation)?, 128, 0.01, &mut steps, say)?;
            }
        }
        let network = dln(Dln::default(), normalisation)?;
        match choice.asked {
            true => one::<f32>(&format!("dln {norm}"), network, 1000, 1e-9, &mut steps, say)?,
            false => one::<f64>(&format!("dln {norm}, f64"), network, 1000, 1e-9, &mut steps, say)?,
        }
    }
    Ok(steps)
}

/// A training step (forward, backward, update, running statistics), a landscape of [`POINTS`] points, the covariate shift, and the distributions of some units; on random data.
fn one<T: Float>(
    name: &str,
    network: Network,
    n: usize,
    rate: f64,
    steps: &mut Vec<Step>,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    say(name);
    let mut bench = Bench::new(Cpu::<T>::default(), network, n, rate, POINTS)?;
    let mut failed = None;
    let mut taken = |seconds: f64, work: fn(&mut Bench<Cpu<T>>) -> Result<()>| {
        time(seconds, || failed = failed.take().or(work(&mut bench).err()))
    };
    let step = taken(2.0, Bench::step);
    let [pass, landscape, shift] = [taken(1.0, Bench::pass), taken(1.0, Bench::probe), taken(1.0, Bench::shift)];
    let distributions = taken(1.0, Bench::distributions);
    let (layers, units, bytes) = (bench.layers(), bench.units(), bench.engine.observe().bytes());
    let loss = Some(bench.engine.scalar(Scalar::Loss)?);
    steps.push(Step { name: name.to_owned(), time: step, of_passes: None, loss, bytes });
    for (name, taken, passes) in [
        (format!("{name}, landscape of {POINTS} points"), landscape, POINTS),
        (format!("{name}, covariate shift of {layers} layers"), shift, layers),
        (format!("{name}, activations and moments of {units} units"), distributions, 1),
    ] {
        let of_passes = Some(taken.median / (passes as f64 * pass.median));
        steps.push(Step { name, time: taken, of_passes, loss: None, bytes });
    }
    failed.map_or(Ok(()), Err)
}
