//! The two element types that the CPU computes in.

use super::memory::Element;
use super::simd::{Lanes, Portable};
use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

#[cfg(target_arch = "x86_64")]
use super::simd::x86;

/// f32, in which runs are made, or f64, by which everything else is judged.
pub trait Float:
    Element
    + PartialOrd
    + Debug
    + Display
    + Default
    + Sum
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
{
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// Eight elements, for machines without a vector unit that this crate knows.
    type Plain: Lanes<Self>;
    /// One 256-bit register.
    #[cfg(target_arch = "x86_64")]
    type Avx2: Lanes<Self>;
    /// One 512-bit register.
    #[cfg(target_arch = "x86_64")]
    type Avx512: Lanes<Self>;

    /// Rounds.
    fn of(x: f64) -> Self;
    /// Widens an f32: how f64 uses the draws of f32.
    fn widen(x: f32) -> Self;
    /// Widens, exactly.
    fn f64(self) -> f64;
    /// `self · a + b`, rounded once.
    fn fma(self, a: Self, b: Self) -> Self;
    /// |self|
    fn abs(self) -> Self;
    /// √self
    fn sqrt(self) -> Self;
    /// eˣ
    fn exp(self) -> Self;
    /// selfᵖ
    fn powf(self, p: Self) -> Self;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
}

macro_rules! float {
    ($t:ident, $avx2:ident, $avx512:ident) => {
        impl Float for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            type Plain = Portable<$t>;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = x86::$avx2;
            #[cfg(target_arch = "x86_64")]
            type Avx512 = x86::$avx512;

            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn widen(x: f32) -> Self {
                x as $t
            }
            #[inline(always)]
            fn f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn fma(self, a: Self, b: Self) -> Self {
                self.mul_add(a, b)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $t::abs(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $t::exp(self)
            }
            #[inline(always)]
            fn powf(self, p: Self) -> Self {
                $t::powf(self, p)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $t::is_finite(self)
            }
        }
    };
}

float!(f32, F32x8, F32x16);
float!(f64, F64x4, F64x8);
