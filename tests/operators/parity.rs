//! The CUDA kernels against the CPU in f64: every case of every operator, and random shapes, in f32, tf32 and bf16.
//!
//! - f32 is judged by a bound that follows from the length of the sums: rounding errors of L terms grow like √L.
//! - tf32 and bf16: the reference first gets its operands rounded as the device rounds them; then 2e-3 and 2e-2.
//! - Memory starts as NaN, so an element that is not written fails; the emulator refuses every access outside a tensor.
//! - The emulator runs every case again with its threads in another order: no bit may change.

use crate::cases::every_case;
use crate::shared;
use libtest_mimic::{Failed, Trial};
use normscape::files::{Array, Arrays, Values};
use normscape::ops::boundary::{Case, Law, compare};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::rng::{Purpose, word};

const MODES: [(Mode, &str); 3] = [(Mode::F32, "f32"), (Mode::Tf32, "tf32"), (Mode::Bf16, "bf16")];

/// Whether an array is rounded before it enters a matrix product (tf32), or is stored in bf16.
fn is_operand(op: &str, name: &str, mode: Mode) -> bool {
    let product = matches!(op, "conv2d" | "linear");
    match mode {
        Mode::F32 => false,
        Mode::Tf32 => product && matches!(name, "x" | "weight" | "grad_y"),
        Mode::Bf16 => matches!(name, "x" | "grad_y" | "logits" | "target") || (product && name == "weight"),
    }
}

fn rounded(v: f32, mode: Mode) -> f32 {
    match mode {
        Mode::F32 => v,
        Mode::Tf32 => f32::from_bits(v.to_bits().wrapping_add(0x1000) & 0xFFFF_E000),
        Mode::Bf16 => half::bf16::from_f32(v).to_f32(),
    }
}

/// The arrays with every operand rounded as the device rounds it.
fn with_rounded_operands(op: &str, arrays: &Arrays, mode: Mode) -> Arrays {
    let mut arrays = arrays.clone();
    for (name, array) in &mut arrays {
        if let (true, Values::F32(values)) = (is_operand(op, name, mode), &mut array.values) {
            values.iter_mut().for_each(|v| *v = rounded(*v, mode));
        }
    }
    arrays
}

/// Terms of the longest sum that an operator takes of these arrays.
fn longest_sum(op: &str, arrays: &Arrays) -> f64 {
    let shape = |name: &str| arrays.get(name).map(|a| a.shape.clone()).unwrap_or_default();
    let length = |shape: &[usize]| shape.iter().product::<usize>();
    let x = shape("x");
    (match op {
        "conv2d" => (9 * x[1]).max(9 * shape("weight")[0]).max(x[0] * x[2] * x[3]),
        "linear" => x[0].max(x[1]).max(shape("weight")[0]),
        "batch_norm" | "noisy_batch_norm" | "batch_renorm" | "lp_norm" => length(&x) / x[1],
        // γ's gradient, or a sample's group.
        "layer_norm" | "group_norm" | "instance_norm" | "rms_norm" => (length(&x) / x[1]).max(length(&x) / x[0]),
        "cross_entropy" => length(&shape("logits")),
        "squared_error" => length(&x),
        _ => 1,
    }) as f64
}

/// How much a norm's subtraction of the mean magnifies rounding errors: the largest |μ|/σ of its units, or of its samples' groups.
fn condition(op: &str, arrays: &Arrays) -> f64 {
    if !op.ends_with("norm") || matches!(op, "weight_norm" | "rms_norm") {
        return 1.0;
    }
    let (x, values) = (&arrays["x"].shape, arrays["x"].to_f64().unwrap_or_default());
    let (n, c) = (x[0], x[1]);
    let pixels: usize = x[2..].iter().product();
    let of = |count: usize, value: &dyn Fn(usize) -> f64| {
        let mean = (0..count).map(value).sum::<f64>() / count as f64;
        let variance = (0..count).map(|i| (value(i) - mean).powi(2)).sum::<f64>() / count as f64;
        if variance == 0.0 { 0.0 } else { mean.abs() / variance.sqrt() }
    };
    let groups = match op {
        "layer_norm" => 1,
        "group_norm" => arrays["attr.groups"].as_f64_scalar().unwrap_or(1.0) as usize,
        "instance_norm" => c,
        _ => {
            let unit = |j: usize| of(n * pixels, &|i| values[(i / pixels * c + j) * pixels + i % pixels]);
            return 1.0 + (0..c).map(unit).fold(0.0, f64::max);
        }
    };
    let size = c / groups * pixels;
    1.0 + (0..n * groups).map(|group| of(size, &|i| values[group * size + i])).fold(0.0, f64::max)
}

/// The relative error that is allowed.
fn bound(op: &str, arrays: &Arrays, mode: Mode) -> f64 {
    match mode {
        Mode::F32 => f64::from(f32::EPSILON) * (8.0 + 2.0 * longest_sum(op, arrays).sqrt()) * condition(op, arrays),
        Mode::Tf32 => 2e-3,
        Mode::Bf16 => 2e-2,
    }
}

fn check(op: &str, case: &Case, mode: Mode, seed: u64) -> Result<(), Failed> {
    let arrays = with_rounded_operands(op, &case.arrays(seed), mode);
    let found = shared::run(op, &mut shared::device(mode, None)?, &arrays)?;
    let expected = shared::run(op, &mut Cpu::<f64>::default(), &arrays)?;
    let allowed = bound(op, &arrays, mode);
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

/// A shape drawn for the operators that take maps: odd channels, batches up to 130, maps from 1×1 to 33×33.
fn random_cases(op: &str) -> Vec<Case> {
    let draw = |i: usize, j: u64, below: u32| (word(11, Purpose::Case, i as u32, 0, j) % below) as usize;
    let mut cases = Vec::new();
    for i in 0..8 {
        let [n, c, k] = [(0, 130), (1, 40), (2, 70)].map(|(j, below)| 1 + draw(i, j, below));
        // Few samples on large maps: the emulator is no GPU.
        let (h, w) = (1 + draw(i, 3, 33), 1 + draw(i, 4, 33));
        let n = n.min(1 + 3000 / (h * w));
        let c = if i == 0 { 1 } else { c };
        let name = format!("random_{n}x{c}x{h}x{w}_{k}");
        let x = [n, c, h, w];
        let law = Law::Normal { mean: 0.3, scale: 1.5 };
        let norm = |case: Case| {
            let relu = f64::from(u8::from(n * c * h * w < 2_000));
            case.with("x", &x, if op == "lp_norm" { Law::Lattice } else { law })
                .with("weight", &[c], law)
                .with("bias", &[c], law)
                .with("grad_y", &x, law)
                .set("relu", relu)
        };
        let case = Case::new(name);
        cases.push(match op {
            "conv2d" => normscape::ops::conv2d::cases::case(
                case.name,
                normscape::ops::conv2d::Map { h, w, n, c, k },
                i % 2 == 0,
            ),
            "batch_norm" => norm(case),
            "batch_renorm" => normscape::ops::norm::cases::renormed(norm(case), i % 2 == 0),
            "noisy_batch_norm" => norm(case).set("seed", i as f64).set("step", 3.0).set("layer", 2.0),
            "layer_norm" | "rms_norm" if c * h * w > 3 => norm(case),
            "group_norm" if c * h * w > 3 => {
                let groups = (1..=4).rev().find(|g| c % g == 0 && c / g * h * w > 3).unwrap_or(1);
                norm(case).set("groups", groups as f64)
            }
            "instance_norm" if h * w > 3 => norm(case),
            "lp_norm" => norm(case).set("p", [1.0, 2.0, f64::INFINITY, 3.0][i % 4]),
            "max_pool2d" if h > 1 && w > 1 => case.with("x", &x, law).with("grad_y", &[n, c, h / 2, w / 2], law),
            "linear" => {
                let scale = 1.0 / (c as f32).sqrt();
                let weight = Law::Normal { mean: 0.0, scale };
                case.with("x", &[n * h, c], law).with("weight", &[k, c], weight).with("bias", &[k], law).with(
                    "grad_y",
                    &[n * h, k],
                    law,
                )
            }
            _ => continue,
        });
    }
    cases
}

/// A linear layer that is large enough to be the driver's dense product.
fn large() -> Case {
    let extents = normscape::ops::linear::Extents { n: 520, i: 512, o: 528 };
    normscape::ops::linear::cases::case("large", extents, true)
}

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    let named = every_case().chain(
        normscape::ops::table::names().iter().flat_map(|&op| random_cases(op).into_iter().map(move |case| (op, case))),
    );
    for (i, (op, case)) in named.chain([("linear", large())]).enumerate() {
        for (mode, precision) in MODES {
            let case = case.clone();
            let seed = 1 + i as u64 % 5;
            let name = format!("parity::{op}::{}::{precision}", case.name);
            trials.push(Trial::test(name, move || check(op, &case, mode, seed)));
        }
    }
    trials
}
