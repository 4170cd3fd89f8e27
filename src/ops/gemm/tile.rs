//! The register tile, and the block of tiles over one panel.

use crate::runtime::float::Float;
use crate::runtime::simd::{Isa, Lanes, fetch_ahead, isa};
use crate::runtime::tensor::DType;

/// One summand of a [`Block`]: the start of its operands.
#[derive(Clone, Copy)]
pub struct Segment<T> {
    /// Points to `a[0, 0]`.
    pub a: *const T,
    /// Points to `b[0, 0]` of the panel.
    pub b: *const T,
}

/// A product over one panel of columns.
pub struct Block<'s, T> {
    /// The summands, in the order in which they are added.
    pub segments: &'s [Segment<T>],
    /// The depth of every segment.
    pub depth: usize,
    /// The distance between rows of `a`, in elements.
    pub a_row: usize,
    /// The distance between depths of `a`.
    pub a_depth: usize,
    /// The distance between depths of `b`.
    pub b_depth: usize,
    /// Whether `b` is packed, with zeros after its columns up to a panel's width. If not, only `columns` are read.
    pub packed: bool,
    /// Points to `out[0, 0]`.
    pub out: *mut T,
    /// The distance between rows of `out`.
    pub out_row: usize,
    /// The number of rows of `out`.
    pub rows: usize,
    /// The number of columns of `out`, at most a panel's width.
    pub columns: usize,
    /// Whether the chains continue from what `out` holds; if not, they start at 0.
    pub accumulate: bool,
}

impl<T: Float> Block<'_, T> {
    /// Computes the block.
    ///
    /// # Safety
    /// - For every segment, row < `rows` and depth < `depth`, `a` is readable at `row·a_row + depth·a_depth`, and `b` at
    ///   `depth·b_depth` for `columns` elements, or where `packed` for a whole panel's width.
    /// - `out` is writable for `columns` elements at every `row·out_row`, and nobody else touches them.
    pub unsafe fn run(&self) {
        // Through functions without type parameters: generic code would be compiled again in every program that uses it, and
        // the tiles are most of what there is to compile.
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
            _ => unsafe { self.rows::<T::Plain, 4>() },
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn avx512(&self) {
        // Where columns fill half a register, registers of half the width take half the time.
        let narrow = self.columns <= <T::Avx2 as Lanes<T>>::WIDTH;
        // SAFETY: the caller's promise.
        unsafe { if narrow { self.rows::<T::Avx2, 12>() } else { self.rows::<T::Avx512, 12>() } }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.rows::<T::Avx2, 6>() }
    }

    /// Computes tiles of `MOST` rows, then smaller ones.
    #[inline(always)]
    unsafe fn rows<V: Lanes<T>, const MOST: usize>(&self) {
        // SAFETY: the caller's promise.
        unsafe {
            match (self.columns <= V::WIDTH, self.packed || self.columns.is_multiple_of(V::WIDTH)) {
                (true, true) => self.column::<V, MOST, 1, true>(),
                (true, false) => self.column::<V, MOST, 1, false>(),
                (false, true) => self.column::<V, MOST, 2, true>(),
                (false, false) => self.column::<V, MOST, 2, false>(),
            }
        }
    }

    #[inline(always)]
    unsafe fn column<V: Lanes<T>, const MOST: usize, const NV: usize, const FULL: bool>(&self) {
        let mut row = 0;
        // SAFETY: each tile covers rows below `self.rows`.
        unsafe {
            while row + MOST <= self.rows {
                self.tile::<V, MOST, NV, FULL>(row);
                row += MOST;
            }
            if row + 10 <= self.rows {
                self.tile::<V, 10, NV, FULL>(row);
                row += 10;
            }
            while row + 8 <= self.rows {
                self.tile::<V, 8, NV, FULL>(row);
                row += 8;
            }
            if row + 4 <= self.rows {
                self.tile::<V, 4, NV, FULL>(row);
                row += 4;
            }
            if row + 2 <= self.rows {
                self.tile::<V, 2, NV, FULL>(row);
                row += 2;
            }
            if row < self.rows {
                self.tile::<V, 1, NV, FULL>(row);
            }
        }
    }

    /// Computes `MR × (NV registers)` of the output; the accumulators stay in registers over all segments. `FULL`: whole registers of `b` may be
    /// read.
    #[inline(always)]
    unsafe fn tile<V: Lanes<T>, const MR: usize, const NV: usize, const FULL: bool>(&self, row: usize) {
        let whole = self.columns == NV * V::WIDTH;
        // Columns in the last register; the others are full.
        let last = self.columns - (NV - 1) * V::WIDTH;
        let load = |p: *const T, v: usize| {
            // SAFETY: columns beyond the last are not touched.
            unsafe {
                if whole || v + 1 < NV {
                    V::load(p.add(v * V::WIDTH))
                } else {
                    V::load_first(p.add(v * V::WIDTH), last)
                }
            }
        };
        // SAFETY: indices stay within what `run` was promised.
        unsafe {
            let out = self.out.add(row * self.out_row);
            let mut acc = [[V::splat(T::ZERO); NV]; MR];
            if self.accumulate {
                for (i, acc) in acc.iter_mut().enumerate() {
                    for (v, acc) in acc.iter_mut().enumerate() {
                        *acc = load(out.add(i * self.out_row), v);
                    }
                }
            }
            for segment in self.segments {
                let mut a = segment.a.add(row * self.a_row);
                let mut b = segment.b;
                for k in 0..self.depth {
                    if self.a_depth != 1 {
                        // Rows of one line each: the hardware does not follow strides of half a page.
                        fetch_ahead(a.wrapping_add(8 * self.a_depth));
                    } else if k % 16 == 0 {
                        // The next tile's rows, a line at a time: short runs that the hardware finds too late.
                        for i in 0..MR {
                            fetch_ahead(a.wrapping_add((MR + i) * self.a_row));
                        }
                    }
                    let mut line = [V::splat(T::ZERO); NV];
                    for (v, line) in line.iter_mut().enumerate() {
                        *line = if FULL { V::load(b.add(v * V::WIDTH)) } else { load(b, v) };
                    }
                    for (i, acc) in acc.iter_mut().enumerate() {
                        let value = V::splat(*a.add(i * self.a_row));
                        for (acc, line) in acc.iter_mut().zip(&line) {
                            *acc = acc.fma(value, *line);
                        }
                    }
                    a = a.add(self.a_depth);
                    b = b.add(self.b_depth);
                }
            }
            for (i, acc) in acc.iter().enumerate() {
                for (v, acc) in acc.iter().enumerate() {
                    let to = out.add(i * self.out_row + v * V::WIDTH);
                    if whole || v + 1 < NV { acc.store(to) } else { acc.store_first(to, last) }
                }
            }
        }
    }
}

#[inline(never)]
unsafe fn run_f32(block: &Block<'_, f32>) {
    // SAFETY: the caller's promise.
    unsafe { block.on_this_machine() }
}

#[inline(never)]
unsafe fn run_f64(block: &Block<'_, f64>) {
    // SAFETY: the caller's promise.
    unsafe { block.on_this_machine() }
}
