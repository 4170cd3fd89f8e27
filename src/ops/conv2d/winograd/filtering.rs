//! Minimal filtering along one axis: it computes a few outputs of a three-tap filter from fewer products than outputs × taps (Winograd 1980; Lavin
//! and Gray 2016).
//!
//! Here d is the input, g the filter and y the output of one tile, and ⊙ is the elementwise product:
//!
//! ```text
//! y  = Aᵀ [ (G g) ⊙ (Bᵀ d) ]
//! dg = Gᵀ [ (A dy) ⊙ (Bᵀ d) ]
//! ```
//!
//! On a map, both axes are transformed, one after the other. Every multiply-add is written out, so that rounding does not depend on the instruction
//! set.

use crate::runtime::simd::Lanes;

/// The most inputs, and the most products, that a tile has along one axis.
pub const MOST: usize = 6;
/// The most outputs that a tile has along one axis.
pub const MOST_OUT: usize = 4;

/// One of the algorithms, along one axis. Only as many elements of each array are used as the constants say.
pub trait Filtering: Sync {
    /// The number of inputs of a tile.
    const IN: usize;
    /// The number of inputs before the position of the first output.
    const BEFORE: usize;
    /// The number of products.
    const PRODUCTS: usize;
    /// The number of outputs of a tile.
    const OUT: usize;

    /// `Bᵀ d`
    ///
    /// # Safety
    /// See [`Lanes`], for this method and the others.
    unsafe fn input<V: Lanes<f32>>(d: [V; MOST]) -> [V; MOST];
    /// `G g`
    ///
    /// # Safety
    /// See [`Lanes`].
    unsafe fn weight<V: Lanes<f32>>(g: [V; 3]) -> [V; MOST];
    /// `Aᵀ m`
    ///
    /// # Safety
    /// See [`Lanes`].
    unsafe fn output<V: Lanes<f32>>(m: [V; MOST]) -> [V; MOST_OUT];
    /// `A dy`
    ///
    /// # Safety
    /// See [`Lanes`].
    unsafe fn grad_output<V: Lanes<f32>>(dy: [V; MOST_OUT]) -> [V; MOST];
    /// `Gᵀ m`
    ///
    /// # Safety
    /// See [`Lanes`].
    unsafe fn grad_weight<V: Lanes<f32>>(m: [V; MOST]) -> [V; 3];
}

/// F(4, 3): four outputs from six products; tap by tap, they would take twelve.
///
/// The polynomials are evaluated at 0, ±a = ±5/8, ±b = ±3/2 and ∞. With these points all of Bᵀ is exact in f32, and the error is less than half of
/// the error with the usual points 0, ±1, ±2, ∞.
pub struct FourByThree;

/// a, b and their powers.
const A: f32 = 0.625;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;
/// a² + b² and a² b²
const SUM: f32 = A2 + B2;
const PRODUCT: f32 = A2 * B2;
/// One over the product of a point's differences from the other points: for 0, for ±a, for ±b.
const AT_0: f32 = 1.0 / PRODUCT;
const AT_A: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
const AT_B: f32 = 1.0 / (2.0 * B2 * (B2 - A2));

impl Filtering for FourByThree {
    const IN: usize = 6;
    const BEFORE: usize = 1;
    const PRODUCTS: usize = 6;
    const OUT: usize = 4;

    #[inline(always)]
    unsafe fn input<V: Lanes<f32>>(d: [V; MOST]) -> [V; MOST] {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let of = |x: f32| V::splat(x);
            let (even_a, odd_a) = (d[4].fnma(of(B2), d[2]), d[3].fnma(of(B2), d[1]));
            let (even_b, odd_b) = (d[4].fnma(of(A2), d[2]), d[3].fnma(of(A2), d[1]));
            [
                d[4].fnma(of(SUM), d[2]).fma(of(PRODUCT), d[0]),
                even_a.fma(of(A), odd_a),
                even_a.fnma(of(A), odd_a),
                even_b.fma(of(B), odd_b),
                even_b.fnma(of(B), odd_b),
                d[5].fnma(of(SUM), d[3]).fma(of(PRODUCT), d[1]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn weight<V: Lanes<f32>>(g: [V; 3]) -> [V; MOST] {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let of = |x: f32| V::splat(x);
            let even_a = g[0].fma(of(A2), g[2]).mul(of(AT_A));
            let even_b = g[0].fma(of(B2), g[2]).mul(of(AT_B));
            [
                g[0].mul(of(AT_0)),
                even_a.fma(of(AT_A * A), g[1]),
                even_a.fnma(of(AT_A * A), g[1]),
                even_b.fma(of(AT_B * B), g[1]),
                even_b.fnma(of(AT_B * B), g[1]),
                g[2],
            ]
        }
    }

    #[inline(always)]
    unsafe fn output<V: Lanes<f32>>(m: [V; MOST]) -> [V; MOST_OUT] {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let of = |x: f32| V::splat(x);
            let (sum_a, difference_a) = (m[1].add(m[2]), m[1].sub(m[2]));
            let (sum_b, difference_b) = (m[3].add(m[4]), m[3].sub(m[4]));
            [
                m[0].add(sum_a.add(sum_b)),
                difference_a.mul(of(A)).fma(of(B), difference_b),
                sum_a.mul(of(A2)).fma(of(B2), sum_b),
                m[5].fma(of(A * A2), difference_a).fma(of(B * B2), difference_b),
            ]
        }
    }

    #[inline(always)]
    unsafe fn grad_output<V: Lanes<f32>>(dy: [V; MOST_OUT]) -> [V; MOST] {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let of = |x: f32| V::splat(x);
            let (even_a, odd_a) = (dy[0].fma(of(A2), dy[2]), dy[1].fma(of(A2), dy[3]));
            let (even_b, odd_b) = (dy[0].fma(of(B2), dy[2]), dy[1].fma(of(B2), dy[3]));
            [
                dy[0],
                even_a.fma(of(A), odd_a),
                even_a.fnma(of(A), odd_a),
                even_b.fma(of(B), odd_b),
                even_b.fnma(of(B), odd_b),
                dy[3],
            ]
        }
    }

    #[inline(always)]
    unsafe fn grad_weight<V: Lanes<f32>>(m: [V; MOST]) -> [V; 3] {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let of = |x: f32| V::splat(x);
            let (sum_a, difference_a) = (m[1].add(m[2]).mul(of(AT_A)), m[1].sub(m[2]));
            let (sum_b, difference_b) = (m[3].add(m[4]).mul(of(AT_B)), m[3].sub(m[4]));
            [
                sum_a.add(sum_b).fma(of(AT_0), m[0]),
                difference_a.mul(of(AT_A * A)).fma(of(AT_B * B), difference_b),
                m[5].fma(of(A2), sum_a).fma(of(B2), sum_b),
            ]
        }
    }
}

/// A whole axis of two pixels. At each pixel two of the filter's taps lie on the map, which makes a 2×2 Toeplitz product: three multiplications in
/// place of four (Karatsuba).
pub struct TwoByTwo;

impl Filtering for TwoByTwo {
    const IN: usize = 2;
    const BEFORE: usize = 0;
    const PRODUCTS: usize = 3;
    const OUT: usize = 2;

    #[inline(always)]
    unsafe fn input<V: Lanes<f32>>(d: [V; MOST]) -> [V; MOST] {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { [d[0].add(d[1]), d[1], d[0], d[0], d[0], d[0]] }
    }

    #[inline(always)]
    unsafe fn weight<V: Lanes<f32>>(g: [V; 3]) -> [V; MOST] {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { [g[1], g[2].sub(g[1]), g[0].sub(g[1]), g[0], g[0], g[0]] }
    }

    #[inline(always)]
    unsafe fn output<V: Lanes<f32>>(m: [V; MOST]) -> [V; MOST_OUT] {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { [m[0].add(m[1]), m[0].add(m[2]), m[0], m[0]] }
    }

    #[inline(always)]
    unsafe fn grad_output<V: Lanes<f32>>(dy: [V; MOST_OUT]) -> [V; MOST] {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { [dy[0].add(dy[1]), dy[0], dy[1], dy[0], dy[0], dy[0]] }
    }

    #[inline(always)]
    unsafe fn grad_weight<V: Lanes<f32>>(m: [V; MOST]) -> [V; 3] {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { [m[2], m[0].sub(m[1].add(m[2])), m[1]] }
    }
}
