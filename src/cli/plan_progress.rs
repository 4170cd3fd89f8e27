//! What a reproduction says while it goes: the whole plan in one line, with the time left.

use super::progress::duration;
use super::terminal::line;
use crate::Result;
use crate::experiment::pace::{Forecast, due};
use crate::experiment::plan::Plan;
use crate::experiment::runner::{Task, Watch};
use crate::report::significant;
use crate::train::Finished;
use crate::train::metrics::Row;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Redraws of a moving line.
const REDRAW: Duration = Duration::from_millis(200);
/// Between two plain lines, at the least.
const PLAIN: Duration = Duration::from_secs(15);

/// A plan's progress on standard error, told of by several threads.
pub struct PlanProgress {
    quiet: bool,
    workers: usize,
    began: Instant,
    state: Mutex<State>,
    bar: Option<ProgressBar>,
}

struct State {
    forecast: Forecast,
    said: Instant,
}

impl PlanProgress {
    /// Nothing was done yet. Errors: settings that make no network.
    pub fn new(plan: &Plan, workers: usize, quiet: bool) -> Result<PlanProgress> {
        let forecast = Forecast::new(plan.runs().map(|(_, _, settings)| settings))?;
        let state = State { forecast, said: Instant::now() };
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{bar:24} {wide_msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Ok(PlanProgress { quiet, workers, began: Instant::now(), state: Mutex::new(state), bar })
    }

    /// Takes the moving line away.
    pub fn end(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }

    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
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
                bar.set_position((1000.0 * state.forecast.share()) as u64);
                bar.set_message(words);
            }
            None => line(&words),
        }
    }
}

impl State {
    /// "31 of 57 runs done, 12 min left".
    fn words(&self, workers: usize) -> String {
        let left = self.forecast.left(workers).map_or(String::new(), |left| format!(", {} left", duration(left)));
        let (ended, all) = self.forecast.ended_of_all();
        format!("{ended} of {all} runs done{left}")
    }
}

impl Watch for PlanProgress {
    fn finished_before(&self, task: &Task) {
        self.state().forecast.finished_before(task.number);
    }

    fn begins(&self, task: &Task, first: u64, resumed: bool) {
        self.state().forecast.begins(task.number, first, thread::current().id(), self.now());
        if resumed {
            self.say(&format!("{} goes on at step {first}", task.name));
        }
    }

    fn row(&self, task: &Task, row: &Row) {
        let due = due(task.settings, row.step);
        let mut state = self.state();
        state.forecast.row(task.number, due, self.now());
        self.show(&mut state, task, row);
    }

    fn warn(&self, task: &Task, message: &str) {
        self.say(&format!("warning: {}: {message}", task.name));
    }

    fn ended(&self, task: &Task, finished: &Finished) {
        let mut state = self.state();
        state.forecast.ended(task.number, thread::current().id(), self.now());
        let how = finished.diverged.map_or(String::new(), |(step, _)| format!(" diverged at step {step}"));
        let words = state.words(self.workers);
        drop(state);
        if self.bar.is_none() || !how.is_empty() {
            let end = if how.is_empty() { " done" } else { how.as_str() };
            self.say(&format!("{words}: {}{end}", task.name));
        }
    }
}
