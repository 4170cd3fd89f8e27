//! Puts the commit into the binary, for `normscape --version` and for the record that every run keeps.

use std::process::Command;

fn git(args: &[&str]) -> Option<String> {
    let out = Command::new("git").args(args).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn main() {
    // A tarball has no .git: then the version says "unknown", and the build does not fail.
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=NORMSCAPE_COMMIT={commit}");
    println!("cargo:rerun-if-changed=build.rs");
    // HEAD moves on checkout, the log on every commit.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}
