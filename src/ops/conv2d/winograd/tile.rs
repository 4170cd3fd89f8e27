//! The transforms of one tile along both axes. Each element of the tile is a register, whose lanes are channels.

#![expect(clippy::needless_range_loop, reason = "indices are places in a tile, and arrays are read across")]

use super::filtering::{Filtering, MOST, MOST_OUT};
use crate::runtime::simd::{Lanes, fetch_ahead};

/// The most elements that a tile of inputs has.
pub const MOST_PIXELS: usize = MOST * MOST;

/// How far ahead of the loads memory is prefetched, in elements: four cache lines.
const AHEAD: usize = 64;

/// Where the pixels of a tile are stored. Pixels outside the map have an address too; for them every offset is masked to 0.
pub struct Window<P> {
    /// The first element of each pixel, row by row.
    pub at: [P; MOST_PIXELS],
    /// All ones for a pixel on the map, 0 for a pixel outside it.
    pub mask: [usize; MOST_PIXELS],
}

/// What is transformed before the products: the tile of inputs, or the tile of gradients.
pub trait Side<A: Filtering>: Sync {
    /// The number of its pixels along an axis.
    const PIXELS: usize;
    /// The transform along an axis.
    ///
    /// # Safety
    /// See [`Lanes`].
    unsafe fn axis<V: Lanes<f32>>(d: [V; MOST]) -> [V; MOST];
}

/// x: `Bᵀ d B`.
pub struct Inputs;

impl<A: Filtering> Side<A> for Inputs {
    const PIXELS: usize = A::IN;
    #[inline(always)]
    unsafe fn axis<V: Lanes<f32>>(d: [V; MOST]) -> [V; MOST] {
        // SAFETY: the caller's promise.
        unsafe { A::input(d) }
    }
}

/// dy: `A dy Aᵀ`.
pub struct Gradients;

impl<A: Filtering> Side<A> for Gradients {
    const PIXELS: usize = A::OUT;
    #[inline(always)]
    unsafe fn axis<V: Lanes<f32>>(d: [V; MOST]) -> [V; MOST] {
        let [a, b, c, d, ..] = d;
        // SAFETY: the caller's promise.
        unsafe { A::grad_output([a, b, c, d]) }
    }
}

/// Transforms one side for one register of channels: writes product (i, j) to `to + (i·PRODUCTS + j)·stride`.
///
/// # Safety
/// Every pixel of `from` is readable for a register at `offset & mask`, `to` writable for one at every product; see [`Lanes`].
#[inline(always)]
pub unsafe fn transform<A: Filtering, S: Side<A>, V: Lanes<f32>>(
    from: &Window<*const f32>,
    offset: usize,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = V::splat(0.0);
        let mut half = [[zero; MOST]; MOST];
        for i in 0..S::PIXELS {
            let mut d = [zero; MOST];
            for j in 0..S::PIXELS {
                let pixel = i * S::PIXELS + j;
                let p = from.at[pixel].add(offset & from.mask[pixel]);
                d[j] = V::load(p);
                fetch_ahead(p.wrapping_add(AHEAD));
            }
            half[i] = S::axis(d);
        }
        for j in 0..A::PRODUCTS {
            let mut d = [zero; MOST];
            for i in 0..S::PIXELS {
                d[i] = half[i][j];
            }
            let product = S::axis(d);
            for i in 0..A::PRODUCTS {
                product[i].store(to.add((i * A::PRODUCTS + j) * stride));
            }
        }
    }
}

/// `Aᵀ m A`, plus the bias, for one register of channels. With `STREAM` the stores bypass the caches.
///
/// # Safety
/// `m` is readable for a register at every product. Every pixel of `to` is writable for a register at `offset & mask`, and aligned to 64 bytes there
/// with `STREAM`. See [`Lanes`].
#[inline(always)]
pub unsafe fn output<A: Filtering, V: Lanes<f32>, const STREAM: bool>(
    m: *const f32,
    stride: usize,
    bias: Option<V>,
    to: &Window<*mut f32>,
    offset: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = V::splat(0.0);
        let mut half = [[zero; MOST_OUT]; MOST];
        for i in 0..A::PRODUCTS {
            let mut row = [zero; MOST];
            for j in 0..A::PRODUCTS {
                row[j] = V::load(m.add((i * A::PRODUCTS + j) * stride));
            }
            half[i] = A::output(row);
        }
        for j in 0..A::OUT {
            let mut column = [zero; MOST];
            for i in 0..A::PRODUCTS {
                column[i] = half[i][j];
            }
            let y = A::output(column);
            for i in 0..A::OUT {
                let pixel = i * A::OUT + j;
                let p = to.at[pixel].add(offset & to.mask[pixel]);
                let y = match bias {
                    Some(bias) => y[i].add(bias),
                    None => y[i],
                };
                if STREAM { y.stream(p) } else { y.store(p) }
            }
        }
    }
}

/// `G g Gᵀ` of one register of filters with taps `g`; written in the layout that [`transform`] uses.
///
/// # Safety
/// `to` is writable for a register at every product; see [`Lanes`].
#[inline(always)]
pub unsafe fn weight<A: Filtering, V: Lanes<f32>>(g: &[V; 9], to: *mut f32, stride: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let rows = [[g[0], g[1], g[2]], [g[3], g[4], g[5]], [g[6], g[7], g[8]]];
        let half = [A::weight(rows[0]), A::weight(rows[1]), A::weight(rows[2])];
        for j in 0..A::PRODUCTS {
            let product = A::weight([half[0][j], half[1][j], half[2][j]]);
            for i in 0..A::PRODUCTS {
                product[i].store(to.add((i * A::PRODUCTS + j) * stride));
            }
        }
    }
}

/// `Gᵀ m G` of one register of filters: writes tap t to `to + t·tap`. `m(product)` gives the products.
///
/// # Safety
/// `to` is writable for a register at every tap; see [`Lanes`].
#[inline(always)]
pub unsafe fn grad_weight<A: Filtering, V: Lanes<f32>>(m: impl Fn(usize) -> V, to: *mut f32, tap: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = V::splat(0.0);
        let mut half = [[zero; 3]; MOST];
        for i in 0..A::PRODUCTS {
            let mut row = [zero; MOST];
            for j in 0..A::PRODUCTS {
                row[j] = m(i * A::PRODUCTS + j);
            }
            half[i] = A::grad_weight(row);
        }
        for j in 0..3 {
            let mut column = [zero; MOST];
            for i in 0..A::PRODUCTS {
                column[i] = half[i][j];
            }
            let taps = A::grad_weight(column);
            for i in 0..3 {
                taps[i].store(to.add((i * 3 + j) * tap));
            }
        }
    }
}
