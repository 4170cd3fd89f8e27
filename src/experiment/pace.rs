//! How long the rest of a plan takes, learnt from the rows so far.
//!
//! What a row takes depends on the network, its norm and what is looked at there: a probe can be worth many steps. So rows are counted by what
//! is due at them, and each kind of row has a pace of its own, in seconds for the work that is guessed for it beforehand. Where such a row has
//! not been seen of a norm, what is known of the other norms stands for it.

use super::cost::{self, makespan};
use super::runs::Kind;
use crate::Result;
use crate::train::trainer::BURST;
use crate::train::{Settings, probes};
use std::collections::{BTreeMap, HashMap};
use std::thread::ThreadId;

/// What is due at a row beside its step: a bit for each probe, and one above them for a test.
pub type Due = u32;

/// Steps of a run that are looked at one by one to count its rows; the rest is like them.
const LOOKED_AT: u64 = 20_000;
/// Rows that come closer together than this, in seconds, were made at once by a device that works on its own: up to so many as it is asked for.
const AT_ONCE: f64 = 50e-6;

/// Whether a row that comes so many seconds after another belongs to that and the `rows - 1` before it, which came at once.
pub fn at_once(seconds: f64, rows: usize) -> bool {
    seconds < AT_ONCE && !(rows as u64).is_multiple_of(BURST)
}

/// What is due at step `t` of a run.
pub fn due(settings: &Settings, t: u64) -> Due {
    let names = probes::names();
    let test = settings.eval_every.is_some_and(|every| t.is_multiple_of(every) || t == settings.steps);
    let all = names.iter().map(|name| settings.due(name, t)).chain([test]);
    all.enumerate().filter(|(_, due)| *due).fold(0, |all, (bit, _)| all | 1 << bit)
}

/// How many rows a run has, by what is due at them.
fn rows(settings: &Settings) -> BTreeMap<Due, f64> {
    let looked_at = settings.steps.min(LOOKED_AT);
    let each = (settings.steps + 1) as f64 / (looked_at + 1) as f64;
    let mut rows = BTreeMap::new();
    (0..=looked_at).for_each(|t| *rows.entry(due(settings, t)).or_default() += each);
    rows
}

/// Work and seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    work: f64,
    seconds: f64,
}

impl Spent {
    fn add(&mut self, work: f64, seconds: f64) {
        (self.work, self.seconds) = (self.work + work, self.seconds + seconds);
    }

    /// Seconds for each work.
    fn pace(&self) -> Option<f64> {
        (self.work > 0.0).then(|| self.seconds / self.work)
    }
}

/// What rows have taken so far.
#[derive(Debug, Default)]
struct Pace {
    /// By network and norm.
    of_class: BTreeMap<(usize, Due), Spent>,
    of_kind: [BTreeMap<Due, Spent>; 2],
}

impl Pace {
    /// Some rows were made in some seconds, all at once or one alone.
    fn add(&mut self, run: &Run, rows: &[Due], seconds: f64) {
        let mut counts: BTreeMap<Due, f64> = BTreeMap::new();
        rows.iter().for_each(|due| *counts.entry(*due).or_default() += 1.0);
        // What is known of some of them leaves the rest of the time to the others; else they share it, as it is known or guessed of them.
        let guess = |due: &Due, count: &f64| count * run.work_of(*due);
        let known = |due: &Due, count: &f64| Some(self.seen(run, *due)? * guess(due, count));
        let (of_known, unknown) =
            counts.iter().fold((0.0, 0.0), |(seconds, work), (due, count)| match known(due, count) {
                Some(known) => (seconds + known, work),
                None => (seconds, work + guess(due, count)),
            });
        let all: f64 = counts.iter().map(|(due, count)| guess(due, count)).sum();
        let share = |due: &Due, count: &f64| match known(due, count) {
            Some(known) if unknown == 0.0 && of_known > 0.0 => seconds * known / of_known,
            Some(known) if unknown > 0.0 && of_known < seconds => known,
            None if of_known < seconds => (seconds - of_known) * guess(due, count) / unknown,
            _ => seconds * guess(due, count) / all,
        };
        let shares: Vec<(Due, f64, f64)> =
            counts.iter().map(|(due, count)| (*due, guess(due, count), share(due, count))).collect();
        for (due, work, seconds) in shares {
            self.of_class.entry((run.class, due)).or_default().add(work, seconds);
            self.of_kind[run.kind as usize].entry(due).or_default().add(work, seconds);
        }
    }

    /// The pace of such rows of the run's own class.
    fn seen(&self, run: &Run, due: Due) -> Option<f64> {
        self.of_class.get(&(run.class, due)).and_then(Spent::pace)
    }

    /// The seconds of a row for each work that is guessed for it; `None` before anything was seen.
    fn of(&self, run: &Run, due: Due) -> Option<f64> {
        let kind = &self.of_kind[run.kind as usize];
        // How much slower this norm is than the others, at rows that were seen of both.
        let (mut own, mut others) = (0.0, 0.0);
        for (&other, all) in kind {
            if let (Some(seen), Some(pace)) = (self.seen(run, other), all.pace()) {
                (own, others) = (own + all.work * seen, others + all.work * pace);
            }
        }
        let slower = if own > 0.0 && others > 0.0 { own / others } else { 1.0 };
        // Of rows that were not seen, those that are guessed to take most nearly the same stand for them.
        let work = run.work_of(due);
        let apart = |other: Due| (run.work_of(other) / work).ln().abs();
        let nearest = |kind: &BTreeMap<Due, Spent>| {
            let all = kind.iter().filter_map(|(&other, spent)| Some((apart(other), spent.pace()?)));
            all.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, pace)| pace)
        };
        self.seen(run, due)
            .or_else(|| nearest(kind).map(|pace| pace * slower))
            .or_else(|| nearest(&self.of_kind[1 - run.kind as usize]))
    }
}

/// One run of the plan.
#[derive(Debug)]
struct Run {
    kind: Kind,
    /// Network and norm, by number: rows of one class have one pace.
    class: usize,
    /// The work that is guessed for a step, and for what each bit of [`Due`] adds.
    step: f64,
    more: Vec<f64>,
    /// How many rows are left, by what is due at them.
    rows: BTreeMap<Due, f64>,
    steps: u64,
    begun: bool,
    ended: bool,
    /// When its last event was, and the rows that came with it.
    last: f64,
    event: Vec<Due>,
    seconds: f64,
}

impl Run {
    fn new(settings: &Settings, class: usize, rows: BTreeMap<Due, f64>) -> Result<Run> {
        let row = cost::Row::of(settings)?;
        Ok(Run {
            kind: Kind::of(settings),
            class,
            step: row.step,
            more: probes::names().into_iter().map(|name| row.probe(name)).chain([row.test]).collect(),
            rows,
            steps: settings.steps + 1,
            begun: false,
            ended: false,
            last: 0.0,
            event: Vec::new(),
            seconds: 0.0,
        })
    }

    /// The work that is guessed for a row.
    fn work_of(&self, due: Due) -> f64 {
        let more = self.more.iter().enumerate().filter(|(bit, _)| due >> bit & 1 == 1);
        self.step + more.map(|(_, work)| work).sum::<f64>()
    }

    /// The work that is guessed for what is left.
    fn work(&self) -> f64 {
        self.rows.iter().map(|(due, left)| left * self.work_of(*due)).sum()
    }
}

/// What is known of the rest of a plan. Times are seconds since any beginning.
#[derive(Debug)]
pub struct Forecast {
    runs: Vec<Run>,
    all: f64,
    pace: Pace,
    /// Seconds between the rows of one run and those of the next, and how often: to open one, and to save it.
    between: (f64, f64),
    /// When each worker's last run ended.
    free: HashMap<ThreadId, f64>,
}

impl Forecast {
    /// Of runs of which nothing was done yet. Errors: settings that make no network.
    pub fn new<'a>(settings: impl Iterator<Item = &'a Settings>) -> Result<Forecast> {
        let (mut classes, mut schedules, mut runs) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for of in settings {
            let Settings { model, norm, noise, activation, .. } = of;
            let next = classes.len();
            let class = *classes.entry((model, norm, noise, activation)).or_insert(next);
            // Many runs, few schedules: each is counted once.
            let schedule = (&of.probe, of.probe_every, &of.probe_at, of.eval_every, of.steps);
            let rows = schedules.entry(schedule).or_insert_with(|| rows(of)).clone();
            runs.push(Run::new(of, class, rows)?);
        }
        let all = runs.iter().map(Run::work).sum();
        Ok(Forecast { runs, all, pace: Pace::default(), between: (0.0, 0.0), free: HashMap::new() })
    }

    /// A run was finished before.
    pub fn finished_before(&mut self, number: usize) {
        self.close(number);
    }

    /// A run begins, or goes on at step `first`, on the worker that asks.
    pub fn begins(&mut self, number: usize, first: u64, worker: ThreadId, now: f64) {
        // The first run of each worker also waits for what is done once.
        if let Some(free) = self.free.get(&worker) {
            self.between = (self.between.0 + now - free, self.between.1 + 1.0);
        }
        let run = &mut self.runs[number];
        let share = first as f64 / run.steps as f64;
        run.rows.values_mut().for_each(|left| *left *= 1.0 - share);
        (run.last, run.begun) = (now, true);
    }

    /// A run has logged a row.
    pub fn row(&mut self, number: usize, due: Due, now: f64) {
        let run = &mut self.runs[number];
        if !at_once(now - run.last, run.event.len()) {
            let (rows, seconds) = (std::mem::take(&mut run.event), std::mem::take(&mut run.seconds));
            self.pace.add(run, &rows, seconds);
        }
        run.event.push(due);
        run.seconds += now - run.last;
        if let Some(left) = run.rows.get_mut(&due) {
            *left = (*left - 1.0).max(0.0);
        }
        run.last = now;
    }

    /// A run has ended, well or not, on the worker that says so; what it had yet to do it will not.
    pub fn ended(&mut self, number: usize, worker: ThreadId, now: f64) {
        let run = &mut self.runs[number];
        let rows = std::mem::take(&mut run.event);
        self.pace.add(run, &rows, run.seconds);
        // What comes between its last row and the first of the worker's next.
        self.free.insert(worker, run.last.min(now));
        self.close(number);
    }

    fn close(&mut self, number: usize) {
        let run = &mut self.runs[number];
        run.rows.values_mut().for_each(|left| *left = 0.0);
        run.ended = true;
    }

    /// How many runs have ended, of how many.
    pub fn ended_of_all(&self) -> (usize, usize) {
        (self.runs.iter().filter(|run| run.ended).count(), self.runs.len())
    }

    /// How much of all work is done, by what was guessed for it.
    pub fn share(&self) -> f64 {
        let left: f64 = self.runs.iter().map(Run::work).sum();
        if self.all > 0.0 { 1.0 - left / self.all } else { 1.0 }
    }

    /// Seconds that the rest takes so many workers; `None` before anything was seen.
    pub fn left(&self, workers: usize) -> Option<f64> {
        let between = if self.between.1 > 0.0 { self.between.0 / self.between.1 } else { 0.0 };
        // Runs of one class have one pace.
        let mut paces: BTreeMap<(usize, Due), Option<f64>> = BTreeMap::new();
        let mut rest = |run: &Run| {
            let rows = run.rows.iter().filter(|(_, left)| **left > 0.0);
            let rows = rows.map(|(&due, left)| {
                let pace = paces.entry((run.class, due)).or_insert_with(|| self.pace.of(run, due));
                Some(left * run.work_of(due) * (*pace)?)
            });
            Some(rows.sum::<Option<f64>>()? + if run.begun { 0.0 } else { between })
        };
        let rest = self.runs.iter().filter(|run| !run.ended).map(&mut rest).collect::<Option<Vec<f64>>>()?;
        Some(makespan(&rest, workers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMS: [(&str, f64); 4] = [("none", 1.0), ("batch", 2.0), ("layer", 1.5), ("l1", 1.2)];

    fn runs() -> Vec<Settings> {
        let of = |i: usize| {
            let mut settings = Settings {
                depth: 3,
                samples: 20,
                steps: if i.is_multiple_of(3) { 400 } else { 300 },
                norm: NORMS[i % 4].0.into(),
                // Half of the runs have the probe that is dear: landscape is guessed at 8 passes, and takes 40 steps.
                probe: if i % 8 < 4 { vec!["landscape:10".into(), "moments:1".into()] } else { Vec::new() },
                ..Settings::defaults("dln")
            };
            settings.resolve().unwrap();
            settings
        };
        (0..16).map(of).collect()
    }

    /// Seconds of a row on a machine that nobody guessed.
    fn truth(settings: &Settings, t: u64) -> f64 {
        let slower = NORMS.iter().find(|(name, _)| *name == settings.norm).map_or(1.0, |norm| norm.1);
        let probe = if settings.due("landscape", t) { 40.0 } else { 0.0 };
        1e-3 * slower * (1.0 + probe)
    }

    /// Plays the plan on one worker, rows coming in bursts of at most so many; the estimate and the truth at a quarter of its time.
    fn at_a_quarter(burst: u64) -> (f64, f64) {
        let runs = runs();
        let (opening, mut now) = (0.05, 0.0);
        let of_run = |s: &Settings| opening + (0..=s.steps).map(|t| truth(s, t)).sum::<f64>();
        let all: f64 = runs.iter().map(of_run).sum();
        let worker = std::thread::current().id();
        let mut forecast = Forecast::new(runs.iter()).unwrap();
        assert_eq!(forecast.left(1), None);
        for (number, settings) in runs.iter().enumerate() {
            now += opening;
            forecast.begins(number, 0, worker, now);
            let mut first = 0;
            while first <= settings.steps {
                let ends = |t: &u64| settings.due("landscape", *t) || *t == settings.steps;
                let last = (first..first + burst).find(ends).unwrap_or(first + burst - 1);
                now += (first..=last).map(|t| truth(settings, t)).sum::<f64>();
                for t in first..=last {
                    forecast.row(number, due(settings, t), now + 1e-7 * (t - first) as f64);
                }
                if now >= all / 4.0 {
                    return (forecast.left(1).unwrap(), all - now);
                }
                first = last + 1;
            }
            forecast.ended(number, worker, now);
        }
        unreachable!("a quarter of the time comes before its end")
    }

    #[test]
    fn after_a_quarter_of_a_plan_the_rest_is_known() {
        for burst in [1, 64] {
            let (told, left) = at_a_quarter(burst);
            assert!((0.75..1.25).contains(&(told / left)), "rows in {burst}s: {told} told, {left} left");
        }
    }

    #[test]
    fn what_has_ended_takes_no_more_time() {
        let runs = runs();
        let mut forecast = Forecast::new(runs.iter()).unwrap();
        (0..15).for_each(|number| forecast.finished_before(number));
        let worker = std::thread::current().id();
        forecast.begins(15, 200, worker, 5.0);
        forecast.row(15, due(&runs[15], 200), 5.1);
        forecast.row(15, due(&runs[15], 201), 5.2);
        let left = forecast.left(1).unwrap();
        let rows = runs[15].steps + 1 - 202;
        assert!((left / (0.1 * rows as f64) - 1.0).abs() < 0.05, "{left}");
        // It diverges: nothing of it is left.
        forecast.ended(15, worker, 5.3);
        assert_eq!((forecast.left(1), forecast.ended_of_all(), forecast.share()), (Some(0.0), (16, 16), 1.0));
    }
}
