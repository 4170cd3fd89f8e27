//! The vector units of the host: found at run time, and never a reason for other bits.
//!
//! Every kernel gives each output element one chain of operations, in an order that the shapes alone fix. So a wider
//! register, or none, changes the speed and not one bit. Two means are used: the macro `vectorize!` compiles a plain loop once for
//! each instruction set and leaves the vectors to the compiler; [`Lanes`] names registers, for the one loop (the dense
//! product) where the compiler's choice is not good enough.

use crate::{Error, Result};
use std::ffi::OsStr;
use std::sync::OnceLock;

/// The variable of the environment that asks for a narrower instruction set than the machine has.
pub const VARIABLE: &str = "NORMSCAPE_ISA";

/// Instruction sets that kernels are compiled for, the widest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// AVX-512 F, BW, DQ, VL and FMA.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// What the compiler's target has. Without a hardware `fma` it is right, and slow.
    Portable,
}

impl Isa {
    const ALL: [Isa; 3] = [Isa::Avx512, Isa::Avx2, Isa::Portable];

    /// What [`VARIABLE`] calls it.
    pub fn word(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Portable => "portable",
        }
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Avx512 => "AVX-512",
            Isa::Avx2 => "AVX2",
            Isa::Portable => "portable code",
        }
    }

    /// Whether a fused multiply-add is computed in software: for x86-64, compilers take a processor without one for granted.
    pub fn is_slow(self) -> bool {
        let x86 = cfg!(any(target_arch = "x86", target_arch = "x86_64"));
        self == Isa::Portable && x86 && !cfg!(target_feature = "fma")
    }
}

/// The widest instruction set of this machine.
pub fn widest() -> Isa {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        if avx512 {
            return Isa::Avx512;
        }
        if avx2 {
            return Isa::Avx2;
        }
    }
    Isa::Portable
}

/// The instruction set in use: the widest of this machine, or the narrower one that [`VARIABLE`] asks for.
///
/// What it asks for and cannot have is taken for nothing asked: [`require`] refuses it, before anything is computed.
pub fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| require().unwrap_or_else(|_| widest()))
}

/// The instruction set that [`VARIABLE`] asks for, or the widest. Errors: it is none, or not one of this machine's.
pub fn require() -> Result<Isa> {
    choose(std::env::var_os(VARIABLE).as_deref(), widest())
}

fn choose(asked: Option<&OsStr>, widest: Isa) -> Result<Isa> {
    // Set to nothing is not set, as for every other variable.
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else { return Ok(widest) };
    let found = Isa::ALL.into_iter().find(|isa| asked == isa.word());
    let problem = match found {
        Some(isa) if isa >= widest => return Ok(isa),
        Some(isa) => format!("this processor has no {}", isa.name()),
        None => "no such instruction set".into(),
    };
    let there: Vec<_> = Isa::ALL.into_iter().filter(|isa| *isa >= widest).map(Isa::word).collect();
    let place = format!("{VARIABLE}={}", asked.to_string_lossy().escape_debug());
    Err(Error::input(place, problem, format!("this machine has {}", there.join(", "))))
}

/// Defines functions that are compiled once for every [`Isa`] and take the machine's own at run time.
///
/// The body is plain Rust: the compiler turns its loops into vectors of whatever width it is compiled for. It must not
/// hand out closures to other threads: those would be compiled for the base instruction set.
macro_rules! vectorize {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident<$T:ident $(, $G:ident: $B:path)*>($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block)+) => {$(
        $(#[$meta])*
        $vis fn $name<$T: $crate::runtime::float::Float $(, $G: $B)*>($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn plain<$T: $crate::runtime::float::Float $(, $G: $B)*>($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
                fn avx512<$T: $crate::runtime::float::Float $(, $G: $B)*>($($arg: $ty),*) $(-> $ret)? {
                    plain::<$T $(, $G)*>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma,bmi2")]
                fn avx2<$T: $crate::runtime::float::Float $(, $G: $B)*>($($arg: $ty),*) $(-> $ret)? {
                    plain::<$T $(, $G)*>($($arg),*)
                }
                match $crate::runtime::simd::isa() {
                    // SAFETY: `isa` saw these features on this machine.
                    $crate::runtime::simd::Isa::Avx512 => return unsafe { avx512::<$T $(, $G)*>($($arg),*) },
                    // SAFETY: likewise.
                    $crate::runtime::simd::Isa::Avx2 => return unsafe { avx2::<$T $(, $G)*>($($arg),*) },
                    $crate::runtime::simd::Isa::Portable => {}
                }
            }
            plain::<$T $(, $G)*>($($arg),*)
        }
    )+};
}
pub(crate) use vectorize;

/// A register of `WIDTH` elements.
///
/// # Safety
/// Its methods may only be called where the instruction set that they stand for is there, and pointers must be valid for
/// `WIDTH` elements; they need not be aligned.
pub trait Lanes<T>: Copy {
    /// Elements per register.
    const WIDTH: usize;
    /// All elements `x`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn splat(x: T) -> Self;
    /// `WIDTH` elements from `p`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn load(p: *const T) -> Self;
    /// `WIDTH` elements to `p`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn store(self, p: *mut T);
    /// The first `count` elements from `p`, at most `WIDTH`; zeros after them.
    ///
    /// # Safety
    /// See the trait; `p` must be valid for `count` elements only.
    unsafe fn load_first(p: *const T, count: usize) -> Self;
    /// The first `count` elements to `p`, at most `WIDTH`.
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
    /// As [`Lanes::store`], past the caches where the machine can: for what is not read again soon.
    ///
    /// # Safety
    /// See the trait; `p` must be aligned to 64 bytes, and [`fence`] must be called before another thread reads what was written.
    unsafe fn stream(self, p: *mut T);
}

/// Orders what [`Lanes::stream`] wrote before everything that this thread writes later.
#[inline(always)]
pub fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// Asks for the cache line at `p`, which need not be valid, before it is needed.
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

impl<T: super::float::Float> Lanes<T> for Portable<T> {
    const WIDTH: usize = 8;
    #[inline(always)]
    unsafe fn splat(x: T) -> Self {
        Portable([x; 8])
    }
    #[inline(always)]
    unsafe fn load(p: *const T) -> Self {
        // SAFETY: the caller vouches for eight elements.
        Portable(unsafe { p.cast::<[T; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut T) {
        // SAFETY: the caller vouches for eight elements.
        unsafe { p.cast::<[T; 8]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn load_first(p: *const T, count: usize) -> Self {
        // SAFETY: only the first `count` elements are read.
        Portable(std::array::from_fn(|i| if i < count { unsafe { *p.add(i) } } else { T::ZERO }))
    }
    #[inline(always)]
    unsafe fn store_first(self, p: *mut T, count: usize) {
        for (i, &v) in self.0.iter().enumerate().take(count) {
            // SAFETY: only the first `count` elements are written.
            unsafe { *p.add(i) = v };
        }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        Portable(std::array::from_fn(|i| a.0[i].fma(b.0[i], self.0[i])))
    }
    #[inline(always)]
    unsafe fn fnma(self, a: Self, b: Self) -> Self {
        Portable(std::array::from_fn(|i| (-a.0[i]).fma(b.0[i], self.0[i])))
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
    unsafe fn stream(self, p: *mut T) {
        // SAFETY: the caller's promise is a wider one.
        unsafe { self.store(p) }
    }
}

/// Registers of x86-64.
#[cfg(target_arch = "x86_64")]
pub mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// Lane masks of AVX2: eight 32-bit words, the first `count` of which are set.
    #[inline(always)]
    unsafe fn mask32(count: usize) -> __m256i {
        // SAFETY: the caller vouches for AVX2.
        unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
    }

    /// Four 64-bit words, the first `count` of which are set.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_taken_or_refused_and_never_passed_over() {
        use Isa::{Avx2, Avx512, Portable};
        let of = |asked: &str, widest| choose(Some(OsStr::new(asked)), widest);
        for widest in Isa::ALL {
            assert_eq!(choose(None, widest).unwrap(), widest);
            assert_eq!(of("", widest).unwrap(), widest);
            assert_eq!(of("portable", widest).unwrap(), Portable);
        }
        assert_eq!((of("avx512", Avx512).unwrap(), of("avx2", Avx512).unwrap()), (Avx512, Avx2));
        for (asked, widest, says) in [
            ("avx512", Avx2, "NORMSCAPE_ISA=avx512: this processor has no AVX-512; this machine has avx2, portable"),
            ("avx2", Portable, "NORMSCAPE_ISA=avx2: this processor has no AVX2; this machine has portable"),
            ("sse", Avx512, "NORMSCAPE_ISA=sse: no such instruction set; this machine has avx512, avx2, portable"),
            ("AVX2", Avx512, "NORMSCAPE_ISA=AVX2: no such instruction set"),
            (" avx2", Avx2, "NORMSCAPE_ISA= avx2: no such instruction set"),
            ("av\nx", Avx2, "NORMSCAPE_ISA=av\\nx: no such instruction set"),
        ] {
            let error = of(asked, widest).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().starts_with(says), "{error}");
        }
    }
}
