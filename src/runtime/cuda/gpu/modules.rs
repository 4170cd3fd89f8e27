//! The kernels of a device: what the build compiled, or NVRTC at first use.

use super::api::check;
use crate::files::cache;
use crate::runtime::cuda::driver::{Image, Kernel};
use crate::runtime::cuda::kernels::{IMAGES, PRELUDE, SOURCES};
use crate::runtime::cuda::nvrtc::{Nvrtc, Target, line_info};
use crate::{Error, Result};
use cudarc::driver::sys::{self, CUfunction, CUfunction_attribute, CUmodule, CUresult};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::ffi::CString;

/// Modules and functions that are loaded, by file and by kernel.
pub struct Modules {
    /// The CUDA version that the driver supports, as 13000 for 13.0.
    driver: i32,
    modules: HashMap<usize, CUmodule>,
    functions: HashMap<&'static str, CUfunction>,
    nvrtc: Option<Nvrtc>,
}

/// The image of file `source` that a device of `capability` runs best: machine code of its own architecture or an older one of the same
/// generation, else the newest PTX that it can compile.
fn best(source: usize, capability: u32) -> Option<&'static Image> {
    let own = IMAGES.iter().filter(|image| image.source == source);
    let rank = |image: &&Image| match image.target {
        Target::Cubin(arch) if arch / 10 == capability / 10 && arch <= capability => Some((1, arch)),
        Target::Ptx(arch) if arch <= capability => Some((0, arch)),
        _ => None,
    };
    own.filter(|image| rank(image).is_some()).max_by_key(rank)
}

/// Whether a driver says that code is of a form or for a device that it does not know: of a newer CUDA than its own.
fn unknown(code: CUresult) -> bool {
    use CUresult as C;
    matches!(
        code,
        C::CUDA_ERROR_INVALID_IMAGE | C::CUDA_ERROR_UNSUPPORTED_PTX_VERSION | C::CUDA_ERROR_NO_BINARY_FOR_GPU
    )
}

impl Modules {
    /// None is loaded yet; the driver supports CUDA `driver`.
    pub fn new(driver: i32) -> Self {
        Modules { driver, modules: HashMap::new(), functions: HashMap::new(), nvrtc: None }
    }

    /// Unloads all of them.
    pub fn unload(&mut self) {
        self.functions.clear();
        for (_, module) in self.modules.drain() {
            // SAFETY: the module is this one's, and no kernel of it runs any more: the device was waited for.
            let _ = unsafe { sys::cuModuleUnload(module) };
        }
    }

    /// The function of `kernel` on a device of `capability`, whose context is current. Errors: no image fits and NVRTC is missing or refuses.
    pub fn function(
        &mut self,
        device: &str,
        capability: u32,
        shared: u32,
        kernel: &'static Kernel,
    ) -> Result<CUfunction> {
        if let Some(&function) = self.functions.get(kernel.name) {
            return Ok(function);
        }
        let module = match self.modules.get(&kernel.source) {
            Some(&module) => module,
            None => self.load(device, capability, kernel.source)?,
        };
        let name = CString::new(kernel.name).unwrap_or_default();
        let mut function = std::ptr::null_mut();
        // SAFETY: the module is loaded in the current context; pointers are valid.
        unsafe {
            let action = format!("find kernel {}", kernel.name);
            check(device, &action, sys::cuModuleGetFunction(&mut function, module, name.as_ptr()))?;
            // Beyond 48 KiB a kernel must be allowed its shared memory, less what it declares itself.
            let mut declared = 0;
            let own = CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES;
            check(device, &action, sys::cuFuncGetAttribute(&mut declared, own, function))?;
            let most = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let room = i32::try_from(shared).unwrap_or(i32::MAX) - declared;
            check(device, &action, sys::cuFuncSetAttribute(function, most, room))?;
        }
        self.functions.insert(kernel.name, function);
        Ok(function)
    }

    fn load(&mut self, device: &str, capability: u32, source: usize) -> Result<CUmodule> {
        let mut module = std::ptr::null_mut();
        let mut load = |code: &[u8]| {
            // Some drivers want whole words, which embedded bytes need not begin at.
            let mut words = vec![0u64; code.len().div_ceil(8) + 1];
            bytemuck::cast_slice_mut(&mut words)[..code.len()].copy_from_slice(code);
            // SAFETY: the code is a cubin, or PTX with a 0 at its end; the context is current.
            unsafe { sys::cuModuleLoadData(&mut module, words.as_ptr().cast()) }
        };
        // What the build compiled needs a driver of at least the build's CUDA; an older one takes what its own compiler makes.
        let mut code = best(source, capability).filter(|_| !line_info()).map(|image| load(image.code));
        if code.is_none_or(unknown) {
            code = Some(load(&self.compile(device, capability, source)?));
        }
        let action = format!("load kernels/{}.cu", SOURCES[source].name);
        check(device, &action, code.unwrap_or(CUresult::CUDA_ERROR_INVALID_IMAGE))?;
        self.modules.insert(source, module);
        Ok(module)
    }

    /// Compiles a file for the device, or takes what an earlier run has compiled.
    fn compile(&mut self, device: &str, capability: u32, source: usize) -> Result<Vec<u8>> {
        let nvrtc = match &self.nvrtc {
            Some(nvrtc) => nvrtc,
            None => {
                let (major, minor) = (self.driver / 1000, self.driver % 1000 / 10);
                let found = Nvrtc::find_up_to(super::packages(), major).ok_or_else(|| Error::Missing {
                    what: format!("NVRTC {major} or older, which compiles kernels for {device} and its driver (CUDA {major}.{minor}),"),
                    looked: "looked for in NVRTC_PATH, a CUDA toolkit, the Python package nvidia-cuda-nvrtc and the loader's folders; \
                             a newer driver may run what the build has compiled"
                        .into(),
                })?;
                self.nvrtc.insert(found)
            }
        };
        let (file, target) = (&SOURCES[source], Target::Cubin(capability));
        let mut hash = Sha256::new();
        for part in [file.text, PRELUDE, &target.options(line_info()).join(" "), &nvrtc.describe()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let hash: String = hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect();
        let path = cache::file(&format!("{}-{hash}.cubin", file.name), |work| {
            let made = nvrtc.compile(file.name, file.text, PRELUDE, target, line_info());
            let made = made.map_err(|log| Error::device(device, format!("compile kernels/{}.cu", file.name), log))?;
            cache::put_bytes(work, "kernels.cubin", &made.code)
        })?;
        cache::read(&path)
    }
}

impl Drop for Modules {
    fn drop(&mut self) {
        self.unload();
    }
}
