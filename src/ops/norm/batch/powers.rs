//! Powers of many numbers at once, as loops that the compiler vectorises; a whole exponent is computed by multiplication.

use crate::runtime::float::Float;
use crate::runtime::tensor::DType;

/// The number of values that are raised together.
pub const BLOCK: usize = 64;

/// The exponent p ≥ 1 of a norm; finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Power {
    /// A whole number: 1, 2, …
    Whole(u32),
    /// Any other number.
    Real(f64),
}

/// The largest exponent that is computed by multiplication. 128 such powers of numbers below 2 stay within f32's range.
pub const MOST: f64 = 64.0;

impl Power {
    /// The exponent `p`.
    pub fn of(p: f64) -> Power {
        if p == p.trunc() && p <= MOST { Power::Whole(p as u32) } else { Power::Real(p) }
    }

    /// `valuesᵖ⁻ᵈ`, where d is `less`. The values must be at least 0, and p itself must be more than 1 if d is 1.
    #[inline(always)]
    pub fn raise<T: Float>(self, less: u32, values: [T; BLOCK]) -> [T; BLOCK] {
        match self {
            Power::Whole(n) => whole(values, n - less),
            Power::Real(p) => real(values, p - f64::from(less)),
        }
    }
}

/// Raises by repeated squaring. An n-th power multiplies the base's relative error by n in any case, and the multiplications add less than that.
#[inline(always)]
fn whole<T: Float>(mut base: [T; BLOCK], mut n: u32) -> [T; BLOCK] {
    let mut power = [T::ONE; BLOCK];
    loop {
        if n % 2 == 1 {
            for (power, &base) in power.iter_mut().zip(&base) {
                *power *= base;
            }
        }
        n /= 2;
        if n == 0 {
            return power;
        }
        for base in &mut base {
            *base *= *base;
        }
    }
}

#[inline(always)]
fn real<T: Float>(mut values: [T; BLOCK], p: f64) -> [T; BLOCK] {
    if T::DTYPE == DType::F32 {
        for v in &mut values {
            *v = T::of(of_f32(v.f64(), p));
        }
    } else {
        for v in &mut values {
            *v = v.powf(T::of(p));
        }
    }
    values
}

/// `xᵖ` for p > 0 and an x that is an f32 of at least 0, an infinity or a NaN. Computed in f64 with a relative error of 1e-9, so that only the
/// rounding to f32 counts. It is plain arithmetic in a fixed order, so every machine gives the same bits.
#[inline(always)]
fn of_f32(x: f64, p: f64) -> f64 {
    /// The bits of √½, and the bits of an exponent.
    const ROOT: u64 = 0x3FE6_A09E_667F_3BCD;
    const EXPONENT: u64 = 0xFFF0_0000_0000_0000;
    /// 2⁵², whose last bits are a whole number; and 1.5 · 2⁵², which is added to a number to round it to a whole one.
    const WHOLE: u64 = 0x4330_0000_0000_0000;
    const ROUND: f64 = 6_755_399_441_055_744.0;
    /// 1/15, 1/13 … 1/3, for the series of artanh.
    const ARTANH: [f64; 7] = [1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0];
    /// 1/11! … 1/1!, for the series of the exponential.
    const EXP: [f64; 11] = [
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
        1.0,
    ];
    // x = 2ᵏ m with m from √½ to √2.
    let bits = x.to_bits();
    let above = bits.wrapping_sub(ROOT);
    let k = f64::from_bits((above >> 52).wrapping_add(2048) & 0xFFF | WHOLE) - (4_503_599_627_370_496.0 + 2048.0);
    let m = f64::from_bits(bits.wrapping_sub(above & EXPONENT));
    // log₂ m = 2/ln 2 · artanh s
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let series = ARTANH.iter().fold(0.0, |sum: f64, c| sum.mul_add(z, *c)).mul_add(z, 1.0);
    let log = (2.0 * std::f64::consts::LOG2_E * s).mul_add(series, k);
    let y = p * log;
    let y = if y > 1000.0 { 1000.0 } else { y };
    let y = if y < -1000.0 { -1000.0 } else { y };
    let shifted = y + ROUND;
    let r = (y - (shifted - ROUND)) * std::f64::consts::LN_2;
    let exp = EXP.iter().fold(0.0, |sum: f64, c| sum.mul_add(r, *c)).mul_add(r, 1.0);
    let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52) * exp;
    let power = if x < f64::INFINITY { power } else { x };
    if x == 0.0 { 0.0 } else { power }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<T: Float>(p: f64, less: u32, values: &[f64]) -> Vec<T> {
        let blocks = values.chunks(BLOCK).map(|values| {
            let mut block = [T::ZERO; BLOCK];
            block.iter_mut().zip(values).for_each(|(to, &v)| *to = T::of(v));
            Power::of(p).raise(less, block)[..values.len()].to_vec()
        });
        blocks.flatten().collect()
    }

    #[test]
    fn powers_are_right_to_the_multiplications_that_they_take() {
        let values: Vec<f64> = (0..4000).map(|i| 10f64.powf(f64::from(i) * 0.002 - 4.0)).collect();
        for p in [1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 9.5] {
            for less in [0, 1] {
                let exponent = p - f64::from(less);
                // A real power is rounded once; of f64 it is what the library makes of it.
                let ulps = if p == p.trunc() { 0.5 * p } else { 0.51 };
                for (v, found) in values.iter().zip(all::<f32>(p, less, &values)) {
                    let exact = f64::from(*v as f32).powf(exponent);
                    let off = (f64::from(found) - exact).abs() / exact / f64::from(f32::EPSILON);
                    assert!(off <= ulps || exact < 1e-37, "{v:e}^{exponent}: off by {off}");
                }
                for (v, found) in values.iter().zip(all::<f64>(p, less, &values)) {
                    let exact = v.powf(exponent);
                    let off = (found - exact).abs() / exact / f64::EPSILON;
                    assert!(off <= ulps + 1.0, "{v:e}^{exponent}: off by {off}");
                }
            }
        }
    }

    #[test]
    fn ends_of_the_range_pass() {
        let ends = [0.0, f64::INFINITY, f64::NAN, 1.0, 1e-44, 3e38];
        for p in [1.001, 2.5, 3.0, 200.5] {
            let found = all::<f32>(p, 0, &ends);
            assert_eq!((found[0], found[1], found[3]), (0.0, f32::INFINITY, 1.0));
            assert!(found[2].is_nan() && found[5] > 1e37);
            assert!(found[4] < 1e-43 && p > 2.0 || found[4] > 0.0 && p < 2.0, "{}", found[4]);
        }
        assert_eq!(all::<f32>(1.001, 1, &[0.0])[0], 0.0);
        assert!(all::<f32>(0.5 + 1.0, 1, &[0.25])[0] == 0.5);
    }
}
