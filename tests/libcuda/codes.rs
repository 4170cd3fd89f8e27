//! CUDA's errors: their numbers, names and texts, as cuda.h has them.

/// A call that the stand-in carries out, or the number of an error.
pub type Done<T = ()> = Result<T, u32>;

/// An argument is wrong.
pub const INVALID_VALUE: u32 = 1;
/// Memory has run out.
pub const OUT_OF_MEMORY: u32 = 2;
/// `cuInit` has not been called.
pub const NOT_INITIALIZED: u32 = 3;
/// There is no such device.
pub const INVALID_DEVICE: u32 = 101;
/// What is to be loaded is no module.
pub const INVALID_IMAGE: u32 = 200;
/// No context is current.
pub const INVALID_CONTEXT: u32 = 201;
/// A module has no machine code for this device.
pub const NO_BINARY_FOR_GPU: u32 = 209;
/// PTX that is none.
pub const INVALID_PTX: u32 = 218;
/// A handle that means nothing.
pub const INVALID_HANDLE: u32 = 400;
/// Something is not in the state that the call needs.
pub const ILLEGAL_STATE: u32 = 401;
/// There is no such name.
pub const NOT_FOUND: u32 = 500;
/// What is asked about is not done.
pub const NOT_READY: u32 = 600;
/// A kernel reached memory that it must not.
pub const ILLEGAL_ADDRESS: u32 = 700;
/// A launch takes more than a multiprocessor has.
pub const LAUNCH_OUT_OF_RESOURCES: u32 = 701;
/// The current context is no more.
pub const CONTEXT_IS_DESTROYED: u32 = 709;
/// A kernel used an address that is no multiple of what its type needs.
pub const MISALIGNED_ADDRESS: u32 = 716;
/// A kernel failed.
pub const LAUNCH_FAILED: u32 = 719;
/// What is asked for is not supported; the stand-in gives it where it does not model something.
pub const NOT_SUPPORTED: u32 = 801;
/// What is asked for is not allowed while work is recorded.
pub const CAPTURE_UNSUPPORTED: u32 = 900;
/// The recording has been spoilt by an earlier error.
pub const CAPTURE_INVALIDATED: u32 = 901;
/// A recording is ended by another thread than began it.
pub const CAPTURE_WRONG_THREAD: u32 = 908;
/// The blocks of a grid cannot be parted into clusters.
pub const INVALID_CLUSTER_SIZE: u32 = 912;
/// A failure of no known kind.
pub const UNKNOWN: u32 = 999;

/// Number, name and text of the errors that can come up in tests.
const ALL: &[(u32, &str, &str)] = &[
    (0, "CUDA_SUCCESS\0", "no error\0"),
    (1, "CUDA_ERROR_INVALID_VALUE\0", "invalid argument\0"),
    (2, "CUDA_ERROR_OUT_OF_MEMORY\0", "out of memory\0"),
    (3, "CUDA_ERROR_NOT_INITIALIZED\0", "initialization error\0"),
    (46, "CUDA_ERROR_DEVICE_UNAVAILABLE\0", "CUDA-capable device(s) is/are busy or unavailable\0"),
    (100, "CUDA_ERROR_NO_DEVICE\0", "no CUDA-capable device is detected\0"),
    (101, "CUDA_ERROR_INVALID_DEVICE\0", "invalid device ordinal\0"),
    (200, "CUDA_ERROR_INVALID_IMAGE\0", "device kernel image is invalid\0"),
    (201, "CUDA_ERROR_INVALID_CONTEXT\0", "invalid device context\0"),
    (209, "CUDA_ERROR_NO_BINARY_FOR_GPU\0", "no kernel image is available for execution on the device\0"),
    (214, "CUDA_ERROR_ECC_UNCORRECTABLE\0", "uncorrectable ECC error encountered\0"),
    (218, "CUDA_ERROR_INVALID_PTX\0", "a PTX JIT compilation failed\0"),
    (221, "CUDA_ERROR_JIT_COMPILER_NOT_FOUND\0", "PTX JIT compiler library not found\0"),
    (222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION\0", "the provided PTX was compiled with an unsupported toolchain.\0"),
    (223, "CUDA_ERROR_JIT_COMPILATION_DISABLED\0", "PTX JIT compilation was disabled\0"),
    (400, "CUDA_ERROR_INVALID_HANDLE\0", "invalid resource handle\0"),
    (401, "CUDA_ERROR_ILLEGAL_STATE\0", "the operation cannot be performed in the present state\0"),
    (500, "CUDA_ERROR_NOT_FOUND\0", "named symbol not found\0"),
    (600, "CUDA_ERROR_NOT_READY\0", "device not ready\0"),
    (700, "CUDA_ERROR_ILLEGAL_ADDRESS\0", "an illegal memory access was encountered\0"),
    (701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES\0", "too many resources requested for launch\0"),
    (702, "CUDA_ERROR_LAUNCH_TIMEOUT\0", "the launch timed out and was terminated\0"),
    (709, "CUDA_ERROR_CONTEXT_IS_DESTROYED\0", "context is destroyed\0"),
    (716, "CUDA_ERROR_MISALIGNED_ADDRESS\0", "misaligned address\0"),
    (719, "CUDA_ERROR_LAUNCH_FAILED\0", "unspecified launch failure\0"),
    (801, "CUDA_ERROR_NOT_SUPPORTED\0", "operation not supported\0"),
    (802, "CUDA_ERROR_SYSTEM_NOT_READY\0", "system not yet initialized\0"),
    (803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH\0", "system has unsupported display driver / cuda driver combination\0"),
    (900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED\0", "operation not permitted when stream is capturing\0"),
    (901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED\0", "operation failed due to a previous error during capture\0"),
    (
        908,
        "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD\0",
        "attempt to terminate a thread-local capture sequence from another thread\0",
    ),
    (912, "CUDA_ERROR_INVALID_CLUSTER_SIZE\0", "cluster size is invalid\0"),
    (999, "CUDA_ERROR_UNKNOWN\0", "unknown error\0"),
];

/// An error's name and its text, each with a 0 at its end; none where nobody knows it.
pub fn words(code: u32) -> Option<(&'static str, &'static str)> {
    ALL.iter().find(|(number, ..)| *number == code).map(|&(_, name, text)| (name, text))
}

/// Whether a context is lost once a call has given this code: all later calls give it too.
pub fn is_sticky(code: u32) -> bool {
    matches!(code, 214 | 226 | 700 | 702 | 709 | 710 | 714..=719)
}
