//! The gradients of weights, whose rows are split, and of biases.

use super::exact::{exact_weight_gradient, first_tickets};
use super::extents::{
    CLUSTER, Direction, Extents, NARROW, WARPGROUP_GRADIENT_SHARED, WHOLE_GRADIENT_SHARED, WHOLE_STAGE, aligned,
    warp_rows, warpgroup_blocks, warpgroup_rows,
};
use crate::Result;
use crate::ops::launch_grid::ColumnGrid;
use crate::runtime::cuda::driver::{Driver, Grid, Pass, Slice, SliceMut, Stored};
use crate::runtime::cuda::{Mode, count, kernels};
use crate::runtime::tensor::Shape;

const GRADIENT_SHARED: usize = 27_648;
/// Up to this many splits, the last block of a tile adds all of them; of more, the last blocks of groups: as `kernels/splits.cuh` has it.
const FEW_SPLITS: usize = 4;
/// Of splits that a launch of its own adds: from this many on, a block of many threads adds the parts of a few elements.
const MANY_SPLITS: usize = 16;

/// The tickets by which the blocks of `tiles` tiles of a weight gradient add their splits: for each group of splits, and for the groups. Errors: there
/// are not as many.
pub(super) fn split_tickets<'t>(
    op: &'static str,
    all: &'t mut SliceMut<'_, u32>,
    tiles: usize,
    splits: usize,
) -> Result<SliceMut<'t, u32>> {
    let each = if splits <= FEW_SPLITS { splits } else { (3..).find(|each| each * each >= splits).unwrap_or(splits) };
    let needed = tiles * (splits.div_ceil(each) + 1);
    first_tickets(op, all, needed, || format!("{splits} splits of {tiles} tiles"))
}

/// Whether a device has room for a cluster of a weight gradient's blocks, which share operands. One that cannot say so does without; if it has failed, what comes
/// next tells of it.
pub(super) fn has_clusters<D: Driver>(driver: &mut D) -> bool {
    let cluster = Grid::new(CLUSTER, 288).shared(WARPGROUP_GRADIENT_SHARED);
    driver.properties().hopper && driver.has_room(&kernels::WEIGHT_GRADIENT_SHARED_128, cluster).unwrap_or(false)
}

/// `out [taps, C, K] = Σ_rows xᵀ · dy`, over the rows for which the tap lies on the map.
pub fn weight_gradient<D: Driver, T: Stored>(
    driver: &mut D,
    op: &'static str,
    mode: Mode,
    extents: Extents,
    x: Slice<'_, T>,
    grad_y: Slice<'_, T>,
    out: &mut SliceMut<'_, f32>,
    workspace: &mut SliceMut<'_, f32>,
    tickets: &mut SliceMut<'_, u32>,
) -> Result<()> {
    let Extents { inputs, outputs, taps, .. } = extents;
    driver.enter_pass(Pass::WeightGradient);
    let vector = aligned::<T>(&[x.region, grad_y.region], &[inputs, outputs]);
    let whole_tiles = extents.whole_gradient().filter(|_| vector == 1 && !extents.stem());
    if let (Mode::F32, Some(side)) = (mode, whole_tiles) {
        let (x, grad_y, out) = (x.as_f32(), grad_y.as_f32(), &mut out.as_f32());
        return exact_weight_gradient(driver, op, extents, side, x, grad_y, out, workspace, tickets);
    }
    let of_warpgroups = whole_tiles.filter(|_| mode == Mode::Bf16 && driver.properties().hopper);
    let of_clusters = whole_tiles.filter(|_| mode == Mode::Tf32 && has_clusters(driver));
    let of_lines = of_warpgroups.or(of_clusters);
    let (splits, each) = of_lines.map_or(extents.splits(), |side| extents.warpgroup_splits(mode, side));
    let (map, per_split) = (extents.map(op, Direction::Forward)?, count(op, each)?);
    let len = count(op, extents.weights())?;
    // One split is the whole: it goes straight to its place. More are added by the launch that makes them, of whole tiles and of a first layer.
    let merged = splits > 1 && (whole_tiles.is_some() || extents.stem());
    let tiles = match (of_lines, whole_tiles) {
        (Some(side), _) => extents.warpgroup_tiles(side),
        (_, Some(side)) => inputs / side * (outputs / side) * taps,
        _ => outputs.div_ceil(64),
    };
    let mut tile_tickets = split_tickets(op, tickets, if merged { tiles } else { 0 }, splits)?;
    let (mut parts, mut whole) = match splits {
        1 => (out.as_f32(), None),
        _ => (workspace.first(splits * len as usize), merged.then(|| out.as_f32())),
    };
    let (partials, out_of_all, tickets) = (&mut parts, whole.as_mut(), merged.then_some(&mut tile_tickets));
    let grid = |side: usize, threads| Grid::of([inputs.div_ceil(side) * outputs.div_ceil(side), taps, splits], threads);
    if extents.stem() {
        let (grid, tf32) = (Grid::of([outputs.div_ceil(64), splits, 1], 256), u32::from(mode == Mode::Tf32));
        kernels::StemGradient { x, grad_y, partials, out: out_of_all, tickets, per_split, tf32, map }
            .launch(driver, grid)?;
    } else if let Some(side) = of_warpgroups {
        let (rows, box_rows) = (extents.rows(), warpgroup_rows(side));
        let x = x.tiles([inputs, rows], [WHOLE_STAGE / 2, box_rows]);
        let grad_y = grad_y.tiles([outputs, rows], [WHOLE_STAGE / 2, box_rows]);
        let blocks = (tiles * splits).min(driver.properties().multiprocessors as usize);
        let (grid, splits) = (Grid::of([blocks, 1, 1], 288).shared(WARPGROUP_GRADIENT_SHARED), splits as u32);
        if side == 128 {
            kernels::WeightGradientWgmma128 { x, grad_y, partials, out: out_of_all, tickets, map, per_split, splits }
                .launch(driver, grid)?;
        } else {
            kernels::WeightGradientWgmma64 { x, grad_y, partials, out: out_of_all, tickets, map, per_split, splits }
                .launch(driver, grid)?;
        }
    } else if let Some(side) = of_clusters {
        let (rows, deep, box_rows) = (extents.rows(), WHOLE_STAGE / 4, warp_rows(side));
        // Where a cluster's parts are of the same channels of x, each block asks for a quarter of its rows.
        let shared = outputs.is_multiple_of(CLUSTER * NARROW);
        let x = x.tiles([inputs, rows], [deep, if shared { box_rows / CLUSTER } else { box_rows }]);
        let grad_y = grad_y.tiles([outputs, rows], [deep, box_rows]);
        let blocks = warpgroup_blocks(driver, (tiles * splits).div_ceil(CLUSTER));
        let (grid, splits) = (Grid::new(blocks, 288).shared(WARPGROUP_GRADIENT_SHARED), splits as u32);
        if side == 128 {
            kernels::WeightGradientShared128 { x, grad_y, partials, out: out_of_all, tickets, map, per_split, splits }
                .launch(driver, grid)?;
        } else {
            kernels::WeightGradientShared64 { x, grad_y, partials, out: out_of_all, tickets, map, per_split, splits }
                .launch(driver, grid)?;
        }
    } else if let Some(side) = whole_tiles {
        let grid = grid(side, 128).shared(WHOLE_GRADIENT_SHARED);
        macro_rules! tile {
            ($kernel:ident) => {
                kernels::$kernel { x, grad_y, partials, out: out_of_all, tickets, map, per_split }
                    .launch(driver, grid)?
            };
        }
        if side == 128 { tile!(WeightGradientTile128) } else { tile!(WeightGradientTile64) }
    } else if mode != Mode::F32 {
        let grid = grid(64, 256).shared(GRADIENT_SHARED);
        kernels::WeightGradientMma { x, grad_y, partials, per_split, vector, map }.launch(driver, grid)?;
    } else if inputs > 32 || outputs > 32 {
        let (x, dy, grid) = (x.as_f32(), grad_y.as_f32(), grid(64, 256));
        kernels::WeightGradient64 { x, grad_y: dy, partials, per_split, vector, map }.launch(driver, grid)?;
    } else {
        let (x, dy, grid) = (x.as_f32(), grad_y.as_f32(), grid(32, 64));
        kernels::WeightGradient32 { x, grad_y: dy, partials, per_split, vector, map }.launch(driver, grid)?;
    }
    if splits == 1 || merged {
        return Ok(());
    }
    let partials = workspace.first(splits * len as usize);
    if splits >= MANY_SPLITS {
        let grid = Grid::new((len as usize).div_ceil(32), 256);
        return kernels::AddManySplits { partials: partials.read(), out, splits: splits as u32, len }
            .launch(driver, grid);
    }
    let grid = Grid::cover(len as usize, 1, 256);
    kernels::AddSplits { partials: partials.read(), out, splits: splits as u32, len }.launch(driver, grid)
}

/// `out [K] = Σ_rows dy`
pub fn bias_gradient<D: Driver, T: Stored>(
    driver: &mut D,
    op: &'static str,
    extents: Extents,
    grad_y: Slice<'_, T>,
    out: &mut SliceMut<'_, f32>,
    workspace: &mut SliceMut<'_, f32>,
    tickets: &mut SliceMut<'_, u32>,
) -> Result<()> {
    driver.enter_pass(Pass::WeightGradient);
    let at = ColumnGrid::sums(op, Shape::new([extents.rows(), extents.outputs]))?;
    let ColumnGrid { grid, matrix, .. } = at;
    let (partials, tickets) = (&mut at.partials(workspace), &mut at.tickets(op, tickets)?);
    kernels::ColumnSums { x: grad_y, partials, sums: out, tickets, matrix }.launch(driver, grid)
}
