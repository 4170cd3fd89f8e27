//! How the program gets on with CUDA: with the stand-in of `tests/libcuda` in place of the driver and of cuBLAS, from outside.
//!
//! - `drivers`: drivers that are incomplete, too old or do not start · `commands`: every command gives the emulator's bits, and keeps the driver's
//!   contract · `overlap`: launches that begin before their predecessor has ended · `faults`: each function of the driver fails once ·
//!   `devices`: several devices in one process, and cuBLAS · `helpers`: devices that take points of a run's lines

mod commands;
mod devices;
mod drivers;
mod faults;
mod helpers;
mod overlap;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

const COMPILER: &str = include_str!("libnvrtc.cpp");
const SYMBOLS: &str = include_str!("../../../src/runtime/cuda/gpu/symbols.rs");

/// The folder that cargo keeps for tests.
fn shelf() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// Something that a machine without the tools for it does not have, which may be so only where nobody builds in earnest.
fn missing<T>(what: &str) -> Option<T> {
    assert!(std::env::var_os("CI").is_none(), "{what}");
    None
}

/// The stand-in: an example of this package. `cargo test` builds it with the tests; where only some were built, it is built now, with what they
/// were built with.
fn stand_in() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let program = std::env::current_exe().unwrap();
        let folder = program.parent().and_then(Path::parent).unwrap();
        if let Some(cargo) = std::env::var_os("CARGO") {
            let mut build = Command::new(cargo);
            build
                .args(["build", "--quiet", "--locked", "--example", "libcuda"])
                .current_dir(env!("CARGO_MANIFEST_DIR"));
            // The variables by which cargo describes this package to its tests: the build script of `ring` depends on such, and with them
            // everything above it would be built once more.
            let described = |name: &String| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
            for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(described) {
                build.env_remove(name);
            }
            if folder.ends_with("release") {
                build.arg("--release");
            }
            let built = build.arg("--target-dir").arg(folder.parent().unwrap()).stdin(Stdio::null()).output().unwrap();
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        }
        let library = folder.join("examples/liblibcuda.so");
        if library.exists() { Some(library) } else { missing("there is neither the stand-in nor a cargo to build it") }
    };
    FOUND.get_or_init(find).as_deref()
}

/// A compiler of kernels that makes what the stand-in loads.
fn compiler() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let make = || {
        let named = ["NORMSCAPE_CXX", "CXX"].into_iter().filter_map(std::env::var_os).filter(|name| !name.is_empty());
        let works = |name: &_| Command::new(name).arg("--version").output().is_ok();
        let Some(cxx) = named.chain(["c++".into(), "g++".into()]).find(works) else {
            return missing("there is no C++ compiler");
        };
        let dir = tempfile::tempdir_in(shelf()).unwrap();
        let (source, made) = (dir.path().join("libnvrtc.cpp"), dir.path().join("libnvrtc.so.13"));
        fs::write(&source, COMPILER).unwrap();
        let out = Command::new(cxx).args(["-w", "-shared", "-fPIC", "-o"]).args([&made, &source]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        fs::create_dir_all(shelf().join("nvrtc")).unwrap();
        let place = shelf().join("nvrtc/libnvrtc.so.13");
        // Put there at once: another process may be using what was there.
        fs::rename(&made, &place).unwrap();
        Some(place)
    };
    FOUND.get_or_init(make).as_deref()
}

/// A machine with the stand-in in place of the driver, of cuBLAS and of NVRTC, and a folder of its own.
struct Machine {
    dir: tempfile::TempDir,
}

/// What a command came to.
struct Ended {
    code: Option<i32>,
    /// All that it said.
    said: String,
    /// The stand-in's breaches.
    breaches: Vec<String>,
    /// The last line of the stand-in's report; empty where it was never called.
    end: String,
}

impl Ended {
    /// A number of the report.
    #[track_caller]
    fn number(&self, name: &str) -> u64 {
        let found = self.end.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {name} in {}", self.end)).parse().unwrap()
    }

    /// Demands that the driver's contract was kept, that nothing was left, and that nothing panicked.
    #[track_caller]
    fn clean(&self, what: &str) {
        assert!(!self.said.contains("panicked"), "{what}: {}", self.said);
        assert!(self.breaches.is_empty(), "{what}: {:?}", self.breaches);
        // The context itself is kept for good.
        assert_eq!([self.number("leaked"), self.number("queued")], [0, 0], "{what}: {}", self.end);
    }
}

impl Machine {
    /// One with the stand-in; `None` where it cannot be had here.
    fn new() -> Option<Machine> {
        let (library, _) = (stand_in()?, compiler()?);
        let machine = Machine { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(machine.path("driver")).unwrap();
        for name in ["libcuda.so.1", "libcublas.so.13", "libcublasLt.so.13"] {
            symlink(library, machine.path("driver").join(name)).unwrap();
        }
        Some(machine)
    }

    /// One whose driver is another file.
    fn with(driver: &Path) -> Option<Machine> {
        let machine = Machine::new()?;
        fs::remove_file(machine.path("driver/libcuda.so.1")).unwrap();
        fs::copy(driver, machine.path("driver/libcuda.so.1")).unwrap();
        Some(machine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Gives a command this machine.
    fn set_up(&self, command: &mut Command, stand_in: &str) {
        let _ = fs::remove_file(self.path("log"));
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command.env("LD_LIBRARY_PATH", self.path("driver")).env("CUBLAS_PATH", self.path("driver"));
        command.env("NVRTC_PATH", shelf().join("nvrtc"));
        command.env("STAND_IN", stand_in).env("STAND_IN_LOG", self.path("log"));
        // What kernels do wrong is looked for elsewhere.
        command.env("NORMSCAPE_EMULATOR", "plain").env_remove("NORMSCAPE_LINE_INFO").env_remove("NORMSCAPE_DATA");
        command.env_remove("NORMSCAPE_LAUNCHES");
    }

    fn command(&self, line: &str, stand_in: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_normscape"));
        command.args(line.split_whitespace());
        self.set_up(&mut command, stand_in);
        command
    }

    /// What a command came to, with what the stand-in reported.
    fn ended(&self, out: Output) -> Ended {
        let said = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let breaches = log.lines().filter(|line| line.starts_with("breach: ")).map(str::to_owned).collect();
        let end = log.lines().rfind(|line| line.starts_with("end: ")).unwrap_or_default().to_owned();
        Ended { code: out.status.code(), said, breaches, end }
    }

    /// Runs a command that must end with `code`.
    #[track_caller]
    fn ends(&self, line: &str, stand_in: &str, code: i32) -> Ended {
        let ended = self.ended(self.command(line, stand_in).output().unwrap());
        assert_eq!(ended.code, Some(code), "{line} with {stand_in}: {}", ended.said);
        assert!(!ended.said.contains("panicked"), "{}", ended.said);
        ended
    }
}

/// The names of the list in the source.
fn functions() -> Vec<&'static str> {
    let list = SYMBOLS.split("\nfunctions! {").nth(1).unwrap().split("\n}\n").next().unwrap();
    let named = list
        .lines()
        .filter_map(|line| line.strip_prefix("        cu")?.find('(').map(|end| line.trim_start().split_at(end + 2).0));
    named.collect()
}
