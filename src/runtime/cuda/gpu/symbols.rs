//! The functions of the CUDA driver that this crate calls, looked up once by name, with their types.
//!
//! The argument types are those of cudarc's bindings, which are generated from NVIDIA's header. cudarc's own functions are not called, since each
//! looks itself up at its first call, and panics if the library lacks it. The return value of a function is a plain number here, and not the
//! bindings' enumeration: a newer driver has codes for which the enumeration has no variant.

#![allow(non_snake_case, reason = "the functions have the names that the driver gives them")]

use cudarc::driver::sys as types;
use libloading::Library;
use std::ffi::{c_char, c_int, c_uchar, c_uint, c_ulonglong, c_void};
use std::sync::OnceLock;
pub use types::{
    CUcontext, CUdevice, CUdevice_attribute, CUdeviceptr, CUevent, CUfunction, CUfunction_attribute, CUgraph,
    CUgraphExec, CUlaunchAttribute, CUlaunchAttributeID, CUlaunchAttributeValue, CUlaunchConfig, CUmodule, CUstream,
    CUstream_flags, CUstreamCaptureMode, CUtensorMap,
};

/// The return value of a driver function: 0, or the number of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Code(pub u32);

impl Code {
    /// The call succeeded.
    pub const SUCCESS: Code = Code(0);
    /// There is not enough memory, on the host or on the device.
    pub const OUT_OF_MEMORY: Code = Code(2);
    /// The driver has not been started.
    pub const NOT_INITIALIZED: Code = Code(3);
    /// The device cannot be used now, or another process has it exclusively.
    pub const DEVICE_UNAVAILABLE: Code = Code(46);
    /// There is no device.
    pub const NO_DEVICE: Code = Code(100);
}

/// Names of the driver's library for the loader to try.
#[cfg(windows)]
const FILES: [&str; 1] = ["nvcuda.dll"];
/// Names of the driver's library for the loader to try; the real driver comes before a name that may be a toolkit's stub.
#[cfg(not(windows))]
const FILES: [&str; 2] = ["libcuda.so.1", "libcuda.so"];

/// A driver library that has every function.
struct Driver {
    functions: Functions,
    /// The library that the functions belong to; it has to stay loaded.
    library: Library,
}

/// Why there is no usable driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absent {
    /// The loader finds no file of that name.
    NotFound,
    /// There is such a file, but it cannot be loaded; the loader gives this reason.
    NotLoaded(String),
    /// There is a library, but it lacks functions.
    Incomplete {
        /// The library's name.
        file: &'static str,
        /// The functions that it lacks.
        missing: Vec<&'static str>,
        /// The CUDA version that it says it supports, if it says one; 13000 stands for 13.0.
        version: Option<i32>,
    },
}

static FOUND: OnceLock<Result<Driver, Absent>> = OnceLock::new();

/// Looks for the driver and for all of its functions, once. Errors: why there is no usable driver.
pub fn load() -> Result<(), Absent> {
    let found = FOUND.get_or_init(|| {
        let mut first = None;
        for file in FILES {
            match open(file) {
                Ok(driver) => return Ok(driver),
                Err(Absent::NotFound) => {}
                Err(absent) => drop(first.get_or_insert(absent)),
            }
        }
        Err(first.unwrap_or(Absent::NotFound))
    });
    found.as_ref().map(|_| ()).map_err(Clone::clone)
}

fn open(file: &'static str) -> Result<Driver, Absent> {
    // SAFETY: a driver's library may be loaded by any program at any time.
    let library = unsafe { Library::new(file) }.map_err(|e| absent(file, &loader_words(&e)))?;
    let functions = Functions::of(&library).map_err(|missing| {
        let mut told = 0;
        // SAFETY: in every driver the function has this type, and may be called before the driver is started.
        let version = unsafe {
            let ask = library.get::<unsafe extern "C" fn(*mut c_int) -> Code>(c"cuDriverGetVersion");
            ask.is_ok_and(|ask| ask(&mut told) == Code::SUCCESS)
        };
        Absent::Incomplete { file, missing, version: (version && told > 0).then_some(told) }
    })?;
    Ok(Driver { functions, library })
}

/// The loader's own message; libloading's message says only that loading failed.
pub fn loader_words(error: &libloading::Error) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Interprets the loader's message: either there is no `file`, or there is one that cannot be loaded.
fn absent(file: &str, words: &str) -> Absent {
    // A file that it needs and that is not there is told in the same words, by its own name.
    let nothing = ["No such file", "could not be found", "no such file"].iter().any(|no| words.contains(no));
    let own = words.starts_with(file) || words.contains(&format!("library {file}:")) || cfg!(windows);
    if nothing && own { Absent::NotFound } else { Absent::NotLoaded(words.to_owned()) }
}

macro_rules! functions {
    (
        header { $($name:ident($($argument:ident: $ty:ty),*);)* }
        older { $($old:ident($($old_argument:ident: $old_ty:ty),*);)* }
    ) => {
        functions! { @all $($name($($argument: $ty),*);)* $($old($($old_argument: $old_ty),*);)* }

        /// Compares the types with the bindings of NVIDIA's header.
        #[cfg(test)]
        #[allow(dead_code, reason = "it is right where it compiles")]
        fn types_are_those_of_the_header() {
            $(let _: unsafe fn($($ty),*) -> types::CUresult = types::$name;)*
        }
    };
    (@all $($name:ident($($argument:ident: $ty:ty),*);)*) => {
        /// The functions' names, each between two 0 bytes.
        const NAMES: &[&str] = &[$(concat!("\0", stringify!($name), "\0")),*];

        /// The functions of a driver library.
        struct Functions {
            $($name: unsafe extern "C" fn($($ty),*) -> Code,)*
        }

        impl Functions {
            /// Looks up all functions. Errors: the names of those that are missing.
            fn of(library: &Library) -> Result<Functions, Vec<&'static str>> {
                // SAFETY: nothing is called here.
                let there = |name: &str| unsafe { library.get::<*const c_void>(&name.as_bytes()[1..]) }.is_ok();
                let missing: Vec<_> = NAMES.iter().filter(|name| !there(name)).map(|name| name.trim_matches('\0')).collect();
                if !missing.is_empty() {
                    return Err(missing);
                }
                // A structure's fields are evaluated in the order in which they stand, which is that of the list.
                let mut names = NAMES.iter();
                let mut next = || names.next().map_or(&[][..], |name| &name.as_bytes()[1..]);
                Ok(Functions {
                    // SAFETY: the function has this type in every driver.
                    $($name: *unsafe { library.get(next()) }.map_err(|_| vec![stringify!($name)])?,)*
                })
            }
        }

        $(
            /// The driver's function of this name; returns [`Code::NOT_INITIALIZED`] before [`load`] has found it.
            ///
            /// # Safety
            /// As CUDA's manual says.
            pub unsafe fn $name($($argument: $ty),*) -> Code {
                match FOUND.get() {
                    // SAFETY: by the caller's promise.
                    Some(Ok(driver)) => unsafe { (driver.functions.$name)($($argument),*) },
                    _ => Code::NOT_INITIALIZED,
                }
            }
        )*
    };
}

functions! {
    header {
        cuInit(flags: c_uint);
        cuDriverGetVersion(version: *mut c_int);
        cuDeviceGetCount(count: *mut c_int);
        cuDeviceGet(device: *mut CUdevice, ordinal: c_int);
        cuDeviceGetName(name: *mut c_char, length: c_int, device: CUdevice);
        cuDeviceGetAttribute(value: *mut c_int, attribute: CUdevice_attribute, device: CUdevice);
        cuDevicePrimaryCtxRetain(context: *mut CUcontext, device: CUdevice);
        cuDevicePrimaryCtxRelease_v2(device: CUdevice);
        cuCtxSetCurrent(context: CUcontext);
        cuStreamCreate(stream: *mut CUstream, flags: c_uint);
        cuStreamSynchronize(stream: CUstream);
        cuStreamBeginCapture_v2(stream: CUstream, mode: CUstreamCaptureMode);
        cuStreamEndCapture(stream: CUstream, graph: *mut CUgraph);
        cuStreamDestroy_v2(stream: CUstream);
        cuEventCreate(event: *mut CUevent, flags: c_uint);
        cuEventRecord(event: CUevent, stream: CUstream);
        cuEventSynchronize(event: CUevent);
        cuEventDestroy_v2(event: CUevent);
        cuMemAlloc_v2(address: *mut CUdeviceptr, bytes: usize);
        cuMemFree_v2(address: CUdeviceptr);
        cuMemGetInfo_v2(free: *mut usize, total: *mut usize);
        cuMemsetD8Async(address: CUdeviceptr, value: c_uchar, bytes: usize, stream: CUstream);
        cuMemcpyHtoDAsync_v2(to: CUdeviceptr, from: *const c_void, bytes: usize, stream: CUstream);
        cuMemcpyDtoHAsync_v2(to: *mut c_void, from: CUdeviceptr, bytes: usize, stream: CUstream);
        cuMemcpyDtoDAsync_v2(to: CUdeviceptr, from: CUdeviceptr, bytes: usize, stream: CUstream);
        cuModuleLoadData(module: *mut CUmodule, image: *const c_void);
        cuModuleGetFunction(function: *mut CUfunction, module: CUmodule, name: *const c_char);
        cuModuleUnload(module: CUmodule);
        cuFuncGetAttribute(value: *mut c_int, attribute: CUfunction_attribute, function: CUfunction);
        cuFuncSetAttribute(function: CUfunction, attribute: CUfunction_attribute, value: c_int);
        cuOccupancyMaxActiveClusters(clusters: *mut c_int, function: CUfunction, config: *const CUlaunchConfig);
        cuLaunchKernel(
            function: CUfunction, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint, block_y: c_uint, block_z: c_uint,
            shared: c_uint, stream: CUstream, parameters: *mut *mut c_void, extra: *mut *mut c_void
        );
        cuGraphInstantiateWithFlags(ready: *mut CUgraphExec, graph: CUgraph, flags: c_ulonglong);
        cuGraphLaunch(graph: CUgraphExec, stream: CUstream);
        cuGraphDestroy(graph: CUgraph);
        cuGraphExecDestroy(graph: CUgraphExec);
    }
    older {
        // Any number may be asked about, not only those that the bindings know.
        cuGetErrorName(error: Code, name: *mut *const c_char);
        cuGetErrorString(error: Code, text: *mut *const c_char);
        // The name that every driver has: the bindings of this CUDA version have only that of newer ones.
        cuEventElapsedTime(milliseconds: *mut f32, from: CUevent, to: CUevent);
    }
}

/// The function that describes a matrix to a device. Its enumerations are numbers here.
type EncodeTiled = unsafe extern "C" fn(
    *mut CUtensorMap,
    c_uint,
    c_uint,
    *mut c_void,
    *const u64,
    *const u64,
    *const c_uint,
    *const c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
) -> Code;

/// `cuTensorMapEncodeTiled`, if the driver has it: without it, kernels that need tensor maps are not chosen.
pub fn encode_tiled() -> Option<EncodeTiled> {
    let Some(Ok(driver)) = FOUND.get() else { return None };
    // SAFETY: the function has this type in every driver that has it.
    unsafe { driver.library.get::<EncodeTiled>(c"cuTensorMapEncodeTiled") }.ok().map(|f| *f)
}

/// The function that launches a kernel with attributes.
pub type LaunchKernelEx =
    unsafe extern "C" fn(*const CUlaunchConfig, CUfunction, *mut *mut c_void, *mut *mut c_void) -> Code;

/// `cuLaunchKernelEx`, if the driver has it: without it, each launch begins when the one before it has ended.
pub fn launch_kernel_ex() -> Option<LaunchKernelEx> {
    let Some(Ok(driver)) = FOUND.get() else { return None };
    // SAFETY: the function has this type in every driver that has it.
    unsafe { driver.library.get::<LaunchKernelEx>(c"cuLaunchKernelEx") }.ok().map(|f| *f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares the type with the bindings of NVIDIA's header.
    #[allow(dead_code, reason = "it is right where it compiles")]
    fn the_launch_with_attributes_is_that_of_the_header() {
        let _: unsafe fn(*const CUlaunchConfig, CUfunction, *mut *mut c_void, *mut *mut c_void) -> types::CUresult =
            types::cuLaunchKernelEx;
    }

    #[test]
    fn a_library_that_is_not_there_is_told_from_one_that_is_not_one() {
        let glibc = "libcuda.so.1: cannot open shared object file: No such file or directory";
        let musl = "Error loading shared library libcuda.so.1: No such file or directory";
        assert_eq!([glibc, musl].map(|words| absent("libcuda.so.1", words)), [Absent::NotFound, Absent::NotFound]);
        for words in [
            "/x/libcuda.so.1: file too short",
            "/x/libcuda.so.1: invalid ELF header",
            "libnvidia-gpucomp.so.1: cannot open shared object file: No such file or directory",
            "Error loading shared library libnvidia.so: No such file or directory (needed by /x/libcuda.so.1)",
        ] {
            assert_eq!(absent("libcuda.so.1", words), Absent::NotLoaded(words.into()));
        }
    }

    #[test]
    fn the_loaders_own_words_are_told() {
        // SAFETY: there is no such library.
        let error = unsafe { Library::new("libnormscape-none.so.1") }.err().unwrap();
        assert_eq!(absent("libnormscape-none.so.1", &loader_words(&error)), Absent::NotFound);
    }

    #[test]
    fn a_function_has_one_place_in_the_list() {
        let mut names: Vec<_> = NAMES.iter().map(|name| name.trim_matches('\0')).collect();
        assert!(names.iter().all(|name| name.starts_with("cu")) && names.len() > 30);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), NAMES.len());
    }
}
