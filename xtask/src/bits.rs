//! `cargo xtask bits`: makes a fixed set of small runs and prints a hash of the numbers that each wrote. A source change that should not
//! change any result must print the same before and after.
//!
//! The runs are trainings with every norm, activation, precision and probe, on the CPU and in the emulator (`bits/runs.rs`), and the golden
//! cases on the CPU. A hash leaves out times, versions, settings (`run.toml`), and what checkpoints say about their network.

mod runs;

use super::data;
use super::torture::results::results;
use sha2::{Digest, Sha256};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The operators whose golden files are named `OPERATOR_…`.
const OPERATORS: &str = "conv2d linear batch_norm lp_norm layer_norm group_norm instance_norm noisy_batch_norm max_pool2d relu elu selu gelu silu rms_norm \
                         cross_entropy squared_error weight_norm batch_renorm";
/// The prefix of the golden files of whole networks.
const MODEL: &str = "model";
/// The exit code of a run that diverges; such a run has numbers to hash, too.
const DIVERGED: i32 = 4;

/// The program, and the folder that it works in.
struct Bench {
    program: PathBuf,
    dir: PathBuf,
}

/// Prints the hash and the options of each run. The program is the one that `--program` names, or else the existing release build.
pub fn run(args: &[OsString]) -> ExitCode {
    let path = match args {
        [] => crate::target().join("release/normscape"),
        [option, path] if option == "--program" => path.into(),
        _ => return crate::refuse("xtask: bits: takes --program PATH and nothing else"),
    };
    let program = match path.canonicalize() {
        Ok(program) => program,
        Err(e) => return crate::refuse(&format!("xtask: bits: {}: {e}; a build is needed", path.display())),
    };
    let bench = Bench { program, dir: std::env::temp_dir().join(format!("normscape-bits-{}", std::process::id())) };
    let done = bench.trained().and_then(|()| bench.golden());
    let _ = std::fs::remove_dir_all(&bench.dir);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => crate::refuse(&format!("xtask: bits: {problem}")),
    }
}

impl Bench {
    fn trained(&self) -> Result<(), String> {
        for (common, runs) in runs::TRAINED {
            for own in runs {
                let line = format!("train {own} {common}");
                self.clear()?;
                self.done(&line, &["--out".as_ref(), "run".as_ref()])?;
                println!("{}  {line}", self.hash()?);
            }
        }
        Ok(())
    }

    /// Hashes the golden cases in the repository, and the full set where it is present: a line for each operator and precision.
    fn golden(&self) -> Result<(), String> {
        let mut cases = npz_files(&crate::root().join("tests/golden"))?;
        match data::golden() {
            Ok(folder) => cases.extend(npz_files(&folder)?),
            Err(reason) => println!("golden cases beyond tests/golden are left out: {reason}"),
        }
        for of in OPERATORS.split_whitespace().chain([MODEL]) {
            let is = |case: &PathBuf| {
                let rest = case.file_name().and_then(|name| name.to_str()?.strip_prefix(of));
                rest.is_some_and(|rest| rest.starts_with('_'))
            };
            let its: Vec<PathBuf> = cases.extract_if(.., |case| is(case)).collect();
            for precision in ["f32", "f64"].into_iter().filter(|_| !its.is_empty()) {
                let command = if of == MODEL { "probe".into() } else { format!("op {of}") };
                let line = format!("{command} --device cpu --precision {precision}");
                self.clear()?;
                for (number, case) in its.iter().enumerate() {
                    let output = format!("{number:03}.npz");
                    self.done(&line, &["--input".as_ref(), case.as_ref(), "--output".as_ref(), output.as_ref()])?;
                }
                println!("{}  {line}, golden cases: {}", self.hash()?, its.len());
            }
        }
        match cases.first() {
            Some(case) => Err(format!("{} is called after no operator", case.display())),
            None => Ok(()),
        }
    }

    /// Empties the folder.
    fn clear(&self) -> Result<(), String> {
        let _ = std::fs::remove_dir_all(&self.dir);
        std::fs::create_dir_all(&self.dir).map_err(|e| format!("{}: {e}", self.dir.display()))
    }

    /// Runs the program in the folder. Errors: it does not start, or fails in another way than by diverging.
    fn done(&self, line: &str, paths: &[&OsStr]) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        command.args(line.split_whitespace()).args(paths).arg("--quiet").current_dir(&self.dir).stdin(Stdio::null());
        command.env_remove("NORMSCAPE_DATA").env("NORMSCAPE_EMULATOR", "plain");
        let out = command.output().map_err(|e| format!("{}: {e}", self.program.display()))?;
        match out.status.code() {
            Some(0 | DIVERGED) => Ok(()),
            _ => Err(format!(
                "{command:?} ended with {}: {}",
                out.status,
                String::from_utf8_lossy(&out.stderr).trim_end()
            )),
        }
    }

    /// The hash of the numbers in the folder: its first 16 hexadecimal digits. Errors: there are none.
    fn hash(&self) -> Result<String, String> {
        let mut hash = Sha256::new();
        let found = results(&self.dir)?;
        if found.is_empty() {
            return Err(format!("{} wrote nothing", self.program.display()));
        }
        for (path, bytes) in found {
            let bytes = match path.file_name().and_then(OsStr::to_str) {
                Some("run.toml") => continue,
                Some(name) if name.ends_with(".safetensors") => without_metadata(&bytes),
                _ => bytes,
            };
            hash.update(format!("{} {}\n", path.display(), bytes.len()));
            hash.update(bytes);
        }
        Ok(hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The `.npz` files of a folder, by name.
fn npz_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<_> =
        entries.iter().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "npz")).collect();
    paths.sort();
    Ok(paths)
}

/// A safetensors file without its header's metadata: text in braces that contains no braces.
fn without_metadata(file: &[u8]) -> Vec<u8> {
    const MARK: &[u8] = b"\"__metadata__\":{";
    let begin = file.windows(MARK.len()).position(|window| window == MARK);
    let end = begin.and_then(|begin| Some(begin + file[begin..].iter().position(|&byte| byte == b'}')?));
    begin.zip(end).map_or(file.to_vec(), |(begin, end)| [&file[..begin], &file[end..]].concat())
}
