//! The dense products of convolution and linear layers on a device: which kernel, which tiles, how many splits.
//!
//! f32 is exact (`kernels/conv.cu`); tf32 and bf16 run on tensor cores (`kernels/conv_mma.cu`); a first layer of at most three channels has
//! kernels of its own (`kernels/stem.cu`). Tiles and splits depend on the shapes alone, so the order of every sum does too.

use crate::Result;
use crate::ops::column_grid::{self, ColumnGrid};
use crate::runtime::cuda::driver::{Driver, Grid, Pass, Region, Slice, SliceMut, Stored};
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

    fn weights(&self) -> usize {
        self.taps * self.inputs * self.outputs
    }

    /// f32 elements of workspace: the splits' partial weight gradients, the partial sums of a bias's, and the sums that a forward pass
    /// leaves for a norm.
    pub fn workspace(&self, mode: Mode) -> Shape {
        let (splits, _) = self.splits();
        let partials = if splits > 1 { splits * self.weights() } else { 0 };
        let bias = column_grid::workspace(Shape::new([self.rows(), self.outputs])).len();
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
fn aligned<T: Stored>(regions: &[Region], columns: &[usize]) -> u32 {
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
    a: &Slice<'_, T>,
    weight: &Slice<'_, T>,
    bias: Option<&Slice<'_, f32>>,
    out: &mut SliceMut<'_, T>,
    epilogue: Epilogue<'_, '_>,
) -> Result<()> {
    let Extents { height, width, batch, inputs, outputs, taps } = extents;
    let (inner, columns, sign, transposed) = match direction {
        Direction::Forward => (inputs, outputs, 1, 0),
        Direction::Backward => (outputs, inputs, -1, 1),
    };
    if direction == Direction::Backward {
        driver.enter_pass(Pass::InputGradient);
    }
    let rows = extents.rows();
    let (m, k, n) = (count(op, rows)?, count(op, inner)?, count(op, columns)?);
    let (height, width, batch, taps) = (count(op, height)?, count(op, width)?, count(op, batch)?, taps as u32);
    // An output of one of these sizes is what its elements are counted by.
    count(op, rows.saturating_mul(inner.max(columns)))?;
    let Epilogue { relu, sums } = epilogue;
    let relu = u32::from(relu);
    let across = if transposed == 1 { inner } else { columns };
    let vector = aligned::<T>(&[a.region, weight.region], &[inner, across]);
    if extents.stem() && direction == Direction::Forward {
        let grid = Grid::of([rows.div_ceil(STEM_ROWS), columns.div_ceil(64), 1], 256);
        let (sum_rows, tf32) = (tile_rows(mode, rows, columns) as u32, u32::from(mode == Mode::Tf32));
        return kernels::stem(
            driver, grid, a, weight, bias, out, sums, m, k, n, height, width, batch, taps, sum_rows, relu, tf32,
        );
    }
    if mode != Mode::F32 {
        let tile = tile_rows(mode, rows, columns);
        let grid =
            Grid::of([rows.div_ceil(tile), columns.div_ceil(64), 1], 2 * tile as u32).shared(product_shared(tile));
        let launch = if tile == 64 { kernels::product_mma_64 } else { kernels::product_mma };
        return launch(
            driver, grid, a, weight, bias, out, sums, m, k, n, height, width, batch, taps, sign, transposed, relu,
            vector,
        );
    }
    let (a, weight, out) = (&a.as_f32(), &weight.as_f32(), &mut out.as_f32());
    let [tall, wide] = exact_tile(rows, columns);
    let launch = match wide {
        128 => kernels::product_128x128,
        64 => kernels::product_128x64,
        _ => kernels::product_32x32,
    };
    let threads = if wide == 32 { 64 } else { 256 };
    let grid = Grid::of([rows.div_ceil(tall), columns.div_ceil(wide), 1], threads);
    launch(
        driver, grid, a, weight, bias, out, sums, m, k, n, height, width, batch, taps, sign, transposed, relu, vector,
    )
}

/// `out [taps, C, K] = Σ_rows xᵀ · dy` over the rows that have the tap on the map.
pub fn weight_gradient<D: Driver, T: Stored>(
    driver: &mut D,
    op: &'static str,
    mode: Mode,
    extents: Extents,
    x: &Slice<'_, T>,
    grad_y: &Slice<'_, T>,
    out: &mut SliceMut<'_, f32>,
    workspace: &mut SliceMut<'_, f32>,
) -> Result<()> {
    let Extents { height, width, batch, inputs, outputs, taps } = extents;
    driver.enter_pass(Pass::WeightGradient);
    let (splits, each) = extents.splits();
    let (m, k, n) = (count(op, extents.rows())?, count(op, inputs)?, count(op, outputs)?);
    let (height, width, batch, each) = (count(op, height)?, count(op, width)?, count(op, batch)?, count(op, each)?);
    let len = count(op, extents.weights())?;
    let vector = aligned::<T>(&[x.region, grad_y.region], &[inputs, outputs]);
    // One split is the whole: it goes straight to its place.
    let partials = &mut if splits > 1 { workspace.first(splits * len as usize) } else { out.as_f32() };
    let grid = |side: usize, threads| Grid::of([inputs.div_ceil(side) * outputs.div_ceil(side), taps, splits], threads);
    let t = taps as u32;
    if extents.stem() {
        let (grid, tf32) = (Grid::of([outputs.div_ceil(64), splits, 1], 256), u32::from(mode == Mode::Tf32));
        kernels::stem_gradient(driver, grid, x, grad_y, partials, m, k, n, height, width, batch, t, each, tf32)?;
    } else if mode != Mode::F32 {
        let grid = grid(64, 256).shared(GRADIENT_SHARED);
        kernels::weight_gradient_mma(
            driver, grid, x, grad_y, partials, m, k, n, height, width, batch, t, each, vector,
        )?;
    } else if inputs > 32 || outputs > 32 {
        let (x, dy, grid) = (x.as_f32(), grad_y.as_f32(), grid(64, 256));
        kernels::weight_gradient_64(driver, grid, &x, &dy, partials, m, k, n, height, width, batch, t, each, vector)?;
    } else {
        let (x, dy, grid) = (x.as_f32(), grad_y.as_f32(), grid(32, 64));
        kernels::weight_gradient_32(driver, grid, &x, &dy, partials, m, k, n, height, width, batch, t, each, vector)?;
    }
    if splits == 1 {
        return Ok(());
    }
    let partials = workspace.first(splits * len as usize);
    if splits >= MANY_SPLITS {
        let grid = Grid::new((len as usize).div_ceil(32), 256);
        return kernels::add_many_splits(driver, grid, &partials.read(), out, splits as u32, len);
    }
    let grid = Grid::cover(len as usize, 1, 256);
    kernels::add_splits(driver, grid, &partials.read(), out, splits as u32, len)
}

/// `out [K] = Σ_rows dy`
pub fn bias_gradient<D: Driver, T: Stored>(
    driver: &mut D,
    op: &'static str,
    extents: Extents,
    grad_y: &Slice<'_, T>,
    out: &mut SliceMut<'_, f32>,
    workspace: &mut SliceMut<'_, f32>,
) -> Result<()> {
    driver.enter_pass(Pass::WeightGradient);
    let at = ColumnGrid::sums(op, Shape::new([extents.rows(), extents.outputs]))?;
    let ColumnGrid { grid, rows, columns, parts, rows_per_part, width } = at;
    let mut partials = at.partials(workspace);
    kernels::column_sums(driver, grid, grad_y, &mut partials, rows, columns, rows_per_part, width)?;
    kernels::column_sums_finish(driver, at.per_column(), &partials.read(), out, columns, parts)
}
