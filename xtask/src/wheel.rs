//! `cargo xtask wheel`: makes the Python wheel, by maturin from PyPI.
//!
//! The one to publish is a release build, linked by zig (which PyPI has too) against an old glibc. The one for tests is put around the program of
//! `cargo build`, which the tests build anyway: maturin has the program linked once more, without symbols, and nothing compiled.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The tools, in the versions that are tried. pyproject.toml has maturin's too.
const MATURIN: &str = "maturin==1.16.0";
const ZIG: &str = "ziglang==0.17.1";
/// The oldest glibc that the published wheel runs with: that of Debian 10, RHEL 8 and Ubuntu 18.10.
const GLIBC: &str = "manylinux_2_28";
/// The most bytes of a wheel.
const MOST: u64 = 12_000_000;

/// Makes the wheel to publish. Returns it, and its size in bytes. Errors: why it could not be made; it is too large.
pub fn make() -> Result<(PathBuf, u64), String> {
    // With the code of every kernel in it.
    crate::cuda::fetch()?;
    let wheel = build("wheel", &["--release", "--zig", "--compatibility", GLIBC], &[MATURIN, ZIG])?;
    let bytes = fs::metadata(&wheel).map_err(|e| format!("{}: {e}", wheel.display()))?.len();
    match bytes <= MOST {
        true => Ok((wheel, bytes)),
        false => Err(format!("{} has {bytes} bytes, more than {MOST}", wheel.display())),
    }
}

/// The wheel for `NORMSCAPE_WHEEL`: the environment's, or one of the profile in which tests are built.
pub fn for_tests() -> Result<PathBuf, String> {
    match crate::data::given("NORMSCAPE_WHEEL") {
        Some(given) => Ok(given),
        None => build("wheel-for-tests", &["--profile", "dev"], &[MATURIN]),
    }
}

/// Runs maturin with these arguments; the wheel lies in this folder of `target`, alone. `packages` are what maturin needs, itself first.
fn build(folder: &str, args: &[&str], packages: &[&str]) -> Result<PathBuf, String> {
    let python = crate::python::own_venv(&packages.join("-").replace("==", "-"), packages)?;
    crate::licences::write()?;
    let out = crate::target().join(folder);
    let _ = fs::remove_dir_all(&out);
    let mut command = crate::without_cargo(&python);
    command.args(["-m", "maturin", "build", "--locked", "--quiet", "--compression-level", "9"]).args(args);
    // Which Python has zig, where it is asked for.
    command.env("CARGO_ZIGBUILD_PYTHON_PATH", &python);
    command.arg("--target-dir").arg(crate::target()).arg("--out").arg(&out).current_dir(crate::root());
    // A test's counts are read from standard output: nothing else may stand there.
    let done = command.stdin(Stdio::null()).output().map_err(|e| format!("cannot start {}: {e}", python.display()))?;
    if !done.status.success() {
        return Err(format!("maturin {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim()));
    }
    only_wheel(&out)
}

/// The one wheel in a folder.
fn only_wheel(folder: &Path) -> Result<PathBuf, String> {
    let refuse = |e: std::io::Error| format!("{}: {e}", folder.display());
    let entries: Result<Vec<_>, _> = fs::read_dir(folder).map_err(refuse)?.collect();
    let paths = entries.map_err(refuse)?.into_iter().map(|entry| entry.path());
    let wheels: Vec<_> = paths.filter(|path| path.extension() == Some(OsStr::new("whl"))).collect();
    match wheels.as_slice() {
        [wheel] => Ok(wheel.clone()),
        _ => Err(format!("{} holds {} wheels", folder.display(), wheels.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: &str = include_str!("../../pyproject.toml");

    #[test]
    fn versions_are_those_of_the_project() {
        assert!(PROJECT.contains(&format!("requires = [\"{MATURIN}\"]")));
        assert!(PROJECT.contains(&format!("cuda = [\"{}\", ", crate::cuda::PACKAGE)));
    }
}
