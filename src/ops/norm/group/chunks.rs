//! How norms over groups on the CPU share out a tensor: in chunks of whole samples, cut by the shape alone.
//!
//! A chunk's values at one pixel lie end to end, `[samples, C]`. Each of these positions is a *lane*, and a pass over a chunk loops over pixels and,
//! inside, over lanes. A group's values are those of several lanes at all pixels. Chunks are independent except for the gradients of γ and β: each
//! chunk leaves its part of them, and the parts are added up in order. So the number of threads changes no bit.

use super::Grouped;
use crate::runtime::float::Float;
use rayon::prelude::*;
use std::ops::Range;

/// The number of lanes that makes a chunk large enough for a task.
const LANES: usize = 1024;
/// The number of pixels that are summed in the tensor's own type before f64 takes over.
pub const PIECE: usize = 128;
/// The number of f64 sums that each lane has room for, and the number of vectors along the lanes.
const SUMS: usize = 4;
const LINES: usize = 10;

/// A chunk: several samples, with all their pixels.
#[derive(Clone, Copy)]
pub struct Chunk {
    of: Grouped,
    first: usize,
    count: usize,
}

/// A chunk's workspace.
pub struct Workspace<'a, T> {
    /// f64 sums, one number for each lane.
    pub sums: [&'a mut [f64]; SUMS],
    /// Vectors of T, one number for each lane.
    pub lines: [&'a mut [T]; LINES],
    /// Two sums for each channel, over the chunk's samples.
    channels: &'a mut [f64],
}

/// The number of samples in a chunk.
fn samples_each(of: Grouped) -> usize {
    (LANES / of.channels).clamp(1, of.samples)
}

/// The workspace of a chunk, in f64 elements.
fn room(of: Grouped) -> usize {
    2 * of.channels + (SUMS + LINES) * samples_each(of) * of.channels
}

/// The workspace of all chunks, in f64 elements.
pub fn workspace(of: Grouped) -> usize {
    of.samples.div_ceil(samples_each(of)) * room(of)
}

/// Calls `work` for every chunk.
pub fn for_chunks<T: Float>(of: Grouped, workspace: &mut [f64], work: impl Fn(Chunk, Workspace<'_, T>) + Sync) {
    let (each, size) = (samples_each(of), room(of));
    let one = |(index, room): (usize, &mut [f64])| {
        let first = index * each;
        let chunk = Chunk { of, first, count: each.min(of.samples - first) };
        let (channels, rest) = room.split_at_mut(2 * of.channels);
        let (sums, lines) = rest.split_at_mut(SUMS * each * of.channels);
        let lanes = chunk.lanes();
        let mut sums = sums.chunks_exact_mut(each * of.channels);
        // Vectors of T fit in the room of as many f64.
        let mut lines = bytemuck::cast_slice_mut::<f64, T>(lines).chunks_exact_mut(each * of.channels);
        let sums = [(); SUMS].map(|()| &mut sums.next().unwrap_or_default()[..lanes]);
        let lines = [(); LINES].map(|()| &mut lines.next().unwrap_or_default()[..lanes]);
        work(chunk, Workspace { sums, lines, channels });
    };
    let chunks = of.samples.div_ceil(each);
    let workspace = &mut workspace[..chunks * size];
    if chunks == 1 {
        one((0, workspace));
    } else {
        workspace.par_chunks_exact_mut(size).enumerate().for_each(one);
    }
}

/// Adds up what the chunks have left with [`Workspace::leave`]: `finish(channel, a, b)`.
pub fn per_channel(of: Grouped, workspace: &[f64], mut finish: impl FnMut(usize, f64, f64)) {
    let (chunks, size) = (of.samples.div_ceil(samples_each(of)), room(of));
    for c in 0..of.channels {
        let rooms = workspace[..chunks * size].chunks_exact(size);
        let (a, b) = rooms.fold((0.0, 0.0), |(a, b), room| (a + room[2 * c], b + room[2 * c + 1]));
        finish(c, a, b);
    }
}

/// The sum of `value(0..count)`, in eight independent chains, so that additions need not wait for one another.
#[inline(always)]
pub fn total(count: usize, value: impl Fn(usize) -> f64) -> f64 {
    let mut chains = [0.0; 8];
    for first in (0..count).step_by(8) {
        for (i, chain) in (first..count).zip(&mut chains) {
            *chain += value(i);
        }
    }
    chains.iter().sum()
}

impl Chunk {
    fn lanes(self) -> usize {
        self.count * self.of.channels
    }

    /// The elements of the chunk, as one range for each pixel.
    pub fn rows(self) -> impl Iterator<Item = Range<usize>> + Clone {
        let start = move |pixel: usize| (pixel * self.of.samples + self.first) * self.of.channels;
        (0..self.of.pixels).map(move |pixel| start(pixel)..start(pixel) + self.lanes())
    }

    /// The numbers of its groups among the groups of all samples.
    pub fn groups(self) -> Range<usize> {
        self.first * self.of.groups..(self.first + self.count) * self.of.groups
    }

    /// Calls `work(group, lanes)` for each of the chunk's groups.
    pub fn each_group(self, mut work: impl FnMut(usize, Range<usize>)) {
        let each = self.of.channels_each();
        (0..self.count * self.of.groups).for_each(|group| work(group, group * each..(group + 1) * each));
    }

    /// Writes `value(group, channel)` to every lane; groups are counted within the chunk.
    #[inline(always)]
    pub fn fill<T>(self, line: &mut [T], value: impl Fn(usize, usize) -> T) {
        let each = self.of.channels_each();
        for (group, lanes) in line[..self.lanes()].chunks_exact_mut(each).enumerate() {
            let first = group % self.of.groups * each;
            for (channel, lane) in (first..first + each).zip(lanes) {
                *lane = value(group, channel);
            }
        }
    }

    /// Sums over the pixels. `add(elements, lines)` adds one pixel's values to the lines; after every `piece` pixels the lines are added to `sums`.
    pub fn sum<T: Float, const K: usize>(
        self,
        piece: usize,
        mut lines: [&mut [T]; K],
        sums: [&mut [f64]; K],
        add: impl Fn(Range<usize>, [&mut [T]; K]),
    ) {
        let mut sums = sums;
        sums.iter_mut().for_each(|sum| sum.fill(0.0));
        let mut flush = |lines: &mut [&mut [T]; K]| {
            for (sum, line) in sums.iter_mut().zip(lines) {
                for (sum, v) in sum.iter_mut().zip(line.iter_mut()) {
                    *sum += v.f64();
                    *v = T::ZERO;
                }
            }
        };
        lines.iter_mut().for_each(|line| line.fill(T::ZERO));
        let mut left = piece;
        for row in self.rows() {
            if left == 0 {
                flush(&mut lines);
                left = piece;
            }
            add(row, lines.each_mut().map(|line| &mut **line));
            left -= 1;
        }
        flush(&mut lines);
    }
}

impl<T> Workspace<'_, T> {
    /// Adds up the sums `a` and `b` of the chunk's lanes over the samples, and leaves them for [`per_channel`].
    pub fn leave(&mut self, a: usize, b: usize) {
        self.channels.fill(0.0);
        let channels = self.channels.len() / 2;
        let samples = self.sums[a].chunks_exact(channels).zip(self.sums[b].chunks_exact(channels));
        for (a, b) in samples {
            for (sums, (a, b)) in self.channels.chunks_exact_mut(2).zip(a.iter().zip(b)) {
                sums[0] += a;
                sums[1] += b;
            }
        }
    }
}
