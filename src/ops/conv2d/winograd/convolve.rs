//! The output and the input gradient. Both are the same convolution; the input gradient takes the filters rotated by 180° and with input and output
//! channels swapped.
//!
//! For each block of tiles, the inputs are transformed, multiplied with the transformed filters (one product of the tile after another), and the sums
//! are transformed back. On large maps the filters are the smaller part: all of them are transformed first, and each thread takes blocks. On small
//! maps the filters are the larger part: the inputs are transformed first, and each thread takes panels of filters, which then stay in its cache.

use super::super::Map;
use super::filtering::Filtering;
use super::product::{Channels, ROWS, Work, eight_rows, on_this_machine};
use super::sharing::{Shared, rooms, share};
use super::tile::{self, Window};
use super::tiling::{Block, Tiling};
use crate::runtime::simd::{Lanes, fence};
use std::marker::PhantomData;

/// The number of images in a block.
const IMAGES: usize = 64;
/// The depth after which a chain of products ends and its sum is added to the total.
const CHAIN: usize = 256;
/// The number of tiles, over the whole batch, beyond which a map counts as large.
const LARGE: usize = 1024;
/// The depths of a panel that are transformed together.
const SLICE: usize = 64;
/// Padding between products, in elements, so that they do not all start at the same offset within a page.
pub const APART: usize = 16;

/// A convolution of the input `[H, W, N, depth]` to `[H, W, N, columns]`.
#[derive(Clone, Copy)]
pub struct Convolution<'a> {
    /// Extents.
    pub map: &'a Map,
    /// x, or dy for the input gradient.
    pub input: &'a [f32],
    /// `[9, C, K]`
    pub weight: &'a [f32],
    /// Added to each output.
    pub bias: Option<&'a [f32]>,
    /// Whether this computes the input gradient rather than the output.
    pub gradient: bool,
}

/// The number of columns in a panel of filters.
pub fn panel_width(columns: usize) -> usize {
    [32, 16].into_iter().find(|&width| columns.is_multiple_of(width)).unwrap_or(8)
}

/// The number of channels that are stored together: as many as fill a register, for both input and output channels.
pub fn group(map: &Map) -> usize {
    if map.c.is_multiple_of(16) && map.k.is_multiple_of(16) { 16 } else { 8 }
}

/// The sizes, which depend on the shape alone.
struct Plan<A> {
    tiling: Tiling,
    depth: usize,
    columns: usize,
    width: usize,
    group: usize,
    large: bool,
    algorithm: PhantomData<A>,
}

impl<A: Filtering> Plan<A> {
    const PRODUCTS: usize = A::PRODUCTS * A::PRODUCTS;

    fn new(map: &Map, gradient: bool) -> Self {
        let tiling = Tiling::new::<A>(map, IMAGES);
        let (depth, columns) = if gradient { (map.k, map.c) } else { (map.c, map.k) };
        let large = tiling.rows() > LARGE;
        Plan { tiling, depth, columns, width: panel_width(columns), group: group(map), large, algorithm: PhantomData }
    }

    fn panels(&self) -> usize {
        self.columns / self.width
    }

    /// The number of rows in a block, rounded up to whole groups of eight.
    fn rows(&self) -> usize {
        self.tiling.images().next_multiple_of(ROWS)
    }

    /// The distance from one product to the next: of the transformed inputs, of the filters and of the sums.
    fn inputs(&self) -> usize {
        self.rows() * self.depth + APART
    }
    fn filters(&self) -> usize {
        self.depth * self.width + APART
    }
    fn sums(&self) -> usize {
        self.rows() * self.width + APART
    }

    /// The number of elements that all threads share, and the number that each thread has to itself.
    fn room(&self) -> [usize; 2] {
        let turned = 9 * SLICE * self.width;
        let [inputs, filters, sums] = [self.inputs(), self.filters(), self.sums()].map(|len| Self::PRODUCTS * len);
        match self.large {
            true => [self.panels() * filters, inputs + sums.max(turned) + APART],
            false => [self.tiling.blocks() * inputs, filters + sums.max(turned) + APART],
        }
    }
}

/// The size of the workspace, in elements.
pub fn workspace<A: Filtering>(map: &Map, gradient: bool) -> usize {
    let [shared, each] = Plan::<A>::new(map, gradient).room();
    shared + rooms() * each
}

/// Computes the convolution `of` and writes its result to `out`.
pub fn convolve<A: Filtering>(of: Convolution<'_>, out: &mut [f32], workspace: &mut [f32]) {
    let plan = Plan::<A>::new(of.map, of.gradient);
    let [shared, each] = plan.room();
    let (shared, rooms) = workspace.split_at_mut(shared);
    let (shared, out) = (Shared::new(shared), Shared::new(out));
    let (panels, blocks) = (plan.panels(), plan.tiling.blocks());
    let [inputs, filters] = [plan.inputs(), plan.filters()].map(|len| Plan::<A>::PRODUCTS * len);
    // Tasks enough for every thread, where the first count is too small; they repeat some of the transforms.
    let split = |count: usize, most: usize| rayon::current_num_threads().div_ceil(count).min(most);
    if plan.large {
        let slices = plan.depth.div_ceil(SLICE);
        share(panels * slices, rooms, each, |task, room| {
            let (panel, first) = (task / slices, task % slices * SLICE);
            transform_filters(&plan, of, panel, first, shared.at(panel * filters), room);
        });
        let parts = split(blocks, panels);
        share(blocks * parts, rooms, each, |task, room| {
            let (block, part) = (plan.tiling.block(task / parts), task % parts);
            let (left, sums) = room.split_at_mut(inputs);
            transform_inputs(&plan, of, &block, left.as_mut_ptr());
            for panel in part * panels / parts..(part + 1) * panels / parts {
                let right = shared.at(panel * filters);
                multiply(&plan, of, (&block, left.as_ptr()), (panel, right), sums, out);
            }
        });
    } else {
        share(blocks, rooms, each, |task, _| {
            transform_inputs(&plan, of, &plan.tiling.block(task), shared.at(task * inputs));
        });
        let parts = split(panels, blocks);
        share(panels * parts, rooms, each, |task, room| {
            let (panel, part) = (task / parts, task % parts);
            let (right, sums) = room.split_at_mut(filters);
            for first in (0..plan.depth).step_by(SLICE) {
                transform_filters(&plan, of, panel, first, right.as_mut_ptr(), sums);
            }
            for index in part * blocks / parts..(part + 1) * blocks / parts {
                let block = (&plan.tiling.block(index), shared.at(index * inputs).cast_const());
                multiply(&plan, of, block, (panel, right.as_mut_ptr()), sums, out);
            }
        });
    }
}

/// Transforms the filters of `panel` at depths `first..first + SLICE`. `to` is where the panel is stored; `room` is overwritten.
fn transform_filters<A: Filtering>(
    plan: &Plan<A>,
    of: Convolution<'_>,
    panel: usize,
    first: usize,
    to: *mut f32,
    room: &mut [f32],
) {
    let Map { c, k, .. } = *of.map;
    let width = plan.width;
    let (column, depths) = (panel * width, SLICE.min(plan.depth - first));
    let mut taps = [std::ptr::null(); 9];
    let row = if of.gradient {
        for (tap, turned) in room.chunks_exact_mut(depths * width).take(9).enumerate() {
            let from = &of.weight[((8 - tap) * c + column) * k..];
            for (i, row) in from.chunks_exact(k).take(width).enumerate() {
                for (to, &value) in turned[i..].iter_mut().step_by(width).zip(&row[first..first + depths]) {
                    *to = value;
                }
            }
            taps[tap] = turned.as_ptr();
        }
        width
    } else {
        taps = std::array::from_fn(|tap| of.weight[(tap * c + first) * k + column..].as_ptr());
        k
    };
    let to = to.wrapping_add(first * width);
    let work = Filters::<A> { taps, row, width, depths, to, stride: plan.filters(), algorithm: PhantomData };
    // SAFETY: each tap has `depths` rows of at least `width`; the panel has room for them at every product, and this task alone writes there.
    unsafe { on_this_machine(&work, plan.group) }
}

struct Filters<A> {
    taps: [*const f32; 9],
    row: usize,
    width: usize,
    depths: usize,
    to: *mut f32,
    stride: usize,
    algorithm: PhantomData<A>,
}

impl<A: Filtering> Work for Filters<A> {
    #[inline(always)]
    unsafe fn run<V: Lanes<f32>, const TALL: usize>(&self) {
        for depth in 0..self.depths {
            for column in (0..self.width).step_by(V::WIDTH) {
                // SAFETY: as `transform_filters` says.
                unsafe {
                    let mut taps = [V::splat(0.0); 9];
                    for (to, tap) in taps.iter_mut().zip(&self.taps) {
                        *to = V::load(tap.add(depth * self.row + column));
                    }
                    tile::weight::<A, V>(&taps, self.to.add(depth * self.width + column), self.stride);
                }
            }
        }
    }
}

/// Transforms the inputs of a block, and writes them to `to`.
fn transform_inputs<A: Filtering>(plan: &Plan<A>, of: Convolution<'_>, block: &Block, to: *mut f32) {
    let window = plan.tiling.inputs::<A>(block, of.input, plan.depth);
    let work = Inputs::<A> {
        window,
        block: *block,
        rows: plan.rows(),
        depth: plan.depth,
        group: plan.group,
        to,
        stride: plan.inputs(),
        algorithm: PhantomData,
    };
    // SAFETY: every pixel has the block's images, and what lies outside one register; the room has a block's rows at every product.
    unsafe { on_this_machine(&work, plan.group) }
}

struct Inputs<A> {
    window: Window<*const f32>,
    block: Block,
    rows: usize,
    depth: usize,
    group: usize,
    to: *mut f32,
    stride: usize,
    algorithm: PhantomData<A>,
}

impl<A: Filtering> Work for Inputs<A> {
    #[inline(always)]
    unsafe fn run<V: Lanes<f32>, const TALL: usize>(&self) {
        let row = |i: usize| self.to.wrapping_add(i / ROWS * ROWS * self.depth + i % ROWS * self.group);
        for i in 0..self.block.images {
            let (from, to) = ((self.block.first + i) * self.depth, row(i));
            for c in (0..self.depth).step_by(self.group) {
                for v in (0..self.group).step_by(V::WIDTH) {
                    // SAFETY: as `transform_inputs` says.
                    unsafe {
                        tile::transform::<A, tile::Inputs, V>(
                            &self.window,
                            from + c + v,
                            to.add(c * ROWS + v),
                            self.stride,
                        )
                    };
                }
            }
        }
        // Rows that fill the last group up; nothing of them is kept.
        for i in self.block.images..self.rows {
            for c in (0..self.depth).step_by(self.group) {
                for product in 0..A::PRODUCTS * A::PRODUCTS {
                    // SAFETY: likewise.
                    unsafe { row(i).add(product * self.stride + c * ROWS).write_bytes(0, self.group) };
                }
            }
        }
    }
}

/// Multiplies a block's inputs with a panel of filters, and transforms the sums back to outputs.
fn multiply<A: Filtering>(
    plan: &Plan<A>,
    of: Convolution<'_>,
    (block, left): (&Block, *const f32),
    (panel, right): (usize, *mut f32),
    room: &mut [f32],
    out: Shared,
) {
    let (sums, aside) = room.split_at_mut(Plan::<A>::PRODUCTS * plan.sums());
    let column = panel * plan.width;
    let to = out.at(column);
    let window = plan.tiling.outputs::<A>(block, to, plan.columns, aside.as_mut_ptr());
    // Streaming takes whole registers at their own addresses.
    let whole = |address: usize| address.is_multiple_of(64);
    let stream = plan.large && whole(to.addr()) && whole(aside.as_ptr().addr()) && whole(4 * plan.columns);
    let work = Multiply::<A> {
        left,
        right,
        sums: sums.as_mut_ptr(),
        strides: [plan.inputs(), plan.filters(), plan.sums()],
        depth: plan.depth,
        group: plan.group,
        width: plan.width,
        block: *block,
        window,
        columns: plan.columns,
        bias: of.bias.map(|bias| bias[column..].as_ptr()),
        stream,
        ahead: !plan.large,
        algorithm: PhantomData,
    };
    // SAFETY: the operands were transformed for this plan; the output's pixels have the block's images, of which this task alone writes the
    // panel's columns, and what lies outside has one register.
    unsafe { on_this_machine(&work, plan.group) }
}

struct Multiply<A> {
    left: *const f32,
    right: *const f32,
    sums: *mut f32,
    strides: [usize; 3],
    depth: usize,
    group: usize,
    width: usize,
    block: Block,
    window: Window<*mut f32>,
    columns: usize,
    bias: Option<*const f32>,
    stream: bool,
    ahead: bool,
    algorithm: PhantomData<A>,
}

impl<A: Filtering> Work for Multiply<A> {
    #[inline(always)]
    unsafe fn run<V: Lanes<f32>, const TALL: usize>(&self) {
        let Multiply { depth, width, .. } = *self;
        for product in 0..A::PRODUCTS * A::PRODUCTS {
            for first in (0..depth).step_by(CHAIN) {
                for row in (0..self.block.images).step_by(ROWS) {
                    // SAFETY: as `multiply` says; rows come in whole groups.
                    unsafe {
                        let left = self.left.add(product * self.strides[0] + row * depth + first * ROWS);
                        let right = self.right.add(product * self.strides[1] + first * width);
                        let sums = self.sums.add(product * self.strides[2] + row * width);
                        let depth = CHAIN.min(depth - first);
                        // The next group's rows, where they come from memory that is shared.
                        let (next, more) = (left.wrapping_add(self.depth * ROWS), first > 0);
                        let at = (left, right, sums, next);
                        match (self.group, self.ahead) {
                            (16, true) => eight_rows::<Channels<16>, V, TALL, true>(at, depth, width, more),
                            (16, false) => eight_rows::<Channels<16>, V, TALL, false>(at, depth, width, more),
                            (_, true) => eight_rows::<Channels<8>, V, TALL, true>(at, depth, width, more),
                            (_, false) => eight_rows::<Channels<8>, V, TALL, false>(at, depth, width, more),
                        }
                    }
                }
            }
        }
        // SAFETY: likewise.
        unsafe {
            match self.stream {
                true => self.outputs::<V, true>(),
                false => self.outputs::<V, false>(),
            }
        }
        if self.stream {
            fence();
        }
    }
}

impl<A: Filtering> Multiply<A> {
    #[inline(always)]
    unsafe fn outputs<V: Lanes<f32>, const STREAM: bool>(&self) {
        for i in 0..self.block.images {
            for v in (0..self.width).step_by(V::WIDTH) {
                // SAFETY: as `multiply` says.
                unsafe {
                    let bias = self.bias.map(|bias| V::load(bias.add(v)));
                    let (from, to) = (self.sums.add(i * self.width + v), (self.block.first + i) * self.columns + v);
                    tile::output::<A, V, STREAM>(from, self.strides[2], bias, &self.window, to);
                }
            }
        }
    }
}
