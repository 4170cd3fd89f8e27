//! Products forward and the gradients of inputs: one launch of the kernel that takes the extents.

use super::exact::{EXACT_THREADS, exact_shared};
use super::extents::{
    CLUSTER, Direction, Extents, LINE_SHARED, STEM_ROWS, WHOLE_ROWS, WHOLE_STAGE, aligned, any_tile_rows, exact_tile,
    product_shared, shared_by_clusters, warp_shared, warpgroup_blocks, warpgroup_shared, whole_shared,
};
use super::norm_below::{Below, OfNorm};
use crate::ops::launch_grid;
use crate::runtime::cuda::driver::{Driver, Grid, Pass, Slice, SliceMut, Stored};
use crate::runtime::cuda::{Mode, count, kernels};
use crate::runtime::tensor::Shape;
use crate::{Error, Result};

/// What a product does to its result before storing it, and what it computes besides.
pub struct Epilogue<'e, 's, T> {
    /// Whether the ReLU is applied.
    pub relu: bool,
    /// Where the mean and the variance of every column go.
    pub moments: Option<&'e mut Moments<'s>>,
    /// The norm whose dy an input's gradient is; its gradients are left too. Neither ReLU, bias nor moments then.
    pub below: Option<&'e mut Below<'s, T>>,
}

/// The moments of a product's columns, and what the kernels need to find them.
pub struct Moments<'s> {
    /// [`Extents::sums`] numbers: Σ and Σ² of every column, for each tile of [`tile_rows`](super::tile_rows) rows.
    pub sums: SliceMut<'s, f64>,
    /// The mean of every column.
    pub mean: SliceMut<'s, f32>,
    /// The variance of every column.
    pub var: SliceMut<'s, f32>,
    /// The device's tickets.
    pub tickets: SliceMut<'s, u32>,
}

impl<T> Epilogue<'_, '_, T> {
    /// Does nothing.
    pub const NONE: Self = Epilogue { relu: false, moments: None, below: None };
}

/// `out = Σ_taps a · w (+ bias)` forward, or `out = Σ_taps a · wᵀ` backward.
pub fn product<D: Driver, T: Stored>(
    driver: &mut D,
    op: &'static str,
    mode: Mode,
    extents: Extents,
    direction: Direction,
    a: Slice<'_, T>,
    weight: Slice<'_, T>,
    bias: Option<Slice<'_, f32>>,
    out: &mut SliceMut<'_, T>,
    epilogue: Epilogue<'_, '_, T>,
) -> Result<()> {
    let (inner, columns) = extents.inner_and_columns(direction);
    let transposed = u32::from(direction == Direction::Backward);
    if direction == Direction::Backward {
        driver.enter_pass(Pass::InputGradient);
    }
    let rows = extents.rows();
    let map = extents.map(op, direction)?;
    // An output of one of these sizes is what its elements are counted by.
    count(op, rows.saturating_mul(inner.max(columns)))?;
    let Epilogue { relu, moments, below } = epilogue;
    let relu = u32::from(relu);
    let mut own_tickets = None;
    let (mut sums, mut mean, mut var) = (None, None, None);
    if let Some(Moments { sums: s, mean: m, var: v, tickets: all }) = moments {
        // No tile has fewer than 32 columns.
        own_tickets = Some(launch_grid::tickets(op, all, columns.div_ceil(32))?);
        (sums, mean, var) = (Some(s), Some(m), Some(v));
    }
    let tickets = own_tickets.as_mut();
    let across = if transposed == 1 { inner } else { columns };
    let vector = aligned::<T>(&[a.region, weight.region], &[inner, across]);
    // Kernels of different tiles take the same operands.
    macro_rules! product {
        ($kernel:ident($a:ident, $b:ident, $out:ident, $grid:ident)) => {
            kernels::$kernel { a: $a, b: $b, bias, out: $out, sums, mean, var, tickets, map, transposed, relu, vector }
                .launch(driver, $grid)
        };
    }
    // And so do those that leave a norm's gradients; $more is what they take besides.
    macro_rules! input_gradient {
        ($kernel:ident($below:ident, $a:expr, $b:expr, $out:expr, $x:expr, $grid:expr $(, $more:ident)?)) => {{
            let Below { gamma, beta, mean, spread, norming, .. } = *$below;
            let Below { sums, grad_gamma, grad_beta, tickets, .. } = $below;
            kernels::$kernel {
                a: $a, b: $b, out: $out, x: $x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming, map $(, $more)?
            }
            .launch(driver, $grid)
        }};
    }
    if extents.stem() && direction == Direction::Forward {
        let grid = Grid::of([rows.div_ceil(STEM_ROWS), columns.div_ceil(64), 1], 256);
        let (sum_rows, tf32) = (extents.tile_rows(mode) as u32, u32::from(mode == Mode::Tf32));
        return kernels::Stem { x: a, weight, bias, out, sums, mean, var, tickets, sum_rows, relu, tf32, map }
            .launch(driver, grid);
    }
    if let (Some(wide), 1) = (extents.whole_product(mode, direction), vector) {
        let (tall, across) = (rows / WHOLE_ROWS, columns / wide);
        let split = shared_by_clusters(driver.properties(), tall * across);
        let blocks = [if split { CLUSTER * tall } else { tall }, across, 1];
        if mode == Mode::F32 {
            let (a, b, out) = (a.as_f32(), weight.as_f32(), &mut out.as_f32());
            let grid = Grid::of(blocks, EXACT_THREADS).shared(exact_shared(wide));
            macro_rules! exact {
                ($kernel:ident) => {
                    kernels::$kernel { a, b, bias, out, sums, mean, var, tickets, map, transposed, relu }
                        .launch(driver, grid)
                };
            }
            return match (wide, below) {
                (128, None) => exact!(ProductExact128),
                (_, None) if split => exact!(ProductExactSplit),
                (_, None) => exact!(ProductExact64),
                (128, Some(below)) => {
                    input_gradient!(InputGradientExact128(below, a, b, out, below.x.as_f32(), grid))
                }
                (_, Some(below)) if split => {
                    input_gradient!(InputGradientExactSplit(below, a, b, out, below.x.as_f32(), grid))
                }
                (_, Some(below)) => input_gradient!(InputGradientExact64(below, a, b, out, below.x.as_f32(), grid)),
            };
        }
        let grid = Grid::of(blocks, 128).shared(whole_shared(wide));
        let beside = extents.tiles_across(direction, wide);
        let of_warpgroups = Grid::new(warpgroup_blocks(driver, extents.rectangles(direction, wide, beside)), 288)
            .shared(warpgroup_shared(wide));
        let kernel = match (wide, &below) {
            (128, None) => &kernels::PRODUCT_WGMMA_128,
            (_, None) => &kernels::PRODUCT_WGMMA_64,
            (128, Some(_)) => &kernels::INPUT_GRADIENT_WGMMA_128,
            (_, Some(_)) => &kernels::INPUT_GRADIENT_WGMMA_64,
        };
        // A device that cannot say whether it has room for a cluster does without; if it has failed, what comes next tells of it.
        let hopper = mode == Mode::Bf16 && driver.properties().hopper && !split;
        if let (true, Direction::Forward, Some(segments)) = (hopper, direction, extents.segments()) {
            let a = a.tiles([inner, rows], [WHOLE_STAGE / 2, WHOLE_ROWS]);
            let b = weight.tiles([columns, extents.taps * inner], [WHOLE_STAGE / 2, inner]);
            let grid = Grid::new(segments.min(driver.properties().multiprocessors as usize), 288).shared(LINE_SHARED);
            let out = &mut out.as_bf16();
            return kernels::ProductWgmmaLine { a, b, bias, out, sums, mean, var, tickets, map, relu }
                .launch(driver, grid);
        }
        if hopper && driver.has_room(kernel, of_warpgroups).unwrap_or(false) {
            let grid = of_warpgroups;
            let b_rows = extents.taps * if transposed == 1 { columns } else { inner };
            let a = a.tiles([inner, rows], [WHOLE_STAGE / 2, WHOLE_ROWS / beside]);
            let share = wide * beside / CLUSTER;
            let b = weight.tiles(
                [if transposed == 1 { inner } else { columns }, b_rows],
                [WHOLE_STAGE / 2, if transposed == 1 { share } else { share.min(64) }],
            );
            let (out, across) = (&mut out.as_bf16(), beside as u32);
            macro_rules! warpgroups {
                ($kernel:ident) => {
                    kernels::$kernel { a, b, bias, out, sums, mean, var, tickets, map, across, transposed, relu }
                        .launch(driver, grid)
                };
            }
            return match (wide, below) {
                (128, None) => warpgroups!(ProductWgmma128),
                (_, None) => warpgroups!(ProductWgmma64),
                (128, Some(below)) => {
                    input_gradient!(InputGradientWgmma128(below, a, b, out, below.x.as_bf16(), grid, across))
                }
                (_, Some(below)) => {
                    input_gradient!(InputGradientWgmma64(below, a, b, out, below.x.as_bf16(), grid, across))
                }
            };
        }
        if mode == Mode::Tf32 && driver.properties().hopper && !split {
            let of_clusters = of_warpgroups.shared(warp_shared(wide));
            let kernel = match (wide, direction) {
                (128, Direction::Forward) => &kernels::PRODUCT_SHARED_128,
                (_, Direction::Forward) => &kernels::PRODUCT_SHARED_64,
                (128, Direction::Backward) => &kernels::INPUT_GRADIENT_SHARED_128,
                (_, Direction::Backward) => &kernels::INPUT_GRADIENT_SHARED_64,
            };
            if driver.has_room(kernel, of_clusters).unwrap_or(false) {
                let (grid, deep, share) = (of_clusters, WHOLE_STAGE / 4, wide * beside / CLUSTER);
                let a = a.tiles([inner, rows], [deep, WHOLE_ROWS / beside]);
                let (out, across) = (&mut out.as_f32(), beside as u32);
                if direction == Direction::Forward {
                    let b = weight.tiles([columns, extents.taps * inner], [deep, share.min(deep)]);
                    macro_rules! shared {
                        ($kernel:ident) => {
                            kernels::$kernel { a, b, bias, out, sums, mean, var, tickets, map, across, relu }
                                .launch(driver, grid)
                        };
                    }
                    return if wide == 128 { shared!(ProductShared128) } else { shared!(ProductShared64) };
                }
                let b = weight.tiles([inner, extents.taps * columns], [deep, share]);
                let of = OfNorm::of(below);
                let OfNorm { norm_x, gamma, beta, mean, spread, norming, sums, grad_gamma, grad_beta, norm_tickets } =
                    of;
                let norm_x = norm_x.map(|x| x.as_f32());
                macro_rules! shared {
                    ($kernel:ident) => {
                        kernels::$kernel {
                            a,
                            b,
                            out,
                            norm_x,
                            gamma,
                            beta,
                            mean,
                            spread,
                            sums,
                            grad_gamma,
                            grad_beta,
                            norm_tickets,
                            norming,
                            map,
                            across,
                        }
                        .launch(driver, grid)
                    };
                }
                return if wide == 128 { shared!(InputGradientShared128) } else { shared!(InputGradientShared64) };
            }
        }
        macro_rules! whole {
            ($kernel:ident) => {
                kernels::$kernel { a, b: weight, bias, out, sums, mean, var, tickets, map, transposed, relu }
                    .launch(driver, grid)
            };
        }
        return match (wide, below) {
            (128, None) => whole!(ProductTile128),
            (_, None) if split => whole!(ProductTileSplit),
            (_, None) => whole!(ProductTile64),
            (128, Some(below)) => input_gradient!(InputGradientTile128(below, a, weight, out, below.x, grid)),
            (_, Some(below)) if split => input_gradient!(InputGradientTileSplit(below, a, weight, out, below.x, grid)),
            (_, Some(below)) => input_gradient!(InputGradientTile64(below, a, weight, out, below.x, grid)),
        };
    }
    if mode != Mode::F32 {
        let tile = match direction {
            Direction::Forward => extents.tile_rows(mode),
            Direction::Backward => any_tile_rows(rows, columns),
        };
        let grid =
            Grid::of([rows.div_ceil(tile), columns.div_ceil(64), 1], 2 * tile as u32).shared(product_shared(tile));
        return match (tile, below) {
            (64, None) => product!(ProductMma64(a, weight, out, grid)),
            (_, None) => product!(ProductMma(a, weight, out, grid)),
            (64, Some(below)) => input_gradient!(InputGradientMma64(below, a, weight, out, below.x, grid, vector)),
            (_, Some(below)) => input_gradient!(InputGradientMma(below, a, weight, out, below.x, grid, vector)),
        };
    }
    let (a, weight, out) = (a.as_f32(), weight.as_f32(), &mut out.as_f32());
    let [tall, wide] = exact_tile(Shape::new([extents.height, extents.width, extents.batch, columns]));
    let threads = if wide == 32 { 64 } else { 256 };
    let grid = Grid::of([rows.div_ceil(tall), columns.div_ceil(wide), 1], threads);
    match (wide, below) {
        (128, None) => product!(Product128x128(a, weight, out, grid)),
        (64, None) => product!(Product128x64(a, weight, out, grid)),
        (_, None) => product!(Product32x32(a, weight, out, grid)),
        // Extents of whole tiles, whose tensors lie where those cannot take them.
        (128, Some(below)) => {
            input_gradient!(InputGradient128x128(below, a, weight, out, below.x.as_f32(), grid, vector))
        }
        (64, Some(below)) => {
            input_gradient!(InputGradient128x64(below, a, weight, out, below.x.as_f32(), grid, vector))
        }
        _ => Err(Error::operator(op, "a norm below in f32 where tiles are whole", format!("{rows} rows of {columns}"))),
    }
}
