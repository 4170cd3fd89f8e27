//! Products of three input channels with lines of gradients, for the first layer's weight gradient.
//!
//! Three channels are too few rows to fill the processor's pipelines. So neighbouring taps of one row of the map, whose pixels are a fixed distance
//! apart, are handled together: up to nine rows. The chains of operations are those of [`super::Block`], so no bit differs.

#![expect(clippy::needless_range_loop, reason = "indices are places in a tile, and arrays are read across")]

use crate::runtime::float::Float;
use crate::runtime::simd::{Isa, Lanes, isa};
use crate::runtime::tensor::DType;

/// The number of channels of an image.
pub const CHANNELS: usize = 3;

/// `out[tap][channel][column] += Σ_k a[tap][k][channel] · lines[k][column]` for `taps` taps.
#[derive(Clone, Copy)]
pub struct Few<T> {
    /// The number of taps, at most three.
    pub taps: usize,
    /// Points to `a[0, 0, 0]`; each depth has three channels.
    pub a: *const T,
    /// The distance between taps.
    pub a_tap: usize,
    /// Points to `lines[0, 0]`; the rows are packed, `width` apart.
    pub lines: *const T,
    /// Depth of the sum.
    pub depth: usize,
    /// Points to `out[0, 0, 0]`, which has three rows of `width` for each tap.
    pub out: *mut T,
    /// The number of columns that are wanted.
    pub columns: usize,
    /// A panel's width.
    pub width: usize,
}

impl<T: Float> Few<T> {
    /// Computes the products.
    ///
    /// # Safety
    /// `a` is readable for every tap, depth and channel, `lines` for `depth × width`; `out` is writable for `taps × 3 × width`, and nobody else
    /// touches it. Lanes of a register beyond `columns` are added to as well: packed lines hold zeros there.
    pub unsafe fn run(&self) {
        let this: *const Self = self;
        // SAFETY: the dtype tells which of the two T is; the rest is the caller's promise.
        unsafe {
            match T::DTYPE {
                DType::F32 => run_f32(&*this.cast()),
                _ => run_f64(&*this.cast()),
            }
        }
    }

    #[inline(always)]
    unsafe fn on_this_machine(&self) {
        match isa() {
            // SAFETY: `isa` saw the features; the rest is the caller's promise.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { self.avx512() },
            // SAFETY: likewise.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { self.avx2() },
            // SAFETY: the caller's promise.
            _ => unsafe { self.by_taps::<T::Plain>() },
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn avx512(&self) {
        let narrow = self.columns <= <T::Avx2 as Lanes<T>>::WIDTH;
        // SAFETY: the caller's promise.
        unsafe { if narrow { self.by_taps::<T::Avx2>() } else { self.by_taps::<T::Avx512>() } }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.by_taps::<T::Avx2>() }
    }

    #[inline(always)]
    unsafe fn by_taps<V: Lanes<T>>(&self) {
        for column in (0..self.columns).step_by(V::WIDTH) {
            // SAFETY: columns below the width.
            unsafe {
                match self.taps {
                    1 => self.tile::<V, 1>(column),
                    2 => self.tile::<V, 2>(column),
                    _ => self.tile::<V, 3>(column),
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<V: Lanes<T>, const TAPS: usize>(&self, column: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[V::splat(T::ZERO); CHANNELS]; TAPS];
            let place = |tap: usize, channel: usize| self.out.add((tap * CHANNELS + channel) * self.width + column);
            for tap in 0..TAPS {
                for channel in 0..CHANNELS {
                    sums[tap][channel] = V::load(place(tap, channel));
                }
            }
            let (mut a, mut line) = (self.a, self.lines.add(column));
            for _ in 0..self.depth {
                let value = V::load(line);
                for tap in 0..TAPS {
                    for channel in 0..CHANNELS {
                        let x = V::splat(*a.add(tap * self.a_tap + channel));
                        sums[tap][channel] = sums[tap][channel].fma(x, value);
                    }
                }
                a = a.add(CHANNELS);
                line = line.add(self.width);
            }
            for tap in 0..TAPS {
                for channel in 0..CHANNELS {
                    sums[tap][channel].store(place(tap, channel));
                }
            }
        }
    }
}

#[inline(never)]
unsafe fn run_f32(few: &Few<f32>) {
    // SAFETY: the caller's promise.
    unsafe { few.on_this_machine() }
}

#[inline(never)]
unsafe fn run_f64(few: &Few<f64>) {
    // SAFETY: the caller's promise.
    unsafe { few.on_this_machine() }
}
