//! The products in tf32 whose operands clusters share: whole operators of them against the CPU in f64 with operands rounded alike; and one result for every
//! number of clusters, every shape of theirs and every order of threads.

use normscape::files::Values;
use normscape::ops::boundary::compare;
use normscape::ops::conv2d;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::driver::{Driver, Grid};
use normscape::runtime::cuda::emulator::Options;
use normscape::runtime::cuda::kernels::{self, Map, Norming};
use normscape::runtime::cuda::ledger::Ledger;
use normscape::runtime::cuda::{Cuda, Mode};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape};

const BATCH: usize = 128;

fn device(order: Option<u64>, hopper: bool) -> Box<dyn Driver> {
    let options = Options { order, poison: true, hopper, ..Options::from_environment().unwrap() };
    crate::shared::driver(options).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("no device")))
}

/// To tf32, to nearest even.
fn rounded(v: f32) -> f32 {
    f32::from_bits((v.to_bits() + 0xFFF + (v.to_bits() >> 13 & 1)) & 0xFFFF_E000)
}

#[test]
fn operators_round_their_operands_and_follow_the_cpu() {
    // Of the last, a cluster's tiles lie side by side; of the second, it has tiles below one another, which share weights alone.
    // Of the second, parts of the weight's gradient begin and end within lines; of the last, its blocks share x.
    for (h, w, n, c, k, wide, side) in
        [(8, 16, BATCH, 64, 128, 128, 64), (4, 9, 2 * BATCH, 64, 64, 64, 64), (1, 17, BATCH, 256, 256, 64, 128)]
    {
        let arrays = conv2d::cases::case("large", conv2d::Map { h, w, n, c, k }, false).arrays(5);
        let mut alike = arrays.clone();
        for (name, array) in &mut alike {
            let Values::F32(values) = &mut array.values else { continue };
            if name != "bias" {
                values.iter_mut().for_each(|v| *v = rounded(*v));
            }
        }
        let expected = crate::shared::run("conv2d", &mut Cpu::<f64>::default(), &alike).unwrap();
        let mut gpu = Cuda::new(Ledger::new(device(None, true), false), Mode::Tf32).unwrap();
        let there = gpu.driver().properties().hopper;
        let found = crate::shared::run("conv2d", &mut gpu, &arrays).unwrap();
        let names: Vec<_> = gpu.driver().entries.iter().map(|entry| entry.kernel).collect();
        let kernels = [("product", wide), ("input_gradient", 64), ("weight_gradient", side)];
        for kernel in kernels.map(|(what, size)| format!("{what}_shared_{size}")) {
            assert_eq!(names.contains(&&*kernel), there, "{kernel} of {names:?}");
        }
        // Cut off in place of rounded, an operand alone would be 2e-4 away.
        for (name, error) in compare("conv2d", &found, &expected).unwrap() {
            assert!(error <= 2e-6, "{h} × {w} × {n}, {c} → {k}: {name} {error:e}");
        }
    }
}

/// A map of one line.
fn map_of(width: usize, channels: [usize; 2], direction: i32) -> Map {
    let [rows, inner, columns, width] = [BATCH * width, channels[0], channels[1], width].map(|n| n as u32);
    Map { rows, inner, columns, height: 1, width, batch: 128, taps: 9, direction }
}

/// A product of a map of 1 × 5 pixels, 64 channels to 256, in tiles of `wide` columns, `across` side by side, by so many clusters.
fn product(transposed: bool, wide: usize, across: usize, clusters: usize, order: Option<u64>) -> Vec<f64> {
    let (width, inner, columns) = (5, 64, 256);
    let mut gpu = Cuda::new(device(order, true), Mode::Tf32).unwrap();
    let mut plan = gpu.plan();
    let x = plan.view(Shape::new([1, width, BATCH, inner]), DType::F32);
    let weight = plan.view(Shape::new([9, inner, columns]), DType::F32);
    let y = plan.view(Shape::new([1, width, BATCH, columns]), DType::F32);
    let moments = plan.view(Shape::new([width, 2, columns]), DType::F64);
    let [mean, var] = [0; 2].map(|_| plan.view(Shape::new([columns]), DType::F32));
    gpu.commit(&plan).unwrap();
    for (i, view) in [x, weight].into_iter().enumerate() {
        let value = |at: usize| normal(word(41, Purpose::Case, i as u32, 0, at as u64));
        gpu.upload_f32(&(0..view.shape.len()).map(value).collect::<Vec<_>>(), Out(view)).unwrap();
    }
    for view in [mean, var] {
        gpu.upload_f32(&vec![0.0; columns], Out(view)).unwrap();
    }
    let tickets = gpu.tickets();
    let (driver, mut views) = gpu.begin("conv2d");
    let a = views.read::<f32>(In(x)).unwrap().tiles([inner, width * BATCH], [32, 128 / across]);
    let (share, weight) = (wide * across / 4, views.read::<f32>(In(weight)).unwrap());
    let mut out = views.write::<f32>(Out(y)).unwrap();
    let mut sums = views.write::<f64>(Out(moments)).unwrap();
    let [mut of_mean, mut of_var] = [mean, var].map(|view| views.write::<f32>(Out(view)).unwrap());
    let mut tickets = views.write::<u32>(tickets).unwrap();
    let [rows, narrow, broad, along] = [BATCH * width, inner, columns, width].map(|n| n as u32);
    let map = |direction| Map {
        rows,
        inner: narrow,
        columns: broad,
        height: 1,
        width: along,
        batch: 128,
        taps: 9,
        direction,
    };
    let (out, across, grid) = (&mut out, across as u32, Grid::of([4 * clusters, 1, 1], 288).shared(208_896));
    if transposed {
        let (b, map) = (weight.tiles([inner, 9 * columns], [32, share]), map(-1));
        macro_rules! launch {
            ($kernel:ident) => {
                kernels::$kernel {
                    a,
                    b,
                    out,
                    norm_x: None,
                    gamma: None,
                    beta: None,
                    mean: None,
                    spread: None,
                    sums: None,
                    grad_gamma: None,
                    grad_beta: None,
                    norm_tickets: None,
                    norming: Norming { eps: 0.0, kind: 0, relu: 0 },
                    map,
                    across,
                }
                .launch(driver, grid)
            };
        }
        if wide == 128 { launch!(InputGradientShared128) } else { launch!(InputGradientShared64) }
    } else {
        let (b, map) = (weight.tiles([columns, 9 * inner], [32, share.min(32)]), map(1));
        let (sums, mean, var) = (Some(&mut sums), Some(&mut of_mean), Some(&mut of_var));
        let (tickets, bias, relu) = (Some(&mut tickets), None, 1);
        macro_rules! launch {
            ($kernel:ident) => {
                kernels::$kernel { a, b, bias, out, sums, mean, var, tickets, map, across, relu }.launch(driver, grid)
            };
        }
        if wide == 128 { launch!(ProductShared128) } else { launch!(ProductShared64) }
    }
    .unwrap();
    [y, mean, var].into_iter().flat_map(|view| gpu.download_f64(In(view)).unwrap()).collect()
}

#[test]
fn neither_clusters_nor_their_shapes_nor_the_order_of_threads_change_a_bit() {
    if !device(None, true).properties().hopper {
        return;
    }
    for (wide, transposed) in [(64, false), (128, false), (64, true), (128, true)] {
        // Of five pixels a tall cluster has tiles that are not there, and pixels at the edge lack taps that others have.
        let first = product(transposed, wide, 1, 1, None);
        assert!(first.iter().all(|v| v.is_finite()));
        for across in [1, 2, 4].into_iter().filter(|across| 256 / wide % across == 0) {
            let (clusters, order) = (3, Some(across as u64));
            let found = product(transposed, wide, across, clusters, order);
            assert!(found == first, "{wide} columns, {across} across, {clusters} clusters, {order:?}, {transposed}");
        }
    }
}

/// The two splits of a weight's gradient on a map of 1 × 3 pixels, in tiles of `side` channels of x, by so many clusters.
fn weight_gradient(side: usize, clusters: usize, order: Option<u64>) -> Vec<f64> {
    let (width, inner, columns, rows) = (3, 128, 256, if side == 128 { 32 } else { 64 });
    let mut gpu = Cuda::new(device(order, true), Mode::Tf32).unwrap();
    let mut plan = gpu.plan();
    let x = plan.view(Shape::new([1, width, BATCH, inner]), DType::F32);
    let y = plan.view(Shape::new([1, width, BATCH, columns]), DType::F32);
    let parts = plan.view(Shape::new([2, 9, inner, columns]), DType::F32);
    gpu.commit(&plan).unwrap();
    for (i, view) in [x, y].into_iter().enumerate() {
        let value = |at: usize| normal(word(43, Purpose::Case, i as u32, 0, at as u64));
        gpu.upload_f32(&(0..view.shape.len()).map(value).collect::<Vec<_>>(), Out(view)).unwrap();
    }
    let (driver, mut views) = gpu.begin("conv2d");
    let x = views.read::<f32>(In(x)).unwrap().tiles([inner, width * BATCH], [32, rows / 4]);
    let grad_y = views.read::<f32>(In(y)).unwrap().tiles([columns, width * BATCH], [32, rows]);
    let (mut out, map) = (views.write::<f32>(Out(parts)).unwrap(), map_of(width, [inner, columns], 1));
    let (partials, per_split, splits) = (&mut out, 256, 2);
    let grid = Grid::of([4 * clusters, 1, 1], 288).shared(180_224);
    macro_rules! launch {
        ($kernel:ident) => {
            kernels::$kernel { x, grad_y, partials, out: None, tickets: None, map, per_split, splits }
                .launch(driver, grid)
        };
    }
    if side == 128 { launch!(WeightGradientShared128) } else { launch!(WeightGradientShared64) }.unwrap();
    gpu.download_f64(In(parts)).unwrap()
}

#[test]
fn neither_clusters_nor_the_order_of_threads_change_a_bit_of_a_weights_gradient() {
    if !device(None, true).properties().hopper {
        return;
    }
    for side in [64, 128] {
        let first = weight_gradient(side, 1, None);
        for (clusters, order) in [(3, None), (2, Some(1))] {
            assert!(weight_gradient(side, clusters, order) == first, "{side}, {clusters} clusters, {order:?}");
        }
    }
}
