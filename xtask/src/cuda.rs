//! `cargo xtask cuda`: installs NVRTC from NVIDIA's Python package under `target/cuda`, where the build looks for it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// The package, in the version whose kernels are tested. Another version can be put there by hand, or named by `NVRTC_PATH`.
pub const PACKAGE: &str = "nvidia-cuda-nvrtc==13.0.*";

/// The disassembler, which reads what any older compiler made. Tests read listings of this version.
const DISASSEMBLER: &str = "nvidia-cuda-nvdisasm==13.2.86";

/// The folder to install into; it is laid out like Python's site-packages.
pub fn folder() -> PathBuf {
    crate::root().join("target/cuda")
}

/// Installs the package unless it is there. Errors: the reason why that failed.
pub fn fetch() -> Result<String, String> {
    let place = folder();
    let library = place.join("nvidia/cu13/lib/libnvrtc.so.13");
    if library.exists() {
        return Ok(format!("NVRTC is in {}", place.display()));
    }
    install(PACKAGE, "NVRTC_PATH names another", &place, &library)?;
    // The build script does not look for what was not there the last time: a newer script is run again.
    let script = crate::root().join("build.rs");
    let touched = File::options().append(true).open(&script).and_then(|file| file.set_modified(SystemTime::now()));
    touched.map_err(|e| format!("{}: {e}", script.display()))?;
    Ok(format!("NVRTC was put in {}", place.display()))
}

/// The program `nvdisasm`, which is fetched the first time. Errors: why it could not.
///
/// It has a folder of its own in that of NVRTC: the build looks at all of `target/cuda/nvidia`, and would begin anew for it.
pub fn disassembler() -> Result<PathBuf, String> {
    let place = folder().join("tools");
    let program = place.join("nvidia/cu13/bin/nvdisasm");
    if !program.exists() {
        install(DISASSEMBLER, "nothing else is looked for", &place, &program)?;
    }
    Ok(program)
}

/// What tells one disassembler from another.
pub fn disassembler_version() -> &'static str {
    DISASSEMBLER
}

/// Has pip put a package of NVIDIA's into the folder `place`, in place of what was there; `wanted` is the file of it that is needed, and
/// `otherwise` what other systems do.
fn install(package: &str, otherwise: &str, place: &Path, wanted: &Path) -> Result<(), String> {
    if std::env::consts::OS != "linux" {
        return Err(format!("NVIDIA's package is fetched on Linux only; {otherwise}"));
    }
    let partial = place.with_extension("partial");
    let _ = std::fs::remove_dir_all(&partial);
    let pip = |python: &str| {
        let mut pip = Command::new(python);
        pip.args([
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--quiet",
            "install",
            "--no-deps",
            "--only-binary=:all:",
        ]);
        pip.arg("--target").arg(&partial).arg(package).stdin(Stdio::null()).status()
    };
    match pip("python3") {
        Ok(status) if status.success() => {}
        // Debian's Python has no pip of its own; a virtual environment brings one.
        _ => {
            let environment = crate::target().join("pip");
            let made = Command::new("python3").args(["-m", "venv"]).arg(&environment).stdin(Stdio::null()).status();
            let python = environment.join("bin/python");
            let done = made.is_ok_and(|s| s.success()) && pip(&python.to_string_lossy()).is_ok_and(|s| s.success());
            if !done {
                return Err(format!("pip cannot install {package}; is there a network?"));
            }
        }
    }
    let _ = std::fs::remove_dir_all(place);
    std::fs::rename(&partial, place).map_err(|e| format!("{}: {e}", place.display()))?;
    match wanted.exists() {
        true => Ok(()),
        false => Err(format!("{package} has no {}", wanted.display())),
    }
}
