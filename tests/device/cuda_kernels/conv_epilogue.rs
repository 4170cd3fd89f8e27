//! Code that the parity cases are too small to reach: the large tiles of the dense products, and the epilogues of the tensor-core kernels.

use normscape::ops::boundary::compare;
use normscape::ops::conv2d::{self, Conv2d, Map};
use normscape::ops::fusion::Fusion;
use normscape::ops::norm::{Norm, NormPass, NormSpec};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::driver::{Grid, Stored};
use normscape::runtime::cuda::{Cuda, Mode, kernels};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape};

fn device(mode: Mode, order: Option<u64>) -> Cuda {
    crate::shared::device(mode, order).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("no device")))
}

/// Exact f32 against the CPU in f64, and again with the threads in another order.
fn exact(map: Map, backward: bool) {
    let mut arrays = conv2d::cases::case("large", map, true).arrays(3);
    if !backward {
        arrays.remove("grad_y");
    }
    let found = crate::shared::run("conv2d", &mut device(Mode::F32, None), &arrays).unwrap();
    let expected = crate::shared::run("conv2d", &mut Cpu::<f64>::default(), &arrays).unwrap();
    let longest = (9 * map.c).max(9 * map.k).max(map.h * map.w * map.n) as f64;
    let allowed = f64::from(f32::EPSILON) * (8.0 + 2.0 * longest.sqrt());
    for (name, error) in compare("conv2d", &found, &expected).unwrap() {
        assert!(error <= allowed, "{name}: error {error:e} beyond {allowed:e}");
    }
    let shuffled = crate::shared::run("conv2d", &mut device(Mode::F32, Some(5)), &arrays).unwrap();
    assert!(crate::shared::different(&found, &shuffled).is_empty());
}

// A tile is taken where there are enough of it, so these are as small as they can be: maps of one row have three taps. 130 samples: a
// tile of 128 rows spans pixels. Channels swapped: the same tile in the input's gradient.
#[test]
fn tiles_of_128_by_64_follow_the_cpu() {
    exact(Map { h: 1, w: 64, n: 130, c: 5, k: 39 }, false);
    exact(Map { h: 1, w: 64, n: 128, c: 40, k: 4 }, true);
}

#[test]
fn tiles_of_128_by_128_follow_the_cpu() {
    exact(Map { h: 1, w: 256, n: 130, c: 4, k: 71 }, false);
    exact(Map { h: 1, w: 256, n: 128, c: 72, k: 4 }, true);
}

/// ReLU and column sums of the tensor-core products against those of their own plain output; and both tiles against each other, forward and
/// transposed: each element is the same sum in the same order. (The parity cases are small, and take the small tile.)
fn epilogue<T: Stored>(mode: Mode, dtype: DType) {
    let [h, w, n, c, k] = [3usize, 5, 37, 8, 72];
    let (rows, mut gpu) = (h * w * n, device(mode, None));
    let mut plan = gpu.plan();
    let x = plan.view(Shape::new([h, w, n, c]), dtype);
    let weight = plan.view(Shape::new([9, c, k]), dtype);
    let bias = plan.view(Shape::new([k]), DType::F32);
    let y = plan.view(Shape::new([h, w, n, k]), dtype);
    let sums = [128, 64].map(|tile| plan.view(Shape::new([rows.div_ceil(tile), 2, k]), DType::F64));
    let [mean, var] = [0; 2].map(|_| plan.view(Shape::new([k]), DType::F32));
    gpu.commit(&plan).unwrap();
    for (i, view) in [x, weight, bias].into_iter().enumerate() {
        let values: Vec<f32> =
            (0..view.shape.len()).map(|at| normal(word(7, Purpose::Case, i as u32, 0, at as u64))).collect();
        gpu.upload_f32(&values, Out(view)).unwrap();
    }
    let mut run = |tile: usize, relu: u32, transposed: bool| {
        let (sums, tickets) = (sums[usize::from(tile == 64)], gpu.tickets());
        let (driver, mut views) = gpu.begin("conv2d");
        let (a, b) = (views.read::<T>(In(x)).unwrap(), views.read::<T>(In(weight)).unwrap());
        let bias = views.read::<f32>(In(bias)).unwrap();
        let (mut y_of, mut s) = (views.write::<T>(Out(y)).unwrap(), views.write::<f64>(Out(sums)).unwrap());
        let (mut mean, mut var) = (views.write::<f32>(Out(mean)).unwrap(), views.write::<f32>(Out(var)).unwrap());
        let mut tickets = views.write::<u32>(tickets).unwrap();
        let grid = Grid::of([rows.div_ceil(tile), k.div_ceil(64), 1], 2 * tile as u32).shared(3 * 80 * (tile + 64));
        let [m, c, k, h, w, n] = [rows, c, k, h, w, n].map(|v| v as u32);
        let (direction, across) = if transposed { (-1, 1) } else { (1, 0) };
        let map = kernels::Map { rows: m, inner: c, columns: k, height: h, width: w, batch: n, taps: 9, direction };
        macro_rules! launch {
            ($kernel:ident) => {
                kernels::$kernel {
                    a,
                    b,
                    bias: Some(bias),
                    out: &mut y_of,
                    sums: Some(&mut s),
                    mean: Some(&mut mean),
                    var: Some(&mut var),
                    tickets: Some(&mut tickets),
                    map,
                    transposed: across,
                    relu,
                    vector: 1,
                }
                .launch(driver, grid)
            };
        }
        let launched = if tile == 64 { launch!(ProductMma64) } else { launch!(ProductMma) };
        launched.unwrap();
        (gpu.download_f64(In(y)).unwrap(), gpu.download_f64(In(sums)).unwrap())
    };
    for transposed in [false, true] {
        let plain = run(128, 0, transposed).0;
        assert!(plain.iter().any(|v| *v < 0.0));
        assert!(plain == run(64, 0, transposed).0, "the tiles differ");
        for (tile, relu) in [(128, 0), (128, 1), (64, 0), (64, 1)] {
            let (y, found) = run(tile, relu, transposed);
            assert!(plain.iter().zip(&y).all(|(plain, y)| if relu == 1 { plain.max(0.0) } else { *plain } == *y));
            for (number, part) in y.chunks(tile * k).enumerate() {
                for j in 0..k {
                    let column = || part.iter().skip(j).step_by(k);
                    let (sum, square): (f64, f64) = (column().sum(), column().map(|v| v * v).sum());
                    let at = |which: usize| found[(2 * number + which) * k + j];
                    let close = (at(0) - sum).abs() <= 1e-11 && (at(1) - square).abs() <= 1e-11 * square.max(1.0);
                    assert!(close, "tile {number} of {tile} rows, column {j}");
                }
            }
        }
    }
}

#[test]
fn the_epilogues_relu_and_column_sums_are_those_of_what_is_stored() {
    epilogue::<f32>(Mode::Tf32, DType::F32);
    epilogue::<half::bf16>(Mode::Bf16, DType::Bf16);
}

/// The first layer: enough rows that its gradient is added up from many splits.
#[test]
fn a_first_layer_follows_the_cpu() {
    exact(Map { h: 32, w: 32, n: 5, c: 3, k: 70 }, true);
    // Tiles of one pixel in the gradient, and in both.
    exact(Map { h: 5, w: 6, n: 192, c: 3, k: 64 }, true);
    exact(Map { h: 6, w: 5, n: 128, c: 3, k: 64 }, true);
}

/// The statistics that a convolution leaves, against those that the norm itself finds.
fn moments_left<T: Stored>(mode: Mode, map: Map) {
    let (mut gpu, float, Map { h, w, n, c, k }) = (device(mode, None), T::DTYPE, map);
    let mut plan = gpu.plan();
    let (x, weight) = (plan.view(Shape::new([h, w, n, c]), float), plan.view(Shape::new([9, c, k]), float));
    let [y, z] = [0; 2].map(|_| plan.view(Shape::new([h, w, n, k]), float));
    let [gamma, beta, mean, var, own_mean, own_var] = [0; 6].map(|_| plan.view(Shape::new([k]), DType::F32));
    let room = gpu.conv2d_workspace(map).len().max(gpu.norm_workspace(&NormSpec::batch(), y.shape).len());
    let workspace = plan.view(Shape::new([room]), DType::F32);
    gpu.commit(&plan).unwrap();
    for (i, view) in [x, weight, gamma, beta].into_iter().enumerate() {
        let values: Vec<f32> =
            (0..view.shape.len()).map(|at| normal(word(8, Purpose::Case, i as u32, 0, at as u64))).collect();
        gpu.upload_f32(&values, Out(view)).unwrap();
    }
    let fusion = Fusion { leave_moments: true, ..Fusion::default() };
    let places = Some([Out(mean), Out(var)]);
    gpu.conv2d_fused(In(x), In(weight), None, fusion, places, Out(y), Out(workspace)).unwrap();
    let left = NormPass {
        x: In(y),
        weight: In(gamma),
        bias: In(beta),
        y: Out(z),
        mean: Out(mean),
        spread: Out(var),
        state: None,
        moments_left: true,
        chosen: None,
        workspace: Out(workspace),
    };
    gpu.norm_forward(NormSpec::batch(), left).unwrap();
    let own = NormPass { mean: Out(own_mean), spread: Out(own_var), moments_left: false, ..left };
    gpu.norm_forward(NormSpec::batch(), own).unwrap();
    let [mean, var, own_mean, own_var] = [mean, var, own_mean, own_var].map(|view| gpu.download_f64(In(view)).unwrap());
    for j in 0..k {
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * own_var[j].max(1.0);
        assert!(close(mean[j], own_mean[j]) && close(var[j], own_var[j]), "{map:?}, unit {j}");
    }
}

#[test]
fn a_convolution_leaves_its_moments() {
    let first = |n| Map { h: 32, w: 32, n, c: 3, k: 64 };
    // Tiles of 64 rows, and of 128.
    moments_left::<half::bf16>(Mode::Bf16, first(1));
    moments_left::<f32>(Mode::Tf32, first(16));
    moments_left::<f32>(Mode::F32, first(1));
    // The exact kernels' three tiles, the last of each with rows and columns missing.
    for (w, n, k) in [(3, 37, 40), (64, 130, 39), (256, 130, 71)] {
        moments_left::<f32>(Mode::F32, Map { h: 1, w, n, c: 5, k });
    }
}
