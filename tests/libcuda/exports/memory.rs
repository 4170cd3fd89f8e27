//! Memory of a device, fills and copies.

use super::super::codes::{Done, INVALID_VALUE};
use super::super::state::Needs::{Current, LetsGo};
use super::super::state::{State, call};
use super::super::work::Op;
use super::give;
use std::ffi::{c_uchar, c_void};

impl State {
    /// Refuses a copy or a fill of memory that is not all in one allocation, which the driver sees at once.
    fn reachable(&mut self, address: u64, bytes: usize) -> Done {
        if self.context()?.part(address, bytes).is_some() {
            return Ok(());
        }
        self.breach(INVALID_VALUE, format!("not all of {bytes} bytes at {address:#x} are allocated"))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> u32 {
    call("cuMemAlloc_v2", Current, |state| {
        state.forbidden_while_capturing()?;
        if bytes == 0 {
            return state.breach(INVALID_VALUE, "nothing is asked for");
        }
        let found = state.context()?.allocate(bytes)?;
        // SAFETY: as above.
        unsafe { give(address, found) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFree_v2(address: u64) -> u32 {
    call("cuMemFree_v2", LetsGo, |state| state.free(address))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> u32 {
    call("cuMemGetInfo_v2", Current, |state| {
        let (left, all) = state.context()?.memory();
        // SAFETY: as above.
        unsafe { give(free, left).and(give(total, all)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD8Async(to: u64, value: c_uchar, bytes: usize, stream: usize) -> u32 {
    call("cuMemsetD8Async", Current, |state| {
        state.reachable(to, bytes)?;
        state.submit(stream, Op::Fill { to, value, bytes })
    })
}

/// From pageable memory, which is all that normscape has: CUDA copies it to memory of its own before it returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: usize) -> u32 {
    call("cuMemcpyHtoDAsync_v2", Current, |state| {
        state.reachable(to, bytes)?;
        if from.is_null() {
            return state.breach(INVALID_VALUE, "the host's address is null");
        }
        // SAFETY: the caller has so many bytes there.
        let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes) };
        state.submit(stream, Op::Upload { to, bytes: bytes.into() })
    })
}

/// To pageable memory: CUDA's page on synchronisation says that the call may wait for the copy or may not. Here it does not, and until
/// somebody waits the host finds neither its old bytes nor the new ones.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: usize) -> u32 {
    call("cuMemcpyDtoHAsync_v2", Current, |state| {
        state.reachable(from, bytes)?;
        if to.is_null() {
            return state.breach(INVALID_VALUE, "the host's address is null");
        }
        state.submit(stream, Op::Download { to: to as usize, from, bytes })?;
        // SAFETY: the caller has so many bytes there.
        unsafe { std::ptr::write_bytes(to.cast::<u8>(), 0xA5, bytes) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: usize) -> u32 {
    call("cuMemcpyDtoDAsync_v2", Current, |state| {
        state.reachable(to, bytes)?;
        state.reachable(from, bytes)?;
        if to.abs_diff(from) < bytes as u64 {
            return state.breach(INVALID_VALUE, "the two places overlap, and what is copied is undefined");
        }
        state.submit(stream, Op::Copy { to, from, bytes })
    })
}
