//! The two element types that the CPU computes in.

use super::element::Element;
use super::lanes::{Lanes, Portable};
use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

#[cfg(target_arch = "x86_64")]
use super::lanes::x86;

/// The CPU's element type: f32, in which runs are made, or f64, against which everything else is checked.
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
    /// A mean of squares below this may have lost digits: subnormal squares are off by up to half of the smallest positive number.
    const FAINT: f64;
    /// A register of eight elements, for machines without a vector unit that this crate knows.
    type Plain: Lanes<Self>;
    /// One 256-bit register.
    #[cfg(target_arch = "x86_64")]
    type Avx2: Lanes<Self>;
    /// One 512-bit register.
    #[cfg(target_arch = "x86_64")]
    type Avx512: Lanes<Self>;

    /// Rounds an f64 to this type.
    fn of(x: f64) -> Self;
    /// Widens an f32; f64 uses the draws of f32 in this way.
    fn widen(x: f32) -> Self;
    /// Widens to f64, exactly.
    fn f64(self) -> f64;
    /// `self · a + b`, rounded once.
    fn fma(self, a: Self, b: Self) -> Self;
    /// |self|
    fn abs(self) -> Self;
    /// √self
    fn sqrt(self) -> Self;
    /// eˣ
    fn exp(self) -> Self;
    /// `(2ᵏ, eʳ − 1)` with `self = k ln 2 + r` and `|r| ≤ ln 2 / 2`, for numbers of at most 80. From these parts both eˣ and eˣ − 1 can be computed
    /// without losing digits, in loops that vectorise. It is plain arithmetic in a fixed order, so every machine gives the same bits. Where eˣ is not
    /// a normal number, the first part is 0; for a NaN, the second part is NaN.
    fn exp_parts(self) -> (Self, Self);
    /// selfᵖ
    fn powf(self, p: Self) -> Self;
    /// `1 − erf(self)`, without loss of digits where the result is small.
    fn erfc(self) -> Self;
    /// Whether it is neither infinite nor NaN.
    fn is_finite(self) -> bool;
}

macro_rules! float {
    ($t:ident, $faint:literal, $avx2:ident, $avx512:ident, $exp:ident, $erfc:path) => {
        impl Float for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const FAINT: f64 = $faint;
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
            fn exp_parts(self) -> (Self, Self) {
                use self::$exp as exp;
                let x = if self < exp::LEAST { exp::LEAST } else { self };
                // Rounds to a whole number, which then stands in the lowest bits.
                let shifted = x.mul_add(std::$t::consts::LOG2_E, exp::ROUND);
                let k = shifted - exp::ROUND;
                let r = k.mul_add(-exp::LN_2[1], k.mul_add(-exp::LN_2[0], x));
                let series = exp::SERIES.iter().fold(0.0, |sum: $t, c| sum.mul_add(r, *c));
                let scale = $t::from_bits(shifted.to_bits().wrapping_add(exp::BIAS) << exp::MANTISSA);
                (if self < exp::LEAST { 0.0 } else { scale }, (r * r).mul_add(series, r))
            }
            #[inline(always)]
            fn powf(self, p: Self) -> Self {
                $t::powf(self, p)
            }
            #[inline(always)]
            fn erfc(self) -> Self {
                $erfc(self)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $t::is_finite(self)
            }
        }
    };
}

/// `erfc` in f32: the Chebyshev fit of Numerical Recipes (section 6.2), whose relative error is 1.2e-7. It is plain arithmetic, so that loops over it
/// vectorise; loops over libm's function do not.
#[inline(always)]
fn erfc_of_f32(x: f32) -> f32 {
    const FIT: [f32; 10] = [
        0.170_872_77,
        -0.822_152_2,
        1.488_515_9,
        -1.135_204,
        0.278_868_1,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ];
    let z = x.abs();
    let t = 1.0 / 0.5f32.mul_add(z, 1.0);
    let fit = FIT.iter().fold(0.0, |sum: f32, c| sum.mul_add(t, *c));
    let (power, part) = Float::exp_parts((-z).mul_add(z, fit));
    let above = t * Float::fma(power, part, power);
    if x < 0.0 { 2.0 - above } else { above }
}

/// The constants of `exp_parts` in f32.
mod exp32 {
    /// Below this eˣ is not a normal number.
    pub const LEAST: f32 = -87.0;
    /// 1.5 · 2²³
    pub const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts; k times the first part is exact.
    pub const LN_2: [f32; 2] = [0.693_145_75, 1.428_606_8e-6];
    /// 1/8! … 1/2!: for |r| ≤ 0.35 the rest of the series is below 1e-9 of its value.
    pub const SERIES: [f32; 7] =
        [1.0 / 40320.0, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 1.0 / 2.0];
    /// The bias of the exponent, and its position in the bits.
    pub const BIAS: u32 = 127;
    pub const MANTISSA: u32 = 23;
}

/// The same in f64.
mod exp64 {
    pub const LEAST: f64 = -708.0;
    /// 1.5 · 2⁵²
    pub const ROUND: f64 = 6_755_399_441_055_744.0;
    pub const LN_2: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];
    /// 1/15! … 1/2!
    pub const SERIES: [f64; 14] = [
        1.0 / 1_307_674_368_000.0,
        1.0 / 87_178_291_200.0,
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        1.0 / 2.0,
    ];
    pub const BIAS: u64 = 1023;
    pub const MANTISSA: u32 = 52;
}

float!(f32, 1e-30, F32x8, F32x16, exp32, erfc_of_f32);
float!(f64, 1e-280, F64x4, F64x8, exp64, libm::erfc);

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest relative errors of eˣ and eˣ − 1 computed from the parts, in units of the last place.
    fn errors<T: Float>(x: impl Iterator<Item = f64>, place: f64) -> [f64; 2] {
        x.fold([0.0f64; 2], |most, x| {
            let x = T::of(x);
            let (scale, part) = x.exp_parts();
            let (exp, less_one) = (scale.fma(part, scale).f64(), scale.fma(part, scale - T::ONE).f64());
            let off =
                |found: f64, exact: f64| if found == exact { 0.0 } else { ((found - exact) / exact / place).abs() };
            [most[0].max(off(exp, x.f64().exp())), most[1].max(off(less_one, x.f64().exp_m1()))]
        })
    }

    #[test]
    fn both_exponentials_are_right_to_two_units_in_the_last_place() {
        let near = (-1_000..1_000).map(|i| f64::from(i) * 1e-3);
        let far = (0..20_000).map(|i| f64::from(i) * -0.00434);
        let tiny = (1..30).map(|i| -(0.1f64.powi(i)));
        let all = near.chain(far).chain(tiny);
        let (narrow, wide) = (errors::<f32>(all.clone(), f64::from(f32::EPSILON)), errors::<f64>(all, f64::EPSILON));
        assert!(narrow.iter().chain(&wide).all(|e| *e <= 2.0), "{narrow:?} {wide:?}");
    }

    #[test]
    fn what_lies_below_every_number_and_what_is_none_pass() {
        fn at<T: Float>(x: f64) -> [f64; 2] {
            let (scale, part) = T::of(x).exp_parts();
            [scale.fma(part, scale).f64(), scale.fma(part, scale - T::ONE).f64()]
        }
        for x in [f64::NEG_INFINITY, -1e30, -1e4] {
            assert_eq!((at::<f32>(x), at::<f64>(x)), ([0.0, -1.0], [0.0, -1.0]));
        }
        assert_eq!((at::<f32>(0.0), at::<f64>(0.0)), ([1.0, 0.0], [1.0, 0.0]));
        assert!(at::<f32>(f64::NAN).iter().chain(&at::<f64>(f64::NAN)).all(|v| v.is_nan()));
    }

    #[test]
    fn erfc_in_f32_is_that_of_f64() {
        for i in -6_000..=9_000 {
            let x = i as f32 * 1e-3;
            let (found, exact) = (Float::erfc(x), libm::erfc(f64::from(x)));
            // The fit's own error; half a unit in the last place of an exponent of up to 1.3 + x², rounded twice, and of the four operations after it.
            let bound = 1.2e-7 + 0.5f64.powi(24) * (2.0 * (1.3 + f64::from(x * x)) + 4.0);
            let error = ((f64::from(found) - exact) / exact).abs();
            assert!(error < bound, "erfc({x}) = {found}, off by {error:e}");
        }
        assert!(Float::erfc(f32::NAN).is_nan());
        assert_eq!(
            [f32::INFINITY, f32::NEG_INFINITY, 0.0].map(Float::erfc).map(|v: f32| (v * 1e6).round() / 1e6),
            [0.0, 2.0, 1.0]
        );
    }
}
