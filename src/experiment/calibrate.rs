//! How long a plan will take and how much memory, from short parts of its own runs.

use super::cost;
use super::plan::Plan;
use super::runner::{Images, Make, Task, each};
use super::runs::Group;
use crate::files::disk::Scratch;
use crate::files::machine;
use crate::train::metrics::Row;
use crate::train::{Observer, Settings, footprint, schedule};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a part of a run is timed, and how many of its steps at the least.
const TIMED: Duration = Duration::from_millis(700);
const STEPS: usize = 4;
/// What is made of an experiment's runs: figure, tables, its part of the report.
const SHOWN: f64 = 0.7;

/// What a plan will take.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Seconds of each run by itself on its worker, in the plan's order.
    pub runs: Vec<f64>,
    /// Seconds of all, by so many workers.
    pub total: f64,
    /// Bytes of the largest run, and of as many of the largest as there are workers.
    pub memory: [u128; 2],
}

/// How many runs go at once on this machine's CPU. Errors: one that does not fit its memory.
pub fn workers(plan: &Plan, threads: usize) -> Result<usize> {
    let needs: Vec<u128> = plan.runs().map(|(_, _, of)| footprint::bytes(of)).collect::<Result<_>>()?;
    cost::workers(threads, &needs, machine::memory("MemAvailable"))
}

/// Times short parts of the plan's runs, each kind of run once, as many at once as will run later.
///
/// Errors: as training's; no room for temporary files.
pub fn estimate(
    plan: &Plan,
    (workers, threads): (usize, usize),
    stop: &AtomicBool,
    make: &dyn Make,
) -> Result<Estimate> {
    let scratch = Scratch::new()?;
    let images = Images::new(workers);
    // Parts that are alike are timed once.
    let mut parts: BTreeMap<String, Settings> = BTreeMap::new();
    for (_, _, settings) in plan.runs() {
        for part in timed_parts(settings) {
            parts.entry(key(&part)).or_insert(part);
        }
    }
    let parts: Vec<(String, Settings)> = parts.into_iter().collect();
    let found: Mutex<BTreeMap<String, f64>> = Mutex::default();
    let one = |(key, part): &(String, Settings)| {
        let group = Group { id: String::new(), label: String::new(), style: 0, runs: Vec::new() };
        let number = parts.iter().position(|(other, _)| other == key).unwrap_or(0);
        let name = format!("part-{number}");
        let task = Task { number, group: &group, name: &name, settings: part };
        let enough = Arc::new(AtomicBool::new(false));
        let mut timing = Timing { enough: &enough, began: None, last: None, rows: 0 };
        let source = images.source(part)?;
        match make.make(&task, source, &scratch.path().join(&name), false, Some(&enough), &mut timing) {
            Ok(_) => {}
            // Ended by the timing itself.
            Err(Error::Interrupted) if enough.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) => {}
            Err(error) => return Err(error),
        }
        found.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(key.clone(), timing.seconds_per_row());
        Ok(())
    };
    each(&parts, (workers, threads), stop, one)?;
    let found = found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let runs: Vec<f64> = plan.runs().map(|(_, _, settings)| seconds(settings, &found)).collect();
    let largest =
        plan.runs().map(|(_, _, of)| footprint::bytes(of)).try_fold(0, |most, of| of.map(|of| most.max(of)))?;
    let at_once = workers.min(runs.len().max(1)) as u128;
    let total = cost::makespan(&runs, workers) + SHOWN * plan.parts.len() as f64;
    Ok(Estimate { runs, total, memory: [largest, largest * at_once] })
}

/// A run without probes, and one for each interval of its probes in which those run at every step; all without tests.
fn timed_parts(settings: &Settings) -> Vec<Settings> {
    let plain = |probe: Vec<String>| Settings {
        probe,
        probe_every: None,
        probe_at: Vec::new(),
        eval_every: None,
        checkpoint_every: None,
        steps: 1_000_000,
        ..settings.clone()
    };
    let intervals = intervals(settings);
    let with = |names: &Vec<String>| plain(names.iter().map(|name| format!("{name}:1")).collect());
    std::iter::once(plain(Vec::new())).chain(intervals.values().map(with)).collect()
}

/// The names of a run's probes by how often they run.
fn intervals(settings: &Settings) -> BTreeMap<String, Vec<String>> {
    let mut intervals: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in &settings.probe {
        let (name, every) = schedule::parts(entry);
        intervals.entry(every.unwrap_or_default().to_owned()).or_default().push(name.to_owned());
    }
    intervals
}

/// What the time of a step depends on.
fn key(part: &Settings) -> String {
    let alike = Settings { seed: 0, lr: 1e-9, limit_train: None, limit_test: None, ..part.clone() };
    format!("{alike:?}")
}

/// The seconds of a run, from those of its parts.
fn seconds(settings: &Settings, found: &BTreeMap<String, f64>) -> f64 {
    let parts = timed_parts(settings);
    let time = |part: &Settings| found.get(&key(part)).copied().unwrap_or(0.0);
    let step = time(&parts[0]);
    let mut all = (settings.steps + 1) as f64 * step;
    for (names, part) in intervals(settings).values().zip(&parts[1..]) {
        let count = names.first().map_or(0, |name| (0..=settings.steps).filter(|&t| settings.due(name, t)).count());
        all += count as f64 * (time(part) - step).max(0.0);
    }
    if let Some(every) = settings.eval_every {
        // A test is forward passes alone.
        let tests = (settings.steps / every + 1) as f64;
        all += tests * settings.limit_test.unwrap_or(10_000).div_ceil(settings.batch) as f64 * 0.35 * step;
    }
    all
}

/// Times the rows of a part, and ends it when it has enough of them.
struct Timing<'a> {
    enough: &'a AtomicBool,
    began: Option<Instant>,
    last: Option<Instant>,
    rows: usize,
}

impl Timing<'_> {
    /// Of the rows after the first, which may have to warm up.
    fn seconds_per_row(&self) -> f64 {
        match (self.began, self.last) {
            (Some(began), Some(last)) if self.rows > 1 => (last - began).as_secs_f64() / (self.rows - 1) as f64,
            _ => 0.0,
        }
    }
}

impl Observer for Timing<'_> {
    fn begin(&mut self, _: u64, _: u64) {}
    fn row(&mut self, _: &Row) {
        let now = Instant::now();
        let began = *self.began.get_or_insert(now);
        self.last = Some(now);
        self.rows += 1;
        if self.rows > STEPS && now - began >= TIMED {
            self.enough.store(true, Ordering::Relaxed);
        }
    }
    fn warn(&mut self, _: &str) {}
}
