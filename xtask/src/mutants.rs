//! `cargo xtask mutants`: makes each mistake of `src/mutant.rs` in turn and runs the test that `tests/mutants.txt` names for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// A mistake, and the test that finds it.
#[derive(Debug, PartialEq)]
struct Row {
    mutant: String,
    program: String,
    test: String,
}

/// Builds the tests, as `cargo xtask test` does, and tries each mistake. The last line on standard output is the summary.
pub fn run() -> ExitCode {
    let root = crate::root();
    let (passed, failed) = match tried(&root) {
        Ok(counts) => counts,
        Err(problem) => {
            println!("{problem}");
            (0, 1)
        }
    };
    println!("{passed} passed, {failed} failed, 0 skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The numbers of mistakes that passed and failed.
fn tried(root: &Path) -> Result<(u64, u64), String> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).map_err(|e| format!("{path}: {e}"));
    let rows = rows(&read("tests/mutants.txt")?)?;
    let names = names(&read("src/mutant.rs")?);
    let listed: Vec<&str> = rows.iter().map(|row| row.mutant.as_str()).collect();
    let mut failed = 0;
    for name in names.iter().filter(|name| !listed.contains(&name.as_str())) {
        println!("{name}: tests/mutants.txt names no test that finds it");
        failed += 1;
    }
    if let Some(row) = rows.iter().find(|row| !names.contains(&row.mutant)) {
        return Err(format!("tests/mutants.txt: {} is no mistake of src/mutant.rs", row.mutant));
    }
    let programs = build(root, &rows)?;
    println!("{:<4} {:<58} {:>9} {:>9}", "", "test", "without", "with it");
    let mut without = BTreeMap::new();
    let mut passed = 0;
    for row in &rows {
        let program = programs.get(&row.program).ok_or_else(|| format!("no test program {}", row.program))?;
        let place = (row.program.clone(), row.test.clone());
        let good = *without.entry(place).or_insert_with(|| outcome(root, program, row, None) == Outcome::Passed);
        let with = outcome(root, program, row, Some(&row.mutant));
        let fine = good && with == Outcome::Failed;
        let name = format!("{}: {}", row.program, row.test);
        let found = if with == Outcome::Failed { "found" } else { "NOT FOUND" };
        println!("{:<4} {name:<58} {:>9} {found:>9}", row.mutant, if good { "passes" } else { "FAILS" });
        (passed, failed) = if fine { (passed + 1, failed) } else { (passed, failed + 1) };
    }
    Ok((passed, failed))
}

/// The outcome of some tests.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Passed,
    Failed,
    /// No test ran.
    None,
}

fn outcome(root: &Path, program: &Path, row: &Row, mutant: Option<&str>) -> Outcome {
    let mut command = Command::new(program);
    command.arg(&row.test).current_dir(root).stdin(Stdio::null()).env_remove("NORMSCAPE_MUTANT");
    if let Some(mutant) = mutant {
        command.env("NORMSCAPE_MUTANT", mutant);
    }
    let Ok(out) = command.output() else { return Outcome::None };
    let said = String::from_utf8_lossy(&out.stdout);
    // A filter that matches nothing finds nothing: at least one test must have run.
    let ran = said.lines().any(|line| line.starts_with("test ") && line.contains(" ... ") && !line.contains("ignored"));
    match (ran, out.status.success()) {
        (false, _) => Outcome::None,
        (true, true) => Outcome::Passed,
        (true, false) => Outcome::Failed,
    }
}

/// The test programs, by name.
fn build(root: &Path, rows: &[Row]) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut cargo = crate::cargo();
    cargo.current_dir(root).args(["test", "--workspace", "--locked", "--no-run", "--message-format=json"]);
    let mut programs: Vec<&str> = rows.iter().map(|row| row.program.as_str()).collect();
    programs.sort_unstable();
    programs.dedup();
    for program in programs {
        match program {
            "lib" => cargo.arg("--lib"),
            other => cargo.args(["--test", other]),
        };
    }
    let out = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(|e| format!("cargo: {e}"))?;
    if !out.status.success() {
        return Err("the tests do not compile".into());
    }
    let messages = String::from_utf8_lossy(&out.stdout).into_owned();
    Ok(messages.lines().filter_map(executable).collect())
}

/// The name and path of a test program, from a message of cargo's.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    let path = field(message, "\"executable\":\"")?;
    let target = message.split("\"target\":{").nth(1)?;
    let library = target.split('}').next()?.contains("\"kind\":[\"lib\"]");
    let name = if library { "lib".into() } else { field(target, "\"name\":\"")? };
    Some((name, path.into()))
}

fn field(message: &str, key: &str) -> Option<String> {
    Some(message.split(key).nth(1)?.split('"').next()?.to_owned())
}

fn rows(text: &str) -> Result<Vec<Row>, String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [mutant, program, test] => Ok(Row { mutant: mutant.into(), program: program.into(), test: test.into() }),
            _ => Err(format!("tests/mutants.txt: {line}: a mistake, a program and a test are needed")),
        })
        .collect()
}

/// The mistakes that `src/mutant.rs` declares.
fn names(text: &str) -> Vec<String> {
    let body = text.split("pub enum Mutant {").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap_or_default();
    body.lines().filter_map(|line| Some(line.trim().strip_suffix(',')?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_messages_are_read() {
        let row = |mutant: &str| Row { mutant: mutant.into(), program: "lines".into(), test: "a".into() };
        assert_eq!(rows("# x\nE1  lines a\n\nE2 lines a\n"), Ok(vec![row("E1"), row("E2")]));
        assert!(rows("E1 lines\n").is_err());
        assert_eq!(names("pub enum Mutant {\n    /// One, two.\n    E1,\n    /// x\n    M8,\n}\n"), ["E1", "M8"]);
        let message = r#"{"target":{"kind":["test"],"crate_types":["bin"],"name":"lines"},"executable":"/t/lines-1"}"#;
        assert_eq!(executable(message), Some(("lines".into(), "/t/lines-1".into())));
        let message = r#"{"target":{"kind":["lib"],"name":"normscape"},"executable":"/t/normscape-1"}"#;
        assert_eq!(executable(message), Some(("lib".into(), "/t/normscape-1".into())));
        assert_eq!(executable(r#"{"target":{"kind":["lib"],"name":"x"},"executable":null}"#), None);
    }
}
