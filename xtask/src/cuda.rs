//! `cargo xtask cuda`: installs NVRTC from NVIDIA's Python package under `target/cuda`, where the build looks for it.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// The package, in the version whose kernels are tested. Another version can be put there by hand, or named by `NVRTC_PATH`.
const PACKAGE: &str = "nvidia-cuda-nvrtc==13.0.*";

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
    if std::env::consts::OS != "linux" {
        return Err("NVIDIA's package is fetched on Linux only; NVRTC_PATH names another".into());
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
        pip.arg("--target").arg(&partial).arg(PACKAGE).stdin(Stdio::null()).status()
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
                return Err(format!("pip cannot install {PACKAGE}; is there a network?"));
            }
        }
    }
    let _ = std::fs::remove_dir_all(&place);
    std::fs::rename(&partial, &place).map_err(|e| format!("{}: {e}", place.display()))?;
    // The build script does not look for what was not there the last time: a newer script is run again.
    let script = crate::root().join("build.rs");
    let touched = File::options().append(true).open(&script).and_then(|file| file.set_modified(SystemTime::now()));
    touched.map_err(|e| format!("{}: {e}", script.display()))?;
    match library.exists() {
        true => Ok(format!("NVRTC was put in {}", place.display())),
        false => Err(format!("{PACKAGE} has no {}", library.display())),
    }
}
