//! Tensor maps: what the device's bulk copies must know of a matrix.

use super::api::check;
use super::symbols::{self as sys, CUtensorMap};
use crate::runtime::cuda::driver::TensorMap;
use crate::{Error, Result};

/// CUDA's numbers for the types of elements, and for how a map is used.
mod number {
    pub const F32: u32 = 7;
    pub const BF16: u32 = 9;
    pub const NOT_INTERLEAVED: u32 = 0;
    pub const SWIZZLE_128_BYTES: u32 = 3;
    pub const PROMOTE_TO_256_BYTES: u32 = 3;
    pub const ZEROS_BEYOND: u32 = 0;
}

/// Whether the driver makes tensor maps.
pub fn there() -> bool {
    sys::encode_tiled().is_some()
}

/// The map of a matrix at `address`, for a launch of `kernel` on `device`. Errors: a matrix that cannot be described; a driver without the function.
pub fn encode(device: &str, kernel: &'static str, of: &TensorMap, address: u64) -> Result<CUtensorMap> {
    of.check(kernel)?;
    let encode = sys::encode_tiled().ok_or_else(|| Error::Missing {
        what: "cuTensorMapEncodeTiled".into(),
        looked: "the driver does not have it".into(),
    })?;
    let mut map = CUtensorMap { opaque: [0; 16] };
    let element = if of.half { number::BF16 } else { number::F32 };
    let (extents, pitch) = (of.extents.map(|n| n as u64), [of.pitch() as u64]);
    let (tile, steps) = (of.tile.map(|n| n as u32), [1, 1]);
    // SAFETY: the arrays have the rank's length, the map is the caller's, and the address is only written down.
    let code = unsafe {
        encode(
            &mut map,
            element,
            2,
            address as *mut _,
            extents.as_ptr(),
            pitch.as_ptr(),
            tile.as_ptr(),
            steps.as_ptr(),
            number::NOT_INTERLEAVED,
            number::SWIZZLE_128_BYTES,
            number::PROMOTE_TO_256_BYTES,
            number::ZEROS_BEYOND,
        )
    };
    check(device, &format!("describe a matrix for kernel {kernel}"), code)?;
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::number as n;
    use cudarc::driver::sys as header;

    /// Compares the numbers with those of NVIDIA's header.
    #[test]
    fn numbers_are_those_of_the_header() {
        use header::CUtensorMapDataType as T;
        assert_eq!(
            [n::F32, n::BF16],
            [T::CU_TENSOR_MAP_DATA_TYPE_FLOAT32 as u32, T::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 as u32]
        );
        let modes = [
            header::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE as u32,
            header::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B as u32,
            header::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B as u32,
            header::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE as u32,
        ];
        assert_eq!([n::NOT_INTERLEAVED, n::SWIZZLE_128_BYTES, n::PROMOTE_TO_256_BYTES, n::ZEROS_BEYOND], modes);
        assert_eq!(size_of::<header::CUtensorMap>(), 128);
    }
}
