//! The CUDA driver's library: looking for it without a panic, and its errors as this crate's.

use crate::{Error, Result};
use cudarc::driver::sys::{self, CUresult};
use std::ffi::CStr;

/// Where the library is looked for, for messages.
pub const LOOKED: &str = "libcuda.so in LD_LIBRARY_PATH and the loader's folders";
/// The oldest driver that has every function that is called here: CUDA 12.0.
const OLDEST: i32 = 12_000;

fn missing(looked: String) -> Error {
    Error::Missing { what: "a CUDA device".into(), looked }
}

/// Finds the library and starts it. Gives the version that the driver supports, as 13000 for 13.0.
///
/// Errors: [`Error::Missing`] where there is no library, no device, or too old a driver.
pub fn start() -> Result<i32> {
    // Presence first: cudarc panics where a library or a function is missing.
    // SAFETY: it only tries to load the library.
    if !unsafe { sys::is_culib_present() } {
        return Err(missing(format!("no driver library was found; looked for {LOOKED}")));
    }
    let mut version = 0;
    // SAFETY: the library is there, every driver has this function, and the pointer is valid.
    let told = unsafe { sys::cuDriverGetVersion(&mut version) };
    if told != CUresult::CUDA_SUCCESS || version < OLDEST {
        let found = format!("{}.{}", version / 1000, version % 1000 / 10);
        return Err(missing(format!(
            "the driver is for CUDA {found}; one for CUDA {}.0 or newer is needed",
            OLDEST / 1000
        )));
    }
    // SAFETY: as above.
    match unsafe { sys::cuInit(0) } {
        CUresult::CUDA_SUCCESS => Ok(version),
        code => {
            Err(missing(format!("the driver (CUDA {}.{}) says: {}", version / 1000, version % 1000 / 10, words(code))))
        }
    }
}

/// The number of devices; [`start`] has succeeded.
pub fn devices() -> Result<i32> {
    let mut count = 0;
    // SAFETY: the library has been started, and the pointer is valid.
    check("CUDA", "count the devices", unsafe { sys::cuDeviceGetCount(&mut count) })?;
    if count == 0 {
        return Err(missing("the driver is there and has no device".into()));
    }
    Ok(count)
}

/// An error's name and text, as the driver has them.
pub fn words(code: CUresult) -> String {
    let (mut name, mut text) = (std::ptr::null(), std::ptr::null());
    // SAFETY: every driver has these functions; they set the pointers to constant strings or to null.
    let string = unsafe {
        let _ = sys::cuGetErrorName(code, &mut name);
        let _ = sys::cuGetErrorString(code, &mut text);
        [name, text]
            .map(|s: *const std::ffi::c_char| (!s.is_null()).then(|| CStr::from_ptr(s).to_string_lossy().into_owned()))
    };
    match string {
        [Some(name), Some(text)] => format!("{name}: {text}"),
        [Some(name), None] => name,
        _ => format!("error {}", code as u32),
    }
}

/// Whether the device is lost for this process: nothing more can be asked of it.
fn lost(code: CUresult) -> bool {
    use CUresult as C;
    matches!(
        code,
        C::CUDA_ERROR_ILLEGAL_ADDRESS
            | C::CUDA_ERROR_LAUNCH_FAILED
            | C::CUDA_ERROR_LAUNCH_TIMEOUT
            | C::CUDA_ERROR_ECC_UNCORRECTABLE
            | C::CUDA_ERROR_MISALIGNED_ADDRESS
            | C::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | C::CUDA_ERROR_HARDWARE_STACK_ERROR
            | C::CUDA_ERROR_DEVICE_UNAVAILABLE
            | C::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | C::CUDA_ERROR_INVALID_PC
            | C::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | C::CUDA_ERROR_ASSERT
    )
}

/// A call's result as this crate's.
pub fn check(device: &str, action: &str, code: CUresult) -> Result<()> {
    if code == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    let after = if lost(code) { "; the device is lost, and the last checkpoint can be resumed" } else { "" };
    Err(Error::device(device, action, format!("{}{after}", words(code))))
}
