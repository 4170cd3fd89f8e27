//! Input gradients that leave the gradients of the norm below: the sums of what they store, for every kernel that does so; the same whether the norm
//! takes its sums itself or has them left, with a pool between and without; and mistakes, each of which is found.

use normscape::ops::boundary::relative_error;
use normscape::ops::conv2d::{self, Conv2d};
use normscape::ops::linear::{self, Linear};
use normscape::ops::norm::{Norm, NormGrads, NormPass, NormSpec};
use normscape::ops::weight_grads::{NormBelow, WeightGrads};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::driver::{Driver, Grid, Stored};
use normscape::runtime::cuda::emulator::{Emulator, Options};
use normscape::runtime::cuda::kernels::{self, Map, Norming};
use normscape::runtime::cuda::ledger::Ledger;
use normscape::runtime::cuda::{Cuda, Mode};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape, View};
use normscape::{Error, Result};

fn options(order: Option<u64>, hopper: bool) -> Options {
    Options { order, poison: true, hopper, ..Options::from_environment().unwrap() }
}

fn driver(order: Option<u64>, hopper: bool) -> Box<dyn Driver> {
    crate::shared::driver(options(order, hopper)).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("no device")))
}

/// Numbers drawn for the `which`-th tensor.
fn drawn(which: u32, len: usize) -> Vec<f32> {
    (0..len).map(|at| normal(word(41, Purpose::Case, which, 0, at as u64))).collect()
}

/// The gradient of an input of 1 × `width` pixels and `columns` channels, through weights to `inner` channels.
#[derive(Debug, Clone, Copy)]
struct Case {
    kernel: &'static str,
    width: usize,
    batch: usize,
    inner: usize,
    columns: usize,
}

/// The norm's operands, what was stored, and dγ and dβ.
struct Found {
    x: Vec<f64>,
    dy: Vec<f64>,
    /// γ, β, μ, and σ² or s.
    constants: [Vec<f64>; 4],
    grads: [Vec<f64>; 2],
}

fn launched<T: Stored>(driver: Box<dyn Driver>, mode: Mode, case: Case, norming: Norming) -> Result<Found> {
    let Case { kernel, width, batch, inner, columns } = case;
    let (mut gpu, rows) = (Cuda::new(driver, mode)?, width * batch);
    let mut plan = gpu.plan();
    let [of_y, x, dx] = [inner, columns, columns].map(|c| plan.view(Shape::new([1, width, batch, c]), T::DTYPE));
    let weight = plan.view(Shape::new([9, columns, inner]), T::DTYPE);
    let per_unit = [0; 6].map(|_| plan.view(Shape::new([columns]), DType::F32));
    let sums = plan.view(Shape::new([rows.div_ceil(64), 2, columns]), DType::F64);
    gpu.commit(&plan)?;
    let [gamma, beta, mean, spread, grad_gamma, grad_beta] = per_unit;
    for (which, view) in [of_y, x, weight, gamma, beta, mean].into_iter().enumerate() {
        gpu.upload_f32(&drawn(which as u32, view.shape.len()), Out(view))?;
    }
    gpu.upload_f32(&drawn(6, columns).iter().map(|v| 0.5 + v * v).collect::<Vec<_>>(), Out(spread))?;
    let tickets = gpu.tickets();
    let (driver, mut views) = gpu.begin("conv2d");
    let (a, b, of_x) = (views.read::<T>(In(of_y))?, views.read::<T>(In(weight))?, views.read::<T>(In(x))?);
    let mut out = views.write::<T>(Out(dx))?;
    let mut of = |view: View| views.read::<f32>(In(view));
    let (g, be, m, s) = (of(gamma)?, of(beta)?, of(mean)?, of(spread)?);
    let (mut to_gamma, mut to_beta) = (views.write::<f32>(Out(grad_gamma))?, views.write::<f32>(Out(grad_beta))?);
    let (mut sums, mut tickets) = (views.write::<f64>(Out(sums))?, views.write::<u32>(tickets)?);
    let [number_of_rows, c, k, w, n] = [rows, inner, columns, width, batch].map(|v| v as u32);
    let map = Map { rows: number_of_rows, inner: c, columns: k, height: 1, width: w, batch: n, taps: 9, direction: -1 };
    let vector = u32::from(inner % 8 == 0 && columns % 8 == 0);
    macro_rules! launch {
        ($kernel:ident, $a:expr, $b:expr, $out:expr, $x:expr, $grid:expr $(, $more:ident)?) => {
            kernels::$kernel {
                a: $a,
                b: $b,
                out: $out,
                x: $x,
                gamma: g,
                beta: be,
                mean: m,
                spread: s,
                sums: &mut sums,
                grad_gamma: &mut to_gamma,
                grad_beta: &mut to_beta,
                tickets: &mut tickets,
                norming,
                map,
                $($more,)?
            }
            .launch(driver, $grid)?
        };
    }
    let grid = |tall: usize, wide: usize, threads| {
        Grid::of([rows.div_ceil(tall), columns.div_ceil(wide), 1], threads).shared(98_304)
    };
    // One cluster, whose tiles lie one below the other: it goes through all.
    let (some, across) = (Grid::of([4, 1, 1], 288).shared(208_896), 1);
    let tiles = |wide| (a.tiles([inner, rows], [64, 128]), b.tiles([inner, 9 * columns], [64, wide]));
    match kernel {
        "tile_128" => launch!(InputGradientTile128, a, b, &mut out, of_x, grid(128, 128, 128)),
        "tile_64" => launch!(InputGradientTile64, a, b, &mut out, of_x, grid(128, 64, 128)),
        "tile_split" => launch!(InputGradientTileSplit, a, b, &mut out, of_x, grid(32, 64, 128)),
        "wgmma_128" => {
            let (a, b) = tiles(32);
            launch!(InputGradientWgmma128, a, b, &mut out.as_bf16(), of_x.as_bf16(), some, across)
        }
        "wgmma_64" => {
            let (a, b) = tiles(16);
            launch!(InputGradientWgmma64, a, b, &mut out.as_bf16(), of_x.as_bf16(), some, across)
        }
        _ if mode == Mode::F32 => {
            let (a, b, out, x) = (a.as_f32(), b.as_f32(), &mut out.as_f32(), of_x.as_f32());
            match kernel {
                "exact_128" => launch!(InputGradientExact128, a, b, out, x, grid(128, 128, 256)),
                "exact_64" => launch!(InputGradientExact64, a, b, out, x, grid(128, 64, 256)),
                "exact_split" => launch!(InputGradientExactSplit, a, b, out, x, grid(32, 64, 256)),
                "any_128" => launch!(InputGradient128x128, a, b, out, x, grid(128, 128, 256), vector),
                _ => launch!(InputGradient128x64, a, b, out, x, grid(128, 64, 256), vector),
            }
        }
        "mma_64" => launch!(InputGradientMma64, a, b, &mut out, of_x, grid(64, 64, 128), vector),
        _ => launch!(InputGradientMma, a, b, &mut out, of_x, grid(128, 64, 256), vector),
    }
    let mut read = |view: View| gpu.download_f64(In(view));
    let constants = [read(gamma)?, read(beta)?, read(mean)?, read(spread)?];
    Ok(Found { x: read(x)?, dy: read(dx)?, constants, grads: [read(grad_gamma)?, read(grad_beta)?] })
}

/// How far dγ and dβ are from the sums of what was stored, in f64, as a part of the sums of magnitudes: the worst column.
fn distance(found: &Found, norming: Norming) -> f64 {
    let [gamma, beta, mean, spread] = &found.constants;
    let columns = gamma.len();
    let of_column = |j: usize| {
        let divisor = if norming.kind == 0 { (spread[j] + norming.eps).sqrt() } else { spread[j] + norming.eps };
        // Σ, Σ of magnitudes, and the magnitude of what the ReLU may or may not let through, where float decides: of dy·ŷ and of dy.
        let mut sums = [[0.0; 3]; 2];
        for (x, dy) in found.x.iter().zip(&found.dy).skip(j).step_by(columns) {
            let y_hat = (x - mean[j]) / divisor;
            let before = gamma[j] * y_hat + beta[j];
            let near = before.abs() <= 1e-6 * (beta[j].abs() + (gamma[j] * y_hat).abs());
            let through = norming.relu == 0 || before > 0.0;
            for (sum, term) in sums.iter_mut().zip([dy * y_hat, *dy]) {
                *sum = [
                    sum[0] + if through { term } else { 0.0 },
                    sum[1] + term.abs(),
                    sum[2] + if near && norming.relu == 1 { term.abs() } else { 0.0 },
                ];
            }
        }
        let far = |which: usize| {
            let [sum, size, unsure] = sums[which];
            ((found.grads[which][j] - sum).abs() - unsure).max(0.0) / size
        };
        far(0).max(far(1))
    };
    (0..columns).map(of_column).fold(0.0, f64::max)
}

/// A thread takes the sums of its few rows in float32.
const BOUND: f64 = 1e-6;

const WHOLE: Case = Case { kernel: "", width: 3, batch: 128, inner: 64, columns: 128 };
const CASES: [Case; 8] = [
    Case { kernel: "tile_128", ..WHOLE },
    Case { kernel: "tile_64", ..WHOLE },
    Case { kernel: "tile_split", ..WHOLE },
    Case { kernel: "wgmma_128", ..WHOLE },
    Case { kernel: "wgmma_64", ..WHOLE },
    Case { kernel: "mma", ..WHOLE },
    // Tiles that are not whole, with rows of whole vectors and without.
    Case { kernel: "mma", width: 5, batch: 37, inner: 24, columns: 72 },
    Case { kernel: "mma_64", width: 3, batch: 37, inner: 5, columns: 39 },
];

/// In exact f32. Two have tiles that are not whole.
const EXACT: [Case; 6] = [
    Case { kernel: "exact_128", ..WHOLE },
    Case { kernel: "exact_64", ..WHOLE },
    Case { kernel: "exact_split", ..WHOLE },
    Case { kernel: "any_128", ..WHOLE },
    Case { kernel: "any_128", width: 5, batch: 37, inner: 24, columns: 72 },
    Case { kernel: "any_64", width: 3, batch: 37, inner: 5, columns: 39 },
];

/// Every norm that the kernels tell apart.
fn normings() -> [Norming; 3] {
    [(0, 1), (0, 0), (1, 1)].map(|(kind, relu)| Norming { eps: 1e-3, kind, relu })
}

#[test]
fn every_kernel_leaves_the_sums_of_what_it_stores() {
    fn check<T: Stored>(mode: Mode, case: Case, normings: &[Norming]) {
        let hopper = case.kernel.starts_with("wgmma");
        if hopper && !driver(None, true).properties().hopper {
            return;
        }
        let mut plain = None;
        for &norming in normings {
            let found = launched::<T>(driver(None, hopper), mode, case, norming).unwrap();
            let far = distance(&found, norming);
            assert!(far <= BOUND, "{case:?}, {mode:?}, {norming:?}: {far:e}");
            // What is stored does not depend on the norm.
            assert!(*plain.get_or_insert_with(|| found.dy.clone()) == found.dy, "{case:?}, {norming:?}");
            for order in [1, 2] {
                let other = launched::<T>(driver(Some(order), hopper), mode, case, norming).unwrap();
                assert!(other.dy == found.dy && other.grads == found.grads, "{case:?}, order {order}");
            }
        }
    }
    for case in CASES {
        check::<half::bf16>(Mode::Bf16, case, &normings());
        if !case.kernel.starts_with("wgmma") {
            check::<f32>(Mode::Tf32, case, &normings()[..1]);
        }
    }
    for case in EXACT {
        check::<f32>(Mode::F32, case, &normings());
    }
}

/// The kernels' text with one piece exchanged, which may be in one of two headers.
fn planted(source: &str, from: &str, to: &str) -> Box<dyn Driver> {
    let header = |name: &str| kernels::HEADERS.iter().find(|of| of.0 == name).unwrap().1;
    let source = kernels::SOURCES.iter().find(|of| of.name == source).unwrap();
    let whole = ["tile_epilogue.cuh", "norm_below.cuh"]
        .iter()
        .fold(source.text.to_owned(), |text, name| text.replace(&format!("#include \"{name}\""), header(name)));
    assert_eq!(whole.matches(from).count(), 1, "{from}");
    let text = String::leak(whole.replace(from, to).replace("#pragma once", ""));
    Box::new(Emulator::new(options(None, false)).unwrap().with_source("planted", text))
}

#[test]
fn mistakes_in_the_sums_are_found() {
    let case = Case { kernel: "tile_64", width: 2, columns: 64, ..WHOLE };
    let norming = normings()[0];
    let mistakes = [
        ("the mask", "if (fmaf(centred, gain.v[j], bias.v[j]) <= floor) continue;", ""),
        ("the scale", "return {all.a, all.b * held.own.inverse};", "return {all.a, all.b};"),
        ("x's row", "x[k] = load4(from + at + k * TALL * (u64)map.columns);", "x[k] = load4(from + at);"),
    ];
    for (what, from, to) in mistakes {
        let found = launched::<half::bf16>(planted("conv_tile", from, to), Mode::Bf16, case, norming).unwrap();
        let far = distance(&found, norming);
        assert!(far > 1e3 * BOUND, "{what}: {far:e}");
    }
}

/// Who takes the sums of a norm's gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sums {
    Norm,
    Convolution,
    /// The convolution, from the first of a pool's window, whichever was the largest.
    First,
}

/// The norm's dy, dγ, dβ and dx, and the kernels that made them. The norm's output, which a pool makes smaller where the spec says so, goes through a
/// convolution, or where `dense` through a linear layer. Weights lie `beside` a multiple of 16 bytes, or on one.
fn through(
    driver: Box<dyn Driver>,
    mode: Mode,
    spec: NormSpec,
    map: conv2d::Map,
    dense: bool,
    beside: bool,
    sums: Sums,
) -> ([Vec<f64>; 4], Vec<&'static str>) {
    let mut gpu = Cuda::new(Ledger::new(driver, false), mode).unwrap();
    let (conv2d::Map { h, w, n, c, k }, float) = (map, gpu.activation_dtype());
    let (small, times) = (Shape::new([h, w, n, c]), if spec.pool { 2 } else { 1 });
    let whole = Shape::new([times * h, times * w, n, c]);
    let extents = linear::Extents { n: h * w * n, i: c, o: k };
    assert!(if dense { gpu.linear_leaves_norm_grads(extents) } else { gpu.conv2d_leaves_norm_grads(map) });
    let mut plan = gpu.plan();
    let [x, dx] = [0; 2].map(|_| plan.view(whole, float));
    let [y, chosen, dy] = [0; 3].map(|_| plan.view(small, float));
    let grad = plan.view(Shape::new([h, w, n, k]), float);
    let taps = if dense { Shape::new([c, k]) } else { Shape::new([9, c, k]) };
    let place = plan.view(Shape::new([taps.len() + 1]), float);
    let offset = place.offset + if beside { place.bytes() / place.shape.len() } else { 0 };
    let weight = View { offset, shape: taps, ..place };
    let per_unit = [0; 6].map(|_| plan.view(Shape::new([c]), DType::F32));
    let [gamma, beta, mean, spread, grad_gamma, grad_beta] = per_unit;
    let room = gpu.conv2d_workspace(map).len().max(gpu.linear_workspace(extents).len());
    let workspace = plan.view(Shape::new([room.max(gpu.norm_workspace(&spec, whole).len())]), DType::F32);
    gpu.commit(&plan).unwrap();
    for (which, view) in [x, gamma, beta, grad, weight].into_iter().enumerate() {
        gpu.upload_f32(&drawn(which as u32, view.shape.len()), Out(view)).unwrap();
    }
    let pass = NormPass {
        x: In(x),
        weight: In(gamma),
        bias: In(beta),
        y: Out(y),
        mean: Out(mean),
        spread: Out(spread),
        state: None,
        moments_left: false,
        chosen: spec.pool.then_some(Out(chosen)),
        workspace: Out(workspace),
    };
    gpu.norm_forward(spec, pass).unwrap();
    if sums == Sums::First {
        let all = gpu.download_f64(In(x)).unwrap();
        let first = |at: usize| {
            let (pixel, rest) = (at / (n * c), at % (n * c));
            all[(2 * (pixel / w) * 2 * w + 2 * (pixel % w)) * n * c + rest] as f32
        };
        gpu.upload_f32(&(0..small.len()).map(first).collect::<Vec<_>>(), Out(chosen)).unwrap();
    }
    let below = NormBelow {
        x: In(if spec.pool { chosen } else { x }),
        weight: In(gamma),
        bias: In(beta),
        mean: In(mean),
        spread: In(spread),
        divisor: spec.divisor,
        eps: spec.eps,
        relu: spec.relu,
        grad_weight: Out(grad_gamma),
        grad_bias: Out(grad_beta),
    };
    let left = sums != Sums::Norm;
    let grads = WeightGrads { x: Some(Out(dy)), weight: None, bias: None, norm: left.then_some(below), update: None };
    let begun = gpu.driver().entries.len();
    if dense {
        gpu.linear_backward(In(y), In(weight), In(grad), grads, Out(workspace)).unwrap();
    } else {
        gpu.conv2d_backward(In(y), In(weight), In(grad), grads, Out(workspace)).unwrap();
    }
    let grads = NormGrads { x: Out(dx), weight: Out(grad_gamma), bias: Out(grad_beta), left };
    gpu.norm_backward(spec, pass, In(dy), grads).unwrap();
    let names = gpu.driver().entries[begun..].iter().map(|entry| entry.kernel).collect();
    ([dy, grad_gamma, grad_beta, dx].map(|view| gpu.download_f64(In(view)).unwrap()), names)
}

#[test]
fn a_norm_finds_what_the_layer_above_has_left() {
    let small = conv2d::Map { h: 3, w: 2, n: 5, c: 24, k: 12 };
    let odd = conv2d::Map { c: 7, k: 3, ..small };
    let split = conv2d::Map { h: 1, w: 2, n: 128, c: 64, k: 64 };
    let [tile_64, tile_128] = [(8, 9, 64), (8, 16, 128)].map(|(h, w, c)| conv2d::Map { h, w, n: 128, c, k: 64 });
    let head = conv2d::Map { h: 1, w: 1, n: 128, c: 64, k: 10 };
    let narrow = conv2d::Map { k: 9, ..head };
    let (bf16, tf32) = (Mode::Bf16, Mode::Tf32);
    let mut cases = vec![
        (bf16, head, true, "head_gradients_bf16"),
        (tf32, head, true, "head_gradients_f32"),
        (Mode::F32, head, true, "head_gradients_f32"),
        (bf16, narrow, true, "input_gradient_mma_64_bf16"),
        (bf16, small, false, "input_gradient_mma_64_bf16"),
        (tf32, small, false, "input_gradient_mma_64_f32"),
        (bf16, odd, false, "input_gradient_mma_64_bf16"),
        (bf16, split, false, "input_gradient_tile_split_bf16"),
        (tf32, split, false, "input_gradient_tile_split_f32"),
        (bf16, tile_64, false, "input_gradient_tile_64_bf16"),
        (bf16, tile_128, false, "input_gradient_tile_128_bf16"),
        (Mode::F32, split, false, "input_gradient_exact_split"),
        (Mode::F32, tile_64, false, "input_gradient_exact_64"),
        // Where weights do not lie on a multiple of 16 bytes.
        (Mode::F32, split, false, "input_gradient_128x64"),
    ];
    let there = driver(None, true).properties().hopper;
    let wgmma = [(tile_64, "input_gradient_wgmma_64"), (tile_128, "input_gradient_wgmma_128")];
    cases.extend(wgmma.into_iter().filter(|_| there).map(|(map, name)| (bf16, map, false, name)));
    let shared = [(tile_64, "input_gradient_shared_64"), (tile_128, "input_gradient_shared_128")];
    cases.extend(shared.into_iter().filter(|_| there).map(|(map, name)| (tf32, map, false, name)));
    for (mode, map, dense, kernel) in cases {
        let hopper = kernel.contains("wgmma") || kernel.contains("shared");
        let (large, beside) = (map.h * map.w > 6, kernel == "input_gradient_128x64");
        let specs = [NormSpec::batch(), NormSpec::lp(1.0), NormSpec::lp(2.5)].map(|of| NormSpec { relu: true, ..of });
        for spec in specs.into_iter().take(if large { 1 } else { 3 }) {
            for pool in [false, true].into_iter().filter(|pool| !large || !pool) {
                let spec = NormSpec { pool, ..spec };
                let name = format!("{spec}, {map:?}, {mode:?}, pool {pool}");
                let run = |sums| through(driver(None, hopper), mode, spec, map, dense, beside, sums);
                let (own, own_names) = run(Sums::Norm);
                let (left, names) = run(Sums::Convolution);
                let takes_sums = |names: &[&str]| names.iter().any(|name| name.contains("gradient_sums"));
                assert!(names.contains(&kernel) && !takes_sums(&names) && takes_sums(&own_names), "{name}: {names:?}");
                assert!(own[0] == left[0], "{name}: dy");
                let far = |found: &[Vec<f64>; 4]| [1, 2, 3].map(|i| relative_error(&found[i], &own[i]));
                // dx is rounded: a difference in the last place of a sum may show in a few elements.
                let [of_gamma, of_beta, of_x] = far(&left);
                let bound = if mode == Mode::Bf16 { 1e-3 } else { 1e-5 };
                assert!(of_gamma <= 1e-5 && of_beta <= 1e-5 && of_x <= bound, "{name}: {:?}", far(&left));
                if pool {
                    let (wrong, _) = run(Sums::First);
                    assert!(far(&wrong)[0] > 1e-2, "{name}: a wrong choice is not found: {:?}", far(&wrong));
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_left_is_refused() {
    fn said(result: Result<()>) -> String {
        result.map_err(|error: Error| error.to_string()).unwrap_err()
    }
    fn conv<B: Conv2d + Storage>(mut b: B, norm_channels: usize) -> String {
        let map = conv2d::Map { h: 1, w: 2, n: 2, c: 4, k: 3 };
        let mut plan = b.plan();
        let [x, dx] = [0; 2].map(|_| plan.view(Shape::new([1, 2, 2, 4]), b.activation_dtype()));
        let grad = plan.view(Shape::new([1, 2, 2, 3]), b.activation_dtype());
        let weight = plan.view(Shape::new([9, 4, 3]), b.activation_dtype());
        let unit = [0; 6].map(|_| plan.view(Shape::new([norm_channels]), b.dtype()));
        let workspace = plan.view(b.conv2d_workspace(map), b.dtype());
        b.commit(&plan).unwrap();
        let NormSpec { divisor, eps, relu, .. } = NormSpec::batch();
        let [weight_of, bias, mean, spread, grad_weight, grad_bias] = unit;
        let norm = NormBelow {
            x: In(x),
            weight: In(weight_of),
            bias: In(bias),
            mean: In(mean),
            spread: In(spread),
            divisor,
            eps,
            relu,
            grad_weight: Out(grad_weight),
            grad_bias: Out(grad_bias),
        };
        let grads = WeightGrads { x: Some(Out(dx)), weight: None, bias: None, norm: Some(norm), update: None };
        said(b.conv2d_backward(In(x), In(weight), In(grad), grads, Out(workspace)))
    }
    let device = |mode| crate::shared::device(mode, None).unwrap();
    assert!(conv(Cpu::<f32>::default(), 4).contains("a backend that leaves a norm's gradients"));
    let exact = conv(device(Mode::F32), 4);
    assert!(exact.contains("extents and a precision at which a norm's gradients are left"), "{exact}");
    let other = conv(device(Mode::Bf16), 5);
    assert!(other.contains("a norm below of 4 rows of 4 channels"), "{other}");
}
