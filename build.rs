//! Reads the kernels' signatures and generates their launches; puts the commit into the binary, for
//! `normscape --version` and for the record that every run keeps.

#[path = "build/compile.rs"]
mod compile;
#[path = "build/launchers.rs"]
mod launchers;
#[path = "src/runtime/cuda/nvrtc.rs"]
mod nvrtc;
#[path = "src/runtime/cuda/places.rs"]
mod places;
#[allow(dead_code, reason = "the library reads more of it")]
#[path = "src/runtime/cuda/signature.rs"]
mod signature;

use launchers::{File, Header};
use signature::{Signature, Struct};
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

/// The files of `folder` that end in `.EXTENSION`, by name, with their text.
fn texts(folder: &Path, extension: &str) -> Vec<(PathBuf, String)> {
    let listing = std::fs::read_dir(folder).unwrap_or_else(|e| refuse(folder, 0, &e.to_string()));
    let mut paths: Vec<PathBuf> = listing.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|e| e == extension));
    let read = |path: PathBuf| match std::fs::read_to_string(&path) {
        Ok(text) => (path, text),
        Err(e) => refuse(&path, 0, &e.to_string()),
    };
    paths.into_iter().map(read).collect()
}

/// A part of a path, as text.
fn name(part: Option<&std::ffi::OsStr>) -> String {
    part.unwrap_or_default().to_string_lossy().into_owned()
}

/// The files of kernels, and the structs that kernels take by value, of these files and of the headers.
fn kernels(folder: &Path, headers: &[Header]) -> (Vec<File>, Vec<Struct>) {
    let (mut files, mut structs): (Vec<File>, Vec<Struct>) = Default::default();
    let mut take = |path: &Path, text: &str| {
        structs.extend(signature::structs(text).unwrap_or_else(|m| refuse(path, m.line, &m.problem)));
    };
    headers.iter().for_each(|header| take(&header.path, &header.text));
    for (path, text) in texts(folder, "cu") {
        take(&path, &text);
        let found = signature::read(&text).unwrap_or_else(|m| refuse(&path, m.line, &m.problem));
        for kernel in &found {
            let mut others = files.iter().flat_map(|file| &file.kernels).flat_map(Signature::entries);
            let entries = kernel.entries();
            if others.any(|(other, _)| entries.iter().any(|(name, _)| *name == other)) {
                refuse(&path, kernel.line, &format!("another file has a kernel {} too", kernel.name));
            }
        }
        files.push(File::new(name(path.file_stem()), path, &text, found));
    }
    (files, structs)
}

fn main() {
    commit();
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=src/runtime/cuda/signature.rs");
    println!("cargo:rerun-if-changed=src/runtime/cuda/nvrtc.rs");
    println!("cargo:rerun-if-changed=src/runtime/cuda/places.rs");
    println!("cargo:rerun-if-changed=kernels");
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let folder = root.join("kernels");
    let header = |(path, text): (PathBuf, String)| Header { name: name(path.file_name()), path, text };
    let headers: Vec<_> = texts(&folder, "cuh").into_iter().map(header).collect();
    let (files, structs) = kernels(&folder, &headers);
    let launches = launchers::generate(&files, &headers, &structs);
    let mut text = launches.unwrap_or_else(|problem| refuse(&folder, 0, &problem));
    let included: Vec<_> = headers.iter().map(|header| (header.name.as_str(), header.text.as_str())).collect();
    match compile::generate(&files, &included, &out, root.join("target/cuda")) {
        Ok(tables) => text += &tables,
        Err(log) => {
            eprintln!("a kernel does not compile:\n{log}");
            exit(1)
        }
    }
    let out = out.join("kernels.rs");
    std::fs::write(&out, text).unwrap_or_else(|e| refuse(&out, 0, &e.to_string()));
}
