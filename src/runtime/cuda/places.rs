//! Where NVIDIA's libraries may be: named by a variable, in a toolkit, or in one of NVIDIA's Python packages.
//!
//! This file depends on std alone, since `build.rs` includes it, and looks at no folder: who opens a library tries one name after the other.

use std::iter::once;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folders in which the CUDA library called `package` (its name among NVIDIA's Python packages) is looked for, in order. `variable` names an
/// environment variable whose folder comes first; `own` is a folder of this project that may hold the library.
pub fn folders(variable: &str, package: &str, own: Option<PathBuf>) -> Vec<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    ordered(set, variable, package, &programs(), own, told_by_python())
}

/// The same where the environment, this program's paths and what Python tells are given.
///
/// What is installed in the Python environment that the program belongs to comes before what the machine has for all: the packages that the wheel
/// asks for are those that the kernels are tested with.
fn ordered(
    set: impl Fn(&str) -> Option<PathBuf>,
    variable: &str,
    package: &str,
    programs: &[PathBuf],
    own: Option<PathBuf>,
    told: &[PathBuf],
) -> Vec<PathBuf> {
    let of_toolkit = |toolkit: PathBuf| ["lib64", "lib"].map(|lib| toolkit.join(lib));
    // CUDA 13 has one folder for all of its packages.
    let of_packages = |site: PathBuf| ["cu13", package].map(|name| site.join("nvidia").join(name).join("lib"));
    let mut found: Vec<PathBuf> = set(variable).into_iter().collect();
    found.extend(["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(&set).flat_map(of_toolkit));
    found.extend(programs.iter().filter_map(|program| environment(program)).flat_map(packages).flat_map(of_packages));
    found.extend(of_toolkit("/usr/local/cuda".into()));
    // A program that was installed does not look into the folder that it was built in, which may be anybody's on another machine.
    let own = own.into_iter().filter(|_| programs.iter().all(|program| environment(program).is_none()));
    let activated = set("VIRTUAL_ENV").map(|root| packages(&root)).unwrap_or_default();
    found.extend(own.chain(activated).chain(told.iter().cloned()).flat_map(of_packages));
    found
}

/// This program's path, as it was called and with symbolic links followed: either may lie in an environment.
fn programs() -> Vec<PathBuf> {
    let called = std::env::args_os().next().map(PathBuf::from).filter(|path| path.components().count() > 1);
    let called = called.and_then(|path| std::path::absolute(path).ok());
    let mut found: Vec<PathBuf> = called.into_iter().chain(std::env::current_exe().ok()).collect();
    found.dedup();
    found
}

/// The root of the Python environment that a program is installed in: a virtual environment, conda's, a user's `~/.local`, `/usr/local`, or the
/// folder of `pip install --target`. None where the program does not lie in a folder `bin`.
fn environment(program: &Path) -> Option<&Path> {
    let bin = program.parent()?;
    bin.parent().filter(|_| bin.ends_with("bin"))
}

/// The folders that may hold an environment's Python packages.
fn packages(root: &Path) -> Vec<PathBuf> {
    let of = |minor: u32| {
        let site = |folder: &str| root.join(folder.replace('*', &format!("python3.{minor}")));
        // The second is Fedora's, the third Debian's.
        ["lib/*/site-packages", "lib64/*/site-packages", "lib/*/dist-packages"].map(site)
    };
    (8..20).rev().flat_map(of).chain(once(root.to_owned())).collect()
}

/// The folders of Python packages that hold some of NVIDIA's, as told by the Python beside the program, otherwise by that of `PATH`. Python is asked
/// only once, since it takes longer to start than the rest of the search.
fn told_by_python() -> &'static [PathBuf] {
    static FOUND: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let script = "import os, sys\n\
                  for p in sys.path:\n    if p and os.path.isdir(os.path.join(p, 'nvidia')): print(os.path.abspath(p))";
    let ask = |python: PathBuf| {
        let out = Command::new(python).args(["-c", script]).output().ok()?;
        let lines = String::from_utf8_lossy(&out.stdout).lines().map(PathBuf::from).collect();
        out.status.success().then_some(lines)
    };
    FOUND.get_or_init(|| {
        let beside = programs().into_iter().filter(|program| environment(program).is_some());
        let pythons = beside.map(|program| program.with_file_name("python3")).chain(once("python3".into()));
        pythons.into_iter().find_map(ask).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_that_of_a_program_in_bin() {
        let of = |path| environment(Path::new(path));
        assert_eq!(of("/home/ada/.local/bin/normscape"), Some(Path::new("/home/ada/.local")));
        assert_eq!([of("/src/target/debug/normscape"), of("/normscape"), of("normscape")], [None; 3]);
    }

    #[test]
    fn packages_of_every_python_and_of_a_target_are_tried() {
        let found = packages(Path::new("/venv"));
        for place in
            ["lib/python3.10/site-packages", "lib64/python3.14/site-packages", "lib/python3.11/dist-packages", ""]
        {
            assert!(found.contains(&Path::new("/venv").join(place)), "{place}");
        }
    }

    #[test]
    fn the_programs_environment_comes_before_what_the_machine_has() {
        let set = |name: &str| match name {
            "NVRTC_PATH" => Some(PathBuf::from("/named")),
            "CUDA_HOME" => Some("/toolkit".into()),
            "VIRTUAL_ENV" => Some("/activated".into()),
            _ => None,
        };
        let found_by = |program: &str| {
            ordered(set, "NVRTC_PATH", "cuda_nvrtc", &[program.into()], Some("/own".into()), &["/told".into()])
        };
        let in_order = |program: &str, expected: &[&str]| {
            let found = found_by(program);
            let place = |folder: &&str| found.iter().position(|of| of == Path::new(folder));
            let places: Vec<_> = expected.iter().map(place).collect();
            assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{program}: {places:?}");
        };
        let installed = [
            "/named",
            "/toolkit/lib64",
            "/venv/lib/python3.11/site-packages/nvidia/cu13/lib",
            "/venv/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib",
            "/usr/local/cuda/lib64",
            "/activated/lib/python3.11/site-packages/nvidia/cu13/lib",
            "/told/nvidia/cu13/lib",
        ];
        in_order("/venv/bin/normscape", &installed);
        assert!(!found_by("/venv/bin/normscape").iter().any(|folder| folder.starts_with("/own")));
        in_order("/src/target/debug/normscape", &["/usr/local/cuda/lib64", "/own/nvidia/cu13/lib", installed[5]]);
    }
}
