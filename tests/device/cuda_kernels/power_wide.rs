//! The wide passes of ℓp norms whose p has no kernel of its own: dx has the bits of the narrow pass, with a pool and without, and sums are the same in every
//! order of threads.

use normscape::runtime::cuda::driver::{Grid, Stored};
use normscape::runtime::cuda::{Mode, kernels};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape};

const BATCH: usize = 5;
/// A map of 4 × 6 pixels.
const MAP: [usize; 2] = [4, 6];

/// dx, and of every part Σx and Σ(|x|/M)^p of every column, of a norm of power `p`: by narrow passes, or by those over this many vectors of a row.
fn passes<T: Stored>(
    mode: Mode,
    (p, pooled): (f64, bool),
    columns: usize,
    width: Option<usize>,
    order: Option<u64>,
) -> [Vec<f64>; 2] {
    let (parts, rows) = (2, MAP[0] * MAP[1] * BATCH);
    let mut gpu = crate::shared::device(mode, order).unwrap();
    let mut plan = gpu.plan();
    let over = if pooled { rows / 4 } else { rows };
    let [x, dx] = [0; 2].map(|_| plan.view(Shape::new([rows, columns]), T::DTYPE));
    let dy = plan.view(Shape::new([over, columns]), T::DTYPE);
    let units = [0; 7].map(|_| plan.view(Shape::new([columns]), DType::F32));
    let partials = plan.view(Shape::new([parts, 2, columns]), DType::F64);
    gpu.commit(&plan).unwrap();
    let drawn =
        |seed, len: usize| (0..len).map(|i| normal(word(seed, Purpose::Case, 0, 0, i as u64))).collect::<Vec<_>>();
    gpu.upload_f32(&drawn(1, rows * columns), Out(x)).unwrap();
    gpu.upload_f32(&drawn(2, over * columns), Out(dy)).unwrap();
    // γ, β, μ, s, dγ, dβ and max|x|; of one column s is so small that γ/D leaves a float's range.
    for (seed, view) in units.into_iter().enumerate() {
        let mut values = drawn(3 + seed as u64, columns);
        if seed == 3 || seed == 6 {
            values.iter_mut().for_each(|v| *v = v.abs() + if seed == 3 { 0.7 } else { 4.0 });
            if seed == 3 {
                values[columns - 1] = 1e-35;
            }
        }
        gpu.upload_f32(&values, Out(view)).unwrap();
    }
    let (driver, mut views) = gpu.begin("lp_norm");
    let [weight, bias, mean, scale, grad_weight, grad_bias, most] =
        units.map(|view| views.read::<f32>(In(view)).unwrap());
    let (from, grad_y) = (views.read::<T>(In(x)).unwrap(), views.read::<T>(In(dy)).unwrap());
    let (mut to, mut sums) = (views.write::<T>(Out(dx)).unwrap(), views.write::<f64>(Out(partials)).unwrap());
    let lanes = if width.is_some() { columns / (16 / size_of::<T>()) } else { columns };
    let each = width.unwrap_or(16);
    let grid = Grid::of([lanes.div_ceil(each), parts, 1], 256);
    let matrix = |rows: usize| {
        let [r, c, p, w] = [rows, columns, rows.div_ceil(parts), each].map(|v| v as u32);
        kernels::Matrix { rows: r, columns: c, rows_per_part: p, width: w }
    };
    let (x, partials_of, exponent) = (from, &mut sums, p as f32);
    if width.is_some() {
        kernels::LpAnyPowersWide { x, most, partials: partials_of, p: exponent, matrix: matrix(rows) }
            .launch(driver, grid)
    } else {
        kernels::LpPowers { x, most, partials: partials_of, p: exponent, power: 0, matrix: matrix(rows) }
            .launch(driver, grid)
    }
    .unwrap();
    let pool = kernels::Pool { width: if pooled { MAP[1] as u32 } else { 0 }, batch: BATCH as u32 };
    let (exponent, matrix, grad_x) = ((p - 1.0) as f32, matrix(over), &mut to);
    macro_rules! gradient {
        ($kernel:ident) => {
            kernels::$kernel {
                x,
                grad_y,
                weight,
                bias,
                mean,
                scale,
                grad_weight,
                grad_bias,
                ties: None,
                grad_x,
                eps: 1e-36,
                exponent,
                power: 0,
                relu: 1,
                matrix,
                pool,
            }
            .launch(driver, grid)
        };
    }
    match (width, pooled) {
        (None, _) => gradient!(LpGradient),
        (_, false) => gradient!(LpAnyGradientWide),
        (_, true) => gradient!(LpAnyGradientWidePool),
    }
    .unwrap();
    [dx, partials].map(|view| gpu.download_f64(In(view)).unwrap())
}

fn compare<T: Stored>(mode: Mode) {
    for (p, pooled) in [(1.5, false), (3.0, true), (7.25, false), (1.2, true)] {
        // The last column's block takes its gradient column by column; the others do not.
        let columns = 10 * 16 / size_of::<T>();
        let what = format!("p = {p}, pooled {pooled}, {mode:?}");
        let of = |width, order| passes::<T>(mode, (p, pooled), columns, width, order);
        let (narrow, wide) = (of(None, None), of(Some(8), None));
        let other = wide[0].iter().zip(&narrow[0]).position(|(a, b)| a.to_bits() != b.to_bits());
        assert!(other.is_none(), "{what}: dx of element {other:?} has other bits than the narrow pass gives");
        let size = narrow[1].iter().fold(0.0f64, |most, v| most.max(v.abs()));
        let away = wide[1].iter().zip(&narrow[1]).fold(0.0f64, |most, (a, b)| most.max((a - b).abs()));
        assert!(away <= 2e-6 * size, "{what}: sums are {away:e} apart, of {size:e}");
        assert!(wide == of(Some(8), Some(11)), "{what}: other bits in another order of threads");
    }
}

#[test]
fn any_power_has_the_bits_of_narrow_passes_in_float() {
    compare::<f32>(Mode::F32);
}

#[test]
fn any_power_has_the_bits_of_narrow_passes_in_bf16() {
    compare::<half::bf16>(Mode::Bf16);
}
