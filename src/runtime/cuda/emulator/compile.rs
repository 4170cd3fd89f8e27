//! Kernels as host code: calling the C++ compiler, caching its results, and finding the entry points in them.

use super::abi::{Entry, Slot};
use crate::files::cache::{self, Kept};
use crate::files::image::Image;
use crate::runtime::cuda::kernels;
use crate::runtime::cuda::signature::{self, Parameter, Signature};
use crate::{Error, Result};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

const HOST: &str = include_str!("host.h");
const HOOKS: &str = include_str!("hooks.cpp");

/// How kernels are compiled for the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Build {
    /// Every access to memory calls the emulator.
    Watched,
    /// No access calls the emulator. This is several times as fast, and finds only mistakes at barriers and within warps.
    Plain,
    /// As watched, and every access and every operation of a warp is counted. An access of the kernel's text stays one access: what the
    /// compiler might split or give two places in the code is left whole.
    Counted,
    /// With AddressSanitizer and UndefinedBehaviorSanitizer, whose runtimes the process must have preloaded.
    Sanitized,
}

impl Build {
    fn options(self) -> &'static [&'static str] {
        match self {
            Build::Watched => &[
                "-O1",
                "-fsanitize=thread,alignment",
                "--param=tsan-instrument-func-entry-exit=0",
                "-fno-tree-vectorize",
            ],
            Build::Counted => &[
                "-O1",
                "-fsanitize=thread,alignment",
                "--param=tsan-instrument-func-entry-exit=0",
                "-fno-tree-vectorize",
                // Four floats that are loaded as one struct are one load.
                "-fno-tree-sra",
                // A branch that some lanes take gives no access a second place, and no call's place is its caller's.
                "-fno-thread-jumps",
                "-fno-optimize-sibling-calls",
                "-DNORMSCAPE_COUNTS",
            ],
            Build::Plain => &["-O2"],
            Build::Sanitized => &[
                "-O1",
                "-g",
                "-fno-omit-frame-pointer",
                "-fsanitize=address,undefined",
                "-fno-sanitize=vptr",
                "-fno-sanitize-recover=undefined",
                "--param=asan-stack=0",
            ],
        }
    }

    /// What the hooks have beside their calls: the sanitized build brings UndefinedBehaviorSanitizer's own.
    fn hooks(self) -> &'static [&'static str] {
        match self {
            Build::Watched => &["-DNORMSCAPE_ALIGNED"],
            Build::Counted => &["-DNORMSCAPE_ALIGNED", "-DNORMSCAPE_COUNTS"],
            Build::Plain | Build::Sanitized => &[],
        }
    }
}

/// The options of every build. Products and sums are fused only where a kernel says `fmaf`.
const COMMON: &[&str] =
    &["-std=c++17", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing", "-fno-exceptions", "-fno-rtti", "-w"];

/// How the compiled code is linked. A kernel may have the same name as a libc function, so the library's own symbols take precedence.
const LINK: &str = "-shared -Wl,-Bsymbolic kernels.o hooks.o -o kernels.so -lm";

/// One loaded file of kernels. It stays loaded for the life of the process.
pub struct Module {
    library: libloading::Library,
    slot: Slot,
    base: (usize, usize),
    _image: Option<Image>,
}

// SAFETY: a library's code and constants; its one variable is of the thread.
unsafe impl Sync for Module {}
// SAFETY: as above.
unsafe impl Send for Module {}

impl Module {
    /// The function that returns the place where this operating-system thread stores its running thread.
    pub fn slot_function(&self) -> Slot {
        self.slot
    }

    /// The entry point of kernel `name`.
    pub fn entry(&self, name: &str) -> Result<Entry> {
        // SAFETY: entries have this type: `entries` writes them.
        let symbol = unsafe { self.library.get::<Entry>(format!("entry_{name}").as_bytes()) };
        symbol
            .map(|symbol| *symbol)
            .map_err(|e| Error::device("emulator", format!("find kernel {name}"), e.to_string()))
    }

    /// The range of addresses of the library itself, where its constants are read.
    pub fn image(&self) -> (usize, usize) {
        self.base
    }
}

/// The module with the kernels' text `text`, from file `name`. It is compiled once per process, build and text.
pub fn module(name: &str, text: &str, build: Build) -> Result<&'static Module> {
    static LOADED: OnceLock<Mutex<HashMap<(String, Build), &'static Module>>> = OnceLock::new();
    let loaded = LOADED.get_or_init(Mutex::default);
    let key = (cache::key(&[name, text]), build);
    // One compiler at a time: two would only compile the same file twice.
    let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = loaded.get(&key) {
        return Ok(module);
    }
    let signatures = signature::read(text).map_err(|m| {
        Error::input(format!("{name}.cu:{}", m.line), m.problem, "a kernel has the grammar of its kind")
    })?;
    let module: &'static Module = Box::leak(Box::new(load(name, text, &signatures, build)?));
    loaded.insert(key, module);
    Ok(module)
}

/// The C++ compiler, and its own description of itself.
fn compiler() -> Result<&'static (OsString, String)> {
    static FOUND: OnceLock<Option<(OsString, String)>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let named = ["NORMSCAPE_CXX", "CXX"].into_iter().filter_map(std::env::var_os).filter(|v| !v.is_empty());
        named.chain(["c++", "g++"].map(OsString::from)).find_map(|name| {
            let out = Command::new(&name).arg("--version").output().ok().filter(|out| out.status.success())?;
            let version = String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or_default().to_owned();
            Some((name, version))
        })
    });
    found.as_ref().ok_or_else(|| Error::Missing {
        what: "a C++ compiler, which the emulator compiles kernels with,".into(),
        looked: "NORMSCAPE_CXX, CXX, c++ and g++ were tried".into(),
    })
}

/// The compiler's version, if there is a compiler.
pub fn compiler_version() -> Option<String> {
    compiler().ok().map(|(_, version)| version.clone())
}

/// Options that let the compiler use fused multiply-add instructions; without them each one is a call into the mathematics library.
fn vector_options() -> &'static [&'static str] {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        return &["-mavx2", "-mfma"];
    }
    &[]
}

fn load(name: &str, text: &str, signatures: &[Signature], build: Build) -> Result<Module> {
    let (cxx, version) = compiler()?;
    let entries = entries(signatures);
    let source = format!("#include \"host.h\"\n#line 1 \"kernels/{name}.cu\"\n{text}\n#line 1 \"entries\"\n{entries}");
    let options: Vec<_> = [COMMON, vector_options(), build.options()].concat();
    let headers: String = kernels::HEADERS.iter().map(|(_, text)| *text).collect();
    let key =
        cache::key(&[&source, &headers, HOST, HOOKS, version, &options.join(" "), &build.hooks().join(" "), LINK]);
    let file = format!("{name}-{key}.so");
    let make = || {
        let folder = cache::build_folder()?;
        let work = folder.path();
        cache::put(work, "host.h", HOST)?;
        for (name, text) in kernels::HEADERS {
            cache::put(work, name, text)?;
        }
        cache::put(work, "hooks.cpp", HOOKS)?;
        cache::put(work, "kernels.cpp", &source)?;
        // The hooks must not call themselves: they are compiled without instrumentation.
        let plain: Vec<_> =
            [COMMON, vector_options(), build.hooks(), &["-O2", "-c", "hooks.cpp", "-o", "hooks.o"]].concat();
        run(cxx, name, work, &plain)?;
        run(cxx, name, work, &[&options[..], &["-c", "kernels.cpp", "-o", "kernels.o"]].concat())?;
        // Linked without the sanitizer's runtime, which `hooks.o` stands in for.
        let runtimes: &[&str] = if build == Build::Sanitized { &["-fsanitize=address,undefined"] } else { &[] };
        let link: Vec<_> = LINK.split(' ').collect();
        run(cxx, name, work, &[&link, runtimes].concat())?;
        cache::made(&work.join("kernels.so"))
    };
    let kept = cache::get(&file, make)?;
    let failed = |e: libloading::Error| {
        // libloading's own words are only that it failed.
        let words = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
        Error::device("emulator", format!("load kernels/{name}.cu"), words)
    };
    // What is whole may still be for another machine with which the folder is shared.
    load_kept(&file, &kept, build)?.or_else(|_| load_kept(&file, &cache::renew(&file, make)?, build)?.map_err(failed))
}

/// Loads a cached library, as bytes of this process's own. The outer error means that there is no place for the bytes; the inner error is the
/// loader's.
fn load_kept(file: &str, kept: &Kept, build: Build) -> Result<std::result::Result<Module, libloading::Error>> {
    // A sanitizer names lines where it finds the library's file again.
    let own = kept.path.as_ref().filter(|_| build == Build::Sanitized);
    if let Some(module) = own.and_then(|path| open(path, None).ok()) {
        return Ok(Ok(module));
    }
    let in_memory = Image::in_memory(file, &kept.bytes);
    if let Some(module) = in_memory.and_then(|image| open_image(image).ok()) {
        return Ok(Ok(module));
    }
    Ok(open_image(Image::on_disk(file, &kept.bytes)?))
}

/// Loads a library of kernels from bytes of this process's own.
fn open_image(image: Image) -> std::result::Result<Module, libloading::Error> {
    let path = image.path().to_owned();
    open(&path, Some(image))
}

/// Loads a library of kernels. The library and the file that holds it stay for the life of the process.
fn open(path: &Path, image: Option<Image>) -> std::result::Result<Module, libloading::Error> {
    // SAFETY: the library was made here from the kernels' text; loading it runs nothing of theirs.
    unsafe {
        let library = libloading::Library::new(path)?;
        let slot = *library.get::<Slot>(b"emu_slot")?;
        Ok(Module { base: self::image(slot as usize), library, slot, _image: image })
    }
}

/// The range of addresses at which the library that contains `inside` was loaded.
fn image(inside: usize) -> (usize, usize) {
    let maps = crate::files::machine::mappings();
    let Some(here) = maps.iter().find(|map| map.range.contains(&inside)).map(|map| map.path.clone()) else {
        return (0, 0);
    };
    let own = maps.iter().filter(|map| map.path == here);
    let low = own.clone().map(|map| map.range.start).min().unwrap_or(0);
    (low, own.map(|map| map.range.end).max().unwrap_or(0))
}

fn run(cxx: &OsString, name: &str, work: &Path, args: &[&str]) -> Result<()> {
    let out = Command::new(cxx).current_dir(work).args(args).output();
    let out = out.map_err(|source| Error::io(Path::new(cxx), "start", source))?;
    if out.status.success() {
        return Ok(());
    }
    let log = String::from_utf8_lossy(&out.stderr);
    let first: Vec<_> = log.lines().filter(|line| line.contains("error")).take(3).collect();
    Err(Error::device("emulator", format!("compile kernels/{name}.cu"), first.join(" | ")))
}

/// The text of the entry points: for each kernel, a function that takes pointers to its parameters' values. A kernel of T appears in the text as two
/// entries.
fn entries(signatures: &[Signature]) -> String {
    let mut out = String::new();
    for Signature { name, parameters, .. } in signatures.iter().filter(|signature| !signature.of_t) {
        let value = |(i, p): (usize, &Parameter)| format!("*({}*)a[{i}]", p.cuda("T"));
        let values: Vec<_> = parameters.iter().enumerate().map(value).collect();
        let unwatched = "__attribute__((no_sanitize_thread, no_sanitize_address, no_sanitize_undefined))";
        writeln!(out, "extern \"C\" {unwatched} void entry_{name}(void** a) {{ {name}({}); }}", values.join(", "))
            .unwrap_or_default();
    }
    out
}

/// Tells AddressSanitizer, if its runtime is in this process, that nobody may touch these bytes.
pub fn poison(start: *mut u8, bytes: usize) {
    #[cfg(unix)]
    {
        type Poison = unsafe extern "C" fn(*const std::ffi::c_void, usize);
        let process = libloading::os::unix::Library::this();
        // SAFETY: the runtime's function has this type; the bytes are an arena's, between its tensors.
        unsafe {
            if let Ok(poison) = process.get::<Poison>(b"__asan_poison_memory_region") {
                poison(start.cast_const().cast(), bytes);
            }
        }
    }
    #[cfg(not(unix))]
    let _ = (start, bytes);
}
