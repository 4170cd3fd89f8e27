//! The CPU's convolution in f32, with the algorithm that each shape uses, against direct sums in f64.

use normscape::ops::conv2d::cpu::{forward, grad_input, grad_weight, workspace};
use normscape::ops::conv2d::{Algorithm, Map};
use normscape::runtime::float::Float;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::tensor::DType;

/// What the algorithms' documentation says of VGG-16's shapes.
const PROMISED: f64 = 3e-6;

/// Relative L2 error.
fn error(found: &[f32], expected: &[f64]) -> f64 {
    let apart: f64 = found.iter().zip(expected).map(|(&f, e)| (f64::from(f) - e).powi(2)).sum();
    (apart / expected.iter().map(|e| e * e).sum::<f64>()).sqrt()
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

struct Operands {
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    grad_y: Vec<f32>,
}

/// Normal draws; with `relu` inputs as a ReLU leaves them, and gradients of many sizes.
fn operands(map: &Map, relu: bool) -> Operands {
    let draws = |len: usize, stream: u32| -> Vec<f32> {
        (0..len).map(|i| normal(word(21, Purpose::Case, stream, 0, i as u64))).collect()
    };
    let pixels = map.h * map.w * map.n;
    let scale = (2.0 / (9 * (map.c + map.k)) as f32).sqrt();
    let mut of = Operands {
        x: draws(pixels * map.c, 0),
        weight: draws(9 * map.c * map.k, 1).iter().map(|w| w * scale).collect(),
        bias: draws(map.k, 2),
        grad_y: draws(pixels * map.k, 3),
    };
    if relu {
        of.x.iter_mut().for_each(|x| *x = x.max(0.0));
        let sizes = draws(of.grad_y.len(), 4);
        of.grad_y.iter_mut().zip(sizes).for_each(|(dy, size)| *dy *= 1e-4 * size.exp());
    }
    of
}

/// y, dx and dw.
fn passes<T: Float>(algorithm: Algorithm, map: &Map, of: [&[T]; 4]) -> [Vec<T>; 3] {
    let [x, weight, bias, grad_y] = of;
    let zeros = |len: usize| vec![T::ZERO; len];
    let (mut y, mut dx, mut dw) = (zeros(grad_y.len()), zeros(x.len()), zeros(weight.len()));
    // What a workspace holds before must not matter.
    let mut room = vec![T::of(f64::NAN); workspace::<T>(algorithm, map)];
    forward(algorithm, map, x, weight, Some(bias), &mut y, &mut room);
    grad_input(algorithm, map, weight, grad_y, &mut dx, &mut room);
    grad_weight(algorithm, map, x, grad_y, &mut dw, &mut room);
    [y, dx, dw]
}

fn in_f32(map: &Map, of: &Operands) -> [Vec<f32>; 3] {
    passes(Algorithm::of(map, DType::F32, false), map, [&of.x, &of.weight, &of.bias, &of.grad_y])
}

fn in_f64(map: &Map, of: &Operands) -> [Vec<f64>; 3] {
    let [x, weight, bias, grad_y] = [&of.x, &of.weight, &of.bias, &of.grad_y].map(|values| widened(values));
    passes(Algorithm::of(map, DType::F64, false), map, [&x, &weight, &bias, &grad_y])
}

fn errors(map: &Map, of: &Operands) -> [f64; 3] {
    let (found, expected) = (in_f32(map, of), in_f64(map, of));
    std::array::from_fn(|i| error(&found[i], &expected[i]))
}

/// Sides and channels of VGG-16's layers beyond the first.
const LAYERS: [(usize, usize, usize); 8] = [
    (32, 64, 64),
    (16, 64, 128),
    (16, 128, 128),
    (8, 128, 256),
    (8, 256, 256),
    (4, 256, 512),
    (4, 512, 512),
    (2, 512, 512),
];

#[test]
fn every_pass_of_vgg16s_layers_is_as_near_to_f64_as_is_said() {
    for (side, c, k) in LAYERS {
        // The weight gradient's sums are as long as the batch is large: there a quarter of the channels, and all images.
        for (n, c, k) in [(8, c, k), (128, c / 4, k / 4)] {
            let map = Map { h: side, w: side, n, c, k };
            for relu in [false, true] {
                let errors = errors(&map, &operands(&map, relu));
                assert!(errors.iter().all(|&error| error <= PROMISED), "{map:?}, relu {relu}: y, dx, dw {errors:?}");
            }
        }
    }
}

#[test]
fn maps_and_batches_of_any_size_are_right() {
    let map = |h, w, n, c, k| Map { h, w, n, c, k };
    let maps = [
        map(8, 8, 8, 16, 16),
        map(6, 7, 9, 16, 48),
        map(9, 6, 70, 32, 16),
        map(13, 13, 65, 48, 32),
        map(17, 30, 11, 16, 80),
        map(4, 4, 130, 16, 144),
        map(2, 2, 131, 48, 160),
        // Large maps and small ones are gone about in different ways.
        map(24, 24, 33, 16, 32),
        map(4, 8, 200, 160, 128),
    ];
    for map in maps {
        assert_ne!(Algorithm::of(&map, DType::F32, false), Algorithm::Direct, "{map:?}");
        let errors = errors(&map, &operands(&map, false));
        assert!(errors.iter().all(|&error| error <= PROMISED), "{map:?}: y, dx, dw {errors:?}");
    }
}

#[test]
fn threads_change_no_bit() {
    for (h, w, n, c, k) in
        [(16, 16, 12, 32, 48), (8, 8, 9, 64, 160), (4, 4, 131, 16, 32), (2, 2, 20, 64, 128), (32, 32, 9, 16, 16)]
    {
        let map = Map { h, w, n, c, k };
        let of = operands(&map, true);
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| in_f32(&map, &of)).map(|values| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
        };
        let one = with(1);
        for threads in [2, 3, 7] {
            assert!(with(threads) == one, "{map:?}: {threads} threads give other bits than 1");
        }
    }
}

#[test]
fn what_is_not_finite_stays_so_and_reaches_its_tile_and_no_further() {
    let map = Map { h: 12, w: 12, n: 8, c: 16, k: 16 };
    for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        let of = operands(&map, false);
        let finite = in_f32(&map, &of);
        let mut spoilt = operands(&map, false);
        // Pixel (5, 6) of image 3 lies in the middle tile and meets no other tile's outputs.
        let (h, w, image) = (5, 6, 3);
        spoilt.x[((h * 12 + w) * 8 + image) * 16 + 2] = bad;
        let [y, _, dw] = in_f32(&map, &spoilt);
        for (i, (&y, &before)) in y.iter().zip(&finite[0]).enumerate() {
            let (pixel, n) = (i / 16 / 8, i / 16 % 8);
            let (row, column) = (pixel / 12, pixel % 12);
            if n == image && row.abs_diff(h) < 2 && column.abs_diff(w) < 2 {
                assert!(!y.is_finite(), "({row}, {column}) sees {bad} and is {y}");
            } else if n != image || row / 4 != 1 || column / 4 != 1 {
                assert_eq!(y.to_bits(), before.to_bits(), "({row}, {column}) of image {n} does not see {bad}");
            }
        }
        // Of channel 2 every tap's gradient meets the pixel.
        assert!((0..9).all(|tap| dw[(tap * 16 + 2) * 16..][..16].iter().all(|v| !v.is_finite())), "{bad}");
        assert!(dw.iter().enumerate().filter(|(i, _)| i / 16 % 16 != 2).all(|(_, v)| v.is_finite()), "{bad}");
    }
}
