//! The CUDA driver: starting it without a panic, and turning its errors into this crate's.

use super::symbols::{self as sys, Absent, Code};
use crate::{Error, Result};
use std::ffi::CStr;

/// Where the library is looked for, as error messages say it.
pub const LOOKED: &str = "libcuda.so.1 in LD_LIBRARY_PATH and the loader's folders";
/// The oldest supported driver, CUDA 12.0: its functions do what this code expects.
const OLDEST: i32 = 12_000;

/// The error that there is no device, as far as anyone can tell.
fn none(looked: String) -> Error {
    Error::Missing { what: "a CUDA device".into(), looked }
}

/// The error that there is a driver which does not start.
fn broken(problem: String) -> Error {
    Error::device("CUDA driver", "start", problem)
}

/// A version as people write it: 12.4 for 12040.
pub fn dotted(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

/// Finds the driver and starts it. Returns the CUDA version that it supports; 13000 stands for 13.0.
///
/// Errors: [`Error::Missing`] if there is no driver, or if it says that there is no device; [`Error::Device`], with the driver's own reason, if the
/// driver is incomplete, too old, or does not start.
pub fn start() -> Result<i32> {
    sys::load().map_err(|absent| refused(&absent))?;
    let mut version = 0;
    // SAFETY: the pointer is valid, and the driver need not have been started.
    match unsafe { sys::cuDriverGetVersion(&mut version) } {
        Code::SUCCESS if version >= OLDEST => {}
        Code::SUCCESS => return Err(broken(too_old(version))),
        code => return Err(broken(format!("it does not tell its version: {}", words(code)))),
    }
    // SAFETY: the function may be called at any time.
    match unsafe { sys::cuInit(0) } {
        Code::SUCCESS => Ok(version),
        Code::NO_DEVICE => Err(none(format!("the driver (CUDA {}) says {}", dotted(version), words(Code::NO_DEVICE)))),
        code => Err(broken(format!("{} (CUDA {})", words(code), dotted(version)))),
    }
}

fn too_old(version: i32) -> String {
    format!("it is for CUDA {}; one for CUDA {} or newer is needed", dotted(version), dotted(OLDEST))
}

/// The error for a library that cannot be used as the driver.
fn refused(absent: &Absent) -> Error {
    match absent {
        Absent::NotFound => none(format!("no driver library was found; looked for {LOOKED}")),
        Absent::NotLoaded(words) => broken(format!("its library cannot be loaded: {words}")),
        Absent::Incomplete { file, missing, version } => {
            let more = match missing.len() {
                0 | 1 => String::new(),
                n => format!(" and {} more functions", n - 1),
            };
            let first = missing.first().copied().unwrap_or_default();
            let needed = match version {
                Some(version) if *version < OLDEST => too_old(*version),
                _ => format!("a complete one for CUDA {} or newer is needed", dotted(OLDEST)),
            };
            broken(format!("{file} has no {first}{more}; {needed}"))
        }
    }
}

/// The number of devices, which is not 0; [`start`] has succeeded.
pub fn devices() -> Result<i32> {
    let mut count = 0;
    // SAFETY: the library has been started, and the pointer is valid.
    match unsafe { sys::cuDeviceGetCount(&mut count) } {
        Code::SUCCESS if count > 0 => Ok(count),
        Code::SUCCESS => Err(none("the driver is there and has no device".into())),
        Code::NO_DEVICE => Err(none(format!("the driver says {}", words(Code::NO_DEVICE)))),
        code => Err(Error::device("CUDA driver", "count the devices", words(code))),
    }
}

/// An error's name and text, as the driver gives them.
pub fn words(code: Code) -> String {
    let (mut name, mut text) = (std::ptr::null(), std::ptr::null());
    // SAFETY: the functions set the pointers to constant strings or to null, and may be called at any time.
    let string = unsafe {
        let _ = sys::cuGetErrorName(code, &mut name);
        let _ = sys::cuGetErrorString(code, &mut text);
        [name, text]
            .map(|s: *const std::ffi::c_char| (!s.is_null()).then(|| CStr::from_ptr(s).to_string_lossy().into_owned()))
    };
    let number = code.0;
    match string {
        [Some(name), Some(text)] => format!("{name}: {text} (error {number})"),
        [Some(words), None] | [None, Some(words)] => format!("{words} (error {number})"),
        [None, None] => format!("error {number}"),
    }
}

/// Whether the device is lost for this process, so that nothing more can be asked of it.
fn lost(code: Code) -> bool {
    match code.0 {
        // Unavailable, an uncorrectable or contained fault of memory.
        46 | 214 | 226 => true,
        // An illegal address; a time limit; a destroyed context; an assertion.
        700 | 702 | 709 | 710 => true,
        // A fault of a kernel's: the stack, an instruction, alignment, the address space, the program counter, or one without a name.
        714..=719 => true,
        _ => false,
    }
}

/// Converts a call's result to this crate's.
pub fn check(device: &str, action: &str, code: Code) -> Result<()> {
    if code == Code::SUCCESS {
        return Ok(());
    }
    let after = if lost(code) { "; the device is lost, and the last checkpoint can be resumed" } else { "" };
    Err(Error::device(device, action, format!("{}{after}", words(code))))
}

/// Converts the result of a call that opens a device. Such an error does not mean that the device is lost: whoever uses the device now may release
/// it.
pub fn check_opening(device: &str, action: &str, code: Code) -> Result<()> {
    let after = match code {
        Code::SUCCESS => return Ok(()),
        Code::DEVICE_UNAVAILABLE => "; another process may have it for itself: try again later, or another device",
        Code::OUT_OF_MEMORY => "; others have taken its memory: try again later, or another device",
        _ => "",
    };
    Err(Error::device(device, action, format!("{}{after}", words(code))))
}

/// Whether this code means that the driver refuses a binary for what it is, or for lack of its own compiler. Another compiler may then make one that
/// it takes.
pub fn refuses_code(code: Code) -> bool {
    match code.0 {
        // An invalid image; no machine code for this device.
        200 | 209 => true,
        // PTX: invalid; no compiler for it; of too new a version; not to be compiled, as the user's environment says; with what the compiler does
        // not do.
        218 | 221 | 222 | 223 | 225 => true,
        // An invalid source; a symbol of the compiler's library that is missing, or its start that fails.
        300 | 302 | 303 => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cudarc::driver::sys::CUresult as C;

    /// Compares the codes with the names in the bindings of NVIDIA's header.
    #[test]
    fn codes_are_those_of_the_header() {
        let code = |code: C| Code(code as u32);
        let refusing = [
            C::CUDA_ERROR_INVALID_IMAGE,
            C::CUDA_ERROR_NO_BINARY_FOR_GPU,
            C::CUDA_ERROR_INVALID_PTX,
            C::CUDA_ERROR_JIT_COMPILER_NOT_FOUND,
            C::CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
            C::CUDA_ERROR_JIT_COMPILATION_DISABLED,
            C::CUDA_ERROR_UNSUPPORTED_DEVSIDE_SYNC,
            C::CUDA_ERROR_INVALID_SOURCE,
            C::CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND,
            C::CUDA_ERROR_SHARED_OBJECT_INIT_FAILED,
        ];
        let losing = [
            C::CUDA_ERROR_ILLEGAL_ADDRESS,
            C::CUDA_ERROR_LAUNCH_FAILED,
            C::CUDA_ERROR_LAUNCH_TIMEOUT,
            C::CUDA_ERROR_ECC_UNCORRECTABLE,
            C::CUDA_ERROR_MISALIGNED_ADDRESS,
            C::CUDA_ERROR_ILLEGAL_INSTRUCTION,
            C::CUDA_ERROR_HARDWARE_STACK_ERROR,
            C::CUDA_ERROR_DEVICE_UNAVAILABLE,
            C::CUDA_ERROR_CONTEXT_IS_DESTROYED,
            C::CUDA_ERROR_INVALID_PC,
            C::CUDA_ERROR_INVALID_ADDRESS_SPACE,
            C::CUDA_ERROR_ASSERT,
            C::CUDA_ERROR_CONTAINED,
        ];
        assert!(refusing.iter().all(|&c| refuses_code(code(c)) && !lost(code(c))));
        assert!(losing.iter().all(|&c| lost(code(c)) && !refuses_code(code(c))));
        for plain in [C::CUDA_SUCCESS, C::CUDA_ERROR_OUT_OF_MEMORY, C::CUDA_ERROR_INVALID_VALUE, C::CUDA_ERROR_UNKNOWN]
        {
            assert!(!lost(code(plain)) && !refuses_code(code(plain)), "{plain:?}");
        }
        let named = [Code::SUCCESS, Code::OUT_OF_MEMORY, Code::NOT_INITIALIZED, Code::DEVICE_UNAVAILABLE];
        let header = [
            C::CUDA_SUCCESS,
            C::CUDA_ERROR_OUT_OF_MEMORY,
            C::CUDA_ERROR_NOT_INITIALIZED,
            C::CUDA_ERROR_DEVICE_UNAVAILABLE,
        ];
        assert_eq!(named, header.map(code));
        assert_eq!(Code::NO_DEVICE, code(C::CUDA_ERROR_NO_DEVICE));
    }

    #[test]
    fn what_opens_a_device_loses_none() {
        let told = |code, check: fn(&str, &str, Code) -> Result<()>| {
            check("T", "open a context", code).unwrap_err().to_string()
        };
        assert!(told(Code::DEVICE_UNAVAILABLE, check).contains("is lost"));
        for code in [Code::DEVICE_UNAVAILABLE, Code::OUT_OF_MEMORY, Code(700), Code(999), Code(123_456)] {
            let said = told(code, check_opening);
            assert!(!said.contains("lost") && said.contains(&code.0.to_string()), "{said}");
        }
    }

    #[test]
    fn a_library_that_is_no_driver_is_told_by_what_it_lacks() {
        let told = |absent| refused(&absent).to_string();
        let lacking = |missing: &[&'static str], version| {
            told(Absent::Incomplete { file: "libcuda.so.1", missing: missing.to_vec(), version })
        };
        assert_eq!(
            lacking(&["cuInit"], None),
            "CUDA driver: cannot start: libcuda.so.1 has no cuInit; a complete one for CUDA 12.0 or newer is needed"
        );
        assert!(lacking(&["cuInit", "cuDeviceGet", "cuGraphLaunch"], None).contains("no cuInit and 2 more functions;"));
        assert!(
            lacking(&["cuGraphLaunch"], Some(11_040))
                .contains("no cuGraphLaunch; it is for CUDA 11.4; one for CUDA 12.0")
        );
        assert!(told(Absent::NotLoaded("x: file too short".into())).contains("cannot be loaded: x: file too short"));
        assert!(told(Absent::NotFound).contains("a CUDA device is not available: no driver library was found"));
    }
}
