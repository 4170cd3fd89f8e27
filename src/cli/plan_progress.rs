//! What a reproduction says while it goes: the whole plan in one line, with the time left.

use super::progress::duration;
use super::terminal::line;
use crate::Result;
use crate::experiment::cost::{Pace, makespan, work};
use crate::experiment::plan::Plan;
use crate::experiment::runner::{Task, Watch};
use crate::experiment::runs::Kind;
use crate::report::significant;
use crate::train::Finished;
use crate::train::metrics::Row;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Redraws of a moving line.
const REDRAW: Duration = Duration::from_millis(200);
/// Between two plain lines, at the least.
const PLAIN: Duration = Duration::from_secs(15);

/// A plan's progress on standard error, told of by several threads.
pub struct PlanProgress {
    quiet: bool,
    workers: usize,
    state: Mutex<State>,
    bar: Option<ProgressBar>,
}

struct State {
    runs: Vec<Run>,
    pace: Pace,
    said: Instant,
}

/// One run of the plan.
#[derive(Clone)]
struct Run {
    kind: Kind,
    work: f64,
    steps: u64,
    /// Steps done; all of them once it has ended, however it did.
    done: u64,
    /// When this part of it began, and at which step.
    began: Option<(Instant, u64)>,
    ended: bool,
}

impl PlanProgress {
    /// Nothing was done yet. Errors: settings that make no network.
    pub fn new(plan: &Plan, workers: usize, quiet: bool) -> Result<PlanProgress> {
        let runs = plan.runs().map(|(_, _, of)| {
            let (kind, work) = (Kind::of(of), work(of)?);
            Ok(Run { kind, work, steps: of.steps + 1, done: 0, began: None, ended: false })
        });
        let state = State { runs: runs.collect::<Result<_>>()?, pace: Pace::default(), said: Instant::now() };
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{bar:24} {wide_msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Ok(PlanProgress { quiet, workers, state: Mutex::new(state), bar })
    }

    /// Takes the moving line away.
    pub fn end(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn say(&self, text: &str) {
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.suspend(|| line(text)),
            None => line(text),
        }
    }

    fn show(&self, state: &mut State, task: &Task, row: &Row) {
        let every = if self.bar.is_some() { REDRAW } else { PLAIN };
        if self.quiet || state.said.elapsed() < every {
            return;
        }
        state.said = Instant::now();
        let words = format!(
            "{}, {}: step {} of {}, loss {}",
            state.words(self.workers),
            task.name,
            row.step,
            task.settings.steps,
            significant(row.loss, 4)
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position((1000.0 * state.share()) as u64);
                bar.set_message(words);
            }
            None => line(&words),
        }
    }
}

impl State {
    /// How much of all work is done.
    fn share(&self) -> f64 {
        let all: f64 = self.runs.iter().map(|run| run.work).sum();
        let done: f64 = self.runs.iter().map(|run| run.work * run.done as f64 / run.steps as f64).sum();
        if all > 0.0 { done / all } else { 1.0 }
    }

    /// Seconds that the rest will take, at the pace of the steps so far.
    fn left(&self, workers: usize) -> Option<f64> {
        let mut pace = self.pace.clone();
        for run in &self.runs {
            if let Some((began, first)) = run.began.filter(|_| !run.ended) {
                let share = run.done.saturating_sub(first) as f64 / run.steps as f64;
                pace.add(run.kind, run.work * share, began.elapsed().as_secs_f64());
            }
        }
        let rest = |run: &Run| {
            let share = 1.0 - run.done as f64 / run.steps as f64;
            pace.seconds(run.kind, run.work * share).filter(|_| !run.ended)
        };
        if self.runs.iter().any(|run| !run.ended && rest(run).is_none()) {
            return None;
        }
        Some(makespan(&self.runs.iter().filter_map(rest).collect::<Vec<_>>(), workers))
    }

    /// "31 of 57 runs done, 12 min left".
    fn words(&self, workers: usize) -> String {
        let ended = self.runs.iter().filter(|run| run.ended).count();
        let left = self.left(workers).map_or(String::new(), |left| format!(", {} left", duration(left)));
        format!("{ended} of {} runs done{left}", self.runs.len())
    }
}

impl Watch for PlanProgress {
    fn finished_before(&self, task: &Task) {
        let mut state = self.state();
        let run = &mut state.runs[task.number];
        (run.done, run.ended) = (run.steps, true);
    }

    fn begins(&self, task: &Task, first: u64) {
        let run = &mut self.state().runs[task.number];
        (run.began, run.done) = (Some((Instant::now(), first)), first);
        if first > 0 {
            self.say(&format!("{} goes on at step {first}", task.name));
        }
    }

    fn row(&self, task: &Task, row: &Row) {
        let mut state = self.state();
        state.runs[task.number].done = row.step + 1;
        self.show(&mut state, task, row);
    }

    fn warn(&self, task: &Task, message: &str) {
        self.say(&format!("warning: {}: {message}", task.name));
    }

    fn ended(&self, task: &Task, finished: &Finished) {
        let mut state = self.state();
        let run = state.runs[task.number].clone();
        if let Some((began, first)) = run.began {
            let share = run.done.saturating_sub(first) as f64 / run.steps as f64;
            state.pace.add(run.kind, run.work * share, began.elapsed().as_secs_f64());
        }
        let run = &mut state.runs[task.number];
        (run.done, run.ended) = (run.steps, true);
        let how = finished.diverged.map_or(String::new(), |(step, _)| format!(" diverged at step {step}"));
        let words = state.words(self.workers);
        drop(state);
        if self.bar.is_none() || !how.is_empty() {
            let end = if how.is_empty() { " done" } else { how.as_str() };
            self.say(&format!("{words}: {}{end}", task.name));
        }
    }
}
