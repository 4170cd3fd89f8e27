//! Reads the kernels' signatures and generates their launches; puts the commit into the binary, for
//! `normscape --version` and for the record that every run keeps.

#[path = "build/compile.rs"]
mod compile;
#[path = "build/launchers.rs"]
mod launchers;
#[path = "src/runtime/cuda/nvrtc.rs"]
mod nvrtc;
#[allow(dead_code, reason = "the library reads more of it")]
#[path = "src/runtime/cuda/signature.rs"]
mod signature;

use launchers::File;
use signature::Signature;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

fn git(args: &[&str]) -> Option<String> {
    let out = Command::new("git").args(args).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn commit() {
    // A tarball has no .git: then the version says "unknown", and the build does not fail.
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=NORMSCAPE_COMMIT={commit}");
    // HEAD moves on checkout, the log on every commit.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}

/// Ends the build with one line that names file and line.
fn refuse(path: &Path, line: usize, problem: &str) -> ! {
    eprintln!("{}:{line}: {problem}", path.display());
    exit(1)
}

/// The files of kernels, by name.
fn kernels(folder: &Path) -> Vec<File> {
    let listing = std::fs::read_dir(folder).unwrap_or_else(|e| refuse(folder, 0, &e.to_string()));
    let mut paths: Vec<PathBuf> = listing.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|e| e == "cu"));
    let mut files: Vec<File> = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| refuse(&path, 0, &e.to_string()));
        let found = signature::read(&text).unwrap_or_else(|m| refuse(&path, m.line, &m.problem));
        for kernel in &found {
            let mut others = files.iter().flat_map(|file| &file.kernels).flat_map(Signature::entries);
            let entries = kernel.entries();
            if others.any(|(other, _)| entries.iter().any(|(name, _)| *name == other)) {
                refuse(&path, kernel.line, &format!("another file has a kernel {} too", kernel.name));
            }
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        files.push(File::new(name, path, &text, found));
    }
    files
}

fn main() {
    commit();
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=src/runtime/cuda/signature.rs");
    println!("cargo:rerun-if-changed=src/runtime/cuda/nvrtc.rs");
    println!("cargo:rerun-if-changed=kernels");
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let folder = root.join("kernels");
    let files = kernels(&folder);
    let header = folder.join("prelude.cuh");
    let prelude = std::fs::read_to_string(&header).unwrap_or_else(|e| refuse(&header, 0, &e.to_string()));
    let structs = signature::structs(&prelude).unwrap_or_else(|m| refuse(&header, m.line, &m.problem));
    let launches = launchers::generate(&files, &header.display().to_string(), &structs);
    let mut text = launches.unwrap_or_else(|problem| refuse(&folder, 0, &problem));
    match compile::generate(&files, &prelude, &out, root.join("target/cuda")) {
        Ok(tables) => text += &tables,
        Err(log) => {
            eprintln!("a kernel does not compile:\n{log}");
            exit(1)
        }
    }
    let out = out.join("kernels.rs");
    std::fs::write(&out, text).unwrap_or_else(|e| refuse(&out, 0, &e.to_string()));
}
