//! What the cases of norms are too small to reach in passes over whole vectors: sums of several runs, and numbers at both ends of their range.

use normscape::ops::backend::Backend;
use normscape::ops::norm::{NormGrads, NormPass, NormSpec};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::driver::{Grid, Stored};
use normscape::runtime::cuda::{Mode, kernels};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape};

/// Rows of `columns` numbers, of which each column has a mean and a spread of its own.
fn drawn(rows: usize, columns: usize, law: impl Fn(usize) -> (f32, f32)) -> Vec<f32> {
    let of = |i: usize| {
        let (mean, scale) = law(i % columns);
        mean + scale * normal(word(9, Purpose::Case, 0, 0, i as u64))
    };
    (0..rows * columns).map(of).collect()
}

/// Mean and variance of every column, as the wide pass finds them in `parts` parts; and as f64 does.
fn moments<T: Stored>(mode: Mode, values: &[f32], columns: usize, parts: usize) -> [Vec<[f64; 2]>; 2] {
    let (rows, each) = (values.len() / columns, 16 / size_of::<T>());
    let mut gpu = crate::shared::device(mode, Some(3)).unwrap();
    let mut plan = gpu.plan();
    let x = plan.view(Shape::new([rows, columns]), T::DTYPE);
    let partials = plan.view(Shape::new([parts, 2, columns]), DType::F64);
    let places = [0; 2].map(|_| plan.view(Shape::new([columns]), DType::F32));
    gpu.commit(&plan).unwrap();
    gpu.upload_f32(values, Out(x)).unwrap();
    let stored = gpu.download_f64(In(x)).unwrap();
    let tickets = gpu.tickets();
    let (driver, mut views) = gpu.begin("batch_norm");
    let (x, mut sums) = (views.read::<T>(In(x)).unwrap(), views.write::<f64>(Out(partials)).unwrap());
    let [mut mean, mut var] = places.map(|view| views.write::<f32>(Out(view)).unwrap());
    let mut tickets = views.write::<u32>(tickets).unwrap();
    let (vectors, rows_per_part) = (columns / each, rows.div_ceil(parts));
    let width = vectors.next_power_of_two().min(8);
    let [r, c, p, w] = [rows, columns, rows_per_part, width].map(|v| v as u32);
    let matrix = kernels::Matrix { rows: r, columns: c, rows_per_part: p, width: w };
    let grid = Grid::of([vectors.div_ceil(width), parts, 1], 256);
    let (mean, var, tickets) = (&mut mean, &mut var, &mut tickets);
    kernels::MomentsWide { x, partials: &mut sums, mean, var, tickets, matrix }.launch(driver, grid).unwrap();
    let sums = gpu.download_f64(In(partials)).unwrap();
    let m = rows as f64;
    let found = |c: usize| {
        let [sum, square] =
            [0, 1].map(|which| sums.chunks(2 * columns).map(|part| part[which * columns + c]).sum::<f64>());
        [sum / m, square / m - (sum / m).powi(2)]
    };
    let exact = |c: usize| {
        let column = || stored[c..].iter().step_by(columns);
        let mean = column().sum::<f64>() / m;
        [mean, column().map(|v| (v - mean).powi(2)).sum::<f64>() / m]
    };
    [(0..columns).map(found).collect(), (0..columns).map(exact).collect()]
}

fn close(what: &str, [found, exact]: [Vec<[f64; 2]>; 2], allowed: f64) {
    for (c, (found, exact)) in found.iter().zip(&exact).enumerate() {
        let [mean, variance] = [found[0] - exact[0], found[1] - exact[1]];
        assert!(mean.abs() <= allowed * exact[1].sqrt(), "{what}, column {c}: mean {found:?}, not {exact:?}");
        assert!(variance.abs() <= allowed * exact[1], "{what}, column {c}: variance {found:?}, not {exact:?}");
    }
}

#[test]
fn sums_of_several_runs_keep_their_digits() {
    // 64 rows a thread are one run: of eight vectors a block takes 32 rows at once, of one 256.
    let far = |c: usize| (30.0 * c as f32, 1.0 + c as f32);
    close("float", moments::<f32>(Mode::F32, &drawn(5000, 32, far), 32, 1), 3e-6);
    close("parts", moments::<f32>(Mode::F32, &drawn(5001, 36, far), 36, 2), 3e-6);
    close("one vector", moments::<half::bf16>(Mode::Bf16, &drawn(40_000, 8, far), 8, 2), 3e-6);
}

#[test]
fn neither_outliers_nor_the_ends_of_the_range_spoil_the_moments() {
    // One sample far from all others, the first: a pivot of it alone would cost all digits of the others.
    let mut values = drawn(2000, 32, |_| (0.0, 1.0));
    values[..32].fill(1e4);
    close("outlier", moments::<f32>(Mode::F32, &values, 32, 2), 1e-5);
    // Squares that a float does not hold.
    let ends = |c: usize| [(0.0, 1e-25), (0.0, 1e25), (1e30, 1e25), (0.0, 1.0)][c % 4];
    close("ends", moments::<f32>(Mode::F32, &drawn(300, 32, ends), 32, 2), 1e-4);
}

#[test]
fn constant_columns_have_no_variance() {
    let [found, _] = moments::<f32>(Mode::F32, &drawn(333, 16, |c| (0.1 * c as f32, 0.0)), 16, 3);
    for (c, [mean, variance]) in found.into_iter().enumerate() {
        let exact = f64::from(0.1 * c as f32);
        assert!((mean - exact).abs() <= 1e-14 && variance.abs() <= 1e-14, "{c}: {mean}, {variance}");
    }
}

/// y and dx of an ℓp norm, of x `[rows, columns]`.
fn power_norm<B: Backend>(b: &mut B, spec: NormSpec, values: &[f32], columns: usize) -> [Vec<f64>; 2] {
    let (shape, float) = (Shape::new([values.len() / columns, columns]), b.activation_dtype());
    let mut plan = b.plan();
    let [x, y, dy, dx] = [0; 4].map(|_| plan.view(shape, float));
    let channel = Shape::new([columns]);
    let [weight, bias, mean, spread, grad_weight, grad_bias] = [0; 6].map(|_| plan.view(channel, b.dtype()));
    let workspace = plan.view(b.norm_workspace(&spec, shape), b.dtype());
    b.commit(&plan).unwrap();
    b.upload_f32(values, Out(x)).unwrap();
    let upstream: Vec<f32> = (0..values.len()).map(|i| normal(word(10, Purpose::Case, 0, 0, i as u64))).collect();
    b.upload_f32(&upstream, Out(dy)).unwrap();
    b.upload_f32(&vec![1.5; columns], Out(weight)).unwrap();
    b.upload_f32(&vec![0.25; columns], Out(bias)).unwrap();
    let pass = NormPass {
        x: In(x),
        weight: In(weight),
        bias: In(bias),
        y: Out(y),
        mean: Out(mean),
        spread: Out(spread),
        state: None,
        moments_left: false,
        chosen: None,
        workspace: Out(workspace),
    };
    b.norm_forward(spec, pass).unwrap();
    let grads = NormGrads { x: Out(dx), weight: Out(grad_weight), bias: Out(grad_bias), left: false };
    b.norm_backward(spec, pass, In(dy), grads).unwrap();
    [y, dx].map(|view| b.download_f64(In(view)).unwrap())
}

#[test]
fn the_ends_of_the_range_spoil_no_power_norm() {
    // Squares that a float does not hold, and a divisor whose inverse it hardly holds.
    let ends = |c: usize| (0.0, [1e-33, 1e-25, 1e25, 1.0][c % 4]);
    let columns = 32;
    let values = drawn(300, columns, ends);
    for p in [1.0, 1.5, 2.0, 3.0, f64::INFINITY] {
        // A block has columns of one size, and of all four.
        for values in [values.clone(), drawn(300, columns, |c| ends(c / 8))] {
            let spec = NormSpec { eps: 1e-37, ..NormSpec::lp(p) };
            let found = power_norm(&mut crate::shared::device(Mode::F32, Some(3)).unwrap(), spec, &values, columns);
            let exact = power_norm(&mut Cpu::<f64>::default(), spec, &values, columns);
            for (what, found, exact) in [("y", &found[0], &exact[0]), ("dx", &found[1], &exact[1])] {
                for c in 0..columns {
                    let [found, exact] = [found, exact].map(|all| all[c..].iter().step_by(columns));
                    let most = exact.clone().fold(0.0f64, |most, v| most.max(v.abs()));
                    let away = found.zip(exact).fold(0.0f64, |most, (a, b)| most.max((a - b).abs()));
                    assert!(away <= 2e-6 * most, "p = {p}, {what}, column {c}: {away:e} of {most:e}");
                }
            }
        }
    }
}
