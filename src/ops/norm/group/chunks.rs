//! How a tensor is shared out for norms over groups on the CPU: in chunks of whole samples, cut by the shape alone.
//!
//! A chunk's values at one pixel lie end to end, `[samples, C]`: each of these places is a *lane*, and a pass over a chunk is a loop over
//! pixels of one loop over lanes. A group's values are some lanes' values at all pixels. What a chunk computes no other chunk looks
//! at, but for γ's and β's gradients, of which each leaves a part, and these are added up in order. So threads change no bit.

use super::Grouped;
use crate::runtime::float::Float;
use rayon::prelude::*;
use std::ops::Range;

/// Lanes that make a chunk worth a task.
const LANES: usize = 1024;
/// Pixels that are summed in the tensor's own type before f64 takes over.
pub const PIECE: usize = 128;
/// Sums that a lane has room for, and vectors along the lanes.
const SUMS: usize = 4;
const LINES: usize = 10;

/// A chunk: some samples, all pixels.
#[derive(Clone, Copy)]
pub struct Chunk {
    of: Grouped,
    first: usize,
    count: usize,
}

/// Where a chunk works.
pub struct Workspace<'a, T> {
    /// f64 a lane.
    pub sums: [&'a mut [f64]; SUMS],
    /// T a lane.
    pub lines: [&'a mut [T]; LINES],
    /// Two sums a channel, over the chunk's samples.
    channels: &'a mut [f64],
}

/// Samples of a chunk.
fn samples_each(of: Grouped) -> usize {
    (LANES / of.channels).clamp(1, of.samples)
}

/// f64 elements of a chunk's room.
fn room(of: Grouped) -> usize {
    2 * of.channels + (SUMS + LINES) * samples_each(of) * of.channels
}

/// f64 elements of the workspace of all chunks.
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

/// The sum of `value(0..count)`, in eight chains, so that none waits for the one before.
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

    /// The elements of the chunk at each pixel.
    pub fn rows(self) -> impl Iterator<Item = Range<usize>> + Clone {
        let start = move |pixel: usize| (pixel * self.of.samples + self.first) * self.of.channels;
        (0..self.of.pixels).map(move |pixel| start(pixel)..start(pixel) + self.lanes())
    }

    /// Its groups among those of all samples.
    pub fn groups(self) -> Range<usize> {
        self.first * self.of.groups..(self.first + self.count) * self.of.groups
    }

    /// Calls `work(group of the chunk, its lanes)`.
    pub fn each_group(self, mut work: impl FnMut(usize, Range<usize>)) {
        let each = self.of.channels_each();
        (0..self.count * self.of.groups).for_each(|group| work(group, group * each..(group + 1) * each));
    }

    /// Writes `value(group of the chunk, channel)` to every lane.
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

    /// Sums over the pixels: `add(elements, lines)` adds a pixel's values to the lines; after each `piece` pixels these go to `sums`.
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
    /// Leaves the sums `a` and `b` of the chunk's lanes for [`per_channel`], added up over the samples.
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
