//! The linear layer on the CPU: one dense product in each direction.

use super::{Extents, Linear};
use crate::Result;
use crate::ops::channel_reduce;
use crate::ops::gemm::{Block, Segment, pack, pack_transposed, panel_len, panel_width};
use crate::ops::weight_grads::WeightGrads;
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::tensor::{In, Out, Shape};
use rayon::prelude::*;

/// The number of rows that one task takes: whole register tiles of every instruction set.
const ROWS: usize = 96;

/// The number of multiply-adds below which a product is not worth sharing among threads.
const SMALL: usize = 1 << 20;

/// The number of samples whose outer products are summed in registers before they are added to the weight gradient.
const DEPTH: usize = 128;

/// `out = a · panels`, or `out += …` with `accumulate`: `a [N, depth]`, `out [N, columns]`.
fn product<T: Float>(a: &[T], depth: usize, panels: &[T], out: &mut [T], columns: usize, accumulate: bool) {
    let width = panel_width::<T>();
    let task = |(a, out): (&[T], &mut [T])| {
        for (j, panel) in panels.chunks_exact(depth * width).enumerate() {
            let first = j * width;
            let block = Block {
                segments: &[Segment { a: a.as_ptr(), b: panel.as_ptr() }],
                depth,
                a_row: depth,
                a_depth: 1,
                b_depth: width,
                packed: true,
                out: out[first..].as_mut_ptr(),
                out_row: columns,
                rows: out.len() / columns,
                columns: width.min(columns - first),
                accumulate,
            };
            // SAFETY: `a` and `out` are whole rows of the same number, the panel has `depth` lines.
            unsafe { block.run() }
        }
    };
    if a.len() * columns < SMALL {
        return task((a, out));
    }
    a.par_chunks(ROWS * depth).zip(out.par_chunks_mut(ROWS * columns)).for_each(task);
}

/// `y = x w + b`
fn forward<T: Float>(e: Extents, x: &[T], weight: &[T], bias: Option<&[T]>, y: &mut [T], workspace: &mut [T]) {
    let width = panel_width::<T>();
    let packed = &mut workspace[..panel_len::<T>(1, e.i, e.o)];
    for (j, panel) in packed.chunks_exact_mut(e.i * width).enumerate() {
        pack(weight, e.o, j * width, width, panel);
    }
    if let Some(bias) = bias {
        y.chunks_exact_mut(e.o).for_each(|row| row.copy_from_slice(bias));
    }
    product(x, e.i, packed, y, e.o, bias.is_some());
}

/// `dx = dy wᵀ`
fn grad_input<T: Float>(e: Extents, weight: &[T], dy: &[T], dx: &mut [T], workspace: &mut [T]) {
    let width = panel_width::<T>();
    let packed = &mut workspace[..panel_len::<T>(1, e.o, e.i)];
    for (j, panel) in packed.chunks_exact_mut(e.o * width).enumerate() {
        pack_transposed(weight, e.o, j * width, width, panel);
    }
    product(dy, e.o, packed, dx, e.i, false);
}

/// `dw = xᵀ dy`, a panel of outputs at a time.
fn grad_weight<T: Float>(e: Extents, x: &[T], dy: &[T], dw: &mut [T]) {
    let width = panel_width::<T>();
    for first in (0..e.o).step_by(width) {
        for (piece, (x, dy)) in x.chunks(DEPTH * e.i).zip(dy.chunks(DEPTH * e.o)).enumerate() {
            let depth = dy.len() / e.o;
            let block = Block {
                segments: &[Segment { a: x.as_ptr(), b: dy[first..].as_ptr() }],
                depth,
                a_row: 1,
                a_depth: e.i,
                b_depth: e.o,
                packed: false,
                out: dw[first..].as_mut_ptr(),
                out_row: e.o,
                rows: e.i,
                columns: width.min(e.o - first),
                accumulate: piece > 0,
            };
            // SAFETY: `x` has `depth` rows of I, `dy` as many of O; `out` is I rows of this panel's columns.
            unsafe { block.run() }
        }
    }
}

impl<T: Float> Linear for Cpu<T> {
    fn linear_workspace(&self, e: Extents) -> Shape {
        let panels = panel_len::<T>(1, e.i, e.o).max(panel_len::<T>(1, e.o, e.i));
        Shape::new([panels.max(2 * channel_reduce::workspace(e.n, e.o))])
    }

    fn linear(&mut self, x: In, weight: In, bias: Option<In>, y: Out, workspace: Out) -> Result<()> {
        let e = Extents::of(x.0.shape, weight.0.shape, bias.map(|b| b.0.shape), y.0.shape)?;
        let mut b = self.borrow("linear");
        let bias = bias.map(|bias| b.read(bias)).transpose()?;
        forward::<T>(e, b.read(x)?, b.read(weight)?, bias, b.write(y)?, b.write(workspace)?);
        Ok(())
    }

    fn linear_backward(&mut self, x: In, weight: In, grad_y: In, grads: WeightGrads, workspace: Out) -> Result<()> {
        let e = Extents::of(x.0.shape, weight.0.shape, grads.bias.map(|b| b.0.shape), grad_y.0.shape)?;
        grads.alone("linear")?;
        let mut b = self.borrow("linear");
        let (x, weight, dy, workspace) =
            (b.read::<T>(x)?, b.read::<T>(weight)?, b.read::<T>(grad_y)?, b.write::<T>(workspace)?);
        if let Some(dx) = grads.x {
            grad_input(e, weight, dy, b.write(dx)?, workspace);
        }
        if let Some(db) = grads.bias {
            channel_reduce::sums(dy, e.o, b.write(db)?, channel_reduce::as_f64(workspace), |sum| sum);
        }
        if let Some(to) = grads.weight {
            grad_weight(e, x, dy, b.write(to)?);
        }
        Ok(())
    }
}
