//! The dense products of convolution and linear layers on a device: which kernel, which tiles, how many splits.
//!
//! f32 is exact (`kernels/conv.cu`); tf32 and bf16 run on tensor cores (`kernels/conv_mma.cu`); a first layer of at most three channels has
//! kernels of its own (`kernels/stem.cu`). Tiles and splits depend on the shapes alone, so the order of every sum does too.

use crate::Result;
use crate::ops::launch_grid::{self, ColumnGrid};
use crate::runtime::cuda::driver::{Driver, Grid, Pass, Region, Slice, SliceMut, Stored};
use crate::runtime::cuda::kernels::Map;
use crate::runtime::cuda::{Mode, count, kernels};
use crate::runtime::tensor::Shape;

/// Bytes of dynamic shared memory of the tensor-core kernels: three stages of both tiles, the left one with rows of 80 bytes.
const fn product_shared(tile_rows: usize) -> usize {
    3 * 80 * (tile_rows + 64)
}
const GRADIENT_SHARED: usize = 27_648;
/// Blocks that a weight gradient is split into, about: a few for each multiprocessor of a large device.
const BLOCKS: usize = 512;
/// Rows of a split at the least: below this the partial sums cost more than they spread.
const LEAST_ROWS: usize = 256;
/// Splits from which on a block of many threads adds the parts of few elements.
const MANY_SPLITS: usize = 16;
/// Rows of a tile of the first layer's kernel, and splits of its weight's gradient: two blocks for each multiprocessor.
const STEM_ROWS: usize = 128;
const STEM_SPLITS: usize = 264;

/// The extents of a product over taps: a convolution's, or with one tap on a map of one pixel a linear layer's.
#[derive(Debug, Clone, Copy)]
pub struct Extents {
    /// H
    pub height: usize,
    /// W
    pub width: usize,
    /// N
    pub batch: usize,
    /// C: what is summed over, forward.
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

    /// Whether it is a first layer, which has few channels: then all taps go together.
    fn stem(&self) -> bool {
        self.taps == 9 && self.inputs <= 3
    }

    /// Splits of the weight gradient's rows, and rows of each.
    fn splits(&self) -> (usize, usize) {
        let tiles = self.inputs.div_ceil(64) * self.outputs.div_ceil(64) * self.taps;
        let blocks = if self.stem() { STEM_SPLITS } else { BLOCKS.div_ceil(tiles) };
        let splits = blocks.min(self.rows() / LEAST_ROWS).clamp(1, 1024);
        // Whole depths of a tile, so that only the last split has a ragged end.
        let each = self.rows().div_ceil(splits).next_multiple_of(if self.stem() { 64 } else { 32 });
        (self.rows().div_ceil(each).max(1), each)
    }

    /// Numbers (f64) that a forward pass leaves for a norm: two a column and tile.
    pub fn sums(&self, mode: Mode) -> usize {
        2 * self.outputs * self.rows().div_ceil(tile_rows(mode, self.rows(), self.outputs))
    }

    /// What the kernels are told of a product in `direction`. Errors: an extent too large for them.
    fn map(&self, op: &'static str, direction: Direction) -> Result<Map> {
        let (inner, columns, sign) = match direction {
            Direction::Forward => (self.inputs, self.outputs, 1),
            Direction::Backward => (self.outputs, self.inputs, -1),
        };
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

    /// f32 elements of workspace: the splits' partial weight gradients, the partial sums of a bias's, and the sums that a forward pass
    /// leaves for a norm.
    pub fn workspace(&self, mode: Mode) -> Shape {
        let (splits, _) = self.splits();
        let partials = if splits > 1 { splits * self.weights() } else { 0 };
        let bias = launch_grid::workspace(Shape::new([self.rows(), self.outputs])).len();
        let sums = 2 * self.sums(mode);
        Shape::new([partials.max(bias).max(sums)])
    }
}

/// Rows of a forward product's tile, of which each leaves one pair of sums a column. Of the tensor-core kernels: 128, or 64 where there
/// would be fewer tiles than a large device has multiprocessors.
pub fn tile_rows(mode: Mode, rows: usize, columns: usize) -> usize {
    match mode {
        Mode::F32 => exact_tile(rows, columns)[0],
        _ if rows.div_ceil(128) * columns.div_ceil(64) < 128 => 64,
        _ => 128,
    }
}

/// Rows and columns of a tile of the exact kernels: the largest of which there are enough to fill a device.
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

/// Which way a product goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Outputs from inputs.
    Forward,
    /// The inputs' gradients from the outputs'.
    Backward,
}

/// What a product does to its result before it is stored, and beside it.
pub struct Epilogue<'e, 's> {
    /// The ReLU.
    pub relu: bool,
    /// Gets Σ and Σ² of every column of each tile of [`tile_rows`] rows.
    pub sums: Option<&'e mut SliceMut<'s, f64>>,
}

impl Epilogue<'_, '_> {
    /// Nothing.
    pub const NONE: Self = Epilogue { relu: false, sums: None };
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
    epilogue: Epilogue<'_, '_>,
) -> Result<()> {
    let Extents { inputs, outputs, .. } = extents;
    let (inner, columns) = match direction {
        Direction::Forward => (inputs, outputs),
        Direction::Backward => (outputs, inputs),
    };
    let transposed = u32::from(direction == Direction::Backward);
    if direction == Direction::Backward {
        driver.enter_pass(Pass::InputGradient);
    }
    let rows = extents.rows();
    let map = extents.map(op, direction)?;
    // An output of one of these sizes is what its elements are counted by.
    count(op, rows.saturating_mul(inner.max(columns)))?;
    let Epilogue { relu, sums } = epilogue;
    let relu = u32::from(relu);
    let across = if transposed == 1 { inner } else { columns };
    let vector = aligned::<T>(&[a.region, weight.region], &[inner, across]);
    // Kernels of different tiles take the same operands.
    macro_rules! product {
        ($kernel:ident($a:ident, $b:ident, $out:ident, $grid:ident)) => {
            kernels::$kernel { a: $a, b: $b, bias, out: $out, sums, map, transposed, relu, vector }
                .launch(driver, $grid)
        };
    }
    if extents.stem() && direction == Direction::Forward {
        let grid = Grid::of([rows.div_ceil(STEM_ROWS), columns.div_ceil(64), 1], 256);
        let (sum_rows, tf32) = (tile_rows(mode, rows, columns) as u32, u32::from(mode == Mode::Tf32));
        return kernels::Stem { x: a, weight, bias, out, sums, sum_rows, relu, tf32, map }.launch(driver, grid);
    }
    if mode != Mode::F32 {
        let tile = tile_rows(mode, rows, columns);
        let grid =
            Grid::of([rows.div_ceil(tile), columns.div_ceil(64), 1], 2 * tile as u32).shared(product_shared(tile));
        return match tile {
            64 => product!(ProductMma64(a, weight, out, grid)),
            _ => product!(ProductMma(a, weight, out, grid)),
        };
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

/// `out [taps, C, K] = Σ_rows xᵀ · dy` over the rows that have the tap on the map.
pub fn weight_gradient<D: Driver, T: Stored>(
    driver: &mut D,
    op: &'static str,
    mode: Mode,
    extents: Extents,
    x: Slice<'_, T>,
    grad_y: Slice<'_, T>,
    out: &mut SliceMut<'_, f32>,
    workspace: &mut SliceMut<'_, f32>,
) -> Result<()> {
    let Extents { inputs, outputs, taps, .. } = extents;
    driver.enter_pass(Pass::WeightGradient);
    let (splits, each) = extents.splits();
    let (map, per_split) = (extents.map(op, Direction::Forward)?, count(op, each)?);
    let len = count(op, extents.weights())?;
    let vector = aligned::<T>(&[x.region, grad_y.region], &[inputs, outputs]);
    // One split is the whole: it goes straight to its place.
    let partials = &mut if splits > 1 { workspace.first(splits * len as usize) } else { out.as_f32() };
    let grid = |side: usize, threads| Grid::of([inputs.div_ceil(side) * outputs.div_ceil(side), taps, splits], threads);
    if extents.stem() {
        let (grid, tf32) = (Grid::of([outputs.div_ceil(64), splits, 1], 256), u32::from(mode == Mode::Tf32));
        kernels::StemGradient { x, grad_y, partials, per_split, tf32, map }.launch(driver, grid)?;
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
    if splits == 1 {
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
) -> Result<()> {
    driver.enter_pass(Pass::WeightGradient);
    let at = ColumnGrid::sums(op, Shape::new([extents.rows(), extents.outputs]))?;
    let ColumnGrid { grid, matrix, parts } = at;
    let mut partials = at.partials(workspace);
    kernels::ColumnSums { x: grad_y, partials: &mut partials, matrix }.launch(driver, grid)?;
    kernels::ColumnSumsFinish { partials: partials.read(), sums: out, columns: matrix.columns, parts }
        .launch(driver, at.per_column())
}
