//! The dense products of convolution and linear layers on a device: which kernel they use, which tiles, and how many splits.
//!
//! f32 is exact (`kernels/conv.cu`); tf32 and bf16 run on tensor cores, in whole tiles (`kernels/conv_wgmma.cu` for bf16 on sm_90, `kernels/conv_tile.cu`
//! elsewhere) or any others (`kernels/conv_mma.cu`); a first layer of at most three channels has kernels of its own (`kernels/stem.cu`). Tiles and splits depend on the
//! shapes alone, so the order of every sum does too.

use crate::ops::launch_grid::{self, ColumnGrid};
use crate::runtime::cuda::driver::{Driver, Grid, Pass, Region, Slice, SliceMut, Stored};
use crate::runtime::cuda::kernels::Map;
use crate::runtime::cuda::{Mode, count, kernels};
use crate::runtime::tensor::Shape;
use crate::{Error, Result};
pub use both::gradients;
pub use norm_below::{Below, Shares};

/// The dynamic shared memory, in bytes, of the tensor-core kernels: three stages of both tiles, where the left tile has rows of 80 bytes.
const fn product_shared(tile_rows: usize) -> usize {
    3 * 80 * (tile_rows + 64)
}
const GRADIENT_SHARED: usize = 27_648;
/// Rows of a whole tile, and of activations that are samples of one pixel.
const WHOLE_ROWS: usize = 128;
/// Bytes of the inner dimension that a stage of a whole tile has.
const WHOLE_STAGE: usize = 128;
/// Blocks of whole tiles that a weight gradient is split into, about: one for each multiprocessor of a large device, which those of the input's gradient
/// share.
const WHOLE_BLOCKS: usize = 132;
/// Blocks that share a whole tile's sum where there are few tiles, on devices with clusters.
const CLUSTER: usize = 4;
/// Tiles below which smaller ones are taken: one for each multiprocessor of a large device, about.
const FEW_TILES: usize = 128;

/// Bytes of dynamic shared memory of a product in whole tiles: three stages, or the tile that is put together in the same place, its column sums, and
/// a norm's constants.
const fn whole_shared(columns: usize) -> usize {
    let stages = 3 * WHOLE_STAGE * (WHOLE_ROWS + columns);
    let shares = if columns == 128 { 1 } else { 2 };
    let (tile, sums) = (4 * shares * WHOLE_ROWS * (columns + 8), 4 * 2 * columns * (128 / (columns / 4)));
    // Of a norm below, four constants a column.
    let all = tile + sums + 4 * 4 * columns;
    if stages > all { stages } else { all }
}
/// The same of a product by warpgroups: four stages, the eight warps' rows that are put together, and 8 KiB of column sums.
const fn warpgroup_shared(columns: usize) -> usize {
    4 * WHOLE_STAGE * (WHOLE_ROWS + columns) + 4 * WHOLE_ROWS * (columns + 8) + (8 << 10)
}
/// The same of a weight gradient: three stages of 32 KiB.
const WHOLE_GRADIENT_SHARED: usize = 98_304;
/// The same of a weight gradient by warpgroups: four stages of 32 KiB, and 16 KiB for the sums of the second warpgroup.
const WARPGROUP_GRADIENT_SHARED: usize = 147_456;
/// Blocks that a weight gradient is split into, about: a few for each multiprocessor of a large device.
const BLOCKS: usize = 512;
/// The fewest rows of a split; with fewer, the partial sums would cost more than the extra blocks gain.
const LEAST_ROWS: usize = 256;
/// Up to this many splits, the last block of a tile adds all of them; of more, the last blocks of groups: as `kernels/splits.cuh` has it.
const FEW_SPLITS: usize = 4;
/// Of splits that a launch of its own adds: from this many on, a block of many threads adds the parts of a few elements.
const MANY_SPLITS: usize = 16;
/// The rows of a tile of the first layer's kernel, and the splits of its weight gradient: two blocks for each multiprocessor.
const STEM_ROWS: usize = 128;
const STEM_SPLITS: usize = 264;

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
    fn rows(&self) -> usize {
        self.height * self.width * self.batch
    }

    /// Whether this is a first layer, with few channels; its taps are then handled all together.
    fn stem(&self) -> bool {
        self.taps == 9 && self.inputs <= 3
    }

    /// Whether rows come in whole tiles, each of one pixel.
    fn whole_rows(&self) -> bool {
        self.batch.is_multiple_of(WHOLE_ROWS)
    }

    /// Columns of the whole tiles of a product; none where it is not made of such.
    fn whole_product(&self, mode: Mode, direction: Direction) -> Option<usize> {
        let (inner, columns) = self.inner_and_columns(direction);
        let whole = self.whole_rows() && inner.is_multiple_of(whole_depth(mode)?) && columns.is_multiple_of(64);
        let many = self.rows() / WHOLE_ROWS * (columns / 128) >= FEW_TILES;
        whole.then_some(if columns.is_multiple_of(128) && many { 128 } else { 64 })
    }

    /// The side of the whole tiles of a weight gradient; none where it is not made of such.
    fn whole_gradient(&self, mode: Mode) -> Option<usize> {
        whole_depth(mode)?;
        let of = |side| self.inputs.is_multiple_of(side) && self.outputs.is_multiple_of(side);
        [128, 64].into_iter().find(|&side| self.whole_rows() && of(side))
    }

    fn inner_and_columns(&self, direction: Direction) -> (usize, usize) {
        match direction {
            Direction::Forward => (self.inputs, self.outputs),
            Direction::Backward => (self.outputs, self.inputs),
        }
    }

    /// Splits of the weight gradient's rows, and rows of each.
    fn splits(&self, mode: Mode) -> (usize, usize) {
        let whole = self.whole_gradient(mode);
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

    /// See [`tile_rows`].
    fn tile_rows(&self, mode: Mode) -> usize {
        tile_rows(mode, Shape::new([self.height, self.width, self.batch, self.outputs]))
    }

    /// Numbers (f64) that a forward pass leaves for a norm: two a column and tile.
    pub fn sums(&self, mode: Mode) -> usize {
        2 * self.outputs * self.rows().div_ceil(self.tile_rows(mode))
    }

    /// The product's extents as the kernels take them, for a product in `direction`. Errors: an extent too large for them.
    fn map(&self, op: &'static str, direction: Direction) -> Result<Map> {
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

    fn weights(&self) -> usize {
        self.taps * self.inputs * self.outputs
    }

    /// The workspace, in f32 elements: for the partial weight gradients of the splits, the partial sums of a bias gradient, or the sums that a
    /// forward pass leaves for a norm, whichever is largest.
    pub fn workspace(&self, mode: Mode) -> Shape {
        let (splits, _) = self.splits(mode);
        let partials = if splits > 1 { splits * self.weights() } else { 0 };
        let bias = launch_grid::workspace(Shape::new([self.rows(), self.outputs])).len();
        let sums = 2 * self.sums(mode);
        // So that what follows is aligned as a number (f64).
        Shape::new([partials.max(bias).max(sums).next_multiple_of(2) + 2 * self.norm_sums(mode)])
    }

    /// Where in the workspace the sums of a norm below begin, in f32 elements: the weight's gradient leaves them alone.
    fn before_norm_sums(&self, mode: Mode) -> usize {
        self.workspace(mode).len() - 2 * self.norm_sums(mode)
    }
}

/// Rows of a forward product's tile, of which each leaves one pair of sums a column, from the shape of y: what follows need not know what y was
/// made of.
pub fn tile_rows(mode: Mode, y: Shape) -> usize {
    let (rows, columns) = y.matrix();
    let [_, _, batch, _] = y.hwnc();
    match mode {
        Mode::F32 => exact_tile(rows, columns)[0],
        _ if batch.is_multiple_of(WHOLE_ROWS) && columns.is_multiple_of(64) => WHOLE_ROWS,
        _ => any_tile_rows(rows, columns),
    }
}

/// Rows of a tile that need not be whole, of the tensor-core kernels: 128, or 64 where there would be fewer tiles than a large device has
/// multiprocessors.
fn any_tile_rows(rows: usize, columns: usize) -> usize {
    if rows.div_ceil(128) * columns.div_ceil(64) < FEW_TILES { 64 } else { 128 }
}

/// Whether a cluster shares each of so many tiles of a product: more of the device has something to do then, if it has clusters.
fn shared_by_clusters<D: Driver>(driver: &D, tiles: usize) -> bool {
    tiles * CLUSTER / 2 <= FEW_TILES && driver.properties().capability >= 90
}

/// Elements of a whole tile's stage; none in f32, which has no tensor cores.
fn whole_depth(mode: Mode) -> Option<usize> {
    match mode {
        Mode::F32 => None,
        Mode::Tf32 => Some(WHOLE_STAGE / 4),
        Mode::Bf16 => Some(WHOLE_STAGE / 2),
    }
}

/// The rows and columns of a tile of the exact kernels: the largest tile that still gives enough tiles to fill a device.
fn exact_tile(rows: usize, columns: usize) -> [usize; 2] {
    let tiles = |tall: usize, wide: usize| rows.div_ceil(tall) * columns.div_ceil(wide);
    if columns > 64 && tiles(128, 128) >= 256 {
        [128, 128]
    } else if columns > 32 && tiles(128, 64) >= 64 {
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
    /// [`Extents::sums`] numbers: Σ and Σ² of every column, for each tile of [`tile_rows`] rows.
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

/// Whether all tensors start at multiples of 16 bytes and rows of `columns` elements do too.
pub fn aligned<T: Stored>(regions: &[Region], columns: &[usize]) -> u32 {
    let chunk = 16 / size_of::<T>();
    let whole = columns.iter().all(|n| n.is_multiple_of(chunk)) && regions.iter().all(|r| r.offset.is_multiple_of(16));
    u32::from(whole)
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
        let split = shared_by_clusters(driver, tall * across);
        let grid = Grid::of([if split { CLUSTER * tall } else { tall }, across, 1], 128).shared(whole_shared(wide));
        if mode == Mode::Bf16 && driver.properties().hopper && !split {
            let b_rows = extents.taps * if transposed == 1 { columns } else { inner };
            let a = a.tiles([inner, rows], [WHOLE_STAGE / 2, WHOLE_ROWS]);
            let b = weight.tiles(
                [if transposed == 1 { inner } else { columns }, b_rows],
                [WHOLE_STAGE / 2, if transposed == 1 { wide } else { 64 }],
            );
            let blocks = (tall * across).min(driver.properties().multiprocessors as usize);
            let grid = Grid::of([blocks, 1, 1], 288).shared(warpgroup_shared(wide));
            let out = &mut out.as_bf16();
            macro_rules! warpgroups {
                ($kernel:ident) => {
                    kernels::$kernel { a, b, bias, out, sums, mean, var, tickets, map, transposed, relu }
                        .launch(driver, grid)
                };
            }
            return match (wide, below) {
                (128, None) => warpgroups!(ProductWgmma128),
                (_, None) => warpgroups!(ProductWgmma64),
                (128, Some(below)) => input_gradient!(InputGradientWgmma128(below, a, b, out, below.x.as_bf16(), grid)),
                (_, Some(below)) => input_gradient!(InputGradientWgmma64(below, a, b, out, below.x.as_bf16(), grid)),
            };
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
    if below.is_some() {
        return Err(Error::operator(op, "a precision in which a norm's gradients are left", "f32"));
    }
    let (a, weight, out) = (a.as_f32(), weight.as_f32(), &mut out.as_f32());
    let [tall, wide] = exact_tile(rows, columns);
    let threads = if wide == 32 { 64 } else { 256 };
    let grid = Grid::of([rows.div_ceil(tall), columns.div_ceil(wide), 1], threads);
    match wide {
        128 => product!(Product128x128(a, weight, out, grid)),
        64 => product!(Product128x64(a, weight, out, grid)),
        _ => product!(Product32x32(a, weight, out, grid)),
    }
}

/// The tickets by which the blocks of `tiles` tiles of a weight gradient add their splits: for each group of splits, and for the groups. Errors: there
/// are not as many.
fn split_tickets<'t>(
    op: &'static str,
    all: &'t mut SliceMut<'_, u32>,
    tiles: usize,
    splits: usize,
) -> Result<SliceMut<'t, u32>> {
    let each = if splits <= FEW_SPLITS { splits } else { (3..).find(|each| each * each >= splits).unwrap_or(splits) };
    let needed = tiles * (splits.div_ceil(each) + 1);
    match needed <= all.len() {
        true => Ok(all.first(needed)),
        false => {
            let expected = format!("at most {} splits of all tiles of a weight gradient", all.len());
            Err(Error::operator(op, expected, format!("{splits} of {tiles} tiles")))
        }
    }
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
    let (splits, each) = extents.splits(mode);
    let (map, per_split) = (extents.map(op, Direction::Forward)?, count(op, each)?);
    let len = count(op, extents.weights())?;
    let vector = aligned::<T>(&[x.region, grad_y.region], &[inputs, outputs]);
    // One split is the whole: it goes straight to its place. More are added by the launch that makes them, of whole tiles and of a first layer.
    let whole_tiles = extents.whole_gradient(mode).filter(|_| vector == 1 && !extents.stem());
    let merged = splits > 1 && (whole_tiles.is_some() || extents.stem());
    let tiles = match whole_tiles {
        Some(side) => inputs / side * (outputs / side) * taps,
        None => outputs.div_ceil(64),
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
    } else if let Some(side) = whole_tiles.filter(|_| mode == Mode::Bf16 && driver.properties().hopper) {
        let (rows, box_rows) = (extents.rows(), if side == 128 { 64 } else { 128 });
        let x = x.tiles([inputs, rows], [WHOLE_STAGE / 2, box_rows]);
        let grad_y = grad_y.tiles([outputs, rows], [WHOLE_STAGE / 2, box_rows]);
        let parts = (inputs / side) * (outputs / side) * taps * splits;
        let blocks = parts.min(driver.properties().multiprocessors as usize);
        let (grid, splits) = (Grid::of([blocks, 1, 1], 288).shared(WARPGROUP_GRADIENT_SHARED), splits as u32);
        if side == 128 {
            kernels::WeightGradientWgmma128 { x, grad_y, partials, out: out_of_all, tickets, map, per_split, splits }
                .launch(driver, grid)?;
        } else {
            kernels::WeightGradientWgmma64 { x, grad_y, partials, out: out_of_all, tickets, map, per_split, splits }
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

mod both;
mod norm_below;
#[cfg(test)]
mod tests;
