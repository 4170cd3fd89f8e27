//! NVRTC, the compiler of kernels: finding it, and compiling a kernel file to a cubin or to PTX.
//!
//! This file depends on std, libloading and `places.rs` alone. `build.rs` includes it as it is, so that kernels are compiled in the same way when the program is
//! built and, if NVRTC was missing then, at first use. The libraries are opened by full path and stay open: the Python package has no RPATH, and
//! NVRTC opens its built-ins by name.

use super::places::folders;
use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::PathBuf;

/// The options of every compilation. Products and sums are fused only where a kernel says `fmaf`.
const OPTIONS: [&str; 4] = ["--std=c++17", "--fmad=false", "--device-as-default-execution-space", "--ptxas-options=-v"];

/// The option that lets a sanitizer or a profiler name lines of a kernel's file. It makes a cubin three times as large.
const LINES: &str = "--generate-line-info";

/// Whether kernels are compiled with line numbers at first use, even if the build has compiled them: `NORMSCAPE_LINE_INFO=1`.
#[allow(dead_code, reason = "the build does not ask: its kernels have none")]
pub fn line_info() -> bool {
    std::env::var("NORMSCAPE_LINE_INFO").is_ok_and(|value| value == "1")
}

/// What ptxas says where one product of a warpgroup has to end before the next begins.
const SERIALIZED: &str = "wgmma.mma_async instructions are serialized";

/// A compilation target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Machine code of one architecture; 90 stands for sm_90.
    Cubin(u32),
    /// Machine code with what no other architecture has, which no other device runs; 90 stands for sm_90a.
    Only(u32),
    /// PTX of one architecture, which newer devices compile for themselves.
    Ptx(u32),
}

impl Target {
    fn option(self) -> String {
        match self {
            Target::Cubin(arch) => format!("--gpu-architecture=sm_{arch}"),
            Target::Only(arch) => format!("--gpu-architecture=sm_{arch}a"),
            Target::Ptx(arch) => format!("--gpu-architecture=compute_{arch}"),
        }
    }

    /// The architecture of machine code.
    #[allow(dead_code, reason = "not all who include this file ask")]
    pub fn machine(self) -> Option<u32> {
        match self {
            Target::Cubin(arch) | Target::Only(arch) => Some(arch),
            Target::Ptx(_) => None,
        }
    }

    /// All options, with line numbers if they are wanted. The compiled code depends on all of them.
    pub fn options(self, lines: bool) -> Vec<String> {
        let all = OPTIONS.into_iter().chain(lines.then_some(LINES)).map(str::to_owned);
        all.chain([self.option()]).collect()
    }
}

/// A kernel's resource use, as ptxas reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The kernel's name.
    pub kernel: String,
    /// Registers per thread.
    pub registers: u32,
    /// Bytes that a thread spills, stores and loads together.
    pub spills: u32,
    /// Bytes of static shared memory per block.
    pub shared: u32,
}

type Program = *mut c_void;

/// The loaded NVRTC library.
pub struct Nvrtc {
    library: Library,
    path: PathBuf,
    version: (i32, i32),
    _builtins: Option<Library>,
}

/// The result of a compilation.
pub struct Compiled {
    /// The cubin, or the PTX with a terminating 0.
    pub code: Vec<u8>,
    /// The resource use of every kernel; empty for PTX.
    pub usage: Vec<Usage>,
}

impl Nvrtc {
    /// The places where NVRTC is looked for; `own` is a folder of Python packages of this project.
    pub fn places(own: Option<PathBuf>) -> Vec<PathBuf> {
        folders("NVRTC_PATH", "cuda_nvrtc", own)
    }

    /// Opens NVRTC, if it is found.
    pub fn find(own: Option<PathBuf>) -> Option<Nvrtc> {
        Self::find_up_to(own, i32::MAX)
    }

    /// Opens an NVRTC whose major version is at most `newest`: an older driver does not accept the code of a newer compiler.
    pub fn find_up_to(own: Option<PathBuf>, newest: i32) -> Option<Nvrtc> {
        let names = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "nvrtc64_130_0.dll", "nvrtc64_120_0.dll"];
        let fits = |nvrtc: &Nvrtc| nvrtc.version.0 <= newest;
        let folders = Self::places(own);
        // The built-ins first: NVRTC finds what is loaded already.
        let builtins = ["13.0", "13.1", "13.2", "12.9", "12.8", "12.6"].map(|v| format!("libnvrtc-builtins.so.{v}"));
        let in_folder = |folder: &PathBuf, name: &str| {
            let path = folder.join(name);
            // SAFETY: NVIDIA's libraries run nothing of ours when they are loaded.
            unsafe { Library::new(&path) }.ok()?;
            // SAFETY: likewise.
            let opened = builtins.iter().filter_map(|name| unsafe { Library::new(folder.join(name)) }.ok()).next();
            // Opened again, since it looks for its built-ins when it is.
            // SAFETY: NVIDIA's libraries run nothing of ours when they are loaded.
            Self::of((unsafe { Library::new(&path) }.ok()?, path), opened).filter(fits)
        };
        let each = folders.iter().flat_map(|folder| names.iter().map(move |name| (folder, name)));
        let found = each.into_iter().find_map(|(folder, name)| in_folder(folder, name));
        // The variable may name the library itself; and the loader's own folders come last.
        found.or_else(|| {
            let rest = folders.iter().take(1).cloned().chain(names.iter().map(PathBuf::from));
            // SAFETY: NVIDIA's libraries run nothing of ours when they are loaded.
            rest.filter_map(|path| Self::of((unsafe { Library::new(&path) }.ok()?, path), None)).find(fits)
        })
    }

    fn of((library, path): (Library, PathBuf), builtins: Option<Library>) -> Option<Nvrtc> {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the function has this type in every NVRTC.
        unsafe {
            let version = library.get::<unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int>(b"nvrtcVersion").ok()?;
            version(&mut major, &mut minor);
        }
        Some(Nvrtc { library, path, version: (major, minor), _builtins: builtins })
    }

    /// Its version and its path.
    pub fn describe(&self) -> String {
        format!("NVRTC {}.{} ({})", self.version.0, self.version.1, self.path.display())
    }

    /// Compiles the text of `kernels/NAME.cu`; `headers` holds the names and texts of the files that it may include. Errors: NVRTC's messages, with
    /// lines of that file; a missing function.
    pub fn compile(
        &self,
        name: &str,
        text: &str,
        headers: &[(&str, &str)],
        target: Target,
        lines: bool,
    ) -> Result<Compiled, String> {
        let c = |text: &str| CString::new(text).map_err(|_| format!("kernels/{name}.cu holds a byte 0"));
        let (source, file) = (c(text)?, c(&format!("kernels/{name}.cu"))?);
        let strings = |of: &[&str]| of.iter().map(|text| c(text)).collect::<Result<Vec<_>, _>>();
        let (names, texts): (Vec<_>, Vec<_>) = headers.iter().copied().unzip();
        let (names, texts) = (strings(&names)?, strings(&texts)?);
        let [names, texts] = [&names, &texts].map(|of| of.iter().map(|text| text.as_ptr()).collect::<Vec<_>>());
        let options = target.options(lines).iter().map(|o| c(o)).collect::<Result<Vec<_>, _>>()?;
        let options: Vec<_> = options.iter().map(|o| o.as_ptr()).collect();
        let mut program: Program = std::ptr::null_mut();
        // SAFETY: each function has the type that nvrtc.h gives it, and pointers are valid for the calls.
        unsafe {
            let create = self.get::<Create>("nvrtcCreateProgram")?;
            let (count, texts, names) = (headers.len() as c_int, texts.as_ptr(), names.as_ptr());
            let made = create(&mut program, source.as_ptr(), file.as_ptr(), count, texts, names);
            if made != 0 {
                return Err(format!("nvrtcCreateProgram gives {made}"));
            }
            let result = self.compiled(program, &options, target);
            self.get::<Destroy>("nvrtcDestroyProgram")?(&mut program);
            result
        }
    }

    /// # Safety
    /// `program` is NVRTC's, and `options` are strings.
    unsafe fn compiled(&self, program: Program, options: &[*const c_char], target: Target) -> Result<Compiled, String> {
        // SAFETY: as in `compile`; buffers are as long as NVRTC asks.
        unsafe {
            let status = self.get::<Compile>("nvrtcCompileProgram")?(program, options.len() as c_int, options.as_ptr());
            let log = self.buffer(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog")?;
            let log = CStr::from_bytes_until_nul(&log).unwrap_or_default().to_string_lossy().into_owned();
            // A serialized product of a warpgroup is right, and several times slower: the kernel has to be written differently.
            if status != 0 || log.contains(SERIALIZED) {
                return Err(log);
            }
            let code = match target {
                Target::Cubin(_) | Target::Only(_) => self.buffer(program, "nvrtcGetCUBINSize", "nvrtcGetCUBIN")?,
                Target::Ptx(_) => self.buffer(program, "nvrtcGetPTXSize", "nvrtcGetPTX")?,
            };
            Ok(Compiled { code, usage: usage(&log) })
        }
    }

    /// # Safety
    /// As [`Nvrtc::compiled`]; `size` and `content` name a pair of NVRTC functions.
    unsafe fn buffer(&self, program: Program, size: &str, content: &str) -> Result<Vec<u8>, String> {
        // SAFETY: by the caller's promise.
        unsafe {
            let mut bytes = 0usize;
            let status = self.get::<Size>(size)?(program, &mut bytes);
            let mut buffer = vec![0u8; bytes];
            let status =
                if status == 0 { self.get::<Content>(content)?(program, buffer.as_mut_ptr().cast()) } else { status };
            if status == 0 { Ok(buffer) } else { Err(format!("{content} gives {status}")) }
        }
    }

    /// # Safety
    /// `F` is the function's type.
    unsafe fn get<F: Copy>(&self, name: &str) -> Result<F, String> {
        // SAFETY: by the caller's promise.
        unsafe { self.library.get::<F>(name.as_bytes()) }
            .map(|f| *f)
            .map_err(|e| format!("{}: {e}", self.path.display()))
    }
}

type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;
type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Content = unsafe extern "C" fn(Program, *mut c_char) -> c_int;

/// The resource use that ptxas's log reports.
fn usage(log: &str) -> Vec<Usage> {
    let mut found: Vec<Usage> = Vec::new();
    // The number before a word, as in `… 96 bytes smem`.
    let before = |line: &str, word: &str| -> u32 {
        let head = line.split(word).next().unwrap_or_default();
        head.rsplit([' ', ',']).find_map(|part| part.trim().parse().ok()).unwrap_or(0)
    };
    for line in log.lines() {
        if let Some(kernel) = line.split("Compiling entry function '").nth(1).and_then(|rest| rest.split('\'').next()) {
            found.push(Usage { kernel: kernel.to_owned(), registers: 0, spills: 0, shared: 0 });
        }
        let Some(last) = found.last_mut() else { continue };
        if line.contains("bytes spill stores") {
            let loads = line.split("spill stores,").nth(1).unwrap_or_default();
            // Functions that the kernel calls have such a line each, after its own.
            last.spills += before(line, " bytes spill stores") + before(loads, " bytes spill loads");
        }
        if line.contains("Used ") && line.contains("registers") {
            last.registers = before(line, " registers");
            last.shared = if line.contains("bytes smem") { before(line, " bytes smem") } else { 0 };
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_numbers_are_an_option_of_their_own() {
        let (without, with) = (Target::Cubin(90).options(false), Target::Cubin(90).options(true));
        assert!(!without.iter().any(|o| o == LINES) && with.iter().any(|o| o == LINES));
        assert_eq!(without.last().map(String::as_str), Some("--gpu-architecture=sm_90"));
    }

    #[test]
    fn resources_are_read_from_the_log() {
        let log = "ptxas info    : Compiling entry function 'axpy' for 'sm_90'\n\
                   ptxas info    : Function properties for axpy\n    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
                   ptxas info    : Used 14 registers, used 0 barriers\n\
                   ptxas info    : Compiling entry function 'big' for 'sm_90'\n\
                       24 bytes stack frame, 28 bytes spill stores, 48 bytes spill loads\n\
                   ptxas info    : Used 128 registers, used 1 barriers, 16932 bytes smem, 428 bytes cmem[0]\n\
                   ptxas info    : Function properties for __internal_accurate_pow\n\
                       0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n";
        let of = |kernel: &str, registers, spills, shared| Usage { kernel: kernel.into(), registers, spills, shared };
        assert_eq!(usage(log), [of("axpy", 14, 0, 0), of("big", 128, 76, 16932)]);
    }
}
