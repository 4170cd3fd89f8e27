//! Makes every file-system call of a small run fail in turn, with each of several errors: once, or together with all later calls.
//!
//! Whatever fails, the command must end with exit code 2 and one line that says so, or continue if the call did not matter. What is left
//! behind must not stop the next command, and that must end with the same bits as if nothing had happened. `faults.c` defines what counts
//! as a call.

use super::cases::{self, Case, OUT};
use super::program::{Program, ended, text};
use super::random::Random;
use super::results::{difference, results};
use super::{Options, Tally};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Mutex;

/// The errors, with Linux's numbers, and whether they can also be permanent, as a full or read-only disk is.
const ERRORS: [(&str, i32, bool); 6] = [
    ("ENOSPC", 28, true),
    ("EIO", 5, true),
    ("EROFS", 30, true),
    ("EDQUOT", 122, true),
    ("EINTR", 4, false),
    ("ENOLCK", 37, false),
];

/// The number of trials in the slice.
const SLICE: usize = 500;

/// A trial: one call that fails.
#[derive(Debug, Clone, Copy)]
struct Trial {
    case: usize,
    /// The number of the call, from 1.
    call: usize,
    error: usize,
    lasting: bool,
}

/// A case with its undisturbed result.
struct Whole {
    case: Case,
    expected: BTreeMap<PathBuf, Vec<u8>>,
    /// The calls that it makes, in order: name and path.
    calls: Vec<String>,
    /// The folder that it starts from, if another command runs before it.
    before: Option<PathBuf>,
}

/// How a command handled the failure of a call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// It continued to the right end.
    WentOn,
    /// It ended with exit code 2 and a line, and the next command reached the right end.
    Refused,
}

/// The findings so far.
#[derive(Default)]
struct Found {
    /// For each case, call and error, how often each outcome occurred.
    outcomes: BTreeMap<(usize, String, &'static str, Outcome), u64>,
    failures: Vec<String>,
    trials: u64,
    /// Error lines that do not contain the system's error message, as what they say instead.
    unnamed: BTreeSet<String>,
    /// Trials in which the call was not reached, because the calls before it vary between runs.
    unreached: u64,
}

/// Tries each call with each error, or a share of these trials.
pub fn run(program: &Program, options: &Options) -> Result<Tally, String> {
    let shared = options.dir.join("shared");
    super::fresh(&shared)?;
    cases::prepare(&shared)?;
    let mut wholes = Vec::new();
    for case in cases::for_calls(&shared).into_iter().filter(|case| case.name.contains(&options.only)) {
        wholes.push(Whole::new(program, case, options)?);
    }
    let trials = chosen(&wholes, options);
    let found = Mutex::new(Found::default());
    super::shared_out(options.jobs, trials.len(), |worker, number| {
        let trial = trials[number];
        let whole = &wholes[trial.case];
        let dir = options.dir.join(format!("run-{worker}"));
        let mut random = Random::new(options.seed, number as u64);
        let tried = whole.tried(program, &dir, trial, &mut random);
        let mut found = found.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        found.trials += 1;
        match tried {
            Ok(Some((outcome, call, unnamed))) => {
                found.unnamed.extend(unnamed);
                let key = (trial.case, call, ERRORS[trial.error].0, outcome);
                *found.outcomes.entry(key).or_default() += 1;
            }
            Ok(None) => found.unreached += 1,
            Err(problem) => {
                let (error, stay) = (ERRORS[trial.error].0, if trial.lasting { " from then on" } else { "" });
                let kept = options.dir.join(format!("failed-{}", found.failures.len()));
                let _ = std::fs::rename(&dir, &kept);
                let call = format!("call {} ({}) {error}{stay}", trial.call, whole.calls[trial.call - 1]);
                let line = format!("{}: {call}, kept in {}: {problem}", whole.case.name, kept.display());
                found.failures.push(line);
            }
        }
        true
    });
    let found = found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    report(&found, &wholes);
    if found.failures.is_empty() {
        let _ = std::fs::remove_dir_all(&options.dir);
    }
    let failed = found.failures.len() as u64;
    Ok(Tally { passed: found.trials - failed, failed })
}

/// The trials, by case and call: all of them, a share, or as many as the slice takes, evenly spread.
fn chosen(wholes: &[Whole], options: &Options) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (case, whole) in wholes.iter().enumerate() {
        for call in (1..=whole.calls.len()).step_by(whole.case.stride.max(1)) {
            for (error, &(_, _, stays)) in ERRORS.iter().enumerate() {
                trials.push(Trial { case, call, error, lasting: false });
                if stays && !options.once {
                    trials.push(Trial { case, call, error, lasting: true });
                }
            }
        }
    }
    let every = if options.slice { trials.len().div_ceil(SLICE).max(1) } else { 1 };
    // Nothing in common with the trials of a call, so that every error has its turn.
    let every = (every..).find(|every| every % 2 != 0 && every % 3 != 0 && every % 5 != 0).unwrap_or(every);
    let (first, of) = options.share;
    trials.into_iter().skip(first * every).step_by(of * every).collect()
}

impl Whole {
    fn new(program: &Program, case: Case, options: &Options) -> Result<Whole, String> {
        let (dir, log) = (options.dir.join("whole"), options.dir.join("calls"));
        let named = |problem: String| format!("{}: undisturbed: {problem}", case.name);
        let before = match &case.before {
            None => None,
            Some(args) => {
                let before = options.dir.join(format!("before {}", case.name));
                super::fresh(&before)?;
                program.done(&before, args).map_err(named)?;
                Some(before)
            }
        };
        let mut wholes = Vec::new();
        // Twice: what is made and what is called must not depend on when.
        for _ in 0..2 {
            begin(&dir, before.as_deref())?;
            let _ = std::fs::remove_file(&log);
            let mut command = program.command(&dir, &case.args);
            let told = command.env("TORTURE_UNDER", "/").env("TORTURE_LOG", &log).output();
            let told = told.map_err(|e| program.refused(&e))?;
            if !told.status.success() {
                return Err(named(format!("{}: {}", ended(told.status), text(&told.stderr))));
            }
            let calls = std::fs::read_to_string(&log).map_err(|e| named(e.to_string()))?;
            let calls = calls.lines().map(|line| line.split_once(' ').map_or(line, |(_, call)| call).to_owned());
            wholes.push((results(&dir.join(OUT))?, calls.collect::<Vec<_>>()));
        }
        let (expected, calls) = wholes.swap_remove(1);
        if let Some(words) = difference(&expected, &wholes[0].0) {
            return Err(format!("{}: two undisturbed runs differ: {words}", case.name));
        }
        Ok(Whole { case, expected, calls, before })
    }

    /// Makes one call fail. `None` where the call was not made. Otherwise the outcome, the call, and the error line if it lacks the
    /// system's message.
    fn tried(
        &self,
        program: &Program,
        dir: &Path,
        trial: Trial,
        random: &mut Random,
    ) -> Result<Option<(Outcome, String, Option<String>)>, String> {
        begin(dir, self.before.as_deref())?;
        let log = dir.join("failed-call");
        let mut command = program.command(dir, &self.case.args);
        command.env("TORTURE_UNDER", "/").env("TORTURE_FAIL", trial.call.to_string()).env("TORTURE_LOG", &log);
        command.env("TORTURE_ERRNO", ERRORS[trial.error].1.to_string());
        if trial.lasting {
            command.env("TORTURE_LASTING", "1");
        }
        let out = command.stdout(Stdio::piped()).output().map_err(|e| program.refused(&e))?;
        // Told by the run itself: the order of calls may differ a little from run to run.
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        let Some(call) = log.split(' ').nth(1).map(str::to_owned) else { return Ok(None) };
        let said = text(&out.stderr);
        let expected = |after: &str| {
            let mut found = results(&dir.join(OUT))?;
            if trial.lasting && !self.case.has_lock() {
                // What it could not take away itself it leaves, under a hidden name.
                found.retain(|path, _| !path.to_string_lossy().contains(".partial-"));
            }
            match difference(&found, &self.expected) {
                None => Ok(()),
                Some(words) => Err(format!("{after}: {words} (it had said: {said})")),
            }
        };
        let warns = |said: &str| said.is_empty() || said.split(" | ").all(|line| line.starts_with("warning: "));
        match out.status.code() {
            Some(0) if warns(&said) => expected("it went on and").map(|()| Some((Outcome::WentOn, call, None))),
            Some(2) => {
                let unnamed = one_line(&out, trial)?;
                let args = self.case.again(program, dir, random);
                let again = program
                    .done(dir, &args)
                    .map_err(|problem| format!("it had said: {said}; then {}: {problem}", args.join(" ")))?;
                if !warns(&text(&again.stderr)) {
                    return Err(format!("it had said: {said}; then: {}", text(&again.stderr)));
                }
                expected("after it was run again")?;
                Ok(Some((Outcome::Refused, call, unnamed)))
            }
            _ => Err(format!("{}: {said}", ended(out.status))),
        }
    }
}

/// Checks that the command printed one error line, last of its messages, and nothing on standard output. Returns the line if it lacks the
/// system's message.
fn one_line(out: &Output, trial: Trial) -> Result<Option<String>, String> {
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let (mut lines, stdout) = (said.lines().rev(), text(&out.stdout));
    let last = lines.next().unwrap_or_default();
    if !last.starts_with("error: ") || !last.contains("; ") || lines.any(|line| !line.starts_with("warning: ")) {
        return Err(format!("not one line of an error: {}", text(&out.stderr)));
    }
    if !stdout.is_empty() {
        return Err(format!("it printed an answer too: {stdout}"));
    }
    let words = std::io::Error::from_raw_os_error(ERRORS[trial.error].1).to_string();
    let words = words.split(" (os error").next().unwrap_or_default().to_owned();
    Ok((!last.contains(&words)).then(|| last.chars().filter(|c| !c.is_ascii_digit()).collect()))
}

/// Makes an empty folder, or a copy of the folder that the command starts from.
fn begin(dir: &Path, before: Option<&Path>) -> Result<(), String> {
    super::fresh(dir)?;
    match before {
        Some(before) => super::copy(&before.join(OUT), &dir.join(OUT)),
        // `op` writes into a folder that must be there; the others take one that is empty.
        None => std::fs::create_dir_all(dir.join(OUT)).map_err(|e| format!("{}: {e}", dir.display())),
    }
}

fn report(found: &Found, wholes: &[Whole]) {
    for (number, whole) in wholes.iter().enumerate() {
        println!("{}: {} calls, every {}-th", whole.case.name, whole.calls.len(), whole.case.stride.max(1));
        let mut table: BTreeMap<&str, BTreeMap<(&str, &Outcome), u64>> = BTreeMap::new();
        for ((case, call, error, outcome), count) in &found.outcomes {
            if *case == number {
                *table.entry(call).or_default().entry((error, outcome)).or_default() += count;
            }
        }
        for (call, row) in table {
            let cell = |error: &str| {
                let of = |outcome| row.get(&(error, &outcome)).copied().unwrap_or_default();
                format!("{error} {}+{}", of(Outcome::WentOn), of(Outcome::Refused))
            };
            println!("  {call:<11} {}", ERRORS.map(|(error, ..)| format!("{:<14}", cell(error))).join(" "));
        }
    }
    println!("(so many went on + so many ended with exit 2, a line, and the right end when run again)");
    found.unnamed.iter().for_each(|line| println!("in other words: {line}"));
    println!("{} trials; {} did not reach their call; {} failed", found.trials, found.unreached, found.failures.len());
    super::tell(&found.failures);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn an_error_is_one_line_and_comes_last() {
        let trial = Trial { case: 0, call: 1, error: 0, lasting: false };
        let told = |stderr: &str, stdout: &str| {
            let status = std::process::ExitStatus::from_raw(2 << 8);
            one_line(&Output { status, stdout: stdout.into(), stderr: stderr.into() }, trial)
        };
        assert_eq!(told("warning: w\nerror: a: No space left on device (os error 28); free some\n", ""), Ok(None));
        assert!(told("error: a: damaged; save it anew\n", "").unwrap().is_some());
        assert!(told("error: a; b\nerror: c; d\n", "").is_err());
        assert!(told("error: a; b\nwarning: c\n", "").is_err());
        assert!(told("error: a; b\n", "written").is_err());
        assert!(told("", "").is_err());
    }
}
