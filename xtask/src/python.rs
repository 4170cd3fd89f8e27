//! A Python with the packages that a chore or a test needs: the system's where it has them, else one virtual environment for all.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The packages that tests need, by the names that pip knows.
const FOR_TESTS: [&str; 2] = ["selenium", "tensorboard"];

/// The Python for `NORMSCAPE_PYTHON`: the environment's, or one that is prepared here.
pub fn for_tests() -> Result<PathBuf, String> {
    match crate::data::given("NORMSCAPE_PYTHON") {
        Some(given) => Ok(given),
        None => venv_with(&FOR_TESTS),
    }
}

/// A Python that imports all of these packages of PyPI. What the system's lacks is put into `target/venv`, beside what is there.
pub fn venv_with(packages: &[&str]) -> Result<PathBuf, String> {
    venv_of("venv", packages)
}

/// The same with a virtual environment of its own, in that folder of `target`. A package may name its version, as `torch==2.15.0`: that is what
/// is installed; one that is there already is taken as it is.
pub fn venv_of(folder: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let system = Path::new("python3");
    if imports_all(system, packages) {
        return Ok(system.into());
    }
    let venv = crate::target().join(folder);
    let own = venv.join("bin/python");
    if imports_all(&own, packages) {
        return Ok(own);
    }
    if !imports(system, "sys") {
        return Err("python3 is not installed".into());
    }
    let names = packages.join(" ");
    if !imports(&own, "pip") {
        if !imports(system, "ensurepip") && !install("python3-venv") {
            return Err(format!("python3 has neither {names} nor venv: apt-get install python3-venv"));
        }
        let mut make = Command::new(system);
        make.args(["-m", "venv", "--clear"]).arg(&venv);
        succeeded(&mut make)?;
    }
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !imports(&own, module(package))).collect();
    let mut pip = Command::new(&own);
    pip.args(["-m", "pip", "--disable-pip-version-check", "--quiet", "install"]).args(missing);
    succeeded(&mut pip)?;
    match imports_all(&own, packages) {
        true => Ok(own),
        false => Err(format!("{} does not import {names}", own.display())),
    }
}

/// What a package is imported by.
fn module(package: &str) -> &str {
    match package.split("==").next() {
        Some("pillow") => "PIL",
        name => name.unwrap_or(package),
    }
}

fn succeeded(command: &mut Command) -> Result<(), String> {
    // A test's counts are read from standard output: nothing else may stand there.
    match command.stdin(Stdio::null()).stdout(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(e) => Err(format!("cannot start {command:?}: {e}")),
    }
}

fn imports_all(python: &Path, packages: &[&str]) -> bool {
    packages.iter().all(|package| imports(python, module(package)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_imported_by_their_modules() {
        assert_eq!(["pillow", "torch==2.15.0", "numpy"].map(module), ["PIL", "torch", "numpy"]);
    }
}
