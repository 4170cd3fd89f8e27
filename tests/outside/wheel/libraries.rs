//! NVIDIA's Python packages are found where the program is installed, however that was done. Stand-ins made by the C compiler take their place.

use super::{Any, Environment, done, info};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A library that tells NVRTC's version, and is cuBLAS too, as far as looking for it goes.
const STAND_IN: &str = "int nvrtcVersion(int *major, int *minor) { *major = 13; *minor = 7; return 0; }\n";

/// The stand-in, as a file. The C compiler makes it.
fn made(folder: &Path) -> Any<PathBuf> {
    let (source, library) = (folder.join("stand-in.c"), folder.join("stand-in.so"));
    fs::write(&source, STAND_IN)?;
    done(Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]))?;
    Ok(library)
}

/// Puts both libraries into a folder of packages, where those of CUDA 13 have them.
fn put(library: &Path, site: &Path) -> Any<()> {
    let lib = site.join("nvidia/cu13/lib");
    fs::create_dir_all(&lib)?;
    for name in ["libnvrtc.so.13", "libcublas.so.13"] {
        fs::copy(library, lib.join(name))?;
    }
    Ok(())
}

/// That the program names the libraries of this folder of packages, where `yes`, and otherwise does not.
#[track_caller]
fn named(command: &mut Command, site: &Path, yes: bool) -> Any<()> {
    let told = info(command)?["cuda"].clone();
    let lib = site.join("nvidia/cu13/lib");
    let expected = [
        ("nvrtc", format!("NVRTC 13.7 ({})", lib.join("libnvrtc.so.13").display())),
        ("cublas", lib.join("libcublas.so.13").display().to_string()),
    ];
    for (what, text) in expected {
        assert_eq!(told[what] == text.as_str(), yes, "{what}: {} and {text}; {command:?}", told[what]);
    }
    Ok(())
}

/// In an environment, through a link to it, in a user's folders, with `--target`, and as Python tells of other folders.
pub fn check(env: &Environment) -> Any<()> {
    let folder = env.folder("libraries")?;
    let library = made(&folder)?;
    let install = |how: &str, place: &Path| {
        let pip = [
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--quiet",
            "install",
            "--ignore-installed",
            "--no-deps",
            "--no-index",
        ];
        done(env.command("python").args(pip).arg(how).arg(place).arg(&env.wheel))
    };
    // A user's folders are laid out as those of --prefix, and as those of a virtual environment.
    let prefix = folder.join("prefix");
    install("--prefix", &prefix)?;
    let program = prefix.join("bin/normscape");
    let site = fs::read_dir(prefix.join("lib"))?.next().ok_or("no lib")??.path().join("site-packages");
    named(&mut env.plain(&program), &site, false)?;
    put(&library, &site)?;
    named(&mut env.plain(&program), &site, true)?;
    // `info` for people names them too.
    let text = done(env.plain(&program).arg("info"))?;
    let row = text.lines().find(|line| line.starts_with("NVRTC")).ok_or("no row NVRTC")?;
    assert!(row.ends_with(&format!("NVRTC 13.7 ({})", site.join("nvidia/cu13/lib/libnvrtc.so.13").display())), "{row}");

    // Nobody else's packages, and not those of the folder that the program was built in.
    if !Path::new("/usr/local/cuda").exists() {
        let told = info(&mut env.command("normscape"))?["cuda"].clone();
        assert!(told["nvrtc"].is_null() && told["cublas"].is_null(), "{told}");
    }
    // A link elsewhere, as pipx makes it.
    let link = folder.join("normscape");
    symlink(&program, &link)?;
    named(&mut env.plain(&link), &site, true)?;
    // An environment that links to a program elsewhere.
    let linked = folder.join("linked");
    let packages = linked.join("lib/python3.12/site-packages");
    fs::create_dir_all(linked.join("bin"))?;
    fs::copy(&program, folder.join("copy"))?;
    symlink(folder.join("copy"), linked.join("bin/normscape"))?;
    put(&library, &packages)?;
    named(&mut env.plain(&linked.join("bin/normscape")), &packages, true)?;
    named(&mut env.plain(&folder.join("copy")), &packages, false)?;
    // Toolkits that the user names come first, and the variable before them.
    let toolkit = folder.join("toolkit");
    fs::create_dir_all(&toolkit)?;
    symlink(packages.join("nvidia/cu13/lib"), toolkit.join("lib64"))?;
    let told = info(env.plain(&program).env("CUDA_HOME", &toolkit))?["cuda"]["nvrtc"].clone();
    assert!(told.as_str().is_some_and(|told| told.contains("toolkit/lib64")), "{told}");

    let target = folder.join("target");
    install("--target", &target)?;
    put(&library, &target)?;
    named(&mut env.plain(&target.join("bin/normscape")), &target, true)?;

    // Packages elsewhere, of which Python tells.
    let elsewhere = folder.join("elsewhere");
    put(&library, &elsewhere)?;
    if !Path::new("/usr/local/cuda").exists() {
        named(env.command("normscape").env("PYTHONPATH", &elsewhere), &elsewhere, true)?;
    }
    Ok(())
}
