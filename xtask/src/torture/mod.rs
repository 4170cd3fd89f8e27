//! `cargo xtask torture`: campaigns against what a run promises: nothing lost, nothing half-written, the same bits whatever happens in
//! between. They take long and run in addition to continuous integration; a slice of about a minute is part of it.
//!
//! - `kills`: `train` and `reproduce`, killed and interrupted at random moments and resumed until their end
//! - `calls`: every file-system call of a small run fails in turn, with each of several errors
//! - `fuzz`: every parser, with coverage-guided inputs
//!
//! `cases`: the small runs · `seeds`: the fuzzers' initial inputs · `results`: the parts of a folder that must not depend on how it was
//! made · `program`: starts the program · `phase`: where the program was when the kill came · `system`: the few system calls that std lacks
//! · `random`: random numbers · `faults.c`: the library that is preloaded into the program.

mod calls;
mod cases;
mod fuzz;
mod kills;
mod phase;
mod program;
mod random;
pub mod results;
mod seeds;
mod system;

use program::Program;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The command's options.
struct Options {
    kills: bool,
    calls: bool,
    fuzz: bool,
    /// Run a slice of about a minute of each campaign.
    slice: bool,
    /// The number of kills.
    count: u64,
    /// The parsers' fuzzing targets are already built.
    built: bool,
    /// The number of inputs for each parser; below it, the seconds for each.
    inputs: u64,
    seconds: u64,
    seed: u64,
    /// The number of trials at once.
    jobs: usize,
    /// Make calls fail once only, and not from then on.
    once: bool,
    /// Of the trials of failing calls, take every `share.1`-th, from the `share.0`-th on.
    share: (usize, usize),
    /// Only cases whose name contains this.
    only: String,
    program: Option<PathBuf>,
    /// The folder in which the runs' folders are made.
    dir: PathBuf,
}

/// The result of a campaign.
#[derive(Debug, Default)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
}

/// Runs the campaigns that `args` ask for. The last line on standard output is the summary.
pub fn run(args: &[OsString]) -> ExitCode {
    let begun = Options::read(args).and_then(|options| Ok((Program::prepare(options.program.as_deref())?, options)));
    let (program, options) = match begun {
        Ok(begun) => begun,
        Err(problem) => return crate::refuse(&format!("xtask: {problem}")),
    };
    println!("program: {}; seed {}; {} at once; under {}", program, options.seed, options.jobs, options.dir.display());
    let mut all = Tally::default();
    type Campaign = fn(&Program, &Options) -> Result<Tally, String>;
    let campaigns: [(bool, &str, Campaign); 3] =
        [(options.kills, "kills", kills::run), (options.calls, "calls", calls::run), (options.fuzz, "fuzz", fuzz::run)];
    for (_, name, campaign) in campaigns.into_iter().filter(|(asked, ..)| *asked) {
        println!("== {name}");
        let tally = campaign(&program, &options).unwrap_or_else(|problem| {
            println!("{problem}");
            Tally { passed: 0, failed: 1 }
        });
        all = Tally { passed: all.passed + tally.passed, failed: all.failed + tally.failed };
    }
    println!("{} passed, {} failed, 0 skipped", all.passed, all.failed);
    if all.failed == 0 && all.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Options {
    fn read(args: &[OsString]) -> Result<Options, String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let dir = std::env::temp_dir().join(format!("normscape-torture-{}", std::process::id()));
        let mut options = Options {
            kills: false,
            calls: false,
            fuzz: false,
            slice: false,
            count: 1000,
            built: false,
            once: false,
            inputs: 10_000_000,
            seconds: u64::from(u32::MAX),
            seed: 1,
            jobs: cores,
            share: (0, 1),
            only: String::new(),
            program: None,
            dir,
        };
        let mut args = args.iter().map(|arg| arg.to_string_lossy().into_owned());
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg}: a value is missing"));
            match arg.as_str() {
                "kills" => options.kills = true,
                "calls" => options.calls = true,
                "fuzz" => options.fuzz = true,
                "--built" => options.built = true,
                "--once" => options.once = true,
                "--slice" => options.slice = true,
                "--count" => options.count = number(&arg, &value()?)?,
                "--inputs" => options.inputs = number(&arg, &value()?)?,
                "--seconds" => options.seconds = number(&arg, &value()?)?,
                "--seed" => options.seed = number(&arg, &value()?)?,
                "--jobs" => options.jobs = number::<usize>(&arg, &value()?)?.max(1),
                "--only" => options.only = value()?,
                "--program" => options.program = Some(value()?.into()),
                "--dir" => options.dir = Path::new(&value()?).join(format!("torture-{}", std::process::id())),
                "--share" => options.share = share(&value()?)?,
                _ => return Err(format!("torture: no '{arg}'; see cargo xtask help")),
            }
        }
        if !options.kills && !options.calls && !options.fuzz {
            (options.kills, options.calls) = (true, true);
        }
        Ok(options)
    }
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{option} {text}: a whole number is needed"))
}

/// Parses `I/N`, with I from 1 to N.
fn share(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
    match parts {
        Some((i, n)) if (1..=n).contains(&i) => Ok((i - 1, n)),
        _ => Err(format!("--share {text}: I/N is needed, I from 1 to N")),
    }
}

/// The most failures that are shown; the rest are only counted.
const SHOWN: usize = 40;

fn tell(failures: &[String]) {
    failures.iter().take(SHOWN).for_each(|failure| println!("FAILED {failure}"));
    if failures.len() > SHOWN {
        println!("and {} more", failures.len() - SHOWN);
    }
}

/// Makes a worker's folder, removing an existing one.
fn fresh(dir: &Path) -> Result<(), String> {
    let refused = |e: std::io::Error| format!("{}: {e}", dir.display());
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(refused(e)),
        _ => {}
    }
    std::fs::create_dir_all(dir).map_err(refused)
}

/// Copies a folder and everything in it.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let refused = |e: std::io::Error| format!("{}: {e}", from.display());
    std::fs::create_dir_all(to).map_err(refused)?;
    for entry in std::fs::read_dir(from).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target)?,
            false => _ = std::fs::copy(entry.path(), &target).map_err(refused)?,
        }
    }
    Ok(())
}

/// Runs `one` for the numbers `0..count` on `jobs` threads, passing each its thread's number first. A thread stops when `one` returns
/// false.
fn shared_out(jobs: usize, count: usize, one: impl Fn(usize, usize) -> bool + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for worker in 0..jobs {
            let (next, one) = (&next, &one);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if number >= count || !one(worker, number) {
                        return;
                    }
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let read = |line: &str| Options::read(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>());
        let options = read("calls --share 3/4 --seed 7 --only train").unwrap();
        assert!(options.calls && !options.kills);
        assert_eq!((options.share, options.seed, options.only.as_str()), ((2, 4), 7, "train"));
        let options = read("").unwrap();
        assert!(options.calls && options.kills);
        for wrong in ["--share 5/4", "--share 0/4", "--seed x", "--seed", "sills"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_number_is_done_once() {
        let done: Vec<_> = (0..50).map(|_| std::sync::atomic::AtomicUsize::new(0)).collect();
        shared_out(3, 50, |_, number| {
            done[number].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            true
        });
        assert!(done.into_iter().all(|count| count.into_inner() == 1));
    }
}
