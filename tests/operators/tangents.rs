//! Every operator's tangents: in f64 against central differences of all its outputs and gradients together; in f32 and on the kernels
//! against f64.
//!
//! All operands, including dy, move together, each by a random tangent. `tangent_NAME` must be the derivative of output NAME.

use crate::cases::{every_case, with_tangents};
use crate::kinks::{floats, leave_the_kink, put};
use crate::shared;
use libtest_mimic::{Failed, Trial};
use normscape::files::{Array, Arrays, Values};
use normscape::ops::backend::Backend;
use normscape::ops::boundary::{Case, compare, relative_error};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::rng::{Purpose, word};

/// The relative error that differences are allowed.
const BOUND: f64 = 1e-6;

/// How far to move: little beside the spread of the values, and beside the steps of a lattice over (−2, 2).
fn step(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let spread = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    (1e-5 * if spread > 0.0 { spread } else { 1.0 }).min(0.1 / n)
}

fn differences(op: &str, case: &Case) -> Result<(), Failed> {
    let mut arrays = case.arrays(2);
    for (_, array) in arrays.iter_mut().filter(|(name, _)| !name.starts_with("attr.")) {
        if let Some(wide) = array.to_f64() {
            array.values = Values::F64(wide);
        }
    }
    if arrays.get("attr.relu").and_then(Array::as_f64_scalar) == Some(1.0) {
        leave_the_kink(op, &mut arrays)?;
    }
    let moving = with_tangents(case, &arrays, 6);
    let found = shared::run(op, &mut Cpu::<f64>::default(), &moving)?;
    let tangents: Vec<(&str, Vec<f64>)> = moving
        .keys()
        .filter_map(|name| name.strip_prefix("tangent_"))
        .map(|name| Ok((name, floats(&moving, &format!("tangent_{name}"))?)))
        .collect::<Result<_, Failed>>()?;
    let steps = tangents
        .iter()
        .filter(|(name, _)| !name.starts_with("grad_"))
        .map(|(name, _)| Ok(step(&floats(&arrays, name)?)));
    let h = steps.collect::<Result<Vec<_>, Failed>>()?.into_iter().fold(f64::INFINITY, f64::min);
    let at = |by: f64| -> Result<Arrays, Failed> {
        let mut moved = arrays.clone();
        for (name, tangent) in &tangents {
            let values = floats(&arrays, name)?.iter().zip(tangent).map(|(v, t)| v + by * t).collect();
            put(&mut moved, name, values);
        }
        shared::run(op, &mut Cpu::<f64>::default(), &moved)
    };
    let (up, down) = (at(h)?, at(-h)?);
    let mut checked = 0;
    for (output, name) in found.keys().filter_map(|output| Some((output, output.strip_prefix("tangent_")?))) {
        let (above, below) = (floats(&up, name)?, floats(&down, name)?);
        let measured: Vec<f64> = above.iter().zip(&below).map(|(a, b)| (a - b) / (2.0 * h)).collect();
        let error = relative_error(&floats(&found, output)?, &measured);
        if error > BOUND || error.is_nan() {
            return Err(format!("{output}: relative error {error:e}").into());
        }
        checked += 1;
    }
    // As many results move as operands do: an output for the upstream gradient, and a gradient for every other operand.
    if checked == tangents.len() { Ok(()) } else { Err(format!("{checked} tangents of {}", tangents.len()).into()) }
}

/// How far f32 may be from f64: rounding errors of a sum of L terms grow as √L; a gradient's tangent is made of a few sums one after the
/// other, which lose what cancels between them.
fn bound(arrays: &Arrays) -> f64 {
    let longest = arrays.values().map(|a| a.shape.iter().product::<usize>()).max().unwrap_or(1) as f64;
    f64::from(f32::EPSILON) * (16.0 + 8.0 * longest.sqrt())
}

/// How much larger the rounding of a sum's terms is beside its value than beside its terms. Of many numbers a relative error is led by the large
/// ones; one by itself may be all that is left of a sum that has cancelled.
///
/// It is measured, in f64: every operand's elements are moved by random signs times a small share of themselves, which is what rounding does,
/// and the answer moves by that share times this number: a sum that has not cancelled by some 1/√L of it, so that the least is 1.
fn cancelled(op: &str, arrays: &Arrays, name: &str) -> Result<f64, Failed> {
    const SHARE: f64 = 1e-7;
    let answer = |arrays: &Arrays| -> Result<f64, Failed> {
        Ok(floats(&shared::run(op, &mut Cpu::<f64>::default(), arrays)?, name)?[0])
    };
    let mut wide = arrays.clone();
    for (_, array) in wide.iter_mut().filter(|(of, _)| !of.starts_with("attr.")) {
        if let Some(values) = array.to_f64() {
            array.values = Values::F64(values);
        }
    }
    let still = answer(&wide)?;
    let mut most: f64 = 1.0;
    for draw in 0..4 {
        let mut moved = wide.clone();
        for (stream, (_, array)) in moved.iter_mut().filter(|(of, _)| !of.starts_with("attr.")).enumerate() {
            let Values::F64(values) = &mut array.values else { continue };
            for (i, value) in values.iter_mut().enumerate() {
                let up = word(draw, Purpose::Case, 300 + stream as u32, 0, i as u64) & 1 == 1;
                *value *= 1.0 + if up { SHARE } else { -SHARE };
            }
        }
        most = most.max((answer(&moved)? - still).abs() / (SHARE * still.abs()));
    }
    Ok(most)
}

fn agrees<B: Backend>(op: &str, arrays: &Arrays, backend: &mut B, shuffled: Option<&mut B>) -> Result<(), Failed> {
    let found = shared::run(op, backend, arrays)?;
    let expected = shared::run(op, &mut Cpu::<f64>::default(), arrays)?;
    let mut checked = 0;
    for (name, error) in compare(op, &found, &expected)? {
        if !name.starts_with("tangent_") {
            continue;
        }
        checked += 1;
        let allowed = match expected[&name].shape.iter().product::<usize>() {
            1 => bound(arrays) * cancelled(op, arrays, &name)?,
            _ => bound(arrays),
        };
        if error.is_nan() || error > allowed {
            return Err(format!("{name}: error {error:e} beyond {allowed:e}").into());
        }
    }
    if checked == 0 {
        return Err("no tangents".into());
    }
    match shuffled.map(|other| Ok::<_, Failed>(shared::different(&found, &shared::run(op, other, arrays)?))) {
        Some(different) if !different.as_ref().is_ok_and(Vec::is_empty) => {
            Err(format!("other bits with threads in another order: {:?}", different?).into())
        }
        _ => Ok(()),
    }
}

/// The operands of a case that is compared with f64: made when its test runs, since there are many.
fn operands(case: &Case) -> Arrays {
    with_tangents(case, &case.arrays(3), 7)
}

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (op, case) in every_case() {
        let name = format!("tangents::{op}::{}", case.name);
        if case.smooth {
            let case = case.clone();
            trials.push(Trial::test(format!("{name}::differences"), move || differences(op, &case)));
        }
        let same = case.clone();
        trials.push(Trial::test(format!("{name}::f32"), move || {
            agrees(op, &operands(&same), &mut Cpu::<f32>::default(), Some(&mut Cpu::<f32>::default()))
        }));
        trials.push(Trial::test(format!("{name}::cuda_f32"), move || {
            let mut shuffled = shared::device(Mode::F32, Some(4))?;
            agrees(op, &operands(&case), &mut shared::device(Mode::F32, None)?, Some(&mut shuffled))
        }));
    }
    trials
}
