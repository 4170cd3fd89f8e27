//! Vector registers by name, for the loops where the compiler's own vectorisation is not good enough; and stores and prefetches that bypass or fill
//! the caches.

/// A register of `WIDTH` elements.
///
/// # Safety
/// Its methods may only be called where the instruction set that they use is available. Pointers must be valid for `WIDTH` elements; they need not be
/// aligned.
pub trait Lanes<T>: Copy {
    /// The number of elements in a register.
    const WIDTH: usize;
    /// A register whose elements are all `x`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn splat(x: T) -> Self;
    /// Loads `WIDTH` elements from `p`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn load(p: *const T) -> Self;
    /// Stores `WIDTH` elements to `p`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn store(self, p: *mut T);
    /// Loads the first `count` elements from `p`, at most `WIDTH`, followed by zeros.
    ///
    /// # Safety
    /// See the trait; `p` must be valid for `count` elements only.
    unsafe fn load_first(p: *const T, count: usize) -> Self;
    /// Stores the first `count` elements to `p`, at most `WIDTH`.
    ///
    /// # Safety
    /// See the trait; `p` must be valid for `count` elements only.
    unsafe fn store_first(self, p: *mut T, count: usize);
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
    /// `self + a`
    ///
    /// # Safety
    /// See the trait.
    unsafe fn add(self, a: Self) -> Self;
    /// `self − a`
    ///
    /// # Safety
    /// See the trait.
    unsafe fn sub(self, a: Self) -> Self;
    /// `self · a`
    ///
    /// # Safety
    /// See the trait.
    unsafe fn mul(self, a: Self) -> Self;
    /// Does what [`Lanes::store`] does, but bypasses the caches where the machine can: for data that is not read again soon.
    ///
    /// # Safety
    /// See the trait; `p` must be aligned to 64 bytes, and [`fence`] must be called before another thread reads what was written.
    unsafe fn stream(self, p: *mut T);
}

/// Orders the writes of [`Lanes::stream`] before everything that this thread writes later.
#[inline(always)]
pub fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// Prefetches the cache line at `p`, which need not be valid.
#[inline(always)]
pub fn fetch_ahead<T>(p: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch touches nothing; SSE is part of x86-64.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(p.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

/// Eight elements in plain Rust.
#[derive(Clone, Copy)]
pub struct Portable<T>([T; 8]);

macro_rules! portable {
    ($t:ty) => {
        impl Lanes<$t> for Portable<$t> {
            const WIDTH: usize = 8;
            #[inline(always)]
            unsafe fn splat(x: $t) -> Self {
                Portable([x; 8])
            }
            #[inline(always)]
            unsafe fn load(p: *const $t) -> Self {
                // SAFETY: the caller vouches for eight elements.
                Portable(unsafe { p.cast::<[$t; 8]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t) {
                // SAFETY: the caller vouches for eight elements.
                unsafe { p.cast::<[$t; 8]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            unsafe fn load_first(p: *const $t, count: usize) -> Self {
                // SAFETY: only the first `count` elements are read.
                Portable(std::array::from_fn(|i| if i < count { unsafe { *p.add(i) } } else { 0.0 }))
            }
            #[inline(always)]
            unsafe fn store_first(self, p: *mut $t, count: usize) {
                for (i, &v) in self.0.iter().enumerate().take(count) {
                    // SAFETY: only the first `count` elements are written.
                    unsafe { *p.add(i) = v };
                }
            }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self {
                Portable(std::array::from_fn(|i| a.0[i].mul_add(b.0[i], self.0[i])))
            }
            #[inline(always)]
            unsafe fn fnma(self, a: Self, b: Self) -> Self {
                Portable(std::array::from_fn(|i| (-a.0[i]).mul_add(b.0[i], self.0[i])))
            }
            #[inline(always)]
            unsafe fn add(self, a: Self) -> Self {
                Portable(std::array::from_fn(|i| self.0[i] + a.0[i]))
            }
            #[inline(always)]
            unsafe fn sub(self, a: Self) -> Self {
                Portable(std::array::from_fn(|i| self.0[i] - a.0[i]))
            }
            #[inline(always)]
            unsafe fn mul(self, a: Self) -> Self {
                Portable(std::array::from_fn(|i| self.0[i] * a.0[i]))
            }
            #[inline(always)]
            unsafe fn stream(self, p: *mut $t) {
                // SAFETY: the caller's promise is a wider one.
                unsafe { self.store(p) }
            }
        }
    };
}
portable!(f32);
portable!(f64);

/// The registers of x86-64.
#[cfg(target_arch = "x86_64")]
pub mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// Lane masks of AVX2: eight 32-bit words, of which the first `count` are set.
    #[inline(always)]
    unsafe fn mask32(count: usize) -> __m256i {
        // SAFETY: the caller vouches for AVX2.
        unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
    }

    /// The same for four 64-bit words.
    #[inline(always)]
    unsafe fn mask64(count: usize) -> __m256i {
        // SAFETY: the caller vouches for AVX2.
        unsafe { _mm256_cmpgt_epi64(_mm256_set1_epi64x(count as i64), _mm256_setr_epi64x(0, 1, 2, 3)) }
    }

    macro_rules! register {
        (
            $(#[$doc:meta])* $name:ident, $t:ty, $reg:ty, $width:literal, $set1:ident, $loadu:ident, $storeu:ident,
            $fmadd:ident, $fnmadd:ident, $add:ident, $sub:ident, $mul:ident, $stream:ident,
            first($count:ident) $mask:expr, load($m:ident, $p:ident) $load:expr, store($v:ident) $store:expr
        ) => {
            $(#[$doc])*
            #[derive(Clone, Copy)]
            pub struct $name($reg);

            impl Lanes<$t> for $name {
                const WIDTH: usize = $width;
                #[inline(always)]
                unsafe fn splat(x: $t) -> Self {
                    // SAFETY: the caller vouches for the instruction set.
                    unsafe { $name($set1(x)) }
                }
                #[inline(always)]
                unsafe fn load(p: *const $t) -> Self {
                    // SAFETY: the caller vouches for the instruction set and the elements.
                    unsafe { $name($loadu(p)) }
                }
                #[inline(always)]
                unsafe fn store(self, p: *mut $t) {
                    // SAFETY: likewise.
                    unsafe { $storeu(p, self.0) }
                }
                #[inline(always)]
                unsafe fn load_first($p: *const $t, $count: usize) -> Self {
                    // SAFETY: likewise; lanes that the mask leaves out are not touched.
                    unsafe {
                        let $m = $mask;
                        $name($load)
                    }
                }
                #[inline(always)]
                unsafe fn store_first(self, $p: *mut $t, $count: usize) {
                    // SAFETY: likewise.
                    unsafe {
                        let ($m, $v) = ($mask, self.0);
                        $store
                    }
                }
                #[inline(always)]
                unsafe fn fma(self, a: Self, b: Self) -> Self {
                    // SAFETY: the caller vouches for the instruction set.
                    unsafe { $name($fmadd(a.0, b.0, self.0)) }
                }
                #[inline(always)]
                unsafe fn fnma(self, a: Self, b: Self) -> Self {
                    // SAFETY: likewise.
                    unsafe { $name($fnmadd(a.0, b.0, self.0)) }
                }
                #[inline(always)]
                unsafe fn add(self, a: Self) -> Self {
                    // SAFETY: likewise.
                    unsafe { $name($add(self.0, a.0)) }
                }
                #[inline(always)]
                unsafe fn sub(self, a: Self) -> Self {
                    // SAFETY: likewise.
                    unsafe { $name($sub(self.0, a.0)) }
                }
                #[inline(always)]
                unsafe fn mul(self, a: Self) -> Self {
                    // SAFETY: likewise.
                    unsafe { $name($mul(self.0, a.0)) }
                }
                #[inline(always)]
                unsafe fn stream(self, p: *mut $t) {
                    // SAFETY: likewise; the caller vouches for the alignment.
                    unsafe { $stream(p, self.0) }
                }
            }
        };
    }

    register!(
        /// AVX-512, f32.
        F32x16, f32, __m512, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps,
        _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_stream_ps,
        first(n) ((1u32 << n) - 1) as __mmask16,
        load(m, p) _mm512_maskz_loadu_ps(m, p),
        store(v) _mm512_mask_storeu_ps(p, m, v)
    );
    register!(
        /// AVX-512, f64.
        F64x8, f64, __m512d, 8, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd,
        _mm512_fmadd_pd, _mm512_fnmadd_pd, _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd, _mm512_stream_pd,
        first(n) ((1u32 << n) - 1) as __mmask8,
        load(m, p) _mm512_maskz_loadu_pd(m, p),
        store(v) _mm512_mask_storeu_pd(p, m, v)
    );
    register!(
        /// AVX2, f32.
        F32x8, f32, __m256, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps,
        _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, _mm256_stream_ps,
        first(n) mask32(n),
        load(m, p) _mm256_maskload_ps(p, m),
        store(v) _mm256_maskstore_ps(p, m, v)
    );
    register!(
        /// AVX2, f64.
        F64x4, f64, __m256d, 4, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd,
        _mm256_fmadd_pd, _mm256_fnmadd_pd, _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, _mm256_stream_pd,
        first(n) mask64(n),
        load(m, p) _mm256_maskload_pd(p, m),
        store(v) _mm256_maskstore_pd(p, m, v)
    );
}
