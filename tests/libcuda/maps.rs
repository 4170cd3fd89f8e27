//! Tensor maps, as cuda.h declares the function that encodes them.

#![allow(non_snake_case, reason = "the functions have the names that the driver gives them")]
#![allow(clippy::missing_safety_doc, reason = "the contract is that of CUDA's manual")]

use super::codes::INVALID_VALUE;
use super::exports::give;
use super::state::Needs::Nothing;
use super::state::call;
use super::work::Map;
use std::ffi::c_uint;

/// The numbers of CUDA's enumerations that normscape uses: f32 and bf16; not interleaved, swizzled by 128 bytes, zeros beyond the matrix.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuTensorMapEncodeTiled(
    map: *mut Map,
    element: c_uint,
    rank: c_uint,
    address: u64,
    extents: *const u64,
    pitches: *const u64,
    tile: *const c_uint,
    steps: *const c_uint,
    interleaved: c_uint,
    swizzle: c_uint,
    _promotion: c_uint,
    beyond: c_uint,
) -> u32 {
    call("cuTensorMapEncodeTiled", Nothing, |state| {
        if rank != 2 || ![7, 9].contains(&element) || [interleaved, swizzle, beyond] != [0, 3, 0] {
            return state.not_modelled("a tensor map of another kind");
        }
        // SAFETY: the caller's arrays have the rank's length; of pitches there is one less.
        let (extents, tile, steps, pitch) = unsafe {
            (*extents.cast::<[u64; 2]>(), *tile.cast::<[c_uint; 2]>(), *steps.cast::<[c_uint; 2]>(), *pitches)
        };
        let bytes = if element == 9 { 2 } else { 4 };
        let fits = tile.iter().all(|n| (1..=256).contains(n)) && u64::from(tile[0]) * bytes <= 128 && steps == [1, 1];
        let whole = address.is_multiple_of(16) && pitch.is_multiple_of(16) && pitch >= extents[0] * bytes;
        let placed = map.addr().is_multiple_of(64) && extents.iter().all(|n| (1..=1 << 32).contains(n));
        if !(fits && whole && placed) {
            return state.breach(
                INVALID_VALUE,
                format!("a matrix {extents:?} at {address:#x}, rows {pitch} bytes apart, boxes {tile:?}"),
            );
        }
        let half = u64::from(element == 9);
        // SAFETY: the caller's map has 128 bytes.
        unsafe { give(map, Map { mark: Map::MARK, address, half, extents, tile: tile.map(u64::from), rest: [0; 9] }) }
    })
}
