//! What some tests read and the repository does not hold: the CIFAR-10 images and the golden cases.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the optional material may lie, from the repository's root: beside it, or in it.
const PLACES: [&str; 2] = ["../shared", "shared"];

/// The folder for `NORMSCAPE_DATA`: the environment's, or what the material's own script unpacks into the target folder.
/// `Err` says why there is none.
pub fn cifar10() -> Result<PathBuf, String> {
    if let Some(given) = given("NORMSCAPE_DATA") {
        return Ok(given);
    }
    let script = find("data/unpack.py").ok_or("not set, and no data set lies beside the repository")?;
    let out = crate::target().join("data");
    let status = Command::new(python()?)
        .arg(&script)
        .arg(&out)
        .stdin(Stdio::null())
        .status()
        .map_err(|e| format!("cannot start python3: {e}"))?;
    if !status.success() {
        return Err(format!("{} ended with {status}", script.display()));
    }
    Ok(out)
}

/// The folder for `NORMSCAPE_GOLDEN`.
pub fn golden() -> Result<PathBuf, String> {
    given("NORMSCAPE_GOLDEN")
        .or_else(|| find("golden"))
        .ok_or_else(|| "not set, and no golden cases lie beside the repository".into())
}

fn given(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn find(name: &str) -> Option<PathBuf> {
    let path = PLACES.iter().map(|place| crate::root().join(place).join(name)).find(|path| path.exists())?;
    Some(path.canonicalize().unwrap_or(path))
}

/// A Python that has Pillow: the system's, or that of a virtual environment made here.
fn python() -> Result<PathBuf, String> {
    let system = Path::new("python3");
    if imports(system, "PIL") {
        return Ok(system.into());
    }
    let venv = crate::target().join("venv");
    let own = venv.join("bin/python");
    if imports(&own, "PIL") {
        return Ok(own);
    }
    if !imports(system, "sys") {
        return Err("python3 is not installed".into());
    }
    if !imports(system, "ensurepip") && !install("python3-venv") {
        return Err("python3 has neither Pillow nor venv: apt-get install python3-pil, or python3-venv".into());
    }
    let steps: [(&Path, &[&str]); 2] =
        [(system, &["-m", "venv", "--clear"]), (&own, &["-m", "pip", "install", "--quiet", "pillow"])];
    for (program, args) in steps {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null());
        if program == system {
            command.arg(&venv);
        }
        if !command.status().is_ok_and(|status| status.success()) {
            return Err(format!("{} {} failed: apt-get install python3-pil", program.display(), args.join(" ")));
        }
    }
    Ok(own)
}

fn imports(python: &Path, module: &str) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", &format!("import {module}")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Installs a Debian package, but only on a machine of continuous integration, where nobody minds, and as root.
fn install(package: &str) -> bool {
    let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0");
    if !crate::test::ci() || !root {
        return false;
    }
    [&["update"][..], &["install", "--yes", "--no-install-recommends", package]].iter().all(|args| {
        let mut command = Command::new("apt-get");
        command.args(*args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}
