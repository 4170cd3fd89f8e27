//! Runs the program with bounds on memory and processor time, and checks the form of a refusal.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A small training run: every kind of file, and nothing that takes time.
pub const RUN: &str = "train --model dln --depth 3 --samples 50 --norm batch --noise --momentum 0.5 --batch 20 --seed 3 \
                       --probe landscape --probe-every 10 --probe-points 2 --checkpoint-every 20 --quiet";

/// Address space that a command may take, in KiB: the process itself, its threads' stacks, and 300 MB or so.
const SPACE: u64 = 512 << 10;

/// Processor time that a command may take, in seconds. Generous, since machines differ: without bounds it would take minutes.
const SECONDS: u64 = 20;

/// The program, for `line` (its arguments parted by blanks) in `dir`.
pub fn program(dir: &Path, line: &str) -> Command {
    command(Path::new(env!("CARGO_BIN_EXE_normscape")), dir, line)
}

/// [`program`], in `space` KiB of address space.
pub fn bounded(dir: &Path, line: &str, space: u64) -> Command {
    let mut command = Command::new("sh");
    // One arena for all threads: else each sets address space aside that it never uses.
    let script = format!("ulimit -v {space} && ulimit -t {SECONDS} && exec \"$@\"");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_normscape")]).args(line.split_whitespace());
    settled(&mut command, dir).args(["--threads", "2"]).env("MALLOC_ARENA_MAX", "1");
    command
}

/// The program at `binary`, without what the user's environment would change.
pub fn command(binary: &Path, dir: &Path, line: &str) -> Command {
    let mut command = Command::new(binary);
    settled(command.args(line.split_whitespace()), dir);
    command
}

fn settled<'a>(command: &'a mut Command, dir: &Path) -> &'a mut Command {
    for proxy in ["ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"] {
        command.env_remove(proxy).env_remove(proxy.to_lowercase());
    }
    command.current_dir(dir).stdin(Stdio::null()).env_remove("NORMSCAPE_DATA").env("HOME", dir)
}

/// Runs a command line that must succeed, and gives what it said on standard error.
#[track_caller]
pub fn done(dir: &Path, line: &str) -> String {
    let out = program(dir, line).output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{line}: {}", text(&out.stderr));
    text(&out.stderr)
}

/// Runs a command line that must be refused within the bounds of memory and time, and whose line must hold all of `says`.
#[track_caller]
pub fn refused(dir: &Path, line: &str, says: &[&str]) {
    refusal(line, &bounded(dir, line, SPACE).output().unwrap(), says);
}

/// Exit code 2, nothing on standard output, and one line on standard error: what, where, and what would be right.
#[track_caller]
pub fn refusal(line: &str, out: &Output, says: &[&str]) {
    let said = text(&out.stderr);
    let code = out.status.code().ok_or_else(|| format!("signal {:?}", out.status.signal()));
    assert_eq!(code, Ok(2), "{line}: {said}");
    assert_eq!((text(&out.stdout).as_str(), said.lines().count()), ("", 1), "{line}: {said}");
    told(line, &said, says);
}

/// One line of an error: where: what; what would be right.
#[track_caller]
pub fn told(line: &str, said: &str, says: &[&str]) {
    assert!(said.starts_with("error: ") && said.ends_with('\n') && said.contains("; "), "{line}: {said}");
    for part in says {
        assert!(said.contains(part), "{line}: no `{part}` in: {said}");
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Every file below a folder with its content; a folder is there with none.
pub fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => {
                found.extend(tree(&path));
                found.insert(path, Vec::new());
            }
            false => drop(found.insert(path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found
}

/// Asserts that nothing below a folder is half-written.
#[track_caller]
pub fn nothing_half(dir: &Path, when: &str) {
    for path in tree(dir).keys() {
        let name = path.file_name().unwrap().to_string_lossy();
        assert!(!name.contains(".partial-"), "{when}: {} is left", path.display());
    }
}

/// The steps of a run's checkpoints, in order.
pub fn checkpoints(run: &Path) -> Vec<u64> {
    let names = std::fs::read_dir(run.join("checkpoints")).into_iter().flatten();
    let step = |name: std::ffi::OsString| name.to_str()?.strip_prefix("step-")?.parse().ok();
    let mut steps: Vec<u64> = names.filter_map(|entry| step(entry.unwrap().file_name())).collect();
    steps.sort_unstable();
    steps
}

/// What of a run's folder must not depend on how it was made: the rows without `seconds`, and the bytes of the arrays.
#[derive(Debug, PartialEq)]
pub struct Results {
    rows: Vec<String>,
    arrays: [Vec<u8>; 3],
}

/// The results of a run that ended at step `last`.
pub fn results(run: &Path, last: u64) -> Results {
    let rows = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    let rows: Vec<_> = rows.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect();
    assert_eq!(rows.len() as u64, last + 2, "{}: a header and a row for each step", run.display());
    let part = |name: &str| std::fs::read(run.join(format!("checkpoints/step-{last}/{name}.safetensors"))).unwrap();
    Results { rows, arrays: [part("parameters"), part("state"), std::fs::read(run.join("landscape.npz")).unwrap()] }
}
