//! Times of whole training steps on the CPU, and of probes.

use super::Choice;
use super::kind::StepKind;
use super::results::{OneStep, Step};
use super::step::Bench;
use super::timing::{time, time_all};
use crate::Result;
use crate::network::Scalar;
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;

/// Points of the timed probe.
const POINTS: usize = 4;

/// Times the steps of the paper's networks; VGG-16 at full width is timed only with `full`.
pub fn measure(choice: Choice, say: &mut dyn FnMut(&str)) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for kind in StepKind::usual(choice.full) {
        // A deep linear network's runs are made in f64, unless another precision is asked for.
        match kind.is_deep_linear() && !choice.asked {
            true => with_probes::<f64>(&format!("{kind}, f64"), kind, &mut steps, say)?,
            false => with_probes::<f32>(&kind.to_string(), kind, &mut steps, say)?,
        }
    }
    Ok(steps)
}

/// Times a training step (forward, backward, running statistics, update) for about `seconds`, in T, on random data.
pub fn one<T: Float>(kind: StepKind, seconds: f64) -> Result<OneStep> {
    let mut bench = Bench::new(Cpu::<T>::default(), kind.network()?, kind.samples(), kind.rate(), 1)?;
    let mut failed = None;
    let time = time_all(seconds, || failed = failed.take().or(bench.step().err()));
    if let Some(error) = failed {
        return Err(error);
    }
    let (loss, bytes) = (Some(bench.engine.scalar(Scalar::Loss)?), bench.engine.bytes());
    let threads = Some(rayon::current_num_threads());
    let step = Step { name: kind.to_string(), time, of_passes: None, loss, bytes };
    Ok(OneStep::new("cpu".into(), T::DTYPE.name(), threads, step))
}

/// Times a training step, a landscape of [`POINTS`] points, the covariate shift, and the distributions of some units.
fn with_probes<T: Float>(name: &str, kind: StepKind, steps: &mut Vec<Step>, say: &mut dyn FnMut(&str)) -> Result<()> {
    say(name);
    let mut bench = Bench::new(Cpu::<T>::default(), kind.network()?, kind.samples(), kind.rate(), POINTS)?;
    let mut failed = None;
    let mut taken = |seconds: f64, work: fn(&mut Bench<Cpu<T>>) -> Result<()>| {
        time(seconds, || failed = failed.take().or(work(&mut bench).err()))
    };
    let step = taken(2.0, Bench::step);
    let [pass, landscape, shift] = [taken(1.0, Bench::pass), taken(1.0, Bench::probe), taken(1.0, Bench::shift)];
    let distributions = taken(1.0, Bench::distributions);
    let (layers, units, bytes) = (bench.layers(), bench.units(), bench.engine.bytes());
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
