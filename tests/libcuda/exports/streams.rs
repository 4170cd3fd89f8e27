//! Streams, recordings of what is asked of them, and events.

use super::super::codes::INVALID_VALUE;
use super::super::state::Needs::{Current, LetsGo};
use super::super::state::call;
use super::give;
use std::ffi::{c_int, c_uint};

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(stream: *mut usize, flags: c_uint) -> u32 {
    call("cuStreamCreate", Current, |state| {
        if flags > 1 {
            return state.breach(INVALID_VALUE, format!("there are no flags {flags}"));
        }
        let made = state.new_stream();
        // SAFETY: as above.
        unsafe { give(stream, made) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamSynchronize(stream: usize) -> u32 {
    call("cuStreamSynchronize", Current, |state| state.synchronize(stream))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamBeginCapture_v2(stream: usize, mode: c_int) -> u32 {
    call("cuStreamBeginCapture_v2", Current, |state| state.begin_capture(stream, mode))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(stream: usize, graph: *mut usize) -> u32 {
    call("cuStreamEndCapture", Current, |state| {
        let ended = state.end_capture(stream);
        // SAFETY: as above.
        unsafe { give(graph, ended.unwrap_or(0)) }.and(ended.map(drop))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamDestroy_v2(stream: usize) -> u32 {
    call("cuStreamDestroy_v2", LetsGo, |state| state.destroy_stream(stream))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: *mut usize, _flags: c_uint) -> u32 {
    call("cuEventCreate", Current, |state| {
        let made = state.new_event();
        // SAFETY: as above.
        unsafe { give(event, made) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecord(event: usize, stream: usize) -> u32 {
    call("cuEventRecord", Current, |state| state.record(event, stream))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventSynchronize(event: usize) -> u32 {
    call("cuEventSynchronize", Current, |state| state.wait_for(event))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(milliseconds: *mut f32, from: usize, to: usize) -> u32 {
    call("cuEventElapsedTime", Current, |state| {
        let found = state.between(from, to)?;
        // SAFETY: as above.
        unsafe { give(milliseconds, found) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventDestroy_v2(event: usize) -> u32 {
    call("cuEventDestroy_v2", LetsGo, |state| state.destroy_event(event))
}
