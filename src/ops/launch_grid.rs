//! How a matrix of rows × columns is shared out among a device's blocks. `column_place` in `kernels/columns.cuh` is the inverse.

use crate::runtime::cuda::count;
use crate::runtime::cuda::driver::{Grid, SliceMut};
use crate::runtime::cuda::kernels::{Matrix, Pool};
use crate::runtime::tensor::Shape;
use crate::{Error, Result};

/// The number of threads in a block.
const THREADS: usize = 256;
/// The number of elements in a part of a sum: large enough to hide a block's overhead, small enough that every multiprocessor gets a part.
const PART: usize = 1 << 15;
/// The most parts of a sum; the last stage takes 32 of them at a time.
const MOST_PARTS: usize = 256;
/// The number of rows that a thread of an elementwise pass takes.
const ROWS_EACH: usize = 16;

/// The number of blocks that a pass over many columns aims at, and the fewest rows of a part.
const BLOCKS: usize = 1 << 10;
const FEWEST_ROWS: usize = 32;

/// The number of columns that a block takes; neighbouring lanes take neighbouring columns of a row.
fn width(columns: usize) -> usize {
    columns.next_power_of_two().clamp(1, 32)
}

/// A matrix, and how one kind of pass shares it out.
#[derive(Debug, Clone, Copy)]
pub struct ColumnGrid {
    /// The grid of the pass.
    pub grid: Grid,
    /// The matrix and the shares, as the kernels take them.
    pub matrix: Matrix,
    /// The number of parts that the rows are cut into.
    pub parts: u32,
}

/// A matrix as the kernels take it. Errors: a number too large for them.
fn matrix(op: &'static str, (rows, columns): (usize, usize), rows_per_part: usize, width: usize) -> Result<Matrix> {
    Ok(Matrix {
        rows: count(op, rows)?,
        columns: count(op, columns)?,
        rows_per_part: count(op, rows_per_part)?,
        width: width as u32,
    })
}

impl ColumnGrid {
    fn new(op: &'static str, (rows, columns): (usize, usize), lanes: usize, rows_per_part: usize) -> Result<Self> {
        let (width, parts) = (width(lanes), rows.div_ceil(rows_per_part.max(1)).max(1));
        Ok(ColumnGrid {
            grid: Grid::of([lanes.div_ceil(width), parts, 1], THREADS as u32),
            matrix: matrix(op, (rows, columns), rows_per_part, width)?,
            parts: count(op, parts)?,
        })
    }

    /// The grid of a pass that sums over the rows.
    pub fn sums(op: &'static str, x: Shape) -> Result<Self> {
        let (rows, columns) = x.matrix();
        Self::new(op, (rows, columns), columns, rows.div_ceil(parts(rows, columns)))
    }

    /// The same for a norm's passes. There are as many parts as x itself would have, since with a pool each row stands for a window of x.
    pub fn sums_over(op: &'static str, over: Over) -> Result<Self> {
        let (rows, columns) = over.shape.matrix();
        Self::new(op, (rows, columns), columns, over.rows_per_part())
    }

    /// The grid of a pass over every element.
    pub fn each(op: &'static str, x: Shape) -> Result<Self> {
        let (rows, columns) = x.matrix();
        Self::new(op, (rows, columns), columns, each(rows, columns))
    }

    /// The grid of a pass over every element in which each thread takes two columns.
    pub fn pairs(op: &'static str, x: Shape) -> Result<Self> {
        let (rows, columns) = x.matrix();
        let pairs = columns.div_ceil(2);
        Self::new(op, (rows, columns), pairs, each(rows, pairs))
    }

    /// The grid of [`ColumnGrid::sums_over`], but with two columns for each thread.
    pub fn pair_sums_over(op: &'static str, over: Over) -> Result<Self> {
        let (rows, columns) = over.shape.matrix();
        Self::new(op, (rows, columns), columns.div_ceil(2), over.rows_per_part())
    }

    /// The grids of the passes over a matrix that may have few rows and many columns, such as pixels × (N·C): for sums, and for passes over every
    /// element. Where there are fewer rows than threads that would share them, a block takes more columns.
    pub fn few_rows(op: &'static str, (rows, columns): (usize, usize)) -> Result<[Self; 2]> {
        let most = (THREADS / rows.next_power_of_two().min(THREADS)).max(32);
        let width = columns.next_power_of_two().clamp(1, most);
        let parts = parts_of_few_rows(rows, columns);
        let each = (ROWS_EACH * (THREADS / width)).max(rows.div_ceil(65_535));
        let grid = |rows_per_part: usize| {
            let parts = rows.div_ceil(rows_per_part.max(1)).max(1);
            Ok(ColumnGrid {
                grid: Grid::of([columns.div_ceil(width), parts, 1], THREADS as u32),
                matrix: matrix(op, (rows, columns), rows_per_part, width)?,
                parts: count(op, parts)?,
            })
        };
        Ok([grid(rows.div_ceil(parts))?, grid(each)?])
    }

    /// The place of this pass's partial sums at the beginning of the workspace: two numbers for each part and column.
    pub fn partials<'w>(&self, workspace: &'w mut SliceMut<'_, f32>) -> SliceMut<'w, f64> {
        workspace.cast(2 * self.parts as usize * self.matrix.columns as usize)
    }

    /// The grid that merges the parts: one warp for each column.
    pub fn per_column(&self) -> Grid {
        merging(self.matrix.columns as usize)
    }
}

fn each(rows: usize, lanes: usize) -> usize {
    // No more parts than a grid has along y.
    (ROWS_EACH * (THREADS / width(lanes))).max(rows.div_ceil(65_535))
}

fn parts(rows: usize, columns: usize) -> usize {
    (rows * columns / PART).clamp(1, MOST_PARTS).min(rows.max(1))
}

/// The number of parts in the sums of [`ColumnGrid::few_rows`].
pub fn parts_of_few_rows(rows: usize, columns: usize) -> usize {
    (BLOCKS / columns.div_ceil(32).max(1)).clamp(1, rows.div_ceil(FEWEST_ROWS).max(1))
}

/// The grid that merges the parts of `columns` columns: one warp for each column.
pub fn merging(columns: usize) -> Grid {
    Grid::new(columns.div_ceil(THREADS / 32), THREADS as u32)
}

/// The workspace, in f32 elements, for the partial sums of a norm: two numbers (f64) for each part and column.
pub fn workspace(x: Shape) -> Shape {
    let (rows, columns) = x.matrix();
    Shape::new([4 * columns * rows.div_ceil(rows.div_ceil(parts(rows, columns)).max(1)).max(1)])
}

/// The tensor that a norm's passes go over: x, or the pool's output if a pool follows.
#[derive(Debug, Clone, Copy)]
pub struct Over {
    /// The shape of y and of its gradient.
    pub shape: Shape,
    /// The pool as the kernels take it; its width is 0 where there is none.
    pub pool: Pool,
}

impl Over {
    /// The tensor for an input `x`, with or without a pool. Errors: a pool over a map of an odd extent.
    pub fn of(op: &'static str, x: Shape, pool: bool) -> Result<Over> {
        let [h, w, n, c] = x.hwnc();
        let batch = count(op, n)?;
        if !pool {
            return Ok(Over { shape: x, pool: Pool { width: 0, batch } });
        }
        if h < 2 || w < 2 || h % 2 + w % 2 > 0 {
            return Err(Error::operator(op, "a map of even height and width", format!("{h}×{w}")));
        }
        Ok(Over { shape: Shape::new([h / 2, w / 2, n, c]), pool: Pool { width: count(op, w)?, batch } })
    }
}

impl Over {
    fn rows_per_part(&self) -> usize {
        let (rows, columns) = self.shape.matrix();
        let window = if self.pool.width > 0 { 4 } else { 1 };
        rows.div_ceil(parts(window * rows, columns).min(rows.max(1)))
    }
}
