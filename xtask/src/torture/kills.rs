//! Kills and interrupts runs at random moments, and resumes each until it ends. The result must equal that of an undisturbed run, to the bit.
//!
//! A part runs for a random time, uniform between 0 and the time of the whole undisturbed run. Then it gets a random signal, or the same
//! signal twice within 100 ms. Parts follow until one ends by itself.

use super::cases::{self, Case, OUT};
use super::phase::{self, Stack, UNKNOWN};
use super::program::{Program, ended, text};
use super::random::Random;
use super::results::{difference, results};
use super::system::{self, HUP, INT, KILL, TERM, USR1, USR2, XCPU};
use super::{Options, Tally};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The signals with their weights, and whether the signal is sent again within [`AGAIN`].
const SIGNALS: [(u64, (i32, bool)); 11] = [
    (8, (KILL, false)),
    (3, (TERM, false)),
    (2, (HUP, false)),
    (2, (USR1, false)),
    (1, (INT, false)),
    (1, (USR2, false)),
    (1, (XCPU, false)),
    (2, (TERM, true)),
    (1, (HUP, true)),
    (1, (USR1, true)),
    (1, (INT, true)),
];

/// The longest time between two equal signals, in microseconds.
const AGAIN: u64 = 100_000;

/// After this many kills, a run is left to end.
const MOST: u64 = 12;

/// The number of kills in the slice.
const SLICE: u64 = 40;

/// A case with its undisturbed result.
struct Whole {
    case: Case,
    expected: BTreeMap<PathBuf, Vec<u8>>,
    time: Duration,
}

/// A kill that hit while its process was running.
struct Kill {
    case: &'static str,
    signal: (i32, bool),
    status: ExitStatus,
    stacks: Vec<Stack>,
}

/// The workers' findings.
#[derive(Default)]
struct Found {
    kills: Vec<Kill>,
    runs: u64,
    failures: Vec<String>,
    /// Kills of runs that did not end as they should.
    lost: u64,
}

/// Kills runs until the requested number of kills is reached.
pub fn run(program: &Program, options: &Options) -> Result<Tally, String> {
    let shared = options.dir.join("shared");
    super::fresh(&shared)?;
    cases::prepare(&shared)?;
    let mut wholes = Vec::new();
    for case in cases::for_kills(&shared).into_iter().filter(|case| case.name.contains(&options.only)) {
        wholes.push((case.weight, Whole::new(program, case, &options.dir.join("whole"))?));
    }
    if wholes.is_empty() {
        return Err(format!("no case's name holds '{}'", options.only));
    }
    let count = if options.slice { SLICE } else { options.count };
    let (found, made) = (Mutex::new(Found::default()), AtomicU64::new(0));
    // A chain of parts makes one kill at the least, or none where it ended before.
    super::shared_out(options.jobs, usize::MAX, |worker, number| {
        if made.load(Ordering::Relaxed) >= count {
            return false;
        }
        let mut random = Random::new(options.seed, number as u64);
        let whole = random.weighted(&wholes);
        let dir = options.dir.join(format!("run-{worker}"));
        let mut kills = Vec::new();
        let chain = whole.chain(program, &dir, &mut random, &made, count, &mut kills);
        let mut found = found.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        found.runs += 1;
        if let Err(problem) = chain {
            found.lost += kills.len() as u64;
            let kept = options.dir.join(format!("failed-{}", found.failures.len()));
            let _ = std::fs::rename(&dir, &kept);
            let sent: Vec<_> = kills.iter().map(|kill| words(kill.signal)).collect();
            let place = format!("trial {number}, {}, kept in {}", whole.case.name, kept.display());
            found.failures.push(format!("{place}: after {}: {problem}", sent.join(", ")));
        }
        found.kills.extend(kills);
        true
    });
    let found = found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    report(program, &found, &wholes);
    if found.failures.is_empty() {
        let _ = std::fs::remove_dir_all(&options.dir);
    }
    let kills = found.kills.len() as u64;
    Ok(Tally { passed: kills - found.lost, failed: found.lost.max(found.failures.len() as u64) })
}

impl Whole {
    fn new(program: &Program, case: Case, dir: &Path) -> Result<Whole, String> {
        let mut times = Vec::new();
        for _ in 0..3 {
            super::fresh(dir)?;
            let begun = Instant::now();
            program.done(dir, &case.args).map_err(|problem| format!("{}: undisturbed: {problem}", case.name))?;
            times.push(begun.elapsed());
        }
        times.sort();
        Ok(Whole { expected: results(&dir.join(OUT))?, time: times[1], case })
    }

    /// Runs one case, killed again and again, to its end.
    fn chain(
        &self,
        program: &Program,
        dir: &Path,
        random: &mut Random,
        made: &AtomicU64,
        count: u64,
        kills: &mut Vec<Kill>,
    ) -> Result<(), String> {
        super::fresh(dir)?;
        for part in 0.. {
            let again = part > 0;
            let mut args = if again { self.case.again(program, dir, random) } else { self.case.args.clone() };
            // Results do not depend on it.
            args.extend(["--threads".into(), (1 + random.below(3)).to_string()]);
            let kill = part < MOST && (part == 0 || (random.below(5) < 3 && made.load(Ordering::Relaxed) < count));
            let after = Duration::from_micros(random.below(self.time.as_micros() as u64));
            let signal = kill.then(|| *random.weighted(&SIGNALS));
            let part = Part { program, case: self.case.name, dir, args, after, signal };
            let (status, said, stacks) = part.run(random)?;
            if let (Some(signal), Some(stacks)) = (signal, stacks) {
                made.fetch_add(1, Ordering::Relaxed);
                kills.push(Kill { case: self.case.name, signal, status, stacks });
                part.allowed(signal.0, status, &said)?;
            } else if !status.success() {
                return Err(format!("{}: {}: {said}", part.args.join(" "), ended(status)));
            }
            if status.success() {
                break;
            }
        }
        match difference(&results(&dir.join(OUT))?, &self.expected) {
            None => Ok(()),
            Some(words) => Err(words),
        }
    }
}

/// One command in a chain.
struct Part<'a> {
    program: &'a Program,
    case: &'a str,
    dir: &'a Path,
    args: Vec<String>,
    after: Duration,
    signal: Option<(i32, bool)>,
}

impl Part<'_> {
    /// Runs the command. Returns its exit status, its messages, and where it was if the kill came before its end.
    fn run(&self, random: &mut Random) -> Result<(ExitStatus, String, Option<Vec<Stack>>), String> {
        let place = self.dir.join("where");
        let _ = std::fs::remove_file(&place);
        let mut command = self.program.command(self.dir, &self.args);
        command.env("TORTURE_WHERE", &place).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| self.program.refused(&e))?;
        let mut killed = None;
        if let Some((signal, twice)) = self.signal {
            std::thread::sleep(self.after);
            let refused = |e: std::io::Error| self.program.refused(&e);
            if child.try_wait().map_err(refused)?.is_none() {
                let stacks = stacks(&child, &place);
                // Where it was ends with it: nothing that it did in between is asked for.
                if child.try_wait().map_err(refused)?.is_none() {
                    system::send(&child, signal);
                    killed = Some(stacks);
                }
                if twice {
                    std::thread::sleep(Duration::from_micros(random.below(AGAIN)));
                    if child.try_wait().map_err(refused)?.is_none() {
                        system::send(&child, signal);
                    }
                }
            }
        }
        let mut said = Vec::new();
        if let Some(from) = &mut child.stderr {
            let _ = from.read_to_end(&mut said);
        }
        let status = child.wait().map_err(|e| self.program.refused(&e))?;
        Ok((status, text(&said), killed))
    }

    /// Checks how the command ended after a signal. It may have died from the signal if handling was not set up yet, exit with 130 if its
    /// state was saved, or reach its end.
    fn allowed(&self, signal: i32, status: ExitStatus, said: &str) -> Result<(), String> {
        let saved = || {
            let newest = std::fs::read_dir(self.dir.join(OUT).join("checkpoints")).into_iter().flatten().count();
            self.case.starts_with("reproduce") || newest > 0
        };
        match (status.code(), status.signal()) {
            (Some(0), _) => Ok(()),
            (Some(130), _) if signal == KILL || !saved() => {
                Err(format!("{}: exit 130, and nothing is saved: {said}", self.args.join(" ")))
            }
            (Some(130), _) => Ok(()),
            (None, Some(by)) if by == signal => Ok(()),
            _ => Err(format!("{}: {}: {said}", self.args.join(" "), ended(status))),
        }
    }
}

/// Where the child's threads are. A process that has not started far enough to answer is not asked.
fn stacks(child: &Child, place: &Path) -> Vec<Stack> {
    if !place.exists() {
        return Vec::new();
    }
    let asked = system::ask_where(child);
    let begun = Instant::now();
    loop {
        let found = phase::read(place);
        // A thread that waits in the kernel may answer late.
        if found.len() >= asked || begun.elapsed() > Duration::from_millis(20) {
            return found;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

fn words((signal, twice): (i32, bool)) -> String {
    format!("{}{}", system::name(signal), if twice { " twice" } else { "" })
}

fn report(program: &Program, found: &Found, wholes: &[(u64, Whole)]) {
    let stacks: Vec<Vec<Stack>> = found.kills.iter().map(|kill| kill.stacks.clone()).collect();
    let phases = phase::phases(&program.path, &stacks).unwrap_or_else(|problem| {
        println!("{problem}");
        vec![UNKNOWN; stacks.len()]
    });
    for (_, whole) in wholes {
        println!("{}: {} ms undisturbed", whole.case.name, whole.time.as_millis());
    }
    let count = |title: &str, of: &dyn Fn(&Kill, &'static str) -> String| {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (kill, phase) in found.kills.iter().zip(&phases) {
            *counts.entry(of(kill, phase)).or_default() += 1;
        }
        println!("{title}:");
        counts.iter().for_each(|(what, count)| println!("  {count:>5}  {what}"));
    };
    count("kills by phase", &|kill, phase| format!("{}: {phase}", kill.case));
    count("kills by signal and end", &|kill, _| format!("{}: {}", words(kill.signal), ended(kill.status)));
    println!(
        "{} kills of {} runs; {} runs did not end as they should",
        found.kills.len(),
        found.runs,
        found.failures.len()
    );
    super::tell(&found.failures);
}
