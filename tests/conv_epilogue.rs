//! What the parity cases are too small to reach: the large tiles of the dense products, and the epilogues of the tensor-core kernels.

mod shared;

use normscape::ops::conv2d::{self, Map};
use normscape::ops::door::compare;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::driver::{Grid, Stored};
use normscape::runtime::cuda::{Cuda, Mode, kernels};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape};

fn device(mode: Mode, order: Option<u64>) -> Cuda {
    shared::device(mode, order).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("no device")))
}

/// Exact f32 against the CPU in f64, and again with the threads in another order.
fn exact(map: Map, backward: bool) {
    let mut arrays = conv2d::cases::case("large", map, true).arrays(3);
    if !backward {
        arrays.remove("grad_y");
    }
    let found = shared::run("conv2d", &mut device(Mode::F32, None), &arrays).unwrap();
    let expected = shared::run("conv2d", &mut Cpu::<f64>::default(), &arrays).unwrap();
    let longest = (9 * map.c).max(9 * map.k).max(map.h * map.w * map.n) as f64;
    let allowed = f64::from(f32::EPSILON) * (8.0 + 2.0 * longest.sqrt());
    for (name, error) in compare("conv2d", &found, &expected).unwrap() {
        assert!(error <= allowed, "{name}: error {error:e} beyond {allowed:e}");
    }
    let shuffled = shared::run("conv2d", &mut device(Mode::F32, Some(5)), &arrays).unwrap();
    assert!(shared::different(&found, &shuffled).is_empty());
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
    exact(Map { h: 1, w: 256, n: 130, c: 3, k: 71 }, false);
    exact(Map { h: 1, w: 256, n: 128, c: 72, k: 4 }, true);
}

/// ReLU and column sums of `product_mma` against those of the same kernel's plain output.
fn epilogue<T: Stored>(mode: Mode, dtype: DType) {
    let [h, w, n, c, k] = [3usize, 5, 37, 8, 72];
    let (rows, mut gpu) = (h * w * n, device(mode, None));
    let tiles = rows.div_ceil(128);
    let mut plan = gpu.plan();
    let x = plan.view(Shape::new([h, w, n, c]), dtype);
    let weight = plan.view(Shape::new([9, c, k]), dtype);
    let bias = plan.view(Shape::new([k]), DType::F32);
    let ys = [0, 1].map(|_| plan.view(Shape::new([h, w, n, k]), dtype));
    let sums = [0, 1].map(|_| plan.view(Shape::new([tiles, 2, k]), DType::F64));
    gpu.commit(&plan).unwrap();
    for (i, view) in [x, weight, bias].into_iter().enumerate() {
        let values: Vec<f32> =
            (0..view.shape.len()).map(|at| normal(word(7, Purpose::Case, i as u32, 0, at as u64))).collect();
        gpu.upload_f32(&values, Out(view)).unwrap();
    }
    for relu in 0..2u32 {
        let (driver, mut views) = gpu.begin("conv2d");
        let (a, b, bias) = (
            views.read::<T>(In(x)).unwrap(),
            views.read::<T>(In(weight)).unwrap(),
            views.read::<f32>(In(bias)).unwrap(),
        );
        let mut y = views.write::<T>(Out(ys[relu as usize])).unwrap();
        let mut s = views.write::<f64>(Out(sums[relu as usize])).unwrap();
        let grid = Grid::of([tiles, k.div_ceil(64), 1], 256).shared(46_080);
        let [m, c, k, h, w, n] = [rows, c, k, h, w, n].map(|v| v as u32);
        kernels::product_mma(
            driver,
            grid,
            &a,
            &b,
            Some(&bias),
            &mut y,
            Some(&mut s),
            m,
            c,
            k,
            h,
            w,
            n,
            9,
            1,
            0,
            relu,
            1,
        )
        .unwrap();
    }
    let y = ys.map(|view| gpu.download_f64(In(view)).unwrap());
    assert!(y[0].iter().zip(&y[1]).all(|(plain, relu)| plain.max(0.0) == *relu));
    assert!(y[0].iter().any(|v| *v < 0.0));
    for (y, view) in y.iter().zip(sums) {
        let found = gpu.download_f64(In(view)).unwrap();
        for (tile, part) in y.chunks(128 * k).enumerate() {
            for j in 0..k {
                let column = || part.iter().skip(j).step_by(k);
                let (sum, square): (f64, f64) = (column().sum(), column().map(|v| v * v).sum());
                let at = |which: usize| found[(2 * tile + which) * k + j];
                assert!(
                    (at(0) - sum).abs() <= 1e-11 && (at(1) - square).abs() <= 1e-11 * square.max(1.0),
                    "{tile} {j}"
                );
            }
        }
    }
}

#[test]
fn the_epilogues_relu_and_column_sums_are_those_of_what_is_stored() {
    epilogue::<f32>(Mode::Tf32, DType::F32);
    epilogue::<half::bf16>(Mode::Bf16, DType::Bf16);
}
