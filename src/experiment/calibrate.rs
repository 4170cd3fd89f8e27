//! How long a plan will take and how much memory, from a few seconds of steps of what stands for its runs.

use super::images::{Images, image_key};
use super::pace::at_once;
use super::plan::{Part, Plan};
use super::runner::{Make, Task, each};
use super::runs::{Group, Kind};
use super::{cost, stand_in};
use crate::data::image_set::IMAGE;
use crate::data::images;
use crate::files::disk::Scratch;
use crate::files::hash;
use crate::files::limits::{self, Bound};
use crate::theory;
use crate::train::metrics::Row;
use crate::train::{Observer, Settings, footprint, schedule};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long all parts are timed together, and one of them at the least, in how many of its steps.
const ALL: Duration = Duration::from_millis(2800);
const TIMED: Duration = Duration::from_millis(40);
const STEPS: usize = 3;
/// Instances of the paper's statements that are timed.
const THEORY: u64 = 16;
/// Images that are made, and bytes that are hashed, to see how long it takes.
const MADE: usize = 64;
const HASHED: usize = 1 << 21;
/// Seconds of loading CIFAR-10 from a disk.
const LOADED: f64 = 1.5;
/// By what share the time of a run may be wrong: where its own step was timed, where that of a network with fewer channels was, and where
/// another run's stands for it.
const UNCERTAIN: [f64; 3] = [0.2, 0.35, 0.7];
/// What is made of an experiment's runs: figure, tables, its part of the report.
const SHOWN: f64 = 0.7;

/// What was timed of a part of a run, in seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    /// Of a row.
    row: f64,
    /// Of opening the run and saving it.
    around: f64,
}

/// What a plan will take.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Seconds of each run by itself on its worker, in the plan's order.
    pub runs: Vec<f64>,
    /// Seconds of all, by so many workers.
    pub total: f64,
    /// By what share of it that may be wrong, on a machine that does nothing else.
    pub uncertain: f64,
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

/// Bytes of the largest run, and of as many of the largest as there are workers. Errors: settings that make no network.
pub fn memory(plan: &Plan, workers: usize) -> Result<[u128; 2]> {
    let needs = needs(plan)?;
    let largest = needs.iter().copied().max().unwrap_or(0);
    Ok([largest, largest * workers.min(needs.len().max(1)) as u128 + shared(plan)])
}

/// Times steps of small networks that stand for the plan's runs, as many at once as will run later, for a few seconds in all, and counts up
/// what they take.
///
/// Errors: as training's; no room for temporary files.
pub fn estimate(plan: &Plan, workers: (usize, usize), stop: &AtomicBool, make: &dyn Make) -> Result<Estimate> {
    let found = time_all(&parts(plan)?, workers, stop, make)?;
    let pace = paces(&found)?;
    let (mut runs, mut wrong) = (Vec::new(), 0.0);
    // Runs that differ in the seed alone take the same.
    let mut known: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for (_, _, settings) in plan.runs() {
        let same = format!("{:?}", Settings { seed: 0, ..settings.clone() });
        let (seconds, uncertain) = match known.get(&same) {
            Some(of) => *of,
            None => *known.entry(same).or_insert(seconds(settings, &found, pace)?),
        };
        runs.push(seconds);
        wrong += seconds * uncertain;
    }
    let around = loading(plan, workers.1) + SHOWN * plan.parts.len() as f64 + of_theory(plan);
    let all: f64 = runs.iter().sum();
    let uncertain = if all > 0.0 { wrong / all } else { UNCERTAIN[0] };
    let total = cost::makespan(&runs, workers.0) + around;
    Ok(Estimate { runs, total, uncertain, memory: memory(plan, workers.0)? })
}

/// What is timed: of each class its stand-ins, of each probe one class with it and without it; first what most of the work is like.
fn parts(plan: &Plan) -> Result<Vec<Settings>> {
    let mut parts: BTreeMap<String, (f64, Settings)> = BTreeMap::new();
    let mut add = |part: Settings, work: f64| {
        parts.entry(key(&part)).or_insert((0.0, part)).0 += work;
    };
    let mut probes: BTreeMap<(usize, String), (f64, &Settings)> = BTreeMap::new();
    for (_, _, settings) in plan.runs() {
        let (class, work) = (stand_in::class(settings), cost::work(settings)?);
        let own = stand_in::small(&class, stand_in::STEP)?;
        if stand_in::reduced(&own, &class) {
            let bare = stand_in::bare(&class);
            add(stand_in::small(&bare, stand_in::SHARED)?, work);
            add(stand_in::small(&bare, stand_in::STEP)?, work);
        }
        add(own, work);
        for entry in &settings.probe {
            let name = schedule::parts(entry).0;
            let kind = Kind::of(settings) as usize;
            let spent = settings.due_count(name) * cost::Row::of(settings)?.probe(name);
            let most = probes.entry((kind, name.to_owned())).or_insert((0.0, settings));
            most.0 += spent;
        }
    }
    for ((_, name), (work, settings)) in probes {
        let small = stand_in::small(&stand_in::class(settings), stand_in::PROBED)?;
        add(stand_in::probed(&small, &name, settings), work);
        add(small, work);
    }
    let mut parts: Vec<(f64, Settings)> = parts.into_values().collect();
    parts.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(parts.into_iter().map(|(_, part)| part).collect())
}

/// Times the rows of some runs, until all are timed or the time for it is over. Errors: as training's.
fn time_all(
    parts: &[Settings],
    workers: (usize, usize),
    stop: &AtomicBool,
    make: &dyn Make,
) -> Result<BTreeMap<String, (Times, Settings)>> {
    let scratch = Scratch::new()?;
    let images = Images::new(workers.0);
    let found: Mutex<BTreeMap<String, (Times, Settings)>> = Mutex::default();
    // What ends a part: the same for all that begin before the time is over.
    let (over, timed) = (Mutex::new(Vec::<Arc<AtomicBool>>::new()), AtomicBool::new(false));
    let ends = Instant::now() + ALL;
    let lock = |list: &Mutex<Vec<Arc<AtomicBool>>>, act: &dyn Fn(&mut Vec<Arc<AtomicBool>>)| {
        act(&mut list.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    };
    let one = |part: &Settings| {
        let enough = Arc::new(AtomicBool::new(false));
        lock(&over, &|list| list.push(enough.clone()));
        if Instant::now() >= ends {
            return Ok(());
        }
        let group = Group { id: String::new(), label: String::new(), style: 0, runs: Vec::new() };
        let number = parts.iter().position(|other| std::ptr::eq(other, part)).unwrap_or(0);
        let name = format!("part-{number}");
        let task = Task { number, group: &group, name: &name, settings: part };
        let source = images.source(part)?;
        let mut timing = Timing::new(&enough, Instant::now());
        match make.make(&task, source, &scratch.path().join(&name), false, Some(&enough), &mut timing) {
            Ok(_) => {}
            // Ended by the timing itself.
            Err(Error::Interrupted) if enough.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) => {}
            Err(error) => return Err(error),
        }
        let times = Times { row: timing.seconds_per_row(), around: timing.seconds_around(Instant::now()) };
        if times.row > 0.0 {
            let mut found = found.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            found.insert(key(part), (times, part.clone()));
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while !timed.load(Ordering::Relaxed) && Instant::now() < ends {
                std::thread::park_timeout(ends.saturating_duration_since(Instant::now()));
            }
            lock(&over, &|list| list.iter().for_each(|enough| enough.store(true, Ordering::Relaxed)));
        });
        let done = each(parts, workers, stop, one);
        timed.store(true, Ordering::Relaxed);
        watch.thread().unpark();
        done
    })?;
    Ok(found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// Seconds for each work in a step, of deep linear networks and of VGG: what stands for those that were not timed.
fn paces(found: &BTreeMap<String, (Times, Settings)>) -> Result<[Option<f64>; 2]> {
    let mut sums = [[0.0; 2]; 2];
    for (times, part) in found.values().filter(|(_, part)| part.probe.is_empty()) {
        let sum = &mut sums[Kind::of(part) as usize];
        sum[0] += times.row;
        sum[1] += stand_in::counted(part)?.work();
    }
    let of = |[seconds, work]: [f64; 2]| (work > 0.0).then(|| seconds / work);
    let own = sums.map(of);
    Ok([own[0].or(own[1]), own[1].or(own[0])])
}

/// What the time of a step depends on.
fn key(part: &Settings) -> String {
    format!("{part:?}")
}

/// The seconds of a run, and by what share they may be wrong. Errors: settings that make no network.
fn seconds(
    settings: &Settings,
    found: &BTreeMap<String, (Times, Settings)>,
    pace: [Option<f64>; 2],
) -> Result<(f64, f64)> {
    let timed = |part: &Settings| found.get(&key(part)).map(|(times, _)| times.row);
    let class = stand_in::class(settings);
    let own = stand_in::small(&class, stand_in::STEP)?;
    let (step, uncertain) = match stand_in::step(&class, &timed)? {
        Some(step) if stand_in::reduced(&own, &class) => (step, UNCERTAIN[1]),
        Some(step) => (step, UNCERTAIN[0]),
        None => {
            let pace = pace[Kind::of(settings) as usize].unwrap_or(0.0);
            (pace * stand_in::counted(&class)?.work(), UNCERTAIN[2])
        }
    };
    let mut all = (settings.steps + 1) as f64 * step;
    for entry in &settings.probe {
        let name = schedule::parts(entry).0;
        let guessed = stand_in::guessed(settings, name)?;
        // How a probe's time compares with what is guessed, on whichever class it was timed.
        let like = found.values().find(|(_, part)| {
            Kind::of(part) == Kind::of(settings)
                && part.probe.first().is_some_and(|probe| schedule::parts(probe).0 == name)
        });
        let measured = like.and_then(|(times, part)| {
            let without = timed(&Settings { ..stand_in::class(part) })?;
            let worth = (times.row - without).max(0.0) / without;
            Some(guessed * worth / stand_in::guessed(part, name).ok()?)
        });
        all += settings.due_count(name) * step * measured.unwrap_or(guessed);
    }
    if let Some(every) = settings.eval_every {
        // A test is forward passes alone.
        let tests = (settings.steps / every + 1) as f64;
        all += tests * cost::test_images(settings).div_ceil(settings.batch) as f64 * 0.35 * step;
    }
    Ok((all + found.get(&key(&own)).map_or(0.0, |(times, _)| times.around), uncertain))
}

/// Seconds of what comes before the runs' first steps: images are loaded once, one set after the other, and hashed for each run.
fn loading(plan: &Plan, threads: usize) -> f64 {
    let mut sets: BTreeMap<String, &Settings> = BTreeMap::new();
    let of_images = || plan.runs().filter(|(_, _, of)| !of.deep_linear());
    for (_, _, settings) in of_images() {
        sets.insert(image_key(settings), settings);
    }
    if sets.is_empty() {
        return 0.0;
    }
    let time = |work: &dyn Fn()| {
        let began = Instant::now();
        work();
        began.elapsed().as_secs_f64()
    };
    let made = time(&|| drop(images::generate(0, MADE, 0))) / MADE as f64;
    let made = made * rayon::current_num_threads() as f64 / threads.max(1) as f64;
    let bytes = vec![1; HASHED];
    let hashed = time(&|| drop(hash::sha256(&bytes))) / HASHED as f64;
    let of_set =
        |of: &&Settings| if of.data == "images" { image_bytes(of) as f64 / IMAGE as f64 * made } else { LOADED };
    let hashes: f64 = of_images().map(|(_, _, of)| image_bytes(of) as f64 * hashed).sum();
    sets.values().map(of_set).sum::<f64>() + hashes
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
