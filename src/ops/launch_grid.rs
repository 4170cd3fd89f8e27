//! How a matrix of rows × columns is shared out among a device's blocks. `column_place` in `kernels/columns.cuh` is the inverse; for rows of whole
//! vectors of 16 bytes it is `wide_place` in `kernels/wide.cuh`.

use crate::runtime::cuda::backend::TICKETS;
use crate::runtime::cuda::count;
use crate::runtime::cuda::driver::{Grid, SliceMut, Stored};
use crate::runtime::cuda::kernels::{Matrix, Pool};
use crate::runtime::tensor::Shape;
use crate::{Error, Result};

/// The number of threads in a block. A block of a norm over groups has as many columns at most: `kernels/groupnorm_wide.cu` says so too.
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

/// Vectors of a row that a block of a wide pass takes at most: 128 bytes.
const WIDEST: usize = 8;
/// Blocks that wide passes aim at: of sums as many as a large device runs at once, of what goes over every element a few more. Rows that a thread has
/// of these, at least and at most.
const WIDE_SUMS: usize = 256;
const WIDE_EACH: usize = 512;
const LEAST_WIDE_ROWS: usize = 2;
const MOST_WIDE_ROWS: usize = 16;

/// Tickets of a tile of columns whose partial sums are merged in the launch that makes them: as `kernels/columns.cuh` has it.
const TILE_TICKETS: usize = 33;

/// The tickets of `tiles` tiles of columns, of all that a device has. Errors: it has not as many.
pub fn tickets<'t>(op: &'static str, all: &'t mut SliceMut<'_, u32>, tiles: usize) -> Result<SliceMut<'t, u32>> {
    match tickets_of(tiles) {
        few if few <= all.len() => Ok(all.first(few)),
        _ => {
            Err(Error::operator(op, format!("at most {} tiles of columns", TICKETS / TILE_TICKETS), tiles.to_string()))
        }
    }
}

/// The number of tickets of `tiles` tiles of columns.
pub fn tickets_of(tiles: usize) -> usize {
    tiles.saturating_mul(TILE_TICKETS)
}

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

    /// The same for wide passes. A block takes at most one column for each of its threads, and no more parts than the others leave.
    pub fn few_wide_rows<T: Stored>(op: &'static str, (rows, columns): (usize, usize)) -> Result<[Self; 2]> {
        let each = 16 / size_of::<T>();
        let widest = (LEAST_WIDE_ROWS * THREADS / rows.next_power_of_two()).clamp(WIDEST, THREADS / each);
        let wide = Wide::of_vectors(columns.div_ceil(each), widest);
        let parts = wide.parts(rows).min(parts_of_few_rows(rows, columns));
        Ok([wide.sums(op, (rows, columns), parts)?, wide.each(op, (rows, columns))?])
    }

    /// A wide pass that sums over the rows.
    pub fn wide_sums<T: Stored>(op: &'static str, x: Shape) -> Result<Self> {
        let wide = Wide::of::<T>(x);
        wide.sums(op, x.matrix(), wide.parts(x.matrix().0))
    }

    /// A wide pass over every element.
    pub fn wide_each<T: Stored>(op: &'static str, x: Shape) -> Result<Self> {
        Wide::of::<T>(x).each(op, x.matrix())
    }

    /// The place of this pass's partial sums at the beginning of the workspace: two numbers for each part and column.
    pub fn partials<'w>(&self, workspace: &'w mut SliceMut<'_, f32>) -> SliceMut<'w, f64> {
        workspace.cast(2 * self.parts as usize * self.matrix.columns as usize)
    }

    /// The tickets of this pass, of all that a device has: none where there is one part.
    pub fn tickets<'t>(&self, op: &'static str, all: &'t mut SliceMut<'_, u32>) -> Result<SliceMut<'t, u32>> {
        tickets(op, all, if self.parts > 1 { self.grid.blocks[0] as usize } else { 0 })
    }

    /// The grid that merges the parts: one warp for each column.
    pub fn per_column(&self) -> Grid {
        merging(self.matrix.columns as usize)
    }
}

/// How wide passes share out a matrix.
#[derive(Debug, Clone, Copy)]
struct Wide {
    /// Vectors of a row that a block takes, and blocks across a row.
    width: usize,
    across: usize,
    /// Rows that a block takes at once.
    step: usize,
}

impl Wide {
    fn of<T: Stored>(x: Shape) -> Wide {
        Wide::of_vectors(x.matrix().1.div_ceil(16 / size_of::<T>()), WIDEST)
    }

    /// Of so many vectors a row, a block takes `widest` at most, a power of two.
    fn of_vectors(vectors: usize, widest: usize) -> Wide {
        let width = vectors.next_power_of_two().clamp(1, widest);
        Wide { width, across: vectors.div_ceil(width).max(1), step: THREADS / width }
    }

    /// Parts of a sum over so many rows, at most: more rows have no fewer.
    fn parts(&self, rows: usize) -> usize {
        let wanted = WIDE_SUMS.div_ceil(self.across).min(MOST_PARTS);
        rows.div_ceil(self.step * LEAST_WIDE_ROWS).clamp(1, wanted)
    }

    /// A pass that sums over the rows in so many parts, or fewer.
    fn sums(&self, op: &'static str, of: (usize, usize), parts: usize) -> Result<ColumnGrid> {
        // Only the last part has a ragged end.
        self.grid(op, of, of.0.div_ceil(parts).next_multiple_of(self.step))
    }

    /// A pass over every element.
    fn each(&self, op: &'static str, of: (usize, usize)) -> Result<ColumnGrid> {
        let each = (of.0.div_ceil(self.step) * self.across / WIDE_EACH).clamp(LEAST_WIDE_ROWS, MOST_WIDE_ROWS);
        // Four rows of a thread are under way at once.
        let each = if each > 4 { each / 4 * 4 } else { each };
        self.grid(op, of, (each * self.step).max(of.0.div_ceil(65_535)))
    }

    fn grid(&self, op: &'static str, of: (usize, usize), rows_per_part: usize) -> Result<ColumnGrid> {
        let parts = of.0.div_ceil(rows_per_part.max(1)).max(1);
        Ok(ColumnGrid {
            grid: Grid::of([self.across, parts, 1], THREADS as u32),
            matrix: matrix(op, of, rows_per_part, self.width)?,
            parts: count(op, parts)?,
        })
    }
}

/// Whether wide passes count an x of this shape in 32 bits.
pub fn counted_in_32_bits<T: Stored>(x: Shape) -> bool {
    x.len() / (16 / size_of::<T>()) <= i32::MAX as usize
}

fn each(rows: usize, lanes: usize) -> usize {
    // No more parts than a grid has along y.
    (ROWS_EACH * (THREADS / width(lanes))).max(rows.div_ceil(65_535))
}

fn parts(rows: usize, columns: usize) -> usize {
    // One part needs no tickets, and there are blocks enough.
    let most = if columns.div_ceil(32) > TICKETS / TILE_TICKETS { 1 } else { MOST_PARTS };
    (rows * columns / PART).clamp(1, most).min(rows.max(1))
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
    let narrow = rows.div_ceil(rows.div_ceil(parts(rows, columns)).max(1)).max(1);
    let wide = [4, 8].map(|each| Wide::of_vectors(columns.div_ceil(each), WIDEST).parts(rows));
    Shape::new([4 * columns * wide.into_iter().fold(narrow, usize::max)])
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

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    #[test]
    fn partial_sums_fit_the_workspace_whichever_pass_takes_them() {
        for columns in [1, 3, 4, 8, 24, 64, 72, 512, 1000, 4096] {
            for rows in [1, 4, 36, 68, 260, 516, 1028, 3000, 4100, 32_768, 131_072, 1_000_004] {
                let x = Shape::new([rows, 1, 1, columns]);
                let pooled = Shape::new([rows / 4, 1, 1, columns]);
                let most = workspace(x).len();
                for shape in [x, pooled].into_iter().filter(|shape| shape.len() > 0) {
                    let over = Over { shape, pool: Pool { width: u32::from(shape != x), batch: 1 } };
                    let grids = [
                        ColumnGrid::sums("", shape),
                        ColumnGrid::sums_over("", over),
                        ColumnGrid::wide_sums::<f32>("", shape),
                        ColumnGrid::wide_sums::<bf16>("", shape),
                    ];
                    for at in grids.map(|at| at.unwrap()) {
                        assert!(4 * at.parts as usize * columns <= most, "{shape} of {x}: {at:?}");
                        // Every row is in a part, and every part has a row.
                        let (each, parts) = (at.matrix.rows_per_part as usize, at.parts as usize);
                        assert!(parts * each >= shape.matrix().0 && (parts - 1) * each < shape.matrix().0, "{at:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn partial_sums_of_few_rows_fit_their_parts_whichever_pass_takes_them() {
        for columns in [8, 16, 24, 96, 1100, 2048, 8192, 65_536] {
            for rows in [1, 4, 16, 25, 49, 64, 256, 1024, 1089, 5000, 200_000] {
                let most = parts_of_few_rows(rows, columns);
                let grids = [
                    ColumnGrid::few_rows("", (rows, columns)),
                    ColumnGrid::few_wide_rows::<f32>("", (rows, columns)),
                    ColumnGrid::few_wide_rows::<bf16>("", (rows, columns)),
                ];
                for (of_elements, each) in [1, 4, 8].into_iter().zip(grids) {
                    let [sums, each] = each.unwrap();
                    assert!(sums.parts as usize <= most, "{rows} × {columns}: {sums:?}");
                    for at in [sums, each] {
                        let (rows_each, parts) = (at.matrix.rows_per_part as usize, at.parts as usize);
                        assert!(parts * rows_each >= rows && (parts - 1) * rows_each < rows, "{at:?}");
                        let (taken, across) = (at.matrix.width as usize * of_elements, at.grid.blocks[0] as usize);
                        assert!(taken <= THREADS && across * taken >= columns, "{at:?}");
                    }
                }
            }
        }
    }
}
