//! Noise in passes over whole vectors: every element has the bits that the passes over pairs of units give it, and the sums are theirs but for the order
//! in which they are taken; which of the two run, tensors and shapes tell; and noise alone is the CPU's to the bit.

use half::bf16;
use normscape::ops::boundary::relative_error;
use normscape::ops::launch_grid::{ColumnGrid, Over};
use normscape::ops::noise::{Noise, NoiseOptions};
use normscape::ops::norm::{Norm, NormGrads, NormPass, NormSpec};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::driver::{Grid, Stored};
use normscape::runtime::cuda::emulator::Options;
use normscape::runtime::cuda::ledger::Ledger;
use normscape::runtime::cuda::{Cuda, Mode, kernels};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::state::StepState;
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape, View};

const NOISE: NoiseOptions = NoiseOptions { mean: 0.5, scale: 1.25, spread: 0.1, layer: 3 };

fn state() -> StepState {
    StepState::new(0x1234_5678_9ABC_DEF0, 7, 0.1)
}

/// Numbers drawn for the `which`-th tensor, in halves: windows with two that are equal before the noise are common.
fn drawn(which: u32, len: usize) -> Vec<f32> {
    let of = |at: usize| (2.0 * normal(word(23, Purpose::Case, which, 0, at as u64))).round() / 2.0;
    (0..len).map(of).collect()
}

/// One map, what follows the noise, and whether wide sums are taken in one part: then more rows than a run has are a thread's.
#[derive(Debug, Clone, Copy)]
struct Case {
    shape: [usize; 4],
    relu: bool,
    pool: bool,
    one_part: bool,
}

/// What the kernels make: of noise alone y and dx; of BatchNorm with noise y, dx from sums that are given, dγ and dβ.
struct Found {
    elements: [Vec<f64>; 4],
    sums: [Vec<f64>; 2],
}

/// Launches every kernel once, wide or not.
fn launched<T: Stored>(mode: Mode, case: Case, wide: bool, order: Option<u64>) -> Found {
    let (whole, mut gpu) = (Shape::new(case.shape), crate::shared::device(mode, order).unwrap());
    let over = Over::of("noise", whole, case.pool).unwrap();
    let (small, unit) = (over.shape, Shape::new([case.shape[3]]));
    let mut plan = gpu.plan();
    let [x, upstream, y_alone, dx_alone, dx] = [0; 5].map(|_| plan.view(whole, T::DTYPE));
    let [y, dy] = [0; 2].map(|_| plan.view(small, T::DTYPE));
    let given = [0; 6].map(|_| plan.view(unit, DType::F32));
    let made = [0; 2].map(|_| plan.view(unit, DType::F32));
    let at_step = plan.view(StepState::shape(), StepState::DTYPE);
    let workspace = plan.view(gpu.norm_workspace(&NormSpec::batch(), whole), DType::F32);
    gpu.commit(&plan).unwrap();
    let mut values = drawn(0, whole.len());
    values[5] = f32::NAN;
    gpu.upload_f32(&values, Out(x)).unwrap();
    gpu.upload_f32(&drawn(1, whole.len()), Out(upstream)).unwrap();
    gpu.upload_f32(&drawn(2, small.len()), Out(dy)).unwrap();
    for (which, (view, mean)) in given.into_iter().zip([1.0, 0.1, 0.2, 4.0, 3.0, -2.0]).enumerate() {
        let spread = 0.25 * f32::from(which != 3);
        let values: Vec<_> = drawn(3 + which as u32, unit.len()).into_iter().map(|v| mean + spread * v).collect();
        gpu.upload_f32(&values, Out(view)).unwrap();
    }
    gpu.set_state(&state(), Out(at_step)).unwrap();

    let tickets = gpu.tickets();
    let (driver, mut views) = gpu.begin("noise");
    let state = views.read::<u64>(In(at_step)).unwrap();
    let [x, upstream, dy] = [x, upstream, dy].map(|view| views.read::<T>(In(view)).unwrap());
    let [weight, bias, mean, var, sum_weight, sum_bias] = given.map(|view| views.read::<f32>(In(view)).unwrap());
    let [mut to_y, mut to_dx] = [y, dx].map(|view| views.write::<T>(Out(view)).unwrap());
    let [mut to_weight, mut to_bias] = made.map(|view| views.write::<f32>(Out(view)).unwrap());
    let mut room = views.write::<f32>(Out(workspace)).unwrap();
    let mut tickets = views.write::<u32>(tickets).unwrap();
    let each = |shape: Shape| {
        if wide { ColumnGrid::wide_each::<T>("noise", shape) } else { ColumnGrid::pairs("noise", shape) }.unwrap()
    };
    let (noise, relu, eps) = (kernels::NoiseOptions::from(NOISE), u32::from(case.relu), 1e-5);
    let (batch, pool) = (over.pool.batch, over.pool);
    macro_rules! launch {
        ($grid:expr, [$narrow:ident, $wide:ident, $pooled:ident] $operands:tt) => {
            match (wide, case.pool) {
                (false, _) => kernels::$narrow $operands.launch(driver, $grid),
                (true, false) => kernels::$wide $operands.launch(driver, $grid),
                (true, true) => kernels::$pooled $operands.launch(driver, $grid),
            }
            .unwrap()
        };
    }
    {
        let ColumnGrid { grid, matrix, .. } = each(whole);
        let [mut y, mut grad_x] = [y_alone, dx_alone].map(|view| views.write::<T>(Out(view)).unwrap());
        let (y, grad_x) = (&mut y, &mut grad_x);
        launch!(grid, [Noise, NoiseWide, NoiseWide] { x, state, y, relu, batch, noise, matrix });
        launch!(grid, [NoiseGradient, NoiseGradientWide, NoiseGradientWide] {
            x, grad_y: upstream, state, grad_x, relu, batch, noise, matrix
        });
    }
    let ColumnGrid { grid, matrix, .. } = each(small);
    launch!(grid, [NoisyApply, NoisyApplyWide, NoisyApplyWidePool] {
        x, weight, bias, mean, var, state, y: &mut to_y, eps, relu, noise, matrix, pool
    });
    launch!(grid, [NoisyGradient, NoisyGradientWide, NoisyGradientWidePool] {
        x, grad_y: dy, weight, bias, mean, var, grad_weight: sum_weight, grad_bias: sum_bias, state, grad_x: &mut to_dx, eps, relu,
        noise, matrix, pool
    });
    let sums =
        if wide { ColumnGrid::wide_sums::<T>("noise", small) } else { ColumnGrid::pair_sums_over("noise", over) };
    let mut at = sums.unwrap();
    if wide && case.one_part {
        let [across, parts, _] = at.grid.blocks;
        assert!(parts > 1, "{case:?}");
        let matrix = kernels::Matrix { rows_per_part: at.matrix.rows, ..at.matrix };
        at = ColumnGrid { grid: Grid::of([across as usize, 1, 1], 256), matrix, parts: 1 };
    }
    let (mut partials, mut tickets) = (at.partials(&mut room), at.tickets("noise", &mut tickets).unwrap());
    let (ColumnGrid { grid, matrix, .. }, partials, tickets) = (at, &mut partials, &mut tickets);
    launch!(grid, [NoisyGradientSums, NoisyGradientSumsWide, NoisyGradientSumsWidePool] {
        x, grad_y: dy, weight, bias, mean, var, state, partials, grad_weight: &mut to_weight, grad_bias: &mut to_bias, tickets, eps,
        relu, noise, matrix, pool
    });
    let mut fetch = |view: View| gpu.download_f64(In(view)).unwrap();
    Found { elements: [y_alone, dx_alone, y, dx].map(&mut fetch), sums: made.map(fetch) }
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn compared<T: Stored>(mode: Mode, case: Case) {
    let [narrow, wide] = [false, true].map(|wide| launched::<T>(mode, case, wide, None));
    for (what, (wide, narrow)) in
        ["y", "dx", "noisy y", "noisy dx"].iter().zip(wide.elements.iter().zip(&narrow.elements))
    {
        let differ = bits(wide).iter().zip(bits(narrow)).filter(|&(a, b)| *a != b).count();
        assert_eq!(differ, 0, "{case:?}, {mode:?}: {what}, of {}", wide.len());
    }
    for (what, (wide, narrow)) in ["dγ", "dβ"].iter().zip(wide.sums.iter().zip(&narrow.sums)) {
        let error = relative_error(wide, narrow);
        assert!(error <= 1e-6, "{case:?}, {mode:?}: {what} {error:e}");
    }
    // x has one NaN: its unit's dγ is one, and no other's.
    assert_eq!(wide.sums[0].iter().filter(|v| v.is_nan()).count(), 1, "{case:?}, {mode:?}: dγ");
    for order in [3, 7] {
        let other = launched::<T>(mode, case, true, Some(order));
        for (what, (a, b)) in
            wide.elements.iter().chain(&wide.sums).zip(other.elements.iter().chain(&other.sums)).enumerate()
        {
            assert!(bits(a) == bits(b), "{case:?}, {mode:?}: other bits of the {what}-th in order {order}");
        }
    }
}

#[test]
fn the_bits_are_those_of_pairs_whichever_way_vectors_are_dealt_out() {
    // One vector and several, more than a block takes, with a ragged end; one sample, a batch of more and of fewer samples than a block has rows.
    for shape in [[2, 6, 5, 8], [4, 2, 1, 24], [2, 2, 300, 8], [6, 4, 37, 72], [2, 4, 3, 136]] {
        for (relu, pool) in [(true, false), (false, true), (true, true), (false, false)] {
            let case = Case { shape, relu, pool, one_part: false };
            compared::<f32>(Mode::F32, case);
            compared::<bf16>(Mode::Bf16, case);
        }
    }
    // A multiple of four is whole vectors of f32 alone.
    for pool in [false, true] {
        compared::<f32>(Mode::F32, Case { shape: [4, 4, 7, 12], relu: true, pool, one_part: false });
    }
}

#[test]
fn sums_of_several_runs_are_those_of_pairs() {
    // A run is 64 rows of each of the 32 threads that share eight vectors: 2080 windows are two runs, and so are 2080 rows.
    let several = |shape, pool| Case { shape, relu: true, pool, one_part: true };
    compared::<f32>(Mode::F32, several([8, 10, 104, 32], true));
    compared::<f32>(Mode::F32, several([4, 5, 104, 32], false));
    compared::<bf16>(Mode::Bf16, several([4, 5, 104, 64], false));
}

/// y and dx of noise alone, and of BatchNorm with noise, whose tensors begin an element beside a multiple of 16 bytes where `beside`; the names of the
/// kernels that drew them.
fn drawn_by(mode: Mode, shape: Shape, beside: bool) -> ([Vec<f64>; 2], Vec<&'static str>) {
    let driver = crate::shared::driver(Options { poison: true, ..Options::from_environment().unwrap() }).unwrap();
    let mut gpu = Cuda::new(Ledger::new(driver, false), mode).unwrap();
    let (float, unit) = (gpu.activation_dtype(), Shape::new([shape.hwnc()[3]]));
    let mut plan = gpu.plan();
    let [x, dy, y, dx] = [0; 4].map(|_| {
        let place = plan.view(Shape::new([shape.len() + 1]), float);
        let offset = place.offset + if beside { place.bytes() / place.shape.len() } else { 0 };
        View { offset, shape, ..place }
    });
    let [weight, bias, mean, spread, grad_weight, grad_bias] = [0; 6].map(|_| plan.view(unit, DType::F32));
    let at_step = plan.view(StepState::shape(), StepState::DTYPE);
    let spec = NormSpec::noisy(NOISE);
    let workspace = plan.view(gpu.norm_workspace(&spec, shape), DType::F32);
    gpu.commit(&plan).unwrap();
    gpu.upload_f32(&drawn(0, shape.len()), Out(x)).unwrap();
    gpu.upload_f32(&drawn(1, shape.len()), Out(dy)).unwrap();
    gpu.upload_f32(&vec![1.5; unit.len()], Out(weight)).unwrap();
    gpu.upload_f32(&vec![0.25; unit.len()], Out(bias)).unwrap();
    gpu.set_state(&state(), Out(at_step)).unwrap();
    gpu.noise(NOISE, true, In(x), In(at_step), Out(y)).unwrap();
    gpu.noise_backward(NOISE, true, In(x), In(dy), In(at_step), Out(dx)).unwrap();
    let found = [y, dx].map(|view| gpu.download_f64(In(view)).unwrap());
    let pass = NormPass {
        x: In(x),
        weight: In(weight),
        bias: In(bias),
        y: Out(y),
        mean: Out(mean),
        spread: Out(spread),
        state: Some(In(at_step)),
        moments_left: false,
        chosen: None,
        workspace: Out(workspace),
    };
    gpu.norm_forward(spec, pass).unwrap();
    let grads = NormGrads { x: Out(dx), weight: Out(grad_weight), bias: Out(grad_bias), left: false };
    gpu.norm_backward(spec, pass, In(dy), grads).unwrap();
    let names = gpu.driver().entries.iter().map(|entry| entry.kernel).filter(|name| name.starts_with("nois"));
    (found, names.collect())
}

/// The same of the CPU, from operands as the device has them, rounded as the device rounds.
fn expected(mode: Mode, shape: Shape) -> [Vec<f64>; 2] {
    let round = |v: f32| if mode == Mode::Bf16 { bf16::from_f32(v).to_f32() } else { v };
    let mut cpu = Cpu::<f32>::default();
    let mut plan = cpu.plan();
    let [x, dy, y, dx] = [0; 4].map(|_| plan.view(shape, DType::F32));
    let at_step = plan.view(StepState::shape(), StepState::DTYPE);
    cpu.commit(&plan).unwrap();
    for (which, view) in [(0, x), (1, dy)] {
        let values: Vec<_> = drawn(which, shape.len()).into_iter().map(round).collect();
        cpu.upload_f32(&values, Out(view)).unwrap();
    }
    cpu.set_state(&state(), Out(at_step)).unwrap();
    cpu.noise(NOISE, true, In(x), In(at_step), Out(y)).unwrap();
    cpu.noise_backward(NOISE, true, In(x), In(dy), In(at_step), Out(dx)).unwrap();
    [y, dx].map(|view| cpu.download_f64(In(view)).unwrap().into_iter().map(|v| f64::from(round(v as f32))).collect())
}

#[test]
fn shapes_and_tensors_tell_which_passes_draw_the_cpus_noise() {
    for (mode, columns, beside, wide) in [
        (Mode::F32, 12, false, true),
        (Mode::F32, 12, true, false),
        (Mode::F32, 9, false, false),
        (Mode::Tf32, 12, false, true),
        (Mode::Bf16, 24, false, true),
        (Mode::Bf16, 24, true, false),
        (Mode::Bf16, 12, false, false),
    ] {
        let shape = Shape::new([3, 5, 11, columns]);
        let (found, names) = drawn_by(mode, shape, beside);
        let of = format!("{mode:?}, {columns} units, beside: {beside}");
        assert!(names.len() == 5 && names.iter().all(|name| name.contains("_wide_") == wide), "{of}: {names:?}");
        for (what, (found, expected)) in ["y", "dx"].iter().zip(found.iter().zip(expected(mode, shape))) {
            assert!(bits(found) == bits(&expected), "{of}: {what} is not the CPU's");
        }
    }
}
