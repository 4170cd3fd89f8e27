//! The dense products of transformed tensors: one for each product of a tile.
//!
//! The product goes eight rows at a time. The left operand stores, for every depth, eight rows side by side, or a group of columns of which eight are
//! used; the right operand is a panel of 8, 16 or 32 columns. Each element is a chain of fused multiply-adds from 0 in order of depth, and is then
//! stored or added. So rounding depends only on where a chain is cut, and the shapes decide that.

use crate::runtime::simd::{Isa, Lanes, fetch_ahead, isa};

/// The number of rows in a tile of products.
pub const ROWS: usize = 8;

/// A piece of work that is compiled for each instruction set.
pub trait Work {
    /// Does the work, `TALL` rows of products at a time.
    ///
    /// # Safety
    /// The instruction set of `V` is available; the pointers in it are what they are said to be.
    unsafe fn run<V: Lanes<f32>, const TALL: usize>(&self);
}

/// Does a piece of work on groups of 8 or 16 channels, with the widest registers that a group fills.
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
    /// How many depths are stored together; 0 if all of them are.
    const TOGETHER: usize;
    /// The distance between rows.
    const ROW: usize;
    /// The distance between depths that are stored together.
    const DEPTH: usize;
    /// The distance between one group of depths and the next.
    const STEP: usize;
}

/// The layout `[depth / GROUP][8 rows][GROUP depths]`, for sums over channels.
pub struct Channels<const GROUP: usize>;

impl<const GROUP: usize> Left for Channels<GROUP> {
    const TOGETHER: usize = GROUP;
    const ROW: usize = GROUP;
    const DEPTH: usize = 1;
    const STEP: usize = ROWS * GROUP;
}

/// The layout `[depth][GROUP rows]`, of which eight rows are used, for sums over tiles.
pub struct Tiles<const GROUP: usize>;

impl<const GROUP: usize> Left for Tiles<GROUP> {
    const TOGETHER: usize = 0;
    const ROW: usize = 1;
    const DEPTH: usize = GROUP;
    const STEP: usize = 0;
}

/// `out[8 rows][width] (+)= left · panel[depth][width]`, where `width` is 8, 16 or 32 and the rows of `out` are `width` long. `at` points to left,
/// panel and out. With `AHEAD` it also points to the next left operand, which is prefetched meanwhile.
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
