//! The driver's functions, as cuda.h declares them. Handles are numbers here; to the caller they are pointers.
//!
//! What each function gives back, and what it refuses, is what CUDA's manual says of it. Pointers are the caller's, and valid: that is the one
//! rule that a library cannot check.
//!
//! - `devices`: the driver itself, devices and contexts · `memory` · `streams`: streams and events · `launches`: modules, launches and graphs

#![allow(non_snake_case, reason = "the functions have the names that the driver gives them")]
#![allow(clippy::missing_safety_doc, reason = "the contract is that of CUDA's manual")]

mod devices;
mod launches;
mod memory;
mod streams;

#[cfg(test)]
pub use {devices::*, launches::*, memory::*, streams::*};

use super::codes::{Done, INVALID_VALUE};

/// Gives the caller a value.
///
/// # Safety
/// `to` is null or valid.
pub unsafe fn give<T>(to: *mut T, value: T) -> Done {
    if to.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: by the caller's promise.
    unsafe { to.write(value) };
    Ok(())
}
