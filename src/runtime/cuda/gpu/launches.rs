//! How kernels are launched in the one stream: each after the one before it, or so that its blocks may come while that one still runs.
//!
//! The second is programmatic dependent launch. A kernel so launched may begin as soon as every block of its predecessor has allowed it, and itself
//! waits until its predecessor has ended. That is in order where
//!
//! - the kernel waits before it touches memory and before it ends: [`Kernel::waits`], which the emulator holds every kernel to;
//! - its predecessor in the stream is a kernel of ours. It has ended only after everything before it has: either it was launched after that, or it
//!   waited too. Of copies, graphs and the kernels of cuBLAS nothing like this is known, and what follows them is launched after them.

use super::symbols::{
    self as sys, CUfunction, CUlaunchAttributeID as Attribute, CUlaunchAttributeValue, CUstream, Code,
};
use crate::runtime::cuda::driver::{Grid, Kernel};
use crate::{Error, Result};
use std::ffi::c_void;

/// The first capability with programmatic dependent launch.
const CAPABLE: u32 = 90;
/// The first CUDA whose graphs have edges of that kind, so that it can be recorded.
const RECORDED: i32 = 12_030;

/// What is known of the stream.
pub struct Launches {
    /// The driver's function for launches that may overlap; none where device or driver have nothing like it.
    overlapping: Option<sys::LaunchKernelEx>,
    /// Whether the stream's last work is a kernel of ours.
    after_kernel: bool,
}

impl Launches {
    /// For a device of `capability` and a driver for CUDA `version`, 12030 for 12.3. `NORMSCAPE_LAUNCHES=apart` has each begin when the one before it
    /// has ended. Errors: the variable has another value.
    pub fn new(capability: u32, version: i32) -> Result<Self> {
        let apart = match std::env::var("NORMSCAPE_LAUNCHES").as_deref() {
            Err(_) | Ok("" | "overlapping") => false,
            Ok("apart") => true,
            Ok(other) => {
                let place = format!("NORMSCAPE_LAUNCHES={}", other.escape_debug());
                return Err(Error::input(place, "unknown", "there are overlapping and apart"));
            }
        };
        let able = capability >= CAPABLE && version >= RECORDED && !apart;
        Ok(Launches { overlapping: sys::launch_kernel_ex().filter(|_| able), after_kernel: false })
    }

    /// The stream is given work that is no kernel of ours.
    pub fn interrupt(&mut self) {
        self.after_kernel = false;
    }

    /// Launches a kernel, whose function is `function`.
    ///
    /// # Safety
    /// The function and the stream are those of the current context, and `parameters` are the addresses of the kernel's parameters.
    pub unsafe fn launch(
        &mut self,
        kernel: &Kernel,
        function: CUfunction,
        grid: Grid,
        stream: CUstream,
        parameters: *mut *mut c_void,
    ) -> Code {
        let [x, y, z] = grid.blocks;
        let (extra, early) = (std::ptr::null_mut(), kernel.waits && self.after_kernel);
        // SAFETY: by the caller's promise. The driver copies what it is given before it returns.
        let code = unsafe {
            match self.overlapping.filter(|_| early) {
                None => {
                    sys::cuLaunchKernel(function, x, y, z, grid.threads, 1, 1, grid.shared, stream, parameters, extra)
                }
                Some(launch) => {
                    let mut value = CUlaunchAttributeValue { pad: [0; 64] };
                    value.programmaticStreamSerializationAllowed = 1;
                    let id = Attribute::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
                    let mut attribute = sys::CUlaunchAttribute { id, pad: [0; 4], value };
                    let config =
                        sys::CUlaunchConfig { attrs: &mut attribute, numAttrs: 1, ..configuration(grid, stream) };
                    launch(&config, function, parameters, extra)
                }
            }
        };
        self.after_kernel = code == Code::SUCCESS;
        code
    }
}

/// A launch without attributes: how many blocks are a cluster the kernel itself says.
pub fn configuration(grid: Grid, stream: CUstream) -> sys::CUlaunchConfig {
    let [x, y, z] = grid.blocks;
    sys::CUlaunchConfig {
        gridDimX: x,
        gridDimY: y,
        gridDimZ: z,
        blockDimX: grid.threads,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: grid.shared,
        hStream: stream,
        attrs: std::ptr::null_mut(),
        numAttrs: 0,
    }
}
