//! Rows of doubles in registers: a row holds one coordinate of a layer's units, and every element of it is a chain of operations of its own.
//!
//! A row of ten is a register of eight and one of two, or two of four and one of two; the register in which an element sits changes no bit of it. A
//! [`Dual`] is a row with its tangent: a program run on such rows computes the derivative along a direction too.

/// A row of [`Row::WIDTH`] elements.
///
/// # Safety
/// Its methods may only be called where the instruction set that they use is available. Pointers must be valid for [`Row::STRIDE`] doubles and need
/// not be aligned.
pub trait Row: Copy {
    /// The number of elements.
    const WIDTH: usize;
    /// The number of doubles that it takes in memory.
    const STRIDE: usize;
    /// A row whose elements are all `x`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn splat(x: f64) -> Self;
    /// A row whose elements are all equal to element `at` of the row at `p`.
    ///
    /// # Safety
    /// See the trait; `at` is below the width.
    unsafe fn splat_at(p: *const f64, at: usize) -> Self;
    /// Loads the row at `p`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn load(p: *const f64) -> Self;
    /// Stores the row at `p`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn store(self, p: *mut f64);
    /// `self · b`
    ///
    /// # Safety
    /// See the trait.
    unsafe fn mul(self, b: Self) -> Self;
    /// `self + b`
    ///
    /// # Safety
    /// See the trait.
    unsafe fn add(self, b: Self) -> Self;
    /// `self − b`
    ///
    /// # Safety
    /// See the trait.
    unsafe fn sub(self, b: Self) -> Self;
    /// `self / b`
    ///
    /// # Safety
    /// See the trait.
    unsafe fn div(self, b: Self) -> Self;
    /// `√self`
    ///
    /// # Safety
    /// See the trait.
    unsafe fn sqrt(self) -> Self;
    /// `a · b + self`, rounded once.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    /// `self − a · b`, rounded once.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn fnma(self, a: Self, b: Self) -> Self;
    /// Transposes a square matrix of `size` rows, which are `stride` doubles apart; of rows with tangents, one half.
    ///
    /// # Safety
    /// See the trait; `size` is at most the stride.
    #[inline(always)]
    unsafe fn turn(from: *const f64, to: *mut f64, stride: usize, size: usize) {
        for row in 0..size {
            for column in 0..size {
                // SAFETY: the caller vouches for both matrices.
                unsafe { *to.add(column * stride + row) = *from.add(row * stride + column) };
            }
        }
    }
}

impl<const N: usize> Row for [f64; N] {
    const WIDTH: usize = N;
    const STRIDE: usize = N;
    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        [x; N]
    }
    #[inline(always)]
    unsafe fn splat_at(p: *const f64, at: usize) -> Self {
        // SAFETY: the caller vouches for the place.
        [unsafe { *p.add(at) }; N]
    }
    #[inline(always)]
    unsafe fn load(p: *const f64) -> Self {
        // SAFETY: the caller vouches for the elements.
        unsafe { p.cast::<[f64; N]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f64) {
        // SAFETY: likewise.
        unsafe { p.cast::<[f64; N]>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        std::array::from_fn(|i| self[i] * b[i])
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        std::array::from_fn(|i| self[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        std::array::from_fn(|i| self[i] - b[i])
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        std::array::from_fn(|i| self[i] / b[i])
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        self.map(f64::sqrt)
    }
    // A call per element as it is, where the base instruction set has no fused multiply-add: then one per row keeps the passes small.
    #[cfg_attr(target_arch = "x86_64", inline(never))]
    #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|i| a[i].mul_add(b[i], self[i]))
    }
    #[cfg_attr(target_arch = "x86_64", inline(never))]
    #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
    unsafe fn fnma(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|i| (-a[i]).mul_add(b[i], self[i]))
    }
}

/// A row made of two parts.
#[derive(Clone, Copy)]
pub struct Pair<A, B>(A, B);

impl<A: Row, B: Row> Row for Pair<A, B> {
    const WIDTH: usize = A::WIDTH + B::WIDTH;
    const STRIDE: usize = A::STRIDE + B::STRIDE;
    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        // SAFETY: the caller vouches for the instruction set, here and below.
        unsafe { Pair(A::splat(x), B::splat(x)) }
    }
    #[inline(always)]
    unsafe fn splat_at(p: *const f64, at: usize) -> Self {
        // SAFETY: the caller vouches for the place.
        unsafe { Self::splat(*p.add(at)) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f64) -> Self {
        // SAFETY: the caller vouches for both parts.
        unsafe { Pair(A::load(p), B::load(p.add(A::STRIDE))) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f64) {
        // SAFETY: likewise.
        unsafe {
            self.0.store(p);
            self.1.store(p.add(A::STRIDE));
        }
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { Pair(self.0.mul(b.0), self.1.mul(b.1)) }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { Pair(self.0.add(b.0), self.1.add(b.1)) }
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { Pair(self.0.sub(b.0), self.1.sub(b.1)) }
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { Pair(self.0.div(b.0), self.1.div(b.1)) }
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        // SAFETY: as above.
        unsafe { Pair(self.0.sqrt(), self.1.sqrt()) }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { Pair(self.0.fma(a.0, b.0), self.1.fma(a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn fnma(self, a: Self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { Pair(self.0.fnma(a.0, b.0), self.1.fnma(a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn turn(from: *const f64, to: *mut f64, stride: usize, size: usize) {
        // SAFETY: as above.
        unsafe { A::turn(from, to, stride, size) }
    }
}

/// A row and its tangent, one after the other in memory.
#[derive(Clone, Copy)]
pub struct Dual<R>(R, R);

impl<R: Row> Row for Dual<R> {
    const WIDTH: usize = R::WIDTH;
    const STRIDE: usize = 2 * R::STRIDE;
    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        // SAFETY: the caller vouches for the instruction set, here and below.
        unsafe { Dual(R::splat(x), R::splat(0.0)) }
    }
    #[inline(always)]
    unsafe fn splat_at(p: *const f64, at: usize) -> Self {
        // SAFETY: the caller vouches for the place.
        unsafe { Dual(R::splat_at(p, at), R::splat_at(p.add(R::STRIDE), at)) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f64) -> Self {
        // SAFETY: the caller vouches for both rows.
        unsafe { Dual(R::load(p), R::load(p.add(R::STRIDE))) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f64) {
        // SAFETY: likewise.
        unsafe {
            self.0.store(p);
            self.1.store(p.add(R::STRIDE));
        }
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { Dual(self.0.mul(b.0), self.0.mul(b.1).fma(self.1, b.0)) }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { Dual(self.0.add(b.0), self.1.add(b.1)) }
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { Dual(self.0.sub(b.0), self.1.sub(b.1)) }
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            let ratio = self.0.div(b.0);
            Dual(ratio, self.1.fnma(ratio, b.1).div(b.0))
        }
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        // SAFETY: as above.
        unsafe {
            let root = self.0.sqrt();
            Dual(root, self.1.div(root.add(root)))
        }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { Dual(self.0.fma(a.0, b.0), self.1.fma(a.0, b.1).fma(a.1, b.0)) }
    }
    #[inline(always)]
    unsafe fn fnma(self, a: Self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { Dual(self.0.fnma(a.0, b.0), self.1.fnma(a.0, b.1).fnma(a.1, b.0)) }
    }
    #[inline(always)]
    unsafe fn turn(from: *const f64, to: *mut f64, stride: usize, size: usize) {
        // SAFETY: as above.
        unsafe { R::turn(from, to, stride, size) }
    }
}

/// The registers of x86-64.
#[cfg(target_arch = "x86_64")]
pub mod x86 {
    use super::Row;
    use std::arch::x86_64::*;

    macro_rules! register {
        ($(#[$doc:meta])* $name:ident, $reg:ty, $width:literal, $turn:ident, $set1:ident, $load:ident, $store:ident, $mul:ident, $add:ident, $sub:ident,
         $div:ident, $sqrt:ident, $fmadd:ident, $fnmadd:ident) => {
            $(#[$doc])*
            #[derive(Clone, Copy)]
            pub struct $name($reg);

            impl Row for $name {
                const WIDTH: usize = $width;
                const STRIDE: usize = $width;
                #[inline(always)]
                unsafe fn splat(x: f64) -> Self {
                    // SAFETY: the caller vouches for the instruction set, here and below.
                    unsafe { $name($set1(x)) }
                }
                #[inline(always)]
                unsafe fn splat_at(p: *const f64, at: usize) -> Self {
                    // SAFETY: the caller vouches for the place.
                    unsafe { $name($set1(*p.add(at))) }
                }
                #[inline(always)]
                unsafe fn load(p: *const f64) -> Self {
                    // SAFETY: the caller vouches for the elements.
                    unsafe { $name($load(p)) }
                }
                #[inline(always)]
                unsafe fn store(self, p: *mut f64) {
                    // SAFETY: likewise.
                    unsafe { $store(p, self.0) }
                }
                #[inline(always)]
                unsafe fn mul(self, b: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $name($mul(self.0, b.0)) }
                }
                #[inline(always)]
                unsafe fn add(self, b: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $name($add(self.0, b.0)) }
                }
                #[inline(always)]
                unsafe fn sub(self, b: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $name($sub(self.0, b.0)) }
                }
                #[inline(always)]
                unsafe fn div(self, b: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $name($div(self.0, b.0)) }
                }
                #[inline(always)]
                unsafe fn sqrt(self) -> Self {
                    // SAFETY: as above.
                    unsafe { $name($sqrt(self.0)) }
                }
                #[inline(always)]
                unsafe fn fma(self, a: Self, b: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $name($fmadd(a.0, b.0, self.0)) }
                }
                #[inline(always)]
                unsafe fn fnma(self, a: Self, b: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $name($fnmadd(a.0, b.0, self.0)) }
                }
                #[inline(always)]
                unsafe fn turn(from: *const f64, to: *mut f64, stride: usize, size: usize) {
                    // SAFETY: as above.
                    unsafe { $turn(from, to, stride, size) }
                }
            }
        };
    }

    /// Transposes a square matrix in blocks of four by four; the rest goes in blocks of two by two, and a last row and column one by one.
    #[inline(always)]
    unsafe fn turn_fours(from: *const f64, to: *mut f64, stride: usize, size: usize) {
        let whole = size / 4 * 4;
        // SAFETY: the caller vouches for both matrices and for AVX2.
        unsafe {
            for row in (0..whole).step_by(4) {
                for column in (0..whole).step_by(4) {
                    let at = from.add(row * stride + column);
                    let [a, b, c, d] = [0, 1, 2, 3].map(|i| _mm256_loadu_pd(at.add(i * stride)));
                    let (ab, cd) = (_mm256_unpacklo_pd(a, b), _mm256_unpacklo_pd(c, d));
                    let (ba, dc) = (_mm256_unpackhi_pd(a, b), _mm256_unpackhi_pd(c, d));
                    let at = to.add(column * stride + row);
                    _mm256_storeu_pd(at, _mm256_permute2f128_pd(ab, cd, 0x20));
                    _mm256_storeu_pd(at.add(stride), _mm256_permute2f128_pd(ba, dc, 0x20));
                    _mm256_storeu_pd(at.add(2 * stride), _mm256_permute2f128_pd(ab, cd, 0x31));
                    _mm256_storeu_pd(at.add(3 * stride), _mm256_permute2f128_pd(ba, dc, 0x31));
                }
            }
            let even = size / 2 * 2;
            for row in (0..even).step_by(2) {
                for column in (if row < whole { whole } else { 0 }..even).step_by(2) {
                    let at = from.add(row * stride + column);
                    let (a, b) = (_mm_loadu_pd(at), _mm_loadu_pd(at.add(stride)));
                    let at = to.add(column * stride + row);
                    _mm_storeu_pd(at, _mm_unpacklo_pd(a, b));
                    _mm_storeu_pd(at.add(stride), _mm_unpackhi_pd(a, b));
                }
            }
            if even < size {
                for i in 0..size {
                    *to.add(even * stride + i) = *from.add(i * stride + even);
                    *to.add(i * stride + even) = *from.add(even * stride + i);
                }
            }
        }
    }

    register!(
        /// AVX-512: eight doubles.
        Eight, __m512d, 8, turn_fours, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_mul_pd, _mm512_add_pd, _mm512_sub_pd,
        _mm512_div_pd, _mm512_sqrt_pd, _mm512_fmadd_pd, _mm512_fnmadd_pd
    );
    register!(
        /// AVX2: four doubles.
        Four, __m256d, 4, turn_fours, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_mul_pd, _mm256_add_pd, _mm256_sub_pd,
        _mm256_div_pd, _mm256_sqrt_pd, _mm256_fmadd_pd, _mm256_fnmadd_pd
    );
    register!(
        /// SSE2 with FMA: two doubles.
        Two, __m128d, 2, turn_fours, _mm_set1_pd, _mm_loadu_pd, _mm_storeu_pd, _mm_mul_pd, _mm_add_pd, _mm_sub_pd,
        _mm_div_pd, _mm_sqrt_pd, _mm_fmadd_pd, _mm_fnmadd_pd
    );
}
