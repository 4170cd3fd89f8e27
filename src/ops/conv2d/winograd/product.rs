//! The dense products between transformed tensors, one for each product of a tile.
//!
//! Eight rows at a time: of the left operand lie eight rows, or a group of columns of which eight are taken, side by side for every depth; of
//! the right one a panel of 8, 16 or 32 columns. Each product is a chain of fused multiply-adds from 0 in the order of depth, and is then
//! stored or added: so rounding depends on where a chain is cut, which the shapes decide, and on nothing else.

use crate::runtime::simd::{Isa, Lanes, fetch_ahead, isa};

/// Rows of a tile of products.
pub const ROWS: usize = 8;

/// A piece of work that is compiled for each instruction set.
pub trait Work {
    /// Does it, `TALL` rows of products at a time.
    ///
    /// # Safety
    /// The instruction set of `V` is there; the pointers in it are what they are said to be.
    unsafe fn run<V: Lanes<f32>, const TALL: usize>(&self);
}

/// Does a piece of work on groups of so many channels, 8 or 16, with the widest registers that these fill.
///
/// # Safety
/// The pointers in it are what they are said to be.
pub unsafe fn on_this_machine<W: Work>(work: &W, group: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use crate::runtime::simd::x86;
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        unsafe fn avx512<W: Work>(work: &W) {
            // SAFETY: the caller's promise.
            unsafe { work.run::<x86::F32x16, 8>() }
        }
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        unsafe fn narrow<W: Work>(work: &W) {
            // SAFETY: the caller's promise.
            unsafe { work.run::<x86::F32x8, 8>() }
        }
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2<W: Work>(work: &W) {
            // SAFETY: the caller's promise.
            unsafe { work.run::<x86::F32x8, 4>() }
        }
        match isa() {
            // SAFETY: `isa` saw the features; the rest is the caller's promise.
            Isa::Avx512 if group < 16 => return unsafe { narrow(work) },
            // SAFETY: likewise.
            Isa::Avx512 => return unsafe { avx512(work) },
            // SAFETY: likewise.
            Isa::Avx2 => return unsafe { avx2(work) },
            Isa::Portable => {}
        }
    }
    let _ = group;
    // SAFETY: the caller's promise.
    unsafe { work.run::<crate::runtime::simd::Portable<f32>, 4>() }
}

/// The left operand of a product: element (row, depth) of its eight rows.
pub trait Left {
    /// Depths that lie together, or 0 for all of them.
    const TOGETHER: usize;
    /// Distance between rows.
    const ROW: usize;
    /// Distance between depths that lie together.
    const DEPTH: usize;
    /// Distance between the first depths of two that lie together.
    const STEP: usize;
}

/// `[depth / GROUP][8 rows][GROUP depths]`: channels are summed over.
pub struct Channels<const GROUP: usize>;

impl<const GROUP: usize> Left for Channels<GROUP> {
    const TOGETHER: usize = GROUP;
    const ROW: usize = GROUP;
    const DEPTH: usize = 1;
    const STEP: usize = ROWS * GROUP;
}

/// `[depth][GROUP rows]`, of which eight are taken: tiles are summed over.
pub struct Tiles<const GROUP: usize>;

impl<const GROUP: usize> Left for Tiles<GROUP> {
    const TOGETHER: usize = 0;
    const ROW: usize = 1;
    const DEPTH: usize = GROUP;
    const STEP: usize = 0;
}

/// `out[8 rows][width] (+)= left · panel[depth][width]`; `width` is 8, 16 or 32, `out` has rows of `width`. `at`: left, panel and out; and with
/// `AHEAD` what will be the left operand after this one, which is asked for from memory meanwhile.
///
/// # Safety
/// `left` is readable as `L` says for eight rows and `depth`, which is a multiple of `L::TOGETHER`; `panel` for `depth × width`; `out` is
/// writable for `8 × width`, and readable with `accumulate`; see [`Lanes`].
#[inline(always)]
pub unsafe fn eight_rows<L: Left, V: Lanes<f32>, const TALL: usize, const AHEAD: bool>(
    at: (*const f32, *const f32, *mut f32, *const f32),
    depth: usize,
    width: usize,
    accumulate: bool,
) {
    let (left, panel, out, next) = at;
    for row in (0..ROWS).step_by(TALL) {
        let mut column = 0;
        // SAFETY: rows below 8 and columns below `width`.
        unsafe {
            let (left, out) = (left.add(row * L::ROW), out.add(row * width));
            while column + 2 * V::WIDTH <= width {
                let at = (left, panel.add(column), out.add(column), next);
                tile::<L, V, TALL, 2, AHEAD>(at, depth, width, accumulate);
                column += 2 * V::WIDTH;
            }
            if column < width {
                let at = (left, panel.add(column), out.add(column), next);
                tile::<L, V, TALL, 1, AHEAD>(at, depth, width, accumulate);
            }
        }
    }
}

#[inline(always)]
unsafe fn tile<L: Left, V: Lanes<f32>, const TALL: usize, const NV: usize, const AHEAD: bool>(
    at: (*const f32, *const f32, *mut f32, *const f32),
    depth: usize,
    width: usize,
    accumulate: bool,
) {
    let (mut left, mut panel, out, mut next) = at;
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); NV]; TALL];
        let together = if L::TOGETHER == 0 { depth } else { L::TOGETHER };
        for _ in 0..depth / together.max(1) {
            if AHEAD && L::TOGETHER != 0 {
                for i in 0..ROWS {
                    fetch_ahead(next.wrapping_add(i * L::ROW));
                }
                next = next.wrapping_add(L::STEP);
            }
            for k in 0..together {
                if AHEAD && L::TOGETHER == 0 {
                    fetch_ahead(next);
                    next = next.wrapping_add(L::DEPTH);
                }
                let mut line = [V::splat(0.0); NV];
                for (v, line) in line.iter_mut().enumerate() {
                    *line = V::load(panel.add(v * V::WIDTH));
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let value = V::splat(*left.add(i * L::ROW + k * L::DEPTH));
                    for (sum, line) in sums.iter_mut().zip(&line) {
                        *sum = sum.fma(value, *line);
                    }
                }
                panel = panel.add(width);
            }
            left = left.add(L::STEP);
        }
        for (i, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                let to = out.add(i * width + v * V::WIDTH);
                let sum = if accumulate { V::load(to).add(*sum) } else { *sum };
                sum.store(to);
            }
        }
    }
}
