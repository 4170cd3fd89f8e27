//! The kernels of a device, compiled by the build, or by NVRTC at first use.

use super::api::{check, dotted, refuses_code, words};
use super::symbols::{self as sys, CUfunction, CUfunction_attribute, CUmodule, Code};
use crate::files::cache;
use crate::runtime::cuda::driver::Kernel;
use crate::runtime::cuda::image::Image;
use crate::runtime::cuda::kernels::{HEADERS, IMAGES, SOURCES};
use crate::runtime::cuda::nvrtc::{Nvrtc, Target, line_info};
use crate::{Error, Result};
use std::collections::HashMap;
use std::ffi::CString;

/// The modules and functions that are loaded, by file and by kernel.
pub struct Modules {
    /// The CUDA version that the driver supports; 13000 stands for 13.0.
    driver: i32,
    modules: HashMap<usize, CUmodule>,
    functions: HashMap<&'static str, CUfunction>,
    nvrtc: Option<Nvrtc>,
}

/// The best of these images of file `source` for a device of `capability`: machine code of its own architecture or of an older one of the same
/// generation, or else the newest PTX that it can compile.
fn best(images: &[Image], source: usize, capability: u32) -> Option<&Image> {
    let own = images.iter().filter(|image| image.source == source);
    let rank = |image: &&Image| match image.target {
        Target::Only(arch) if arch == capability => Some((2, arch)),
        Target::Cubin(arch) if arch / 10 == capability / 10 && arch <= capability => Some((1, arch)),
        Target::Ptx(arch) if arch <= capability => Some((0, arch)),
        _ => None,
    };
    own.filter(|image| rank(image).is_some()).max_by_key(rank)
}

/// Loads the code that the build compiled. If there is none, or if the driver refuses it for what it is, loads what `compile` makes instead. A driver
/// can load the build's code if it is at least as new as the build's CUDA, or if it has a compiler of its own; other drivers take what NVRTC makes.
///
/// Errors: those of `compile`, with what the driver said before; what the driver says about the code that `compile` made.
fn load_any(
    built: Option<&[u8]>,
    mut load: impl FnMut(&[u8]) -> Code,
    compile: impl FnOnce() -> Result<Vec<u8>>,
) -> Result<Code> {
    let first = built.map(&mut load);
    match first {
        Some(code) if !refuses_code(code) => Ok(code),
        None => Ok(load(&compile()?)),
        Some(refused) => compile().map(|made| load(&made)).map_err(|error| match error {
            Error::Missing { what, looked } => {
                let looked = format!("{looked} (the driver refuses what the build has compiled: {})", words(refused));
                Error::Missing { what, looked }
            }
            other => other,
        }),
    }
}

impl Modules {
    /// Modules for a driver that supports CUDA `driver`; none is loaded yet.
    pub fn new(driver: i32) -> Self {
        Modules { driver, modules: HashMap::new(), functions: HashMap::new(), nvrtc: None }
    }

    /// Unloads all modules.
    pub fn unload(&mut self) {
        self.functions.clear();
        for (_, module) in self.modules.drain() {
            // SAFETY: the module is this one's, and no kernel of it runs any more: the device was waited for.
            let _ = unsafe { sys::cuModuleUnload(module) };
        }
    }

    /// The function of `kernel` on a device of `capability`, whose context is current. Errors: no image fits, and NVRTC is missing or refuses.
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
        let built = best(IMAGES, source, capability).filter(|_| !line_info());
        let built = built.map(|image| image.unpacked(SOURCES[source].name)).transpose()?;
        let code = load_any(built.as_deref(), &mut load, || self.compile(device, capability, source))?;
        check(device, &format!("load kernels/{}.cu", SOURCES[source].name), code)?;
        self.modules.insert(source, module);
        Ok(module)
    }

    /// Compiles a file for the device, or uses what an earlier run has compiled.
    fn compile(&mut self, device: &str, capability: u32, source: usize) -> Result<Vec<u8>> {
        let nvrtc = match &self.nvrtc {
            Some(nvrtc) => nvrtc,
            None => {
                let (major, version) = (self.driver / 1000, dotted(self.driver));
                let found = Nvrtc::find_up_to(super::devices::packages(), major).ok_or_else(|| Error::Missing {
                    what: format!("NVRTC {major} or older, which compiles kernels for {device} and its driver (CUDA {version}),"),
                    looked: "looked for in NVRTC_PATH, a CUDA toolkit, the Python package nvidia-cuda-nvrtc and the loader's folders; \
                             a newer driver may run what the build has compiled"
                        .into(),
                })?;
                self.nvrtc.insert(found)
            }
        };
        let file = &SOURCES[source];
        let target = file.only_for.map_or(Target::Cubin(capability), Target::Only);
        let headers: String = HEADERS.iter().map(|(_, text)| *text).collect();
        let key = cache::key(&[file.text, &headers, &target.options(line_info()).join(" "), &nvrtc.describe()]);
        cache::bytes(&format!("{}-{key}.cubin", file.name), || {
            let made = nvrtc.compile(file.name, file.text, HEADERS, target, line_info());
            let made = made.map_err(|log| Error::device(device, format!("compile kernels/{}.cu", file.name), log))?;
            Ok(made.code)
        })
    }
}

impl Drop for Modules {
    fn drop(&mut self) {
        self.unload();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// For tests: what is loaded if the driver answers the build's code with `first`, and how often NVRTC is asked.
    fn loaded(built: Option<&[u8]>, first: u32) -> (Result<Code>, Vec<Vec<u8>>, u32) {
        let (tried, asked) = (RefCell::new(Vec::new()), RefCell::new(0));
        let load = |code: &[u8]| {
            tried.borrow_mut().push(code.to_vec());
            if code == b"built" { Code(first) } else { Code::SUCCESS }
        };
        let compile = || {
            *asked.borrow_mut() += 1;
            Ok(b"made".to_vec())
        };
        let result = load_any(built, load, compile);
        (result, tried.into_inner(), asked.into_inner())
    }

    #[test]
    fn a_device_takes_the_code_of_its_own_generation_or_else_ptx() {
        let targets = [80, 90, 100, 120].map(Target::Cubin).into_iter().chain([Target::Ptx(90)]);
        let of = |source| move |target| Image { source, target, packed: &[], bytes: 0 };
        let images: Vec<_> = targets.clone().map(of(3)).chain(targets.map(of(4))).collect();
        let chosen = |capability| best(&images, 4, capability).map(|image| (image.source, image.target));
        for (capability, target) in [
            (80, Target::Cubin(80)),
            (86, Target::Cubin(80)),
            (89, Target::Cubin(80)),
            (90, Target::Cubin(90)),
            (100, Target::Cubin(100)),
            (103, Target::Cubin(100)),
            // A generation that the build did not compile for.
            (110, Target::Ptx(90)),
            (120, Target::Cubin(120)),
            (121, Target::Cubin(120)),
            (130, Target::Ptx(90)),
        ] {
            assert_eq!(chosen(capability), Some((4, target)), "sm_{capability}");
        }
        assert_eq!(chosen(75), None);
        assert!(best(&images, 5, 90).is_none());
    }

    #[test]
    fn what_the_driver_refuses_for_what_it_is_nvrtc_makes() {
        let [built, made] = [b"built".to_vec(), b"made".to_vec()];
        for code in [200, 209, 218, 221, 222, 223, 225, 300, 302, 303] {
            let (result, tried, asked) = loaded(Some(b"built"), code);
            assert_eq!(
                (result.unwrap(), tried, asked),
                (Code::SUCCESS, vec![built.clone(), made.clone()], 1),
                "{code}"
            );
        }
        // A device that fails, or has no memory, would fail again.
        for code in [0, 2, 46, 700, 999] {
            let (result, tried, asked) = loaded(Some(b"built"), code);
            assert_eq!((result.unwrap(), tried, asked), (Code(code), vec![built.clone()], 0), "{code}");
        }
        let (result, tried, _) = loaded(None, 0);
        assert_eq!((result.unwrap(), tried), (Code::SUCCESS, vec![made]));
    }

    #[test]
    fn without_nvrtc_the_drivers_reason_is_told() {
        let missing = || Err(Error::Missing { what: "NVRTC".into(), looked: "here".into() });
        let error = load_any(Some(b"built"), |_| Code(221), missing).unwrap_err();
        assert!(error.exit_code() == 3 && error.to_string().contains("error 221"), "{error}");
    }
}
