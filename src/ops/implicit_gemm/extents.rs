//! The extents of a dense product, and what follows from them: its tiles, splits, workspace and shared memory.

use crate::Result;
use crate::ops::launch_grid;
use crate::runtime::cuda::backend::TICKETS;
use crate::runtime::cuda::driver::{Driver, Properties, Region, Stored};
use crate::runtime::cuda::kernels::Map;
use crate::runtime::cuda::{Mode, count};
use crate::runtime::tensor::Shape;

/// The fewest rows of a tile in which an input's gradient is made, where it leaves a norm's gradients.
const LEAST_TILE: usize = 64;

/// The dynamic shared memory, in bytes, of the tensor-core kernels: three stages of both tiles, where the left tile has rows of 80 bytes.
pub(super) const fn product_shared(tile_rows: usize) -> usize {
    3 * 80 * (tile_rows + 64)
}
/// Rows of a whole tile, and of activations that are samples of one pixel.
pub(super) const WHOLE_ROWS: usize = 128;
/// Bytes of the inner dimension that a stage of a whole tile has.
pub(super) const WHOLE_STAGE: usize = 128;
/// Blocks of whole tiles that a weight gradient is split into, about: one for each multiprocessor of a large device, which those of the input's gradient
/// share.
pub(super) const WHOLE_BLOCKS: usize = 132;
/// Blocks that share a whole tile's sum where there are few tiles, on devices with clusters; and blocks that share operands where warpgroups multiply.
pub(super) const CLUSTER: usize = 4;
/// Multiprocessors by which a device is sure to hold clusters: it has them in groups of 16 or 18, and no cluster lies in two of these.
const GROUP: usize = 16;
/// Tiles below which smaller ones are taken: one for each multiprocessor of a large device, about.
pub(super) const FEW_TILES: usize = 128;

/// Bytes of dynamic shared memory of a product in whole tiles: three stages, or the tile that is put together in the same place, its column sums, and
/// a norm's constants.
pub(super) const fn whole_shared(columns: usize) -> usize {
    let stages = 3 * WHOLE_STAGE * (WHOLE_ROWS + columns);
    let shares = if columns == 128 { 1 } else { 2 };
    let (tile, sums) = (4 * shares * WHOLE_ROWS * (columns + 8), 4 * 2 * columns * (128 / (columns / 4)));
    // Of a norm below, four constants a column.
    let all = tile + sums + 4 * 4 * columns;
    if stages > all { stages } else { all }
}
/// The same of a product by warpgroups: four stages, the eight warps' rows that are put together, and 8 KiB of column sums.
pub(super) const fn warpgroup_shared(columns: usize) -> usize {
    4 * WHOLE_STAGE * (WHOLE_ROWS + columns) + 4 * WHOLE_ROWS * (columns + 8) + (8 << 10)
}
/// The same of a product by warps of clusters: four stages, then the sums that warps leave one another, or the rows that are put together, and 8 KiB of column
/// sums.
pub(super) const fn warp_shared(columns: usize) -> usize {
    let shares = 256 / columns;
    let (left, tile) = ((shares - 1) * 4 * WHOLE_ROWS * columns, 4 * WHOLE_ROWS * (columns + 8) + (8 << 10));
    4 * WHOLE_STAGE * (WHOLE_ROWS + columns) + if left > tile { left } else { tile }
}
/// The same of a weight gradient: three stages of 32 KiB.
pub(super) const WHOLE_GRADIENT_SHARED: usize = 98_304;
/// The same of a weight gradient by warpgroups: four stages of 32 KiB, and 48 KiB for the sums of the second warpgroup.
pub(super) const WARPGROUP_GRADIENT_SHARED: usize = 180_224;
/// The same of a product by warpgroups along lines: four stages of 16 KiB, nine taps of weights, the eight warps' rows, and 8 KiB of column sums.
pub(super) const LINE_SHARED: usize = 184_320;
/// Pixels of a line's segment, as `kernels/warpgroup_line.cuh` has it.
const LINE: usize = 8;
/// Blocks of clusters that a large device holds, which go through parts of a weight gradient, and columns of the tiles of these.
const HELD_BLOCKS: usize = 128;
pub(super) const NARROW: usize = 64;
/// Blocks that a weight gradient is split into, about: a few for each multiprocessor of a large device.
pub(super) const BLOCKS: usize = 512;
/// The fewest rows of a split; with fewer, the partial sums would cost more than the extra blocks gain.
pub(super) const LEAST_ROWS: usize = 256;
/// The rows of a tile of the first layer's kernel, and the splits of its weight gradient: two blocks for each multiprocessor.
pub(super) const STEM_ROWS: usize = 128;
pub(super) const STEM_SPLITS: usize = 264;

/// The extents of a product over taps: that of a convolution, or that of a linear layer, which has one tap on a map of one pixel.
#[derive(Debug, Clone, Copy)]
pub struct Extents {
    /// H
    pub height: usize,
    /// W
    pub width: usize,
    /// N
    pub batch: usize,
    /// C: the sum goes over it in the forward pass.
    pub inputs: usize,
    /// K
    pub outputs: usize,
    /// 9 or 1.
    pub taps: usize,
}

impl Extents {
    pub(super) fn rows(&self) -> usize {
        self.height * self.width * self.batch
    }

    /// Whether this is a first layer, with few channels; its taps are then handled all together.
    pub(super) fn stem(&self) -> bool {
        self.taps == 9 && self.inputs <= 3
    }

    /// Whether rows come in whole tiles, each of one pixel.
    pub(super) fn whole_rows(&self) -> bool {
        self.batch.is_multiple_of(WHOLE_ROWS)
    }

    /// Columns of the whole tiles of a product; none where it is not made of such.
    pub(super) fn whole_product(&self, mode: Mode, direction: Direction) -> Option<usize> {
        let (inner, columns) = self.inner_and_columns(direction);
        let whole = self.whole_rows() && inner.is_multiple_of(whole_depth(mode)) && columns.is_multiple_of(64);
        let many = self.rows() / WHOLE_ROWS * (columns / 128) >= FEW_TILES;
        whole.then_some(if columns.is_multiple_of(128) && many { 128 } else { 64 })
    }

    /// How many tiles side by side share activations, of tiles of `wide` columns: of the ways to lay a cluster's tiles as a rectangle, the one that
    /// copies least. Of two that copy as much it is the wider: its tiles have the same taps.
    pub(super) fn tiles_across(&self, direction: Direction, wide: usize) -> usize {
        let tiles = self.inner_and_columns(direction).1 / wide;
        let copied = |across: usize| WHOLE_ROWS / across + wide * across / CLUSTER;
        let ways = [4, 2, 1].into_iter().filter(|&across| tiles.is_multiple_of(across));
        ways.min_by_key(|&across| copied(across)).unwrap_or(1)
    }

    /// Rectangles of so many tiles side by side that a product's tiles make.
    pub(super) fn rectangles(&self, direction: Direction, wide: usize, across: usize) -> usize {
        (self.rows() / WHOLE_ROWS).div_ceil(CLUSTER / across) * (self.inner_and_columns(direction).1 / wide / across)
    }

    /// The side of the whole tiles of a weight gradient; none where it is not made of such.
    pub(super) fn whole_gradient(&self) -> Option<usize> {
        let of = |side| self.inputs.is_multiple_of(side) && self.outputs.is_multiple_of(side);
        [128, 64].into_iter().find(|&side| self.whole_rows() && of(side))
    }

    pub(super) fn inner_and_columns(&self, direction: Direction) -> (usize, usize) {
        match direction {
            Direction::Forward => (self.inputs, self.outputs),
            Direction::Backward => (self.outputs, self.inputs),
        }
    }

    /// Splits of the weight gradient's rows, and rows of each.
    pub(super) fn splits(&self) -> (usize, usize) {
        let whole = self.whole_gradient();
        let side = whole.unwrap_or(64);
        let tiles = self.inputs.div_ceil(side) * self.outputs.div_ceil(side) * self.taps;
        let blocks = match (self.stem(), whole) {
            (true, _) => STEM_SPLITS,
            (false, None) => BLOCKS.div_ceil(tiles),
            // No more than there are multiprocessors, but where a sixth of them would have none.
            (false, Some(_)) => {
                let splits = WHOLE_BLOCKS / tiles;
                splits + usize::from(6 * splits * tiles < 5 * WHOLE_BLOCKS)
            }
        };
        let splits = blocks.min(self.rows() / LEAST_ROWS).clamp(1, 1024);
        // Whole depths of a tile, so that only the last split has a ragged end.
        let depth = match whole {
            Some(_) => WHOLE_ROWS,
            None if self.stem() => 64,
            None => 32,
        };
        let each = self.rows().div_ceil(splits).next_multiple_of(depth);
        (self.rows().div_ceil(each).max(1), each)
    }

    /// Blocks of a weight gradient in whole tiles of `side` in exact f32, which share its rows equally.
    pub(super) fn exact_blocks(&self, side: usize) -> usize {
        // Rows that have a tap on the map, of all taps: a line of n pixels has 3n − 2 of its three.
        let on_map = |extent: usize| 3 * extent - 2;
        let pixels = if self.taps == 1 { 1 } else { on_map(self.height) * on_map(self.width) };
        let rows = self.inputs / side * (self.outputs / side) * pixels * self.batch;
        rows.div_ceil(LEAST_ROWS).clamp(1, WHOLE_BLOCKS)
    }

    /// Numbers (f32) that those leave for one another: of two tiles each.
    pub(super) fn exact_parts(&self, side: usize) -> usize {
        2 * self.exact_blocks(side) * side * side
    }

    /// Tiles of a weight gradient by warpgroups, of `side` channels of x: each is under a line of taps, three of them, or the only one.
    pub(super) fn warpgroup_tiles(&self, side: usize) -> usize {
        self.inputs / side * (self.outputs / NARROW) * if self.taps == 9 { 3 } else { 1 }
    }

    /// As [`Extents::splits`], of a weight gradient by warpgroups.
    pub(super) fn warpgroup_splits(&self, mode: Mode, side: usize) -> (usize, usize) {
        let tiles = self.warpgroup_tiles(side);
        // Where the input's gradient has few tiles, it is made by blocks of its own; in tf32 by a launch of its own.
        let others = self.rows() / WHOLE_ROWS * (self.inputs / NARROW);
        let few = mode == Mode::Bf16 && others < HELD_BLOCKS;
        let blocks = if few { HELD_BLOCKS - others } else { HELD_BLOCKS };
        // No more than there are blocks, but where a third of them would have none.
        let splits = blocks / tiles;
        let splits = splits + usize::from(3 * splits * tiles < 2 * blocks);
        let splits = splits.min(self.rows() / LEAST_ROWS).clamp(1, 1024);
        let each = self.rows().div_ceil(splits).next_multiple_of(warpgroup_rows(side));
        (self.rows().div_ceil(each).max(1), each)
    }

    /// The segments of lines that products are made of whose weights fit into a block's shared memory; none of others.
    pub(super) fn segments(&self) -> Option<usize> {
        let fits = (self.taps, self.inputs, self.outputs) == (9, NARROW, NARROW) && self.whole_rows();
        fits.then(|| self.height * (self.batch / WHOLE_ROWS) * self.width.div_ceil(LINE))
    }

    /// See [`tile_rows`].
    pub(super) fn tile_rows(&self, mode: Mode) -> usize {
        tile_rows(mode, Shape::new([self.height, self.width, self.batch, self.outputs]))
    }

    /// Numbers (f64) that a forward pass leaves for a norm: two a column and tile.
    pub fn sums(&self, mode: Mode) -> usize {
        2 * self.outputs * self.rows().div_ceil(self.tile_rows(mode))
    }

    /// The product's extents as the kernels take them, for a product in `direction`. Errors: an extent too large for them.
    pub(super) fn map(&self, op: &'static str, direction: Direction) -> Result<Map> {
        let (inner, columns) = self.inner_and_columns(direction);
        let sign = if direction == Direction::Forward { 1 } else { -1 };
        let of = |extent: usize| count(op, extent);
        Ok(Map {
            rows: of(self.rows())?,
            inner: of(inner)?,
            columns: of(columns)?,
            height: of(self.height)?,
            width: of(self.width)?,
            batch: of(self.batch)?,
            taps: self.taps as u32,
            direction: sign,
        })
    }

    /// The number of the weight's elements.
    pub fn weights(&self) -> usize {
        self.taps * self.inputs * self.outputs
    }

    /// The workspace, in f32 elements: for the partial weight gradients of the splits, the partial sums of a bias gradient, or the sums that a
    /// forward pass leaves for a norm, whichever is largest.
    pub fn workspace(&self, mode: Mode) -> Shape {
        let of_warpgroups = self.whole_gradient().filter(|_| mode != Mode::F32 && !self.stem());
        let splits = self.splits().0.max(of_warpgroups.map_or(1, |side| self.warpgroup_splits(mode, side).0));
        let partials = if splits > 1 { splits * self.weights() } else { 0 };
        let exact = self.whole_gradient().filter(|_| mode == Mode::F32 && !self.stem());
        let partials = partials.max(exact.map_or(0, |side| self.exact_parts(side)));
        let bias = launch_grid::workspace(Shape::new([self.rows(), self.outputs])).len();
        let sums = 2 * self.sums(mode);
        // So that what follows is aligned as a number (f64).
        Shape::new([partials.max(bias).max(sums).next_multiple_of(2) + 2 * self.norm_sums(mode)])
    }

    /// Whether the input's gradient can leave the gradients of a norm below: on tensor cores, and in whole tiles in exact f32; if there are tickets for all
    /// tiles of columns.
    pub fn leaves_norm_grads(&self, mode: Mode) -> bool {
        let takes = mode != Mode::F32 || self.whole_product(mode, Direction::Backward).is_some();
        takes && launch_grid::tickets_of(self.inputs.div_ceil(32)) <= TICKETS / 2
    }

    /// Numbers (f64) that the input's gradient leaves for a norm below, at most: two a column and tile.
    pub(super) fn norm_sums(&self, mode: Mode) -> usize {
        match self.leaves_norm_grads(mode) {
            true => 2 * self.inputs * self.rows().div_ceil(LEAST_TILE),
            false => 0,
        }
    }

    /// Where in the workspace the sums of a norm below begin, in f32 elements: the weight's gradient leaves them alone.
    pub(super) fn before_norm_sums(&self, mode: Mode) -> usize {
        self.workspace(mode).len() - 2 * self.norm_sums(mode)
    }
}

/// Rows of a forward product's tile, of which each leaves one pair of sums a column, from the shape of y: what follows need not know what y was
/// made of.
pub fn tile_rows(mode: Mode, y: Shape) -> usize {
    let (rows, columns) = y.matrix();
    match mode {
        Mode::F32 => exact_tile(y)[0],
        _ if may_be_whole(y) => WHOLE_ROWS,
        _ => any_tile_rows(rows, columns),
    }
}

/// Whether an output of this shape is made of whole tiles, if the inner dimension and the tensors' places allow it.
fn may_be_whole(y: Shape) -> bool {
    let [_, _, batch, columns] = y.hwnc();
    batch.is_multiple_of(WHOLE_ROWS) && columns.is_multiple_of(64)
}

/// Rows of a tile that need not be whole, of the tensor-core kernels: 128, or 64 where there would be fewer tiles than a large device has
/// multiprocessors.
pub(super) fn any_tile_rows(rows: usize, columns: usize) -> usize {
    if rows.div_ceil(128) * columns.div_ceil(64) < FEW_TILES { 64 } else { 128 }
}

/// Rows of a stage of a weight gradient by warpgroups, which a box of a copy has.
pub(super) fn warpgroup_rows(side: usize) -> usize {
    if side == 128 { 64 } else { 128 }
}

/// The same of one by warps, in tf32.
pub(super) fn warp_rows(side: usize) -> usize {
    if side == 128 { 32 } else { 64 }
}

/// Blocks of clusters that go through so many rectangles of tiles, or parts for each of their blocks: as many as a device is sure to hold at a time, so that
/// none comes after the others.
pub(super) fn warpgroup_blocks<D: Driver>(driver: &D, most: usize) -> usize {
    let multiprocessors = driver.properties().multiprocessors as usize;
    let held = if multiprocessors < GROUP { multiprocessors } else { multiprocessors / GROUP * GROUP };
    CLUSTER * most.min(held / CLUSTER).max(1)
}

/// Whether a cluster shares each of so many tiles of a product: more of the device has something to do then, if it has clusters.
pub(super) fn shared_by_clusters(device: &Properties, tiles: usize) -> bool {
    tiles * CLUSTER / 2 <= FEW_TILES && device.capability >= 90
}

/// Elements of the inner dimension that whole tiles take at a time, at the most.
pub(super) fn whole_depth(mode: Mode) -> usize {
    match mode {
        Mode::F32 | Mode::Tf32 => WHOLE_STAGE / 4,
        Mode::Bf16 => WHOLE_STAGE / 2,
    }
}

/// The rows and columns of a tile of the exact kernels that take any extents: the largest tile that still gives enough tiles to fill a device. Where tiles of
/// the output may be whole, they have as many rows as those.
pub(super) fn exact_tile(y: Shape) -> [usize; 2] {
    let (rows, columns) = y.matrix();
    let tiles = |tall: usize, wide: usize| rows.div_ceil(tall) * columns.div_ceil(wide);
    if columns > 64 && tiles(128, 128) >= 256 {
        [128, 128]
    } else if columns > 32 && tiles(128, 64) >= 64 || may_be_whole(y) {
        [128, 64]
    } else {
        [32, 32]
    }
}

/// The direction of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Computes outputs from inputs.
    Forward,
    /// Computes the inputs' gradients from the outputs' gradients.
    Backward,
}

/// Whether all tensors start at multiples of 16 bytes and rows of `columns` elements do too.
pub fn aligned<T: Stored>(regions: &[Region], columns: &[usize]) -> u32 {
    let chunk = 16 / size_of::<T>();
    let whole = columns.iter().all(|n| n.is_multiple_of(chunk)) && regions.iter().all(|r| r.offset.is_multiple_of(16));
    u32::from(whole)
}
