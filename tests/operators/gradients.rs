//! Central differences in f64 against every operator's backward pass: all cases, and random shapes, with random upstream gradients.
//!
//! The loss is Σ y · grad_y, or the operator's own. Its derivative is compared with each `grad_NAME` by the relative L2 error over all
//! elements of NAME, or over directions of random signs where there are many elements. Inputs are kept away from kinks: by their
//! distributions, and for a ReLU after a norm by biases placed in gaps of the norm's output.

use crate::cases::{drawn_cases, every_case};
use crate::kinks::{floats, leave_the_kink, put};
use crate::shared;
use libtest_mimic::{Failed, Trial};
use normscape::files::{Array, Arrays, Values};
use normscape::ops::boundary::{Case, Drawn, relative_error};
use normscape::ops::noise::{Noise, NoiseOptions};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::state::StepState;
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape};

/// The relative error that is allowed.
const BOUND: f64 = 1e-6;
/// Elements up to which each is moved on its own.
const FEW: usize = 128;
/// Directions beyond that.
const DIRECTIONS: usize = 6;
/// Cases of random extents per operator.
const RANDOM: usize = 10;

/// `[n]` numbers −1 or 1.
fn signs(seed: u64, count: usize) -> Vec<f64> {
    (0..count).map(|i| if word(seed, Purpose::Direction, 0, 0, i as u64) & 1 == 0 { 1.0 } else { -1.0 }).collect()
}

/// How far to move a tensor: small beside its spread, so that little of the third derivative shows, and beside the steps of a
/// lattice over (−2, 2), so that no maximum changes place.
fn step(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let spread = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    (1e-5 * if spread > 0.0 { spread } else { 1.0 }).min(0.2 / n)
}

/// Derivatives of `loss` at `values` by central differences, and those that `grad` says, along the same directions.
fn derivatives(
    values: &[f64],
    grad: &[f64],
    mut loss: impl FnMut(Vec<f64>) -> Result<f64, Failed>,
) -> Result<(Vec<f64>, Vec<f64>), Failed> {
    let h = step(values);
    let mut along = |direction: &dyn Fn(usize) -> f64| {
        let moved = |by: f64| values.iter().enumerate().map(|(i, v)| v + by * direction(i)).collect();
        Ok::<_, Failed>((loss(moved(h))? - loss(moved(-h))?) / (2.0 * h))
    };
    if values.len() <= FEW {
        let each: Result<_, _> = (0..values.len()).map(|at| along(&|i| f64::from(u8::from(i == at)))).collect();
        return Ok((each?, grad.to_vec()));
    }
    let (mut measured, mut claimed) = (Vec::new(), Vec::new());
    for seed in 0..DIRECTIONS as u64 {
        let direction = signs(seed, values.len());
        measured.push(along(&|i| direction[i])?);
        claimed.push(grad.iter().zip(&direction).map(|(g, d)| g * d).sum());
    }
    Ok((measured, claimed))
}

/// The upstream gradient in a file and the output that it is of; a loss takes none.
fn upstream(arrays: &Arrays) -> Result<Option<(String, Vec<f64>)>, Failed> {
    let given = arrays.keys().find_map(|name| Some((name, name.strip_prefix("grad_")?)));
    given.map(|(name, output)| Ok((output.to_owned(), floats(arrays, name)?))).transpose()
}

fn loss(op: &str, arrays: &Arrays, upstream: &Option<(String, Vec<f64>)>) -> Result<f64, Failed> {
    let outputs = shared::run(op, &mut Cpu::<f64>::default(), arrays)?;
    match upstream {
        None => Ok(floats(&outputs, "loss")?[0]),
        Some((output, dy)) => Ok(floats(&outputs, output)?.iter().zip(dy).map(|(y, dy)| y * dy).sum()),
    }
}

fn judge(name: &str, measured: &[f64], claimed: &[f64]) -> Result<(), Failed> {
    let error = relative_error(claimed, measured);
    if error <= BOUND {
        return Ok(());
    }
    let worst = measured.iter().zip(claimed).enumerate().max_by(|(_, a), (_, b)| {
        let off = |pair: &(&f64, &f64)| (pair.0 - pair.1).abs();
        off(a).total_cmp(&off(b))
    });
    Err(format!("{name}: relative error {error:e}; worst (index, (difference quotient, gradient)): {worst:?}").into())
}

fn check(op: &str, case: &Case) -> Result<(), Failed> {
    let mut arrays = case.arrays(2);
    for (_, array) in arrays.iter_mut().filter(|(name, _)| !name.starts_with("attr.")) {
        if let Some(wide) = array.to_f64() {
            array.values = Values::F64(wide);
        }
    }
    if arrays.get("attr.relu").and_then(Array::as_f64_scalar) == Some(1.0) {
        leave_the_kink(op, &mut arrays)?;
    }
    let outputs = shared::run(op, &mut Cpu::<f64>::default(), &arrays)?;
    let upstream = upstream(&arrays)?;
    // Only the forward pass is wanted from here on.
    arrays.retain(|name, _| !name.starts_with("grad_"));
    let mut checked = 0;
    for (output, name) in outputs.keys().filter_map(|output| Some((output, output.strip_prefix("grad_")?))) {
        let (values, grad) = (floats(&arrays, name)?, floats(&outputs, output)?);
        let (measured, claimed) = derivatives(&values, &grad, |moved| {
            let mut arrays = arrays.clone();
            put(&mut arrays, name, moved);
            loss(op, &arrays, &upstream)
        })?;
        judge(output, &measured, &claimed)?;
        checked += 1;
    }
    if checked == 0 { Err("no gradient to check".into()) } else { Ok(()) }
}

/// Extents up to a few registers. Samples of a unit: four at least, or a norm's gradient is all but 0.
fn drawn(index: usize) -> Drawn {
    let mut drawn = 0;
    let mut between = |low: usize, high: usize| {
        drawn += 1;
        low + word(index as u64, Purpose::Case, 99, 0, drawn) as usize % (high - low + 1)
    };
    let map = [between(4, 9), between(1, 40), between(1, 7), between(1, 7)];
    Drawn { name: format!("random_{index}"), map, outputs: between(1, 40), index, full: index % 3 == 1 }
}

/// The noise where there is no norm: an operator of the networks, which users cannot call by name.
fn noise(relu: bool) -> Result<(), Failed> {
    let (shape, options) = (Shape::new([3, 2, 4, 5]), NoiseOptions::default());
    let mut cpu = Cpu::<f64>::default();
    let mut plan = cpu.plan();
    let [x, y, dy, dx] = [(); 4].map(|()| plan.view(shape, DType::F64));
    let state = plan.view(StepState::shape(), StepState::DTYPE);
    cpu.commit(&plan)?;
    cpu.set_state(&StepState::new(4, 9, 0.0), Out(state))?;
    let draw =
        |layer: u32| (0..shape.len()).map(move |i| f64::from(normal(word(1, Purpose::Case, layer, 0, i as u64))));
    let (values, upstream): (Vec<f64>, Vec<f64>) = (draw(0).collect(), draw(1).collect());
    cpu.upload(&values, Out(x))?;
    cpu.upload(&upstream, Out(dy))?;
    // The kink lies at x = −m/s: one step away from it at least.
    cpu.noise_draws(options, In(state), Out(y), Out(dx))?;
    let kink: Vec<f64> = cpu.download_f64(In(y))?.iter().zip(cpu.download_f64(In(dx))?).map(|(m, s)| -m / s).collect();
    if values.iter().zip(&kink).any(|(v, k)| (v - k).abs() < 1e-3) {
        return Err("the inputs lie on the ReLU's kink; another seed is needed".into());
    }
    cpu.noise_backward(options, relu, In(x), In(dy), In(state), Out(dx))?;
    let grad = cpu.download_f64(In(dx))?;
    let (measured, claimed) = derivatives(&values, &grad, |moved| {
        cpu.upload(&moved, Out(x))?;
        cpu.noise(options, relu, In(x), In(state), Out(y))?;
        Ok(cpu.download_f64(In(y))?.iter().zip(&upstream).map(|(y, dy)| y * dy).sum())
    })?;
    judge("grad_x", &measured, &claimed)
}

pub fn trials() -> Vec<Trial> {
    let trial = |(op, case): (&'static str, Case)| {
        Trial::test(format!("gradients::{op}::{}", case.name), move || check(op, &case))
    };
    let fixed = every_case().filter(|(_, case)| case.smooth);
    let random = drawn_cases(RANDOM, drawn, |case| case.smooth);
    let mut all: Vec<Trial> = fixed.chain(random).map(trial).collect();
    all.extend([false, true].map(|relu| Trial::test(format!("gradients::noise::relu_{relu}"), move || noise(relu))));
    all
}
