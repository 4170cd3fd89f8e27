//! Fuzzes every parser with coverage-guided inputs: `cargo fuzz` builds the targets of `fuzz/`, and libFuzzer runs them.
//!
//! An input may end the program only with an error, and may not take a second or 256 MiB. An input that stops a target is tried again
//! alone, because a slow second may be another process's fault and not a hang.

use super::program::{Program, text};
use super::seeds;
use super::{Options, Tally};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The targets, with the longest input for each; the most useful come first.
const TARGETS: [(&str, usize); 11] = [
    ("npz", 4096),
    ("npy", 1024),
    ("safetensors", 2048),
    ("pickle", 2048),
    ("run_toml", 4096),
    ("experiment", 8192),
    ("checkpoint", 2048),
    ("metrics", 2048),
    ("archive", 8192),
    ("binary", 8192),
    ("arguments", 512),
];

/// Mebibytes that an input may take, including the program's own.
const MEMORY: u64 = 256;

/// The number of unconfirmed stops after which a target is given up.
const UNCONFIRMED: u64 = 20;

/// The libFuzzer statistics that are reported.
const STATISTICS: [(&str, &str); 4] = [
    ("number_of_executed_units", "inputs"),
    ("average_exec_per_sec", "a second"),
    ("slowest_unit_time_sec", "s slowest"),
    ("peak_rss_mb", "MiB at most"),
];

/// The result of starting a target once.
struct Run {
    inputs: u64,
    line: String,
    /// The input that stopped it, and libFuzzer's message.
    stopped: Option<(PathBuf, String)>,
}

/// Runs each target on as many inputs as asked for, or as time allows.
pub fn run(program: &Program, options: &Options) -> Result<Tally, String> {
    let folder = crate::target().join("torture");
    let corpus = folder.join("corpus");
    let targets: Vec<_> = TARGETS.into_iter().filter(|(name, _)| name.contains(&options.only)).collect();
    if !options.built {
        build(&targets)?;
    }
    seeds::write(program, &corpus, &options.dir)?;
    let mut tally = Tally::default();
    for (name, longest) in targets {
        let (mut left, mut unconfirmed) = (options.inputs, 0);
        let begun = std::time::Instant::now();
        let failure = loop {
            let time = options.seconds.saturating_sub(begun.elapsed().as_secs());
            let run = one(name, longest, left, time, &corpus.join(name), &folder)?;
            left = left.saturating_sub(run.inputs);
            println!("{name}: {}", run.line);
            match run.stopped {
                None => break None,
                Some((input, said)) if confirmed(name, &input)? => {
                    break Some(format!("{name}: {said}: {}", input.display()));
                }
                Some((_, said)) => {
                    println!("{name}: {said}, and not again when tried alone");
                    unconfirmed += 1;
                }
            }
            if unconfirmed > UNCONFIRMED {
                break Some(format!("{name}: stopped {unconfirmed} times without a cause"));
            }
            if left == 0 || options.seconds <= begun.elapsed().as_secs() {
                break None;
            }
        };
        println!("{name}: {} inputs in {} s", options.inputs - left, begun.elapsed().as_secs());
        match failure {
            None => tally.passed += 1,
            Some(line) => {
                println!("FAILED {line}");
                tally.failed += 1;
            }
        }
    }
    Ok(tally)
}

fn build(targets: &[(&str, usize)]) -> Result<(), String> {
    let fuzz = crate::root().join("fuzz");
    let lock = fuzz.join("Cargo.lock");
    if !lock.exists() {
        // The same versions as the program's own.
        let from = crate::root().join("Cargo.lock");
        std::fs::copy(&from, &lock).map_err(|e| format!("{}: {e}", from.display()))?;
    }
    let mut cargo = crate::cargo();
    // No sanitizer: those need a nightly compiler, and there is next to nothing unsafe in what reads.
    cargo.args(["fuzz", "build", "--sanitizer", "none", "--target-dir"]).arg(output());
    if let [(name, _)] = targets {
        cargo.arg(name);
    }
    match cargo.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("cargo fuzz does not build the targets; cargo install cargo-fuzz".into()),
        Err(e) => Err(format!("cargo fuzz: {e}; cargo install cargo-fuzz")),
    }
}

fn output() -> PathBuf {
    crate::target().join("fuzz")
}

fn executable(name: &str) -> Result<PathBuf, String> {
    let triples = std::fs::read_dir(output()).into_iter().flatten().flatten();
    let found = triples.map(|triple| triple.path().join("release").join(name)).find(|path| path.is_file());
    found.ok_or_else(|| format!("cargo fuzz left no program {name} under {}", output().display()))
}

fn command(name: &str) -> Result<Command, String> {
    let mut command = Command::new(executable(name)?);
    command.args(["-timeout=1", &format!("-rss_limit_mb={MEMORY}"), "-print_final_stats=1"]).stdin(Stdio::null());
    Ok(command)
}

/// Runs a target until it is done, out of time, or stopped by an input.
fn one(name: &str, longest: usize, runs: u64, time: u64, corpus: &Path, folder: &Path) -> Result<Run, String> {
    let prefix = folder.join(format!("stopped-{name}-"));
    let mut command = command(name)?;
    command.arg(format!("-runs={runs}")).arg(format!("-max_len={longest}")).arg("-reload=0");
    command.arg(format!("-max_total_time={}", time.max(1))).arg(format!("-artifact_prefix={}", prefix.display()));
    let words = crate::root().join("fuzz/words").join(format!("{name}.txt"));
    if words.exists() {
        command.arg(format!("-dict={}", words.display()));
    }
    let out = command.arg(corpus).output().map_err(|e| format!("{name}: {e}"))?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let statistic =
        |key: &str| said.lines().find_map(|line| line.strip_prefix(&format!("stat::{key}:"))).map(str::trim);
    let inputs = statistic(STATISTICS[0].0).and_then(|n| n.parse().ok()).unwrap_or(0);
    let told = STATISTICS.iter().filter_map(|(key, words)| Some(format!("{} {words}", statistic(key)?)));
    let covered = said.lines().rev().find_map(|line| line.split(" cov: ").nth(1)?.split(' ').next());
    let line = told.chain(covered.map(|edges| format!("{edges} edges covered"))).collect::<Vec<_>>().join(", ");
    let stopped = said.lines().find_map(|line| line.split("Test unit written to ").nth(1)).map(PathBuf::from);
    let reason = said.lines().find(|line| line.contains("panicked at") || line.contains("ERROR: libFuzzer"));
    match (out.status.success(), stopped) {
        (true, _) => Ok(Run { inputs, line, stopped: None }),
        (false, Some(input)) => {
            let reason = reason.unwrap_or("stopped").to_owned();
            Ok(Run { inputs, line, stopped: Some((input, reason)) })
        }
        (false, None) => Err(format!("{name}: {}", text(&out.stderr))),
    }
}

/// Whether an input stops its target when tried alone, in each of three attempts.
fn confirmed(name: &str, input: &Path) -> Result<bool, String> {
    for _ in 0..3 {
        let out = command(name)?.arg(input).output().map_err(|e| format!("{name}: {e}"))?;
        if out.status.success() {
            return Ok(false);
        }
    }
    Ok(true)
}
