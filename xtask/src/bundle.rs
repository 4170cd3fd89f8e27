//! `cargo xtask bundle`: makes a folder for a machine with a GPU but without Rust, and an archive of it.
//!
//! The folder holds the program, two test programs, PyTorch twins, golden cases, and the script of the first contact (benches/bundle/contact.py)
//! with the hashes that it compares the GPU's bits with: those of the emulator, computed here.

#[cfg(all(test, target_os = "linux"))]
mod contact;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The test programs that concern a GPU.
const TESTS: [&str; 2] = ["operators", "device"];
/// The script of the first contact, and what it imports or runs.
const SCRIPTS: [&str; 5] = ["contact.py", "plan.py", "reading.py", "checks.py", "planted.py"];
/// Golden cases of whole networks whose numbers do not compress, two megabytes each; of each kind the small cases of tests/golden are there.
const LEFT_OUT: [&str; 4] = ["model_vgg11_none_a", "model_vgg11_l1_a", "model_vgg11_l2_a", "model_vgg11_linf_a"];
/// The most bytes of the archive.
const MOST: u64 = 18_000_000;

/// Builds everything and packs it. Returns the archive and its size in bytes. Errors: something could not be built, found or written.
pub fn make() -> Result<(PathBuf, u64), String> {
    crate::cuda::fetch()?;
    let folder = crate::target().join("bundle/normscape");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("tests")).map_err(|e| refuse(&folder, &e))?;
    build(&["build", "--release", "--locked"])?;
    take(&crate::target().join("release/normscape"), &folder.join("normscape"))?;
    let mut args = vec!["test", "--locked", "--no-run", "--message-format=json"];
    args.extend(TESTS.iter().flat_map(|name| ["--test", name]));
    let told = build(&args)?;
    for name in TESTS {
        let path = executable(&told, name).ok_or_else(|| format!("cargo names no program for the test {name}"))?;
        take(&path, &folder.join("tests").join(name))?;
    }
    let root = crate::root();
    copy_all(&root.join("benches/peers"), &folder.join("peers"), "py")?;
    copy_all(&root.join("tests/golden"), &folder.join("golden"), "npz")?;
    if let Ok(golden) = crate::data::golden() {
        copy_all(&golden, &folder.join("golden"), "npz")?;
    }
    for name in LEFT_OUT {
        let _ = fs::remove_file(folder.join("golden").join(name).with_extension("npz"));
    }
    for name in SCRIPTS {
        let (from, to) = (root.join("benches/bundle").join(name), folder.join(name));
        fs::copy(&from, &to).map_err(|e| refuse(&from, &e))?;
    }
    hash(&folder)?;
    let archive = crate::target().join("bundle/normscape.tar.xz");
    // Every program carries all kernels with it: a window as wide as several programs stores them about once.
    let mut tar = Command::new("tar");
    tar.env("XZ_OPT", "-9");
    tar.arg("-cJf").arg(&archive).arg("-C").arg(crate::target().join("bundle")).arg("normscape");
    match tar.status() {
        Ok(status) if status.success() => {}
        _ => return Err("tar -cJf failed; tar and xz are needed".into()),
    }
    let bytes = fs::metadata(&archive).map_err(|e| refuse(&archive, &e))?.len();
    match bytes <= MOST {
        true => Ok((archive, bytes)),
        false => Err(format!("{} has {bytes} bytes, more than {MOST}", archive.display())),
    }
}

fn refuse(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// Has the packed script write the hashes of what the packed program computes in the emulator. Errors: it fails.
fn hash(folder: &Path) -> Result<(), String> {
    let mut script = Command::new("python3");
    script.args(["-B", "checks.py", "write", "--device", "emulator"]).current_dir(folder);
    match script.env("NORMSCAPE_EMULATOR", "plain").stdout(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err("checks.py cannot hash what the emulator computes; python3 and a C++ compiler are needed".into()),
    }
}

/// Runs cargo, and returns its standard output.
fn build(args: &[&str]) -> Result<String, String> {
    let out = crate::cargo().args(args).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    match out {
        Ok(out) if out.status.success() => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        _ => Err(format!("cargo {} failed", args.join(" "))),
    }
}

/// The program of test `name`, from cargo's messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let target = format!("\"name\":\"{name}\"");
    let line = messages.lines().find(|line| line.contains(&target) && line.contains("\"executable\":\""))?;
    let path = line.split("\"executable\":\"").nth(1)?.split('"').next()?;
    Some(PathBuf::from(path))
}

/// Copies a program, stripped of its symbols.
fn take(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map_err(|e| refuse(from, &e))?;
    // Without `strip` the bundle is larger, and works.
    let _ = Command::new("strip").arg(to).status();
    Ok(())
}

/// Copies the files of a folder that have this extension.
fn copy_all(from: &Path, to: &Path, extension: &str) -> Result<(), String> {
    fs::create_dir_all(to).map_err(|e| refuse(to, &e))?;
    for entry in fs::read_dir(from).map_err(|e| refuse(from, &e))? {
        let path = entry.map_err(|e| refuse(from, &e))?.path();
        if let (Some(name), true) = (path.file_name(), path.extension() == Some(OsStr::new(extension))) {
            fs::copy(&path, to.join(name)).map_err(|e| refuse(&path, &e))?;
        }
    }
    Ok(())
}
