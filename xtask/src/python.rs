//! Finds or makes a Python with the packages that a chore or a test needs: the system's if it has them, else one shared virtual environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The packages that tests need, by their names for pip.
const FOR_TESTS: [&str; 3] = ["selenium", "submitit", "tensorboard"];

/// The Python for `NORMSCAPE_PYTHON`: the environment's, or one prepared here.
pub fn for_tests() -> Result<PathBuf, String> {
    match crate::data::given("NORMSCAPE_PYTHON") {
        Some(given) => Ok(given),
        None => venv_with(&FOR_TESTS),
    }
}

/// A Python that can import all of these PyPI packages. Packages that the system lacks are added to `target/venv`.
pub fn venv_with(packages: &[&str]) -> Result<PathBuf, String> {
    venv_of("venv", packages)
}

/// The same with a virtual environment of its own in this folder of `target`. A package may include a version, as in `torch==2.15.0`, to
/// install that version. A package that is already there is used in the version that it has.
pub fn venv_of(folder: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let system = Path::new("python3");
    if imports_all(system, packages) {
        return Ok(system.into());
    }
    own_venv(folder, packages)
}

/// The same, but never the system's Python: for packages whose version matters, which the folder's name should then have.
pub fn own_venv(folder: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let system = Path::new("python3");
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

/// The name under which a package is imported.
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

/// Installs a Debian package, but only as root on a machine of continuous integration, where that disturbs nobody.
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
