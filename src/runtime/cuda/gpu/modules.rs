//! The kernels of a device: what the build compiled, or NVRTC at first use.

use super::api::check;
use crate::files::cache;
use crate::runtime::cuda::driver::{Image, Kernel};
use crate::runtime::cuda::kernels::{IMAGES, PRELUDE, SOURCES};
use crate::runtime::cuda::nvrtc::{Nvrtc, Target};
use crate::{Error, Result};
use cudarc::driver::sys::{self, CUfunction, CUfunction_attribute, CUmodule};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::ffi::CString;

/// Modules and functions that are loaded, by file and by kernel.
#[derive(Default)]
pub struct Modules {
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

impl Modules {
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
        let compiled;
        let code = match best(source, capability) {
            Some(image) => image.code,
            None => {
                compiled = self.compile(device, capability, source)?;
                &compiled
            }
        };
        let mut module = std::ptr::null_mut();
        let action = format!("load kernels/{}.cu", SOURCES[source].name);
        // SAFETY: the code is a cubin, or PTX with a 0 at its end; the context is current.
        check(device, &action, unsafe { sys::cuModuleLoadData(&mut module, code.as_ptr().cast()) })?;
        self.modules.insert(source, module);
        Ok(module)
    }

    /// Compiles a file for the device, or takes what an earlier run has compiled.
    fn compile(&mut self, device: &str, capability: u32, source: usize) -> Result<Vec<u8>> {
        let nvrtc = match &self.nvrtc {
            Some(nvrtc) => nvrtc,
            None => {
                let found = Nvrtc::find(super::packages()).ok_or_else(|| Error::Missing {
                    what: "NVRTC, which compiles kernels for this device,".into(),
                    looked: "NVRTC_PATH, a CUDA toolkit, the Python package nvidia-cuda-nvrtc and the loader's folders"
                        .into(),
                })?;
                self.nvrtc.insert(found)
            }
        };
        let (file, target) = (&SOURCES[source], Target::Cubin(capability));
        let mut hash = Sha256::new();
        for part in [file.text, PRELUDE, &target.options(), &nvrtc.describe()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let hash: String = hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect();
        let path = cache::file(&format!("{}-{hash}.cubin", file.name), |work| {
            let made = nvrtc.compile(file.name, file.text, PRELUDE, target);
            let made = made.map_err(|log| Error::device(device, format!("compile kernels/{}.cu", file.name), log))?;
            cache::put_bytes(work, "kernels.cubin", &made.code)
        })?;
        cache::read(&path)
    }
}

impl Drop for Modules {
    fn drop(&mut self) {
        for &module in self.modules.values() {
            // SAFETY: the module is this one's, and no kernel of it runs any more: the device was waited for.
            let _ = unsafe { sys::cuModuleUnload(module) };
        }
    }
}
