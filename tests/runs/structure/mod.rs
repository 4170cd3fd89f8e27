//! The project's own rules, checked in the source: the order of rooms, the lengths of files, and who may access the disk.

mod circles;
mod paths;

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms in order: each imports only rooms before it.
const FLOORS: [&str; 15] = [
    "error",
    "mutant",
    "files",
    "runtime",
    "ops",
    "network",
    "data",
    "theory",
    "probe",
    "train",
    "report",
    "experiment",
    "bench",
    "cli",
    "main",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(PathBuf, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let inside = path.strip_prefix(&root).unwrap().to_owned();
        let first = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).unwrap();
        (inside, first, text)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn a_room_imports_only_rooms_before_it() {
    let mut looked_at = 0;
    for (path, room, text) in all() {
        if room == "lib" {
            continue;
        }
        let floor =
            FLOORS.iter().position(|f| *f == room).unwrap_or_else(|| panic!("{} is on no floor", path.display()));
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for (at, _) in code.match_indices("crate::") {
                let before = code[..at].chars().last();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                    continue;
                }
                // `crate::room::…`, or `crate::{room::…, room::…}`.
                for target in code[at + 7..].trim_start_matches('{').split(',').map(str::trim_start) {
                    let target: String = target.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    let Some(other) = FLOORS.iter().position(|f| *f == target) else { continue };
                    looked_at += 1;
                    assert!(
                        other <= floor,
                        "{}:{}: {room} imports {target}, a room above it",
                        path.display(),
                        number + 1
                    );
                }
            }
        }
    }
    assert!(looked_at > 100, "only {looked_at} imports were found: is the search right?");
}

#[test]
fn a_file_has_one_subject() {
    for (path, _, text) in all() {
        let lines = text.lines().count();
        assert!(lines <= 480, "{} has {lines} lines", path.display());
        assert!(text.starts_with("//!"), "{} does not say what it is", path.display());
    }
}

#[test]
fn only_files_touches_the_disk() {
    for (path, room, text) in all() {
        // Tests set up their own folders.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let test_only = ["tests", "fixture"].iter().any(|word| path.to_string_lossy().contains(word));
        if room == "files" || test_only {
            continue;
        }
        for word in
            ["std::fs", "fs::", "File::open", "File::create", "OpenOptions", ".exists()", ".is_dir()", ".is_file()"]
        {
            assert!(!code.contains(word), "{} uses {word}: the room `files` is for that", path.display());
        }
    }
}

#[test]
fn the_drivers_functions_have_one_place() {
    // cudarc's own look themselves up at their first call, and panic where a library lacks them.
    for (path, _, text) in all() {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let named = code.lines().any(|line| line.contains("cudarc::") && !line.trim_start().starts_with("//"));
        assert_eq!(
            named,
            path.ends_with("gpu/symbols.rs"),
            "{}: gpu/symbols.rs has the driver's functions",
            path.display()
        );
    }
}

#[test]
fn a_case_of_every_operator_is_there() {
    // Every operator's folder has its grammar: contract, reference, layer or loss, cases.
    let ops = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops");
    let mut operators = 0;
    for entry in fs::read_dir(ops).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        if folder.join("cpu.rs").exists() {
            operators += 1;
            assert!(folder.join("mod.rs").exists(), "{name} has no contract");
            assert!(folder.join("cuda.rs").exists(), "{name} has no kernels");
            let inside = ["deep_linear", "distribution", "gather", "noise", "running", "sgd", "step", "vector"];
            let at_the_boundary = !inside.contains(&name.as_str());
            assert!(!at_the_boundary || folder.join("cases.rs").exists(), "{name} has no cases");
        }
    }
    assert!(operators >= 16, "only {operators} operators were found");
}
