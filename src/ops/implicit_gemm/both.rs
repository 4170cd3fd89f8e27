//! Both gradients of a layer, where both are asked for: one launch of `kernels/both_tile.cu` or of `kernels/both_wgmma.cu`.
//! Neither needs the other, and on small maps neither fills a device. That of warpgroups can also update the weight by its gradient ([`Descending`]).

use super::extents::{
    CLUSTER, Direction, Extents, NARROW, WARPGROUP_GRADIENT_SHARED, WHOLE_GRADIENT_SHARED, WHOLE_ROWS, WHOLE_STAGE,
    aligned, shared_by_clusters, warpgroup_blocks, warpgroup_rows, warpgroup_shared, whole_shared,
};
use super::norm_below::{Below, OfNorm};
use super::product::{Epilogue, product};
use super::weight::{has_clusters, split_tickets, weight_gradient};
use crate::Result;
use crate::ops::sgd::Descending;
use crate::runtime::cuda::driver::{Driver, Grid, Properties, Slice, SliceMut, Stored};
use crate::runtime::cuda::kernels::{self, Both};
use crate::runtime::cuda::{Mode, count};

/// Whose tiles a launch is made of: columns of those of the input's gradient, and the side of those of the weight's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tiles {
    /// 128 and 128.
    Wide,
    /// 64 and 128.
    Mixed,
    /// 64 and 128, and a cluster shares each of the former.
    Split,
    /// 64 and 64.
    Narrow,
    /// The same along lines, by warpgroups alone.
    Line,
}

impl Tiles {
    fn columns(self) -> usize {
        if self == Tiles::Wide { 128 } else { 64 }
    }

    fn side(self) -> usize {
        if matches!(self, Tiles::Narrow | Tiles::Line) { 64 } else { 128 }
    }

    /// Blocks that share a tile of the input's gradient.
    fn blocks(self) -> usize {
        if self == Tiles::Split { CLUSTER } else { 1 }
    }
}

impl Extents {
    /// Whether the launch of both gradients can update the weight: that of warpgroups, whose operands are not θ itself.
    pub fn updates_weight(&self, mode: Mode, device: &Properties) -> bool {
        mode == Mode::Bf16 && device.hopper && self.both(mode, device).is_some()
    }

    /// The tiles in which one launch makes both gradients; none where no kernel does.
    fn both(&self, mode: Mode, device: &Properties) -> Option<Tiles> {
        let tensor_cores = mode != Mode::F32 && !self.stem();
        let columns = self.whole_product(mode, Direction::Backward).filter(|_| tensor_cores)?;
        let split = shared_by_clusters(device, self.rows() / WHOLE_ROWS * (self.inputs / columns));
        match (columns, self.whole_gradient()?) {
            (128, 128) => Some(Tiles::Wide),
            (64, 128) => Some(if split { Tiles::Split } else { Tiles::Mixed }),
            (64, 64) if !split => Some(Tiles::Narrow),
            _ => None,
        }
    }

    /// Multiplications of the longest block of the input's gradient and of the weight's, about.
    fn longest(&self, tiles: Tiles, per_split: usize, of_warpgroups: bool) -> [usize; 2] {
        let taps = if self.taps == 1 { 1 } else { self.height.min(3) * self.width.min(3) };
        let input = taps * self.outputs * WHOLE_ROWS * tiles.columns() / tiles.blocks();
        // A part of warpgroups is under three taps, and half as wide.
        let beside = if self.taps == 1 { 1 } else { self.width.min(3) };
        let wide = if of_warpgroups { beside * NARROW } else { tiles.side() };
        [input, per_split.min(self.rows()) * tiles.side() * wide]
    }
}

/// Both gradients, those of the norm below, and the weight's update, which leaves `grad_weight` undefined: in one launch, or in one after the other where
/// no kernel makes them together.
pub fn gradients<D: Driver, T: Stored>(
    driver: &mut D,
    op: &'static str,
    mode: Mode,
    extents: Extents,
    x: Slice<'_, T>,
    weight: Slice<'_, T>,
    grad_y: Slice<'_, T>,
    grad_x: &mut SliceMut<'_, T>,
    grad_weight: &mut SliceMut<'_, f32>,
    below: Option<&mut Below<'_, T>>,
    mut update: Option<Descending<'_>>,
    (workspace, tickets): (&mut SliceMut<'_, f32>, &mut SliceMut<'_, u32>),
) -> Result<()> {
    let Extents { inputs, outputs, taps, .. } = extents;
    let whole = aligned::<T>(&[x.region, weight.region, grad_y.region], &[inputs, outputs]) == 1;
    // In tf32 clusters share the input's gradient's operands in a launch of its own.
    let apart = mode == Mode::Tf32 && has_clusters(driver);
    let Some(tiles) = extents.both(mode, driver.properties()).filter(|_| whole && !apart) else {
        let epilogue = Epilogue { below, ..Epilogue::NONE };
        product(driver, op, mode, extents, Direction::Backward, grad_y, weight, None, grad_x, epilogue)?;
        weight_gradient(driver, op, mode, extents, x, grad_y, grad_weight, workspace, tickets)?;
        return update.map_or(Ok(()), |mut update| update.launch(driver, grad_weight.read()));
    };
    // Warpgroups have the tiles of products to themselves: what few blocks those fill, parts of the weight's gradient are beside.
    let by_warpgroups = match tiles {
        Tiles::Split => Tiles::Mixed,
        Tiles::Narrow if extents.segments().is_some() => Tiles::Line,
        _ => tiles,
    };
    let kernel = match by_warpgroups {
        Tiles::Wide => &kernels::GRADIENTS_WGMMA_128,
        Tiles::Narrow => &kernels::GRADIENTS_WGMMA_64,
        Tiles::Line => &kernels::GRADIENTS_WGMMA_LINE,
        _ => &kernels::GRADIENTS_WGMMA_MIXED,
    };
    let cluster = Grid::new(CLUSTER, 288).shared(warpgroup_shared(128).max(WARPGROUP_GRADIENT_SHARED));
    // A device without room for a cluster does without.
    let of_warpgroups = mode == Mode::Bf16 && driver.properties().hopper;
    let of_warpgroups = of_warpgroups && driver.has_room(kernel, cluster).unwrap_or(false);
    let tiles = if of_warpgroups { by_warpgroups } else { tiles };
    let (rows, columns, side) = (extents.rows(), tiles.columns(), tiles.side());
    count(op, rows.saturating_mul(inputs.max(outputs)))?;
    let map = extents.map(op, Direction::Forward)?;
    let len = count(op, extents.weights())? as usize;
    let (splits, per_split) = if of_warpgroups { extents.warpgroup_splits(mode, side) } else { extents.splits() };
    let of_weight = match of_warpgroups {
        true => extents.warpgroup_tiles(side),
        false => inputs / side * (outputs / side) * taps,
    };
    // Where the launch updates the weight, whoever adds a tile's splits does so.
    let mut updating = update.take_if(|_| of_warpgroups);
    let added = splits > 1 || updating.is_some();
    let mut tile_tickets = split_tickets(op, tickets, if added { of_weight } else { 0 }, splits)?;
    // One split is the whole: it goes straight to its place.
    let (mut parts, mut all) = match splits {
        1 => (grad_weight.as_f32(), None),
        _ => (workspace.first(splits * len), updating.is_none().then(|| grad_weight.as_f32())),
    };
    let (partials, out, tickets) = (&mut parts, all.as_mut(), added.then_some(&mut tile_tickets));
    let [longest_input, longest_weight] = extents.longest(tiles, per_split, of_warpgroups);
    // A cluster has blocks of one gradient: those left over have nothing to do.
    let input_blocks = rows / WHOLE_ROWS * (inputs / columns) * tiles.blocks();
    let weight_blocks = (of_weight * splits).next_multiple_of(tiles.blocks());
    let weights_first = longest_weight > longest_input;
    let both = Both {
        blocks: count(op, if weights_first { weight_blocks } else { input_blocks })?,
        weights_first: u32::from(weights_first),
        splits: splits as u32,
        per_split: count(op, per_split)?,
    };
    let OfNorm { norm_x, gamma, beta, mean, spread, norming, sums, grad_gamma, grad_beta, norm_tickets } =
        OfNorm::of(below);
    let descending = updating.as_ref().map_or(kernels::Descending { momentum: 0.0, decay: 0.0 }, |of| of.by);
    let (mut theta, mut velocity, mut operands, mut state) = (None, None, None, None);
    if let Some(of) = &mut updating {
        (theta, velocity) = (Some(&mut of.theta), of.velocity.as_mut());
        (operands, state) = (of.operands.as_mut(), Some(of.state));
    }
    macro_rules! launch {
        ($kernel:ident($x:expr, $weight:expr, $grad_y:expr, $grad_x:expr, $norm_x:expr, $grid:expr $(, $($more:ident),+)?)) => {
            kernels::$kernel {
                x: $x,
                weight: $weight,
                grad_y: $grad_y,
                grad_x: $grad_x,
                norm_x: $norm_x,
                gamma,
                beta,
                mean,
                spread,
                sums,
                grad_gamma,
                grad_beta,
                norm_tickets,
                partials,
                out,
                tickets,
                norming,
                map,
                both,
                $($($more,)+)?
            }
            .launch(driver, $grid)
        };
    }
    if of_warpgroups {
        let beside = extents.tiles_across(Direction::Backward, columns);
        let most = extents.rectangles(Direction::Backward, columns, beside) + weight_blocks.div_ceil(CLUSTER);
        let grid = Grid::new(warpgroup_blocks(driver, most), 288).shared(cluster.shared as usize);
        let (half, box_rows) = (WHOLE_STAGE / 2, warpgroup_rows(side));
        let rows_y = grad_y.tiles([outputs, rows], [half, box_rows]);
        // Where a cluster's parts are of the same channels of x, each block asks for a quarter of its rows.
        let shared = tiles != Tiles::Line && outputs.is_multiple_of(CLUSTER * NARROW);
        let x = x.tiles([inputs, rows], [half, if shared { box_rows / CLUSTER } else { box_rows }]);
        let b = weight.tiles([outputs, taps * inputs], [half, columns * beside / CLUSTER]);
        let a = grad_y.tiles([outputs, rows], [half, WHOLE_ROWS / beside]);
        macro_rules! by_warpgroups {
            ($kernel:ident, $b:expr, $a:expr, $dx:expr, $norm_x:expr, $grid:expr $(, $across:ident)?) => {
                launch!($kernel(
                    x, $b, $a, $dx, $norm_x, $grid, rows_y, theta, velocity, operands, state, descending $(, $across)?
                ))
            };
        }
        if let (Tiles::Line, Some(segments)) = (tiles, extents.segments()) {
            let blocks = (segments + weight_blocks).min(driver.properties().multiprocessors as usize);
            let grid = Grid::new(blocks, 288).shared(cluster.shared as usize);
            let b = weight.tiles([outputs, taps * inputs], [half, inputs]);
            let a = grad_y.tiles([outputs, rows], [half, WHOLE_ROWS]);
            let (dx, norm_x) = (&mut grad_x.as_bf16(), norm_x.map(|x| x.as_bf16()));
            return by_warpgroups!(GradientsWgmmaLine, b, a, dx, norm_x, grid);
        }
        let across = beside as u32;
        let (dx, norm_x) = (&mut grad_x.as_bf16(), norm_x.map(|x| x.as_bf16()));
        return match tiles {
            Tiles::Wide => by_warpgroups!(GradientsWgmma128, b, a, dx, norm_x, grid, across),
            Tiles::Narrow => by_warpgroups!(GradientsWgmma64, b, a, dx, norm_x, grid, across),
            _ => by_warpgroups!(GradientsWgmmaMixed, b, a, dx, norm_x, grid, across),
        };
    }
    let grid = Grid::new(input_blocks + weight_blocks, 128).shared(whole_shared(columns).max(WHOLE_GRADIENT_SHARED));
    match tiles {
        Tiles::Wide => launch!(GradientsTile128(x, weight, grad_y, grad_x, norm_x, grid)),
        Tiles::Mixed => launch!(GradientsTileMixed(x, weight, grad_y, grad_x, norm_x, grid)),
        Tiles::Split => launch!(GradientsTileSplit(x, weight, grad_y, grad_x, norm_x, grid)),
        Tiles::Narrow | Tiles::Line => launch!(GradientsTile64(x, weight, grad_y, grad_x, norm_x, grid)),
    }?;
    update.map_or(Ok(()), |mut update| update.launch(driver, grad_weight.read()))
}
