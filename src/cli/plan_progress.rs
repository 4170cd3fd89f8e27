//! Progress messages of a reproduction: the whole plan in one line, with the time left.

use super::progress::duration;
use super::terminal::line;
use crate::Result;
use crate::experiment::cost::Costs;
use crate::experiment::eta::Eta;
use crate::experiment::plan::Plan;
use crate::experiment::runner::{Task, Watch};
use crate::report::significant;
use crate::train::Finished;
use crate::train::metrics::Row;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Time between two redraws of a moving line.
const REDRAW: Duration = Duration::from_millis(200);
/// The shortest time between two plain lines.
const PLAIN: Duration = Duration::from_secs(15);

/// A plan's progress on standard error; several threads report to it.
pub struct PlanProgress {
    quiet: bool,
    /// The costs of each run.
    costs: Vec<Costs>,
    began: Instant,
    state: Mutex<State>,
    bar: Option<ProgressBar>,
}

struct State {
    eta: Eta,
    ended: usize,
    said: Instant,
}

impl PlanProgress {
    /// Progress of a plan of which nothing is done yet. Errors: the settings make no network.
    pub fn new(plan: &Plan, quiet: bool) -> Result<PlanProgress> {
        let costs = plan.runs().map(|(_, _, settings)| Costs::of(settings)).collect::<Result<Vec<_>>>()?;
        let works = plan.runs().zip(&costs).map(|((_, _, settings), costs)| costs.run(settings)).collect();
        let state = State { eta: Eta::new(works), ended: 0, said: Instant::now() };
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{bar:24} {wide_msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Ok(PlanProgress { quiet, costs, began: Instant::now(), state: Mutex::new(state), bar })
    }

    /// Clears the moving line.
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
            state.words(self.costs.len()),
            task.name,
            row.step,
            task.settings.steps,
            significant(row.loss, 4)
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position((1000.0 * state.eta.share()) as u64);
                bar.set_message(words);
            }
            None => line(&words),
        }
    }
}

impl State {
    /// The progress in words, as in "31 of 57 runs done, 12 min left".
    fn words(&self, all: usize) -> String {
        let left = self.eta.left().map_or(String::new(), |left| format!(", {} left", duration(left)));
        format!("{} of {all} runs done{left}", self.ended)
    }

    fn ended(&mut self, run: usize) {
        self.eta.ended(run);
        self.ended += 1;
    }
}

impl Watch for PlanProgress {
    fn finished_before(&self, task: &Task) {
        self.state().ended(task.number);
    }

    fn begins(&self, task: &Task, first: u64, resumed: bool) {
        let before = first as f64 / (task.settings.steps + 1) as f64;
        self.state().eta.begins(task.number, before, self.now());
        if resumed {
            self.say(&format!("{} goes on at step {first}", task.name));
        }
    }

    fn row(&self, task: &Task, row: &Row) {
        let work = self.costs[task.number].row(task.settings, row.step);
        let mut state = self.state();
        state.eta.row(task.number, work, self.now());
        self.show(&mut state, task, row);
    }

    fn warn(&self, task: &Task, message: &str) {
        self.say(&format!("warning: {}: {message}", task.name));
    }

    fn ended(&self, task: &Task, finished: &Finished) {
        let mut state = self.state();
        state.ended(task.number);
        let how = finished.diverged.map_or(String::new(), |(step, _)| format!(" diverged at step {step}"));
        let words = state.words(self.costs.len());
        drop(state);
        if self.bar.is_none() || !how.is_empty() {
            let end = if how.is_empty() { " done" } else { how.as_str() };
            self.say(&format!("{words}: {}{end}", task.name));
        }
    }
}
