//! Flat vectors on a device: `kernels/vector.cu`. Sums have two stages: each block makes a partial sum, and then one block adds these.

use super::{COMPARED, Direction, NormKind, Vector, rows_of};
use crate::runtime::cuda::backend::PARTIALS;
use crate::runtime::cuda::driver::{Driver, Grid};
use crate::runtime::cuda::{Cuda, count, kernels};
use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};
use half::bf16;

/// The number of threads in a block.
const THREADS: u32 = 256;
/// The number of blocks that compare one row; each leaves three sums.
const ROW_BLOCKS: usize = 256;
/// The number of rows that one launch compares: as many as the partial sums have room for.
const ROWS_AT_ONCE: usize = PARTIALS / (COMPARED * ROW_BLOCKS);

/// The most blocks of a reduction.
const BLOCKS: usize = 512;

/// The grid of a vector: each thread takes eight elements, and there are no more blocks than partial sums.
fn grid(len: usize) -> Grid {
    Grid::new(len.div_ceil(8 * THREADS as usize).clamp(1, BLOCKS), THREADS)
}

fn same_length(op: &'static str, lengths: &[usize]) -> Result<u32> {
    if lengths.windows(2).all(|w| w[0] == w[1]) {
        return count(op, lengths[0]);
    }
    Err(Error::operator(op, "vectors of one length", format!("{lengths:?}")))
}

impl<D: Driver> Cuda<D> {
    fn norm_of(&mut self, op: &'static str, kind: NormKind, x: In, y: Option<In>, slot: Out) -> Result<()> {
        let len = same_length(op, &[x.0.shape.len(), y.unwrap_or(x).0.shape.len()])?;
        let partials = self.partials();
        let (driver, mut views) = self.begin(op);
        let (x, y) = (views.read::<f32>(x)?, views.read_some::<f32>(y)?);
        let (mut slot, mut partials) = (views.write::<f64>(slot)?, views.write::<f64>(partials)?);
        let (grid, one, y) = (grid(len as usize), Grid::new(1, THREADS), y);
        let blocks = grid.blocks[0];
        match kind {
            NormKind::L1 => kernels::AbsolutePartial { x, y, partials: &mut partials, len }.launch(driver, grid)?,
            NormKind::L2 => kernels::SquarePartial { x, y, partials: &mut partials, len }.launch(driver, grid)?,
            NormKind::LInf => {
                kernels::LargestPartial { x, y, partials: &mut partials, len }.launch(driver, grid)?;
                return kernels::LargestPartials { partials: partials.read(), slot: &mut slot, count: blocks }
                    .launch(driver, one);
            }
        }
        let root = u32::from(kind == NormKind::L2);
        kernels::SumPartials { partials: partials.read(), slot: &mut slot, count: blocks, root }.launch(driver, one)
    }
}

impl<D: Driver> Vector for Cuda<D> {
    fn axpy(&mut self, a: f64, x: In, y: Out) -> Result<()> {
        let len = same_length("axpy", &[x.0.shape.len(), y.0.shape.len()])?;
        let (driver, mut views) = self.begin("axpy");
        let (x, mut y) = (views.read::<f32>(x)?, views.write::<f32>(y)?);
        kernels::Axpy { a: a as f32, x, y: &mut y, len }.launch(driver, grid(len as usize))
    }

    fn displace(&mut self, x: In, a: f64, y: In, out: Out) -> Result<()> {
        let len = same_length("displace", &[x.0.shape.len(), y.0.shape.len(), out.0.shape.len()])?;
        let (driver, mut views) = self.begin("displace");
        let (x, y, mut out) = (views.read::<f32>(x)?, views.read::<f32>(y)?, views.write::<f32>(out)?);
        kernels::Displace { x, a: a as f32, y, out: &mut out, len }.launch(driver, grid(len as usize))
    }

    fn displace_rows(&mut self, x: In, a: In, y: In, out: Out) -> Result<()> {
        let len = same_length("displace_rows", &[x.0.shape.len(), y.0.shape.len()])?;
        let (rows, stride) = rows_of("displace_rows", out.0.shape, len as usize, (a.0.shape, 1))?;
        let (driver, mut views) = self.begin("displace_rows");
        let (x, a, y) = (views.read::<f32>(x)?, views.read::<f64>(a)?, views.read::<f32>(y)?);
        let mut out = views.write::<f32>(out)?;
        let (rows, stride) = (count("displace_rows", rows)?, count("displace_rows", stride)?);
        kernels::DisplaceRows { x, a, y, out: &mut out, len, rows, stride }.launch(driver, grid(len as usize))
    }

    fn compare_rows(&mut self, rows: In, y: In, out: Out) -> Result<()> {
        let len = count("compare_rows", y.0.shape.len())?;
        let (all, stride) = rows_of("compare_rows", rows.0.shape, len as usize, (out.0.shape, COMPARED))?;
        let blocks = (len as usize).div_ceil(8 * THREADS as usize).clamp(1, ROW_BLOCKS);
        let each = count("compare_rows", (len as usize).div_ceil(blocks).next_multiple_of(4))?;
        for first in (0..all).step_by(ROWS_AT_ONCE) {
            let some = (all - first).min(ROWS_AT_ONCE);
            let rows = In(rows.0.slice(first * stride, Shape::new([some, stride])));
            let out = Out(out.0.slice(first * COMPARED, Shape::new([some, COMPARED])));
            let partials = self.partials();
            let (driver, mut views) = self.begin("compare_rows");
            let (rows, y) = (views.read::<f32>(rows)?, views.read::<f32>(y)?);
            let (mut out, mut partials) = (views.write::<f64>(out)?, views.write::<f64>(partials)?);
            let mut partials = partials.first(some * blocks * COMPARED);
            let (some, stride) = (some as u32, count("compare_rows", stride)?);
            let grid = Grid::new(blocks, THREADS);
            kernels::ComparePartial { matrix: rows, y, partials: &mut partials, len, rows: some, stride, each }
                .launch(driver, grid)?;
            let grid = Grid::new(some as usize * COMPARED, THREADS);
            kernels::CompareFinish { partials: partials.read(), out: &mut out, blocks: blocks as u32 }
                .launch(driver, grid)?;
        }
        Ok(())
    }

    fn direction(&mut self, kind: Direction, index: u32, state: In, out: Out) -> Result<()> {
        let len = count("direction", out.0.shape.len())?;
        let (driver, mut views) = self.begin("direction");
        let (state, mut out) = (views.read::<u64>(state)?, views.write::<f32>(out)?);
        kernels::Direction { state, out: &mut out, index, signs: u32::from(kind == Direction::Signs), len }
            .launch(driver, grid(len as usize))
    }

    fn jitter(&mut self, x: In, part: f64, index: u32, state: In, out: Out) -> Result<()> {
        let len = same_length("jitter", &[x.0.shape.len(), out.0.shape.len()])?;
        let (driver, mut views) = self.begin("jitter");
        let (x, state, mut out) = (views.read::<f32>(x)?, views.read::<u64>(state)?, views.write::<f32>(out)?);
        kernels::Jitter { x, state, out: &mut out, part: part as f32, index, len }.launch(driver, grid(len as usize))
    }

    fn stretch(&mut self, lengths: In, by: In, over: In, out: Out) -> Result<()> {
        let len = same_length("stretch", &[lengths.0.shape.len(), out.0.shape.len()])?;
        let (driver, mut views) = self.begin("stretch");
        let (lengths, by, over) = (views.read::<f64>(lengths)?, views.read::<f64>(by)?, views.read::<f64>(over)?);
        let mut out = views.write::<f64>(out)?;
        kernels::Stretch { lengths, by, over, out: &mut out, len }.launch(driver, Grid::cover(len as usize, 1, THREADS))
    }

    fn dot(&mut self, x: In, y: In, slot: Out) -> Result<()> {
        let len = same_length("dot", &[x.0.shape.len(), y.0.shape.len()])?;
        let partials = self.partials();
        let (driver, mut views) = self.begin("dot");
        let (x, y) = (views.read::<f32>(x)?, views.read::<f32>(y)?);
        let (mut slot, mut partials) = (views.write::<f64>(slot)?, views.write::<f64>(partials)?);
        let grid = grid(len as usize);
        kernels::DotPartial { x, y, partials: &mut partials, len }.launch(driver, grid)?;
        kernels::SumPartials { partials: partials.read(), slot: &mut slot, count: grid.blocks[0], root: 0 }
            .launch(driver, Grid::new(1, THREADS))
    }

    fn norm(&mut self, kind: NormKind, x: In, slot: Out) -> Result<()> {
        self.norm_of("norm", kind, x, None, slot)
    }

    fn diff_norm(&mut self, kind: NormKind, x: In, y: In, slot: Out) -> Result<()> {
        self.norm_of("diff_norm", kind, x, Some(y), slot)
    }

    fn copy(&mut self, from: In, to: Out) -> Result<()> {
        same_length("copy", &[from.0.shape.len(), to.0.shape.len()])?;
        let (driver, mut views) = self.begin("copy");
        let (from, to) = (views.read::<f32>(from)?, views.write::<f32>(to)?);
        driver.copy(from.region, to.region)
    }

    fn recast(&mut self, from: In, to: Out) -> Result<()> {
        let len = same_length("recast", &[from.0.shape.len(), to.0.shape.len()])?;
        if to.0.dtype == from.0.dtype {
            return self.copy(from, to);
        }
        let (driver, mut views) = self.begin("recast");
        let (from, mut to) = (views.read::<f32>(from)?, views.write::<bf16>(to)?);
        kernels::Recast { from, to: &mut to, len }.launch(driver, Grid::cover(len as usize, 8, THREADS))
    }
}
