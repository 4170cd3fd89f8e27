//! How long a plan will take and how much memory, from short parts of its own runs.

use super::cost;
use super::images::{Images, image_key};
use super::pace::at_once;
use super::plan::{Part, Plan};
use super::runner::{Make, Task, each};
use super::runs::Group;
use crate::data::image_set::IMAGE;
use crate::data::images;
use crate::files::disk::Scratch;
use crate::files::limits::{self, Bound};
use crate::theory;
use crate::train::metrics::Row;
use crate::train::{Observer, Settings, footprint, schedule};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a part of a run is timed, and how many of its steps at the least.
const TIMED: Duration = Duration::from_millis(700);
const STEPS: usize = 4;
/// Instances of the paper's statements that are timed.
const THEORY: u64 = 64;
/// What is made of an experiment's runs: figure, tables, its part of the report.
const SHOWN: f64 = 0.7;

/// What was timed of a part of a run, in seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    /// Of a row.
    row: f64,
    /// Of opening the run and saving it.
    around: f64,
    /// Of its images, where no other part had loaded them.
    loading: f64,
}

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

/// How many runs go at once where they compute on this machine's CPU, at most `threads`. Errors: one that does not fit its memory.
pub fn workers(plan: &Plan, threads: usize) -> Result<usize> {
    let shared = u64::try_from(shared(plan) + footprint::program()).unwrap_or(u64::MAX);
    let bound = limits::memory().map(|bound| Bound { left: bound.left.saturating_sub(shared), ..bound });
    cost::workers(threads, &needs(plan)?, bound.as_ref())
}

/// Bytes of each run. Generated images are another set for each seed, of which as many are kept as there are workers.
fn needs(plan: &Plan) -> Result<Vec<u128>> {
    let own = |of: &Settings| if of.data == "images" { image_bytes(of) } else { 0 };
    plan.runs().map(|(_, _, of)| Ok(footprint::bytes(of)? + own(of))).collect()
}

/// Bytes of images that all runs share.
fn shared(plan: &Plan) -> u128 {
    let of_path = plan.runs().filter(|(_, _, of)| !of.deep_linear() && of.data != "images");
    of_path.map(|(_, _, of)| image_bytes(of)).max().unwrap_or(0)
}

/// Bytes of a run's images and labels.
fn image_bytes(settings: &Settings) -> u128 {
    let train = if settings.data == "images" { images::TRAIN } else { 50_000 };
    let train = settings.limit_train.map_or(train, |limit| limit.min(train));
    (train + cost::test_images(settings)) as u128 * (IMAGE as u128 + 1)
}

/// Seconds of the statements on random instances, from two short parts: what each instance takes, and the search, whose tries grow with them.
fn of_theory(plan: &Plan) -> f64 {
    let of_part = |part: &Part| {
        let spec = part.experiment.shown.theory.as_ref()?;
        let all = *spec.instances.at(plan.request.scale)?;
        let time = |instances: u64| {
            let began = Instant::now();
            theory::run(&theory::Choice { instances, m: spec.m, lambda: spec.lambda, family: None, seed: 0 });
            began.elapsed().as_secs_f64()
        };
        let [few, more] = [time(THEORY), time(2 * THEORY)];
        let each = (more - few).max(0.0) / THEORY as f64;
        let search = (few - each * THEORY as f64).max(0.0);
        Some(each * all as f64 + search * f64::from(theory::tries(all)) / f64::from(theory::tries(THEORY)))
    };
    plan.parts.iter().filter_map(of_part).sum()
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
    let found: Mutex<BTreeMap<String, Times>> = Mutex::default();
    let one = |(key, part): &(String, Settings)| {
        let group = Group { id: String::new(), label: String::new(), style: 0, runs: Vec::new() };
        let number = parts.iter().position(|(other, _)| other == key).unwrap_or(0);
        let name = format!("part-{number}");
        let task = Task { number, group: &group, name: &name, settings: part };
        let enough = Arc::new(AtomicBool::new(false));
        let loading = Instant::now();
        let source = images.source(part)?;
        let made = Instant::now();
        let mut timing = Timing::new(&enough, made);
        match make.make(&task, source, &scratch.path().join(&name), false, Some(&enough), &mut timing) {
            Ok(_) => {}
            // Ended by the timing itself.
            Err(Error::Interrupted) if enough.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) => {}
            Err(error) => return Err(error),
        }
        let times = Times {
            row: timing.seconds_per_row(),
            around: timing.seconds_around(Instant::now()),
            loading: (made - loading).as_secs_f64(),
        };
        found.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(key.clone(), times);
        Ok(())
    };
    each(&parts, (workers, threads), stop, one)?;
    let found = found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let runs: Vec<f64> = plan.runs().map(|(_, _, settings)| seconds(settings, &found)).collect();
    let largest = needs(plan)?.into_iter().max().unwrap_or(0);
    let at_once = workers.min(runs.len().max(1)) as u128;
    // Sets of images are loaded one at a time.
    let sets = plan.runs().filter(|(_, _, of)| !of.deep_linear()).map(|(_, _, of)| image_key(of));
    let loading = found.values().fold(0.0, |most: f64, times| most.max(times.loading));
    let loading = loading * sets.collect::<BTreeSet<_>>().len() as f64;
    let shown = SHOWN * plan.parts.len() as f64;
    let total = cost::makespan(&runs, workers) + loading + shown + of_theory(plan);
    Ok(Estimate { runs, total, memory: [largest, largest * at_once + shared(plan)] })
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
fn seconds(settings: &Settings, found: &BTreeMap<String, Times>) -> f64 {
    let parts = timed_parts(settings);
    let times = |part: &Settings| found.get(&key(part)).copied().unwrap_or_default();
    let time = |part: &Settings| times(part).row;
    let step = time(&parts[0]);
    let mut all = (settings.steps + 1) as f64 * step + times(&parts[0]).around;
    for (names, part) in intervals(settings).values().zip(&parts[1..]) {
        let count = names.first().map_or(0.0, |name| settings.due_count(name));
        all += count * (time(part) - step).max(0.0);
    }
    if let Some(every) = settings.eval_every {
        // A test is forward passes alone.
        let tests = (settings.steps / every + 1) as f64;
        all += tests * cost::test_images(settings).div_ceil(settings.batch) as f64 * 0.35 * step;
    }
    all
}

/// Times the rows of a part, and ends it when it has enough of them.
struct Timing<'a> {
    enough: &'a AtomicBool,
    made: Instant,
    /// When the first row was waited for, and when the last one came.
    began: Option<Instant>,
    last: Option<Instant>,
    rows: usize,
    /// The rows that came at once with the last one.
    at_once: usize,
    /// The end of the first rows, which may have to warm up, and how many they were.
    warm: Option<(Instant, usize)>,
}

impl<'a> Timing<'a> {
    fn new(enough: &'a AtomicBool, made: Instant) -> Self {
        Timing { enough, made, began: None, last: None, rows: 0, at_once: 0, warm: None }
    }

    /// Of the rows after the first, or after those that came at once with it.
    fn seconds_per_row(&self) -> f64 {
        match (self.warm, self.last) {
            (Some((warm, first)), Some(last)) if self.rows > first => {
                (last - warm).as_secs_f64() / (self.rows - first) as f64
            }
            _ => 0.0,
        }
    }

    /// What is not of the rows: opening the run before them, and saving it after them, which ends now.
    fn seconds_around(&self, now: Instant) -> f64 {
        let opening = self.began.map_or(0.0, |began| (began - self.made).as_secs_f64());
        opening + self.last.map_or(0.0, |last| (now - last).as_secs_f64())
    }

    fn row_at(&mut self, now: Instant) {
        if let Some(last) = self.last
            && !at_once((now - last).as_secs_f64(), self.at_once)
        {
            self.warm.get_or_insert((last, self.rows));
            self.at_once = 0;
        }
        (self.last, self.rows, self.at_once) = (Some(now), self.rows + 1, self.at_once + 1);
        if self.rows > STEPS && self.warm.is_some_and(|(warm, _)| now - warm >= TIMED) {
            self.enough.store(true, Ordering::Relaxed);
        }
    }
}

impl Observer for Timing<'_> {
    fn begin(&mut self, _: u64, _: u64) {
        self.began = Some(Instant::now());
    }
    fn row(&mut self, _: &Row) {
        self.row_at(Instant::now());
    }
    fn warn(&mut self, _: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds of a row, where `burst` rows come at once, `each` seconds worth; a row that warms up takes a second more.
    fn timed(burst: u32, each: Duration) -> f64 {
        let (enough, began) = (AtomicBool::new(false), Instant::now());
        let mut timing = Timing::new(&enough, began);
        let mut now = began + Duration::from_secs(1);
        while !enough.load(Ordering::Relaxed) {
            now += each * burst;
            (0..burst).for_each(|i| timing.row_at(now + Duration::from_nanos(100) * i));
        }
        timing.seconds_per_row()
    }

    #[test]
    fn rows_that_come_at_once_are_timed_as_those_that_come_one_by_one() {
        for (burst, each) in [(1, 30e-3), (1, 1e-3), (1, 10e-6), (64, 1e-3), (64, 10e-3), (17, 2e-3)] {
            let found = timed(burst, Duration::from_secs_f64(each));
            assert!((found / each - 1.0).abs() < 0.01, "{burst} at once, {each}: {found}");
        }
    }
}
