//! The weight gradient: `Gᵀ [Σ (A dy Aᵀ) ⊙ (Bᵀ x B)] G`, with the sum over all tiles of all images.
//!
//! On large maps there are many tiles and few filters: the blocks are cut into pieces, each with sums of its own, and the pieces are added in order.
//! On small maps the transformed inputs are kept, and each thread takes panels of filters through all blocks. A chain of products ends with its
//! block, and its sum is added to those of the blocks before.

use super::super::Map;
use super::convolve::{APART, group, panel_width};
use super::filtering::Filtering;
use super::product::{ROWS, Tiles, Work, eight_rows, on_this_machine};
use super::sharing::{Shared, rooms, share};
use super::tile::{self, Window};
use super::tiling::{Block, Tiling};
use crate::runtime::simd::Lanes;
use std::marker::PhantomData;

/// The number of images in a block.
const IMAGES: usize = 128;
/// The number of channels whose sums a thread computes at a time.
const CHANNELS: usize = 64;
/// The most tiles, over the whole batch, for which the transformed inputs are kept.
const SMALL: usize = 1024;
/// The fewest panels that are worth sharing among threads.
const PANELS: usize = 4;
/// The most pieces, and the most elements that their sums may have together.
const PIECES: usize = 16;
const SUMS: usize = 5 << 19;

/// The sizes, which depend on the shape alone.
struct Plan<A> {
    tiling: Tiling,
    map: Map,
    width: usize,
    group: usize,
    /// The number of pieces that the blocks are cut into; 0 where the inputs are kept.
    pieces: usize,
    algorithm: PhantomData<A>,
}

impl<A: Filtering> Plan<A> {
    const PRODUCTS: usize = A::PRODUCTS * A::PRODUCTS;

    fn new(map: &Map) -> Self {
        let tiling = Tiling::new::<A>(map, IMAGES);
        let width = panel_width(map.k);
        let kept = tiling.rows() <= SMALL && map.k / width >= PANELS;
        let most = (SUMS / (Self::PRODUCTS * map.c * map.k)).clamp(1, PIECES);
        let pieces = if kept { 0 } else { tiling.blocks().min(most) };
        Plan { tiling, map: *map, width, group: group(map), pieces, algorithm: PhantomData }
    }

    fn panels(&self) -> usize {
        self.map.k / self.width
    }

    /// The distance from one product to the next: of a block's inputs, and of its gradients in a panel.
    fn inputs(&self) -> usize {
        self.tiling.images() * self.map.c + APART
    }
    fn gradients(&self) -> usize {
        self.tiling.images() * self.width + APART
    }
    /// The distance from one product to the next of the sums: of all filters, or of some channels in a panel.
    fn sums(&self) -> usize {
        match self.pieces {
            0 => CHANNELS.min(self.map.c) * self.width + APART,
            _ => self.map.c * self.map.k + APART,
        }
    }

    /// The number of elements that all threads share, and the number that each thread has to itself.
    fn room(&self) -> [usize; 2] {
        let [inputs, gradients, sums] = [self.inputs(), self.gradients(), self.sums()].map(|len| Self::PRODUCTS * len);
        match self.pieces {
            0 => [self.tiling.blocks() * inputs, self.tiling.blocks() * gradients + sums],
            pieces => [pieces * sums, inputs + gradients],
        }
    }
}

/// The size of the workspace, in elements.
pub fn workspace<A: Filtering>(map: &Map) -> usize {
    let [shared, each] = Plan::<A>::new(map).room();
    shared + rooms() * each
}

/// Writes `dw [9, C, K]`, from `x [H, W, N, C]` and `dy [H, W, N, K]`.
pub fn grad_weight<A: Filtering>(map: &Map, x: &[f32], dy: &[f32], dw: &mut [f32], workspace: &mut [f32]) {
    let plan = Plan::<A>::new(map);
    let [shared, each] = plan.room();
    let (shared, rooms) = workspace.split_at_mut(shared);
    let (shared, dw) = (Shared::new(shared), Shared::new(dw));
    match plan.pieces {
        0 => with_inputs_kept(&plan, x, dy, dw, shared, rooms, each),
        _ => in_pieces(&plan, x, dy, dw, shared, rooms, each),
    }
}

/// How many parts each of `count` tasks is split into, so that every thread has one; at most `most`.
fn split(count: usize, most: usize) -> usize {
    rayon::current_num_threads().div_ceil(count).min(most)
}

fn in_pieces<A: Filtering>(
    plan: &Plan<A>,
    x: &[f32],
    dy: &[f32],
    dw: Shared,
    shared: Shared,
    rooms: &mut [f32],
    each: usize,
) {
    let Map { c, k, .. } = plan.map;
    let (panels, blocks, pieces) = (plan.panels(), plan.tiling.blocks(), plan.pieces);
    let of_piece = Plan::<A>::PRODUCTS * plan.sums();
    let parts = split(pieces, panels);
    share(pieces * parts, rooms, each, |task, room| {
        let (piece, part) = (task / parts, task % parts);
        let (left, right) = room.split_at_mut(Plan::<A>::PRODUCTS * plan.inputs());
        let first = piece * blocks / pieces;
        for index in first..(piece + 1) * blocks / pieces {
            let block = plan.tiling.block(index);
            transform(plan, Side::Inputs, x, &block, left.as_mut_ptr());
            for panel in part * panels / parts..(part + 1) * panels / parts {
                transform(plan, Side::Gradients { first: panel * plan.width }, dy, &block, right.as_mut_ptr());
                let work = Multiply {
                    left: left.as_ptr(),
                    right: right.as_ptr(),
                    sums: shared.at(piece * of_piece + panel * c * plan.width),
                    strides: [plan.inputs(), plan.gradients(), plan.sums()],
                    depth: block.images,
                    channels: c,
                    group: plan.group,
                    width: plan.width,
                    products: Plan::<A>::PRODUCTS,
                    accumulate: index > first,
                    ahead: false,
                };
                // SAFETY: the operands were transformed for this plan, and the panel's sums of this piece are this task's.
                unsafe { on_this_machine(&work, plan.group) }
            }
        }
    });
    let groups = c / plan.group;
    share(panels * groups, rooms, each, |task, _| {
        let (panel, channel) = (task / groups, task % groups * plan.group);
        let work = Taps::<A> {
            sums: shared.at((panel * c + channel) * plan.width),
            stride: plan.sums(),
            pieces,
            piece: of_piece,
            channels: plan.group,
            width: plan.width,
            to: dw.at(channel * k + panel * plan.width),
            row: k,
            tap: c * k,
            algorithm: PhantomData,
        };
        // SAFETY: every piece has these sums; the taps of these channels and columns are this task's.
        unsafe { on_this_machine(&work, plan.group) }
    });
}

fn with_inputs_kept<A: Filtering>(
    plan: &Plan<A>,
    x: &[f32],
    dy: &[f32],
    dw: Shared,
    shared: Shared,
    rooms: &mut [f32],
    each: usize,
) {
    let Map { c, k, .. } = plan.map;
    let (panels, blocks) = (plan.panels(), plan.tiling.blocks());
    let [inputs, gradients] = [plan.inputs(), plan.gradients()].map(|len| Plan::<A>::PRODUCTS * len);
    share(blocks, rooms, each, |index, _| {
        transform(plan, Side::Inputs, x, &plan.tiling.block(index), shared.at(index * inputs));
    });
    let groups = c.div_ceil(CHANNELS);
    let parts = split(panels, groups);
    share(panels * parts, rooms, each, |task, room| {
        let (panel, part) = (task / parts, task % parts);
        let (right, sums) = room.split_at_mut(blocks * gradients);
        for index in 0..blocks {
            let to = right[index * gradients..].as_mut_ptr();
            transform(plan, Side::Gradients { first: panel * plan.width }, dy, &plan.tiling.block(index), to);
        }
        for group in part * groups / parts..(part + 1) * groups / parts {
            let channel = group * CHANNELS;
            let channels = CHANNELS.min(c - channel);
            for index in 0..blocks {
                let depth = plan.tiling.block(index).images;
                let work = Multiply {
                    left: shared.at(index * inputs + channel * depth),
                    right: right[index * gradients..].as_ptr(),
                    sums: sums.as_mut_ptr(),
                    strides: [plan.inputs(), plan.gradients(), plan.sums()],
                    depth,
                    channels,
                    group: plan.group,
                    width: plan.width,
                    products: Plan::<A>::PRODUCTS,
                    accumulate: index > 0,
                    ahead: true,
                };
                // SAFETY: the operands were transformed for this plan, and the sums are this task's.
                unsafe { on_this_machine(&work, plan.group) }
            }
            let work = Taps::<A> {
                sums: sums.as_mut_ptr(),
                stride: plan.sums(),
                pieces: 1,
                piece: 0,
                channels,
                width: plan.width,
                to: dw.at(channel * k + panel * plan.width),
                row: k,
                tap: c * k,
                algorithm: PhantomData,
            };
            // SAFETY: the sums were just made; the taps of these channels and columns are this task's.
            unsafe { on_this_machine(&work, plan.group) }
        }
    });
}

/// The tensor that is transformed: all channels of x, or a panel of dy.
#[derive(Clone, Copy)]
enum Side {
    Inputs,
    Gradients { first: usize },
}

/// Transforms one side of a block, and writes it to `to`: `[channels / group][images][group]` for x, `[images][width]` for dy.
fn transform<A: Filtering>(plan: &Plan<A>, side: Side, of: &[f32], block: &Block, to: *mut f32) {
    let Map { c, k, .. } = plan.map;
    let work = match side {
        Side::Inputs => Transform::<A> {
            window: plan.tiling.inputs::<A>(block, of, c),
            inputs: true,
            block: *block,
            row: c,
            first: 0,
            count: c,
            to,
            group: plan.group,
            places: [block.images * plan.group, plan.group],
            stride: plan.inputs(),
            algorithm: PhantomData,
        },
        Side::Gradients { first } => Transform::<A> {
            window: plan.tiling.gradients::<A>(block, of, k),
            inputs: false,
            block: *block,
            row: k,
            first,
            count: plan.width,
            to,
            group: plan.group,
            places: [plan.group, plan.width],
            stride: plan.gradients(),
            algorithm: PhantomData,
        },
    };
    // SAFETY: every pixel has the block's images, and what lies outside one register; the room has as many at every product.
    unsafe { on_this_machine(&work, plan.group) }
}

struct Transform<A> {
    window: Window<*const f32>,
    inputs: bool,
    block: Block,
    row: usize,
    first: usize,
    count: usize,
    to: *mut f32,
    group: usize,
    /// The distance between groups of channels, and between images.
    places: [usize; 2],
    stride: usize,
    algorithm: PhantomData<A>,
}

impl<A: Filtering> Work for Transform<A> {
    #[inline(always)]
    unsafe fn run<V: Lanes<f32>, const TALL: usize>(&self) {
        let [group, image] = self.places;
        for i in 0..self.block.images {
            let from = (self.block.first + i) * self.row + self.first;
            for c in (0..self.count).step_by(self.group) {
                for v in (0..self.group).step_by(V::WIDTH) {
                    let (from, to) = (from + c + v, self.to.wrapping_add(c / self.group * group + i * image + v));
                    // A pixel outside the map has one register.
                    // SAFETY: as `transform` says.
                    unsafe {
                        match self.inputs {
                            true => tile::transform::<A, tile::Inputs, V>(&self.window, from, to, self.stride),
                            false => tile::transform::<A, tile::Gradients, V>(&self.window, from, to, self.stride),
                        }
                    }
                }
            }
        }
    }
}

/// `sums[product][channel][column] (+)= Σ_images inputs · gradients`
struct Multiply {
    left: *const f32,
    right: *const f32,
    sums: *mut f32,
    strides: [usize; 3],
    /// The number of images.
    depth: usize,
    channels: usize,
    group: usize,
    width: usize,
    products: usize,
    accumulate: bool,
    /// Whether the inputs come from memory that all threads share; they are then prefetched.
    ahead: bool,
}

impl Work for Multiply {
    #[inline(always)]
    unsafe fn run<V: Lanes<f32>, const TALL: usize>(&self) {
        let Multiply { depth, width, .. } = *self;
        for product in 0..self.products {
            for channel in (0..self.channels).step_by(ROWS) {
                // SAFETY: as who made it says.
                unsafe {
                    let group = channel / self.group * self.group * depth + channel % self.group;
                    let left = self.left.add(product * self.strides[0] + group);
                    let right = self.right.add(product * self.strides[1]);
                    let sums = self.sums.add(product * self.strides[2] + channel * width);
                    let (next, more) = (left.wrapping_add(self.group * depth), self.accumulate);
                    let at = (left, right, sums, next);
                    match (self.group, self.ahead) {
                        (16, true) => eight_rows::<Tiles<16>, V, TALL, true>(at, depth, width, more),
                        (16, false) => eight_rows::<Tiles<16>, V, TALL, false>(at, depth, width, more),
                        (_, true) => eight_rows::<Tiles<8>, V, TALL, true>(at, depth, width, more),
                        (_, false) => eight_rows::<Tiles<8>, V, TALL, false>(at, depth, width, more),
                    }
                }
            }
        }
    }
}

/// Adds the sums of the pieces in order, and transforms them back to taps.
struct Taps<A> {
    sums: *const f32,
    stride: usize,
    pieces: usize,
    /// The distance between pieces.
    piece: usize,
    channels: usize,
    width: usize,
    to: *mut f32,
    /// The distance between channels, and between taps.
    row: usize,
    tap: usize,
    algorithm: PhantomData<A>,
}

impl<A: Filtering> Work for Taps<A> {
    #[inline(always)]
    unsafe fn run<V: Lanes<f32>, const TALL: usize>(&self) {
        for channel in 0..self.channels {
            for v in (0..self.width).step_by(V::WIDTH) {
                // SAFETY: as who made it says.
                unsafe {
                    let from = self.sums.add(channel * self.width + v);
                    let product = |index: usize| {
                        let first = from.add(index * self.stride);
                        (1..self.pieces)
                            .fold(V::load(first), |sum, piece| sum.add(V::load(first.add(piece * self.piece))))
                    };
                    tile::grad_weight::<A, V>(product, self.to.add(channel * self.row + v), self.tap);
                }
            }
        }
    }
}
