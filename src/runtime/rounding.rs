//! Converting f64 to bf16 with a single rounding.
//!
//! `half::bf16::from_f64` looks only at the upper 32 bits (half 2.7), so a value slightly above the midpoint between two neighbours goes to the even
//! one. Converting to f32 first and then to bf16 rounds twice. `clippy.toml` forbids the first.

use half::bf16;

/// The bf16 number nearest to `x`; a tie goes to the even one, a NaN stays a NaN, and values beyond the largest number become infinite.
///
/// The intermediate f32 is rounded to odd: it is truncated, and its last bit is set if anything was lost. An f32 has 16 bits more than a bf16 and the
/// same exponents, so the intermediate value lies on the same side of every midpoint as `x` (Boldo and Melquiond 2008).
pub fn bf16_of(x: f64) -> bf16 {
    let near = x as f32;
    if f64::from(near) == x || x.is_nan() {
        return bf16::from_f32(near);
    }
    // Of infinity, which `x` is not, one below is the largest number.
    let cut = near.to_bits() - u32::from(f64::from(near).abs() > x.abs());
    bf16::from_f32(f32::from_bits(cut | 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2ᵉ, exact.
    fn power(e: i32) -> f64 {
        2f64.powi(e)
    }

    fn both(x: f64, expected: f64) {
        assert_eq!((bf16_of(x).to_f64(), bf16_of(-x).to_f64()), (expected, -expected), "{x:e}");
    }

    #[test]
    fn a_middle_goes_to_the_even_neighbour_and_what_is_off_it_to_the_nearer() {
        for e in [-100, -1, 0, 1, 90] {
            let (one, place) = (power(e), power(e - 7));
            both(one, one);
            both(one + place / 2.0, one);
            both(one + 1.5 * place, one + 2.0 * place);
            // To the last bit of f64, wherever it stands.
            for rest in 9..=52 {
                both(one + place / 2.0 + power(e - rest).min(place / 4.0), one + place);
                both(one + place / 2.0 - power(e - rest).min(place / 4.0), one);
                both(one + 1.5 * place - power(e - rest).min(place / 4.0), one + place);
            }
        }
        // From f32 the same, since all of its bits are seen.
        assert_eq!(bf16::from_f32(f32::from_bits(0x3F80_8001)).to_f64(), 1.0 + power(-7));
        assert_eq!(bf16::from_f32(f32::from_bits(0x3F80_8000)).to_f64(), 1.0);
    }

    #[test]
    fn the_ends_of_the_range() {
        let (largest, least) = (bf16::MAX.to_f64(), power(-133));
        both(largest, largest);
        // The middle between the largest and the next, which there is not, is infinity's.
        both(largest + power(119), f64::INFINITY);
        both(largest + power(119) - power(80), largest);
        both(f64::MAX, f64::INFINITY);
        both(f64::INFINITY, f64::INFINITY);
        // Subnormal: multiples of 2⁻¹³³. Also below what f32 has.
        both(least, least);
        both(least / 2.0, 0.0);
        both(least / 2.0 + power(-185), least);
        both(1.5 * least, 2.0 * least);
        both(1.5 * least - power(-184), least);
        both(power(-1000), 0.0);
        both(f64::from_bits(1), 0.0);
        assert!(bf16_of(-f64::from_bits(1)).to_f64().is_sign_negative());
        // The middle below the least normal number.
        both(power(-126) - power(-134), power(-126));
        both(power(-126) - power(-134) - power(-170), power(-126) - least);
        assert!(bf16_of(f64::NAN).is_nan() && bf16_of(f64::from_bits(0x7FF0_0000_0000_0001)).is_nan());
    }
}
