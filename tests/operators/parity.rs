//! The CUDA kernels against the CPU in f64: every case of every operator, and random shapes, in f32, tf32 and bf16.
//!
//! - f32 is judged by a bound that follows from the length of the sums: rounding errors of L terms grow like √L.
//! - For tf32 and bf16 the reference's operands are first rounded as the device rounds them; the bounds are then 2e-3 and 2e-2.
//! - Memory starts as NaN, so an element that is not written fails. The emulator refuses every access outside a tensor.
//! - The emulator runs every case again with its threads in another order; no bit may change.

use crate::cases::{drawn_cases, every_case};
use crate::shared;
use libtest_mimic::{Failed, Trial};
use normscape::files::{Array, Arrays, Values};
use normscape::ops::boundary::{Case, Drawn, Means, Role, compare};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::rng::{Purpose, word};

const MODES: [(Mode, &str); 3] = [(Mode::F32, "f32"), (Mode::Tf32, "tf32"), (Mode::Bf16, "bf16")];

/// Whether a device in this mode rounds an array of this role.
fn is_rounded(role: Role, mode: Mode) -> bool {
    match mode {
        Mode::F32 => false,
        Mode::Tf32 => role == Role::Factor,
        Mode::Bf16 => role != Role::Parameter,
    }
}

fn rounded(v: f32, mode: Mode) -> f32 {
    match mode {
        Mode::F32 => v,
        Mode::Tf32 => f32::from_bits((v.to_bits() + 0xFFF + (v.to_bits() >> 13 & 1)) & 0xFFFF_E000),
        Mode::Bf16 => half::bf16::from_f32(v).to_f32(),
    }
}

/// The case's arrays, each rounded as the device rounds it.
fn rounded_arrays(case: &Case, mode: Mode, seed: u64) -> Arrays {
    let mut arrays = case.arrays(seed);
    for operand in case.operands.iter().filter(|operand| is_rounded(operand.role, mode)) {
        if let Some(Values::F32(values)) = arrays.get_mut(operand.name).map(|array| &mut array.values) {
            values.iter_mut().for_each(|v| *v = rounded(*v, mode));
        }
    }
    arrays
}

/// How much the subtraction of means magnifies rounding errors: 1 and the largest |μ|/σ of what they are taken over.
fn condition(means: Means, x: &Array) -> f64 {
    let (values, shape) = (x.to_f64().unwrap_or_default(), &x.shape);
    let (n, c) = (shape[0], shape[1]);
    let pixels: usize = shape[2..].iter().product();
    let of = |count: usize, value: &dyn Fn(usize) -> f64| {
        let mean = (0..count).map(value).sum::<f64>() / count as f64;
        let variance = (0..count).map(|i| (value(i) - mean).powi(2)).sum::<f64>() / count as f64;
        if variance == 0.0 { 0.0 } else { mean.abs() / variance.sqrt() }
    };
    1.0 + match means {
        Means::Channels => {
            let channel = |j: usize| of(n * pixels, &|i| values[(i / pixels * c + j) * pixels + i % pixels]);
            (0..c).map(channel).fold(0.0, f64::max)
        }
        Means::Groups(groups) => {
            let size = c / groups * pixels;
            (0..n * groups).map(|group| of(size, &|i| values[group * size + i])).fold(0.0, f64::max)
        }
    }
}

/// The relative error that is allowed.
fn bound(case: &Case, arrays: &Arrays, mode: Mode) -> f64 {
    match mode {
        Mode::F32 => {
            let condition = case.means.map_or(1.0, |means| condition(means, &arrays["x"]));
            f64::from(f32::EPSILON) * (8.0 + 2.0 * (case.longest_sum as f64).sqrt()) * condition
        }
        Mode::Tf32 => 2e-3,
        Mode::Bf16 => 2e-2,
    }
}

fn check(op: &str, case: &Case, mode: Mode, seed: u64) -> Result<(), Failed> {
    let arrays = rounded_arrays(case, mode, seed);
    let found = shared::run(op, &mut shared::device(mode, None)?, &arrays)?;
    let expected = shared::run(op, &mut Cpu::<f64>::default(), &arrays)?;
    let allowed = bound(case, &arrays, mode);
    let nan = |array: &Array| array.to_f64().is_some_and(|v| v.iter().any(|v| v.is_nan()));
    for (name, error) in compare(op, &found, &expected)? {
        if nan(&found[&name]) || error.is_nan() || error > allowed {
            return Err(format!("{name}: error {error:e} beyond {allowed:e}").into());
        }
    }
    if found.len() != expected.len() {
        return Err(format!("outputs {:?}", found.keys().collect::<Vec<_>>()).into());
    }
    let shuffled = shared::run(op, &mut shared::device(mode, Some(seed))?, &arrays)?;
    match shared::different(&found, &shuffled)[..] {
        [] => Ok(()),
        ref names => Err(format!("other bits with threads in another order: {names:?}").into()),
    }
}

/// Extents: odd channels, batches up to 130, maps from 1×1 to 33×33; few samples on large maps, since the emulator is no GPU.
fn drawn(index: usize) -> Drawn {
    let draw = |j: u64, below: u32| 1 + (word(11, Purpose::Case, index as u32, 0, j) % below) as usize;
    let (h, w) = (draw(3, 33), draw(4, 33));
    let n = draw(0, 130).min(1 + 3000 / (h * w));
    let c = if index == 0 { 1 } else { draw(1, 40) };
    let outputs = draw(2, 70);
    // Of many values one lies so near a ReLU's kink that float32 and float64 stand on two sides of it.
    let full = n * c * h * w < 2_000;
    Drawn { name: format!("random_{n}x{c}x{h}x{w}_{outputs}"), map: [n, c, h, w], outputs, index, full }
}

/// A linear layer that is large enough to be the driver's dense product.
fn large() -> Case {
    let extents = normscape::ops::linear::Extents { n: 520, i: 512, o: 528 };
    normscape::ops::linear::cases::case("large", extents, true)
}

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    let named = every_case().chain(drawn_cases(8, drawn, |_| true)).chain([("linear", large())]);
    for (i, (op, case)) in named.enumerate() {
        for (mode, precision) in MODES {
            let case = case.clone();
            let seed = 1 + i as u64 % 5;
            let name = format!("parity::{op}::{}::{precision}", case.name);
            trials.push(Trial::test(name, move || check(op, &case, mode, seed)));
        }
    }
    trials
}
