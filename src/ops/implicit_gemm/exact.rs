//! Whole tiles in exact f32 (`kernels/conv_exact.cu`): shared memory, and weight gradients.

use super::extents::{Direction, Extents, WHOLE_ROWS};
use crate::runtime::cuda::driver::{Driver, Grid, Slice, SliceMut};
use crate::runtime::cuda::{count, kernels};
use crate::{Error, Result};

/// Threads of a block, and the stages of its ring.
pub(super) const EXACT_THREADS: u32 = 256;
const EXACT_STAGES: usize = 4;

/// Bytes of dynamic shared memory of a product: its stages, of which each group of threads has 8 of the inner dimension; or the
/// tiles in which half of the groups leave their sums; or the tile that is put together, its column sums, and a norm's constants.
pub(super) const fn exact_shared(columns: usize) -> usize {
    let groups = EXACT_THREADS as usize / columns;
    let stages = 4 * EXACT_STAGES * 8 * groups * (WHOLE_ROWS + columns);
    let tile = 4 * WHOLE_ROWS * (columns + 8);
    let halves = groups / 2 * tile;
    let all = tile + 4 * 2 * columns * (EXACT_THREADS as usize / (columns / 4)) + 4 * 4 * columns;
    let least = if halves > all { halves } else { all };
    if stages > least { stages } else { least }
}

/// The same of a weight gradient.
pub(super) const fn exact_gradient_shared(side: usize) -> usize {
    let groups = 2 * (WHOLE_ROWS / side) * (WHOLE_ROWS / side);
    let (stage, tile) = (4 * 8 * groups * 2 * side, 4 * side * (side + 8));
    let stages = if stage > 24_576 { 3 * stage } else { EXACT_STAGES * stage };
    if stages > groups / 2 * tile { stages } else { groups / 2 * tile }
}

/// The first `needed` tickets, which `of` says what for. Errors: there are not as many.
pub(super) fn first_tickets<'t>(
    op: &'static str,
    all: &'t mut SliceMut<'_, u32>,
    needed: usize,
    of: impl Fn() -> String,
) -> Result<SliceMut<'t, u32>> {
    if needed <= all.len() {
        return Ok(all.first(needed));
    }
    Err(Error::operator(op, format!("a weight gradient with at most {} tickets", all.len()), of()))
}

/// `out [taps, C, K] = Σ_rows xᵀ · dy`, in whole tiles of `side`.
pub(super) fn exact_weight_gradient<D: Driver>(
    driver: &mut D,
    op: &'static str,
    extents: Extents,
    side: usize,
    x: Slice<'_, f32>,
    grad_y: Slice<'_, f32>,
    out: &mut SliceMut<'_, f32>,
    workspace: &mut SliceMut<'_, f32>,
    tickets: &mut SliceMut<'_, u32>,
) -> Result<()> {
    count(op, extents.weights())?;
    let map = extents.map(op, Direction::Forward)?;
    let items = extents.inputs / side * (extents.outputs / side) * extents.taps;
    // The blocks that share an item share a ticket.
    let tickets = &mut first_tickets(op, tickets, items, || format!("{items} tiles under taps"))?;
    let partials = &mut workspace.first(extents.exact_parts(side));
    let grid = Grid::new(extents.exact_blocks(side), EXACT_THREADS).shared(exact_gradient_shared(side));
    match side {
        128 => kernels::WeightGradientExact128 { x, grad_y, partials, out, tickets, map }.launch(driver, grid),
        _ => kernels::WeightGradientExact64 { x, grad_y, partials, out, tickets, map }.launch(driver, grid),
    }
}
