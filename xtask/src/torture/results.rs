//! The parts of a folder that must not depend on when and how it was made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The files below a folder, by name, reduced to what must be the same: `metrics.csv` without `seconds`, the report without its cost, and
/// of the checkpoints only the newest one's tensors. Times, the lock and TensorBoard's logs (one file per part) are left out. Half-written
/// files are included, and so detected.
pub fn results(dir: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>, String> {
    let mut found = BTreeMap::new();
    gather(dir, Path::new(""), &mut found)?;
    Ok(found)
}

fn gather(dir: &Path, inside: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<(), String> {
    let refused = |e: std::io::Error| format!("{}: {e}", dir.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(refused)? {
        entries.push(entry.map_err(refused)?.path());
    }
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let step = |path: &Path| name(path).strip_prefix("step-").and_then(|n| n.parse::<u64>().ok());
    let newest = entries.iter().filter_map(|path| step(path)).max();
    for path in entries {
        let (name, inside) = (name(&path), inside.join(path.file_name().unwrap_or_default()));
        if path.is_dir() {
            // Which older ones are left depends on when the run was saved.
            if step(&path) == newest || step(&path).is_none() {
                gather(&path, &inside, found)?;
            }
            continue;
        }
        let timed = ["timings.json", ".lock", "state.json", "manifest.json"].contains(&name.as_str());
        if timed || name.starts_with("events.out.tfevents.") {
            continue;
        }
        let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let bytes = match name.as_str() {
            "report.html" => without_cost(&String::from_utf8_lossy(&bytes)).into_bytes(),
            "metrics.csv" => without_seconds(&String::from_utf8_lossy(&bytes)).into_bytes(),
            _ => bytes,
        };
        found.insert(inside, bytes);
    }
    Ok(())
}

/// The rows without their last column.
fn without_seconds(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|row| row.rsplit_once(',').map_or(row.to_owned(), |(head, _)| head.to_owned() + "\n"))
        .collect()
}

/// The report without the part between its two marks, like `normscape::report::without_cost`.
fn without_cost(html: &str) -> String {
    let parts =
        html.split_once("<!-- cost -->").and_then(|(head, rest)| Some((head, rest.split_once("<!-- /cost -->")?.1)));
    parts.map_or(html.to_owned(), |(head, tail)| format!("{head}{tail}"))
}

/// How two results differ, in a few words; `None` where they are equal.
pub fn difference(found: &BTreeMap<PathBuf, Vec<u8>>, expected: &BTreeMap<PathBuf, Vec<u8>>) -> Option<String> {
    let list = |what: &str, paths: Vec<&PathBuf>| {
        let shown: Vec<_> = paths.iter().take(4).map(|path| path.display().to_string()).collect();
        (!shown.is_empty()).then(|| format!("{what}: {}", shown.join(", ")))
    };
    let lacks = list("missing", expected.keys().filter(|path| !found.contains_key(*path)).collect());
    let more = list("left over", found.keys().filter(|path| !expected.contains_key(*path)).collect());
    let other = |path: &&PathBuf| found.get(*path).is_some_and(|bytes| *bytes != expected[*path]);
    let differs = list("different", expected.keys().filter(other).collect());
    let all: Vec<String> = [lacks, more, differs].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_left_out_and_all_else_is_compared() {
        assert_eq!(without_seconds("step,loss,seconds\n0,1,0.5\n1,2"), "step,loss\n0,1\n1\n");
        assert_eq!(without_cost("a<!-- cost -->b<!-- /cost -->c"), "ac");
        let map = |list: &[(&str, &str)]| list.iter().map(|(a, b)| (a.into(), b.as_bytes().to_vec())).collect();
        let whole = map(&[("a", "1"), ("b", "2")]);
        assert_eq!(difference(&whole, &whole), None);
        let words = difference(&map(&[("a", "3"), ("c", "")]), &whole).unwrap();
        assert_eq!(words, "missing: b; left over: c; different: a");
    }
}
