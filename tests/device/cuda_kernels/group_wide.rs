//! The wide passes of norms over groups: of what comes of an element they give the bits of the narrow ones, and their sums are those of f64, the same in
//! every order of threads.

use normscape::runtime::cuda::driver::{Grid, Stored};
use normscape::runtime::cuda::{Mode, kernels};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape};

/// Pixels, samples, channels and groups, and the parts that the pixels are cut into.
#[derive(Debug, Clone, Copy)]
struct Extents {
    pixels: usize,
    samples: usize,
    channels: usize,
    groups: usize,
    parts: usize,
}

/// How a block's threads stand on the matrix of pixels × (N·C): a column each, or in this many vectors of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Pass {
    Narrow,
    Wide(usize),
}

/// y and dx; and of every part Σx, Σx², Σdy and Σdy·x̂ of every column.
#[derive(PartialEq)]
struct Found {
    each: [Vec<f64>; 2],
    sums: [Vec<f64>; 2],
}

const EPS: f64 = 1e-3;

/// What a device is given: x, dy, γ, β, μ, σ² and the two means. Group `g` of all has the mean g and the spread g + 1, about.
fn given(of: Extents) -> [Vec<f32>; 8] {
    let columns = of.samples * of.channels;
    let drawn = |seed, len: usize| move || (0..len).map(move |i| normal(word(seed, Purpose::Case, 0, 0, i as u64)));
    let group = |i: usize| i % columns / (of.channels / of.groups) % 7;
    let x = drawn(1, of.pixels * columns)().enumerate().map(|(i, v)| group(i) as f32 + v * (1 + group(i)) as f32);
    let groups = || 0..of.samples * of.groups;
    [
        x.collect(),
        drawn(2, of.pixels * columns)().collect(),
        drawn(3, of.channels)().collect(),
        drawn(4, of.channels)().collect(),
        groups().zip(drawn(5, of.samples * of.groups)()).map(|(g, v)| (g % 7) as f32 + 0.1 * v).collect(),
        groups().map(|g| (1.1 + (g % 7) as f32).powi(2)).collect(),
        drawn(6, of.samples * of.groups)().collect(),
        drawn(7, of.samples * of.groups)().collect(),
    ]
}

fn passes<T: Stored>(mode: Mode, of: Extents, pass: Pass, relu: bool, order: Option<u64>) -> Found {
    let Extents { pixels, samples, channels, groups, parts } = of;
    let (columns, each) = (samples * channels, 16 / size_of::<T>());
    let mut gpu = crate::shared::device(mode, order).unwrap();
    let mut plan = gpu.plan();
    let [x, dy, y, dx] = [0; 4].map(|_| plan.view(Shape::new([pixels, 1, samples, channels]), T::DTYPE));
    let [weight, bias] = [0; 2].map(|_| plan.view(Shape::new([channels]), DType::F32));
    let [mean, var, mean_q, mean_u] = [0; 4].map(|_| plan.view(Shape::new([samples * groups]), DType::F32));
    let partials = [0; 2].map(|_| plan.view(Shape::new([parts, 2, columns]), DType::F64));
    gpu.commit(&plan).unwrap();
    for (view, values) in [x, dy, weight, bias, mean, var, mean_q, mean_u].into_iter().zip(given(of)) {
        gpu.upload_f32(&values, Out(view)).unwrap();
    }
    let (driver, mut views) = gpu.begin("group_norm");
    let [weight, bias, mean, var, mean_q, mean_u] =
        [weight, bias, mean, var, mean_q, mean_u].map(|view| views.read::<f32>(In(view)).unwrap());
    let [x, grad_y] = [x, dy].map(|view| views.read::<T>(In(view)).unwrap());
    let [mut to, mut grad_x] = [y, dx].map(|view| views.write::<T>(Out(view)).unwrap());
    let [mut moments, mut gradients] = partials.map(|view| views.write::<f64>(Out(view)).unwrap());
    let (width, across) = match pass {
        Pass::Narrow => (32, columns.div_ceil(32)),
        Pass::Wide(width) => (width, (columns / each).div_ceil(width)),
    };
    let [r, c, p, w] = [pixels, columns, pixels.div_ceil(parts), width].map(|v| v as u32);
    let matrix = kernels::Matrix { rows: r, columns: c, rows_per_part: p, width: w };
    let [all, count] = [channels, groups].map(|v| v as u32);
    let groups = kernels::Groups { channels: all, count, centre: 1 };
    let (grid, relu, eps) = (Grid::of([across, parts, 1], 256), u32::from(relu), EPS);
    let (y_of, dx_of, partials_of) = (&mut to, &mut grad_x, &mut gradients);
    macro_rules! all {
        ($apply:ident, $sums:ident, $gradient:ident) => {{
            kernels::$apply { x, weight, bias, mean, var, y: y_of, eps, relu, matrix, groups }
                .launch(driver, grid)
                .unwrap();
            kernels::$sums { x, grad_y, weight, bias, mean, var, partials: partials_of, eps, relu, matrix, groups }
                .launch(driver, grid)
                .unwrap();
            kernels::$gradient {
                x,
                grad_y,
                weight,
                bias,
                mean,
                var,
                mean_q,
                mean_u,
                grad_x: dx_of,
                eps,
                relu,
                matrix,
                groups,
            }
            .launch(driver, grid)
            .unwrap();
        }};
    }
    if pass == Pass::Narrow {
        kernels::MomentsPartial { x, partials: &mut moments, mean: None, var: None, tickets: None, matrix }
            .launch(driver, grid)
            .unwrap();
        all!(GroupApply, GroupGradientSums, GroupGradient);
    } else {
        kernels::GroupMomentsWide { x, partials: &mut moments, matrix }.launch(driver, grid).unwrap();
        all!(GroupApplyWide, GroupGradientSumsWide, GroupGradientWide);
    }
    let [y, dx, moments, gradients] = [y, dx, partials[0], partials[1]].map(|view| gpu.download_f64(In(view)).unwrap());
    Found { each: [y, dx], sums: [moments, gradients] }
}

/// Groups that end within vectors, and a last block of columns that is not whole; a group for each channel; more rows of a thread than a run has; one row;
/// several blocks of as many columns as there are threads.
const EXTENTS: [Extents; 5] = [
    Extents { pixels: 37, samples: 3, channels: 24, groups: 8, parts: 1 },
    Extents { pixels: 9, samples: 4, channels: 16, groups: 16, parts: 2 },
    Extents { pixels: 4500, samples: 2, channels: 8, groups: 1, parts: 2 },
    Extents { pixels: 1, samples: 5, channels: 40, groups: 2, parts: 1 },
    Extents { pixels: 50, samples: 9, channels: 64, groups: 4, parts: 3 },
];

fn compare<T: Stored>(mode: Mode) {
    for (of, relu) in EXTENTS.into_iter().flat_map(|of| [(of, false), (of, true)]) {
        let narrow = passes::<T>(mode, of, Pass::Narrow, relu, None);
        // Two vectors, and as many as a block takes at most.
        for width in [2, 16 * size_of::<T>()] {
            let what = format!("{of:?}, {mode:?}, {width} vectors, relu {relu}");
            let wide = passes::<T>(mode, of, Pass::Wide(width), relu, None);
            for (name, wide, narrow) in [("y", &wide.each[0], &narrow.each[0]), ("dx", &wide.each[1], &narrow.each[1])]
            {
                let other = wide.iter().zip(narrow).position(|(a, b)| a != b);
                assert!(
                    other.is_none(),
                    "{what}: {name} of element {other:?} has other bits than the narrow pass gives"
                );
            }
            for (name, wide, narrow) in
                [("moments", &wide.sums[0], &narrow.sums[0]), ("gradients", &wide.sums[1], &narrow.sums[1])]
            {
                let size = narrow.iter().fold(0.0f64, |most, v| most.max(v.abs()));
                let away = wide.iter().zip(narrow).fold(0.0f64, |most, (a, b)| most.max((a - b).abs()));
                assert!(away <= 2e-6 * size, "{what}: sums of {name} are {away:e} apart, of {size:e}");
            }
            let shuffled = passes::<T>(mode, of, Pass::Wide(width), relu, Some(11));
            assert!(wide == shuffled, "{what}: other bits in another order of threads");
        }
    }
}

#[test]
fn wide_passes_give_the_bits_of_narrow_ones_and_their_sums_in_float() {
    compare::<f32>(Mode::F32);
}

#[test]
fn wide_passes_give_the_bits_of_narrow_ones_and_their_sums_in_bf16() {
    compare::<half::bf16>(Mode::Bf16);
}
