//! Vector registers of floats that can tell which of their lanes are negative, and which are small.

use super::rows::Row;
use crate::runtime::simd::{Lanes, Portable};

/// A register of floats whose lanes can be tested.
pub trait Judge: Lanes<f32> {
    /// Tests the register at `values`: which lanes are negative, and which have an absolute value up to `bound`. Each result has one bit for each
    /// lane.
    ///
    /// # Safety
    /// See [`Lanes`].
    unsafe fn judge(values: *const f32, bound: f32) -> [u32; 2];
}

/// A row of eight doubles, with the register of floats of the same instruction set.
pub trait Eights: Row {
    /// The register of floats.
    type Singles: Judge;
}

impl Eights for [f64; 8] {
    type Singles = Portable<f32>;
}

impl Judge for Portable<f32> {
    #[inline(always)]
    unsafe fn judge(values: *const f32, bound: f32) -> [u32; 2] {
        // SAFETY: the caller vouches for as many values.
        let values = unsafe { values.cast::<[f32; 8]>().read_unaligned() };
        let bits =
            |of: fn(f32, f32) -> bool| values.iter().rev().fold(0, |bits, &v| bits << 1 | u32::from(of(v, bound)));
        [bits(|v, _| v.is_sign_negative()), bits(|v, bound| v.abs() <= bound)]
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::rows::Pair;
    use super::super::rows::x86::{Eight, Four};
    use super::{Eights, Judge};
    use crate::runtime::simd::x86::{F32x8, F32x16};
    use std::arch::x86_64::*;

    impl Eights for Eight {
        type Singles = F32x16;
    }

    impl Eights for Pair<Four, Four> {
        type Singles = F32x8;
    }

    impl Judge for F32x16 {
        #[inline(always)]
        unsafe fn judge(values: *const f32, bound: f32) -> [u32; 2] {
            // SAFETY: the caller vouches for AVX-512 and for the values.
            unsafe {
                let values = _mm512_loadu_ps(values);
                let near = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(_mm512_abs_ps(values), _mm512_set1_ps(bound));
                [_mm512_movepi32_mask(_mm512_castps_si512(values)).into(), near.into()]
            }
        }
    }

    impl Judge for F32x8 {
        #[inline(always)]
        unsafe fn judge(values: *const f32, bound: f32) -> [u32; 2] {
            // SAFETY: the caller vouches for AVX2 and for the values.
            unsafe {
                let values = _mm256_loadu_ps(values);
                let size = _mm256_andnot_ps(_mm256_set1_ps(-0.0), values);
                let near = _mm256_cmp_ps::<_CMP_LE_OQ>(size, _mm256_set1_ps(bound));
                [values, near].map(|of| _mm256_movemask_ps(of) as u32)
            }
        }
    }
}
