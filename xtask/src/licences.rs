//! The licences of the Rust crates that the program is made of, as one text, which the wheel carries: most ask that they go with the program.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// What the files are called that hold a licence, or what a licence asks to keep.
const NAMES: [&str; 6] = ["license", "licence", "copying", "copyright", "notice", "unlicense"];

/// Writes the file into the module's folder, where maturin takes it from. Errors: cargo does not tell the crates, or a file cannot be read or written.
pub fn write() -> Result<(), String> {
    let mut cargo = crate::cargo();
    cargo.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"]);
    let out = cargo.stdin(Stdio::null()).output().map_err(|e| format!("cannot start cargo: {e}"))?;
    if !out.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&out.stderr).trim()));
    }
    let told = serde_json::from_slice(&out.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let path = crate::root().join("python/normscape/LICENSES-OF-CRATES.txt");
    fs::write(&path, text(&linked(&told)?)?).map_err(|e| format!("{}: {e}", path.display()))
}

/// The packages that the program is made of, itself left out: what `cargo metadata` tells of each.
fn linked(told: &Value) -> Result<Vec<&Value>, String> {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let own = |package: &&Value| package["name"] == "normscape";
    let packages: Vec<&Value> = told["packages"].as_array().into_iter().flatten().collect();
    let root = packages.iter().copied().find(own).ok_or("cargo metadata tells of no normscape")?;
    let needs: BTreeMap<String, Vec<Value>> =
        list(&told["resolve"]["nodes"]).iter().map(|node| (node["id"].to_string(), list(&node["deps"]))).collect();
    let is_macro = |package: &&&Value| {
        list(&package["targets"]).iter().flat_map(|target| list(&target["kind"])).any(|kind| kind == "proc-macro")
    };
    let macros: BTreeSet<String> = packages.iter().filter(is_macro).map(|package| package["id"].to_string()).collect();
    let (mut found, mut left) = (BTreeSet::new(), vec![root["id"].to_string()]);
    while let Some(id) = left.pop() {
        // Without a kind it is neither for a build script nor for tests.
        let normal = |need: &&Value| list(&need["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
        // The compiler runs macros, and what they need.
        if !macros.contains(&id) && found.insert(id.clone()) {
            left.extend(needs.get(&id).into_iter().flatten().filter(normal).map(|need| need["pkg"].to_string()));
        }
    }
    Ok(packages.into_iter().filter(|package| found.contains(&package["id"].to_string()) && !own(package)).collect())
}

/// Each crate with its licence, and each text once, under the names of the crates that have it.
fn text(crates: &[&Value]) -> Result<String, String> {
    let word = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let mut whole = "The program normscape is made of its own code and of these crates.\n\n".to_owned();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in crates {
        let name = format!("{} {}", word(&package["name"]), word(&package["version"]));
        let authors = package["authors"].as_array().into_iter().flatten().map(word).collect::<Vec<_>>().join(", ");
        writeln!(whole, "{name}: {}; {authors}", word(&package["license"])).map_err(|e| e.to_string())?;
        for file in files(Path::new(&word(&package["manifest_path"])))? {
            let bytes = fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            texts.entry(String::from_utf8_lossy(&bytes).trim().to_owned()).or_default().push(name.clone());
        }
    }
    let mut ordered: Vec<_> = texts.into_iter().collect();
    ordered.sort_by(|a, b| a.1.cmp(&b.1));
    for (text, names) in ordered {
        writeln!(whole, "\n{}\nOf {}:\n\n{text}", "=".repeat(80), names.join(", ")).map_err(|e| e.to_string())?;
    }
    Ok(whole)
}

/// The files with licences beside a crate's manifest, by name.
fn files(manifest: &Path) -> Result<Vec<PathBuf>, String> {
    let folder = manifest.parent().unwrap_or(manifest);
    let refuse = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(refuse)? {
        let path = entry.map_err(refuse)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_file() && NAMES.iter().any(|of| name.starts_with(of)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_only_builds_tests_and_macros_need_is_left_out() {
        let need = |id: &str, kind: Value| json!({ "pkg": id, "dep_kinds": [{ "kind": kind }] });
        let told = json!({
            "packages": [
                { "name": "normscape", "id": "n" }, { "name": "a", "id": "a" }, { "name": "b", "id": "b" },
                { "name": "built", "id": "c" }, { "name": "tested", "id": "d" }, { "name": "other", "id": "e" },
                { "name": "macros", "id": "f", "targets": [{ "kind": ["proc-macro"] }] }, { "name": "parser", "id": "g" },
            ],
            "resolve": { "nodes": [
                { "id": "n", "deps": [need("a", Value::Null), need("c", json!("build")), need("d", json!("dev"))] },
                { "id": "a", "deps": [need("b", Value::Null), need("f", Value::Null)] },
                { "id": "f", "deps": [need("g", Value::Null)] },
                { "id": "b", "deps": [need("a", Value::Null)] },
            ] },
        });
        let names: Vec<_> = linked(&told).unwrap().into_iter().map(|package| package["name"].clone()).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
