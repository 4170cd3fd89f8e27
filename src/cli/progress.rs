//! Progress messages of a run: one moving line on a terminal, plain lines at intervals elsewhere.

use super::terminal::line;
use crate::report::significant;
use crate::train::Observer;
use crate::train::metrics::Row;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between two redraws of a moving line: short enough to look alive, long enough to cost nothing.
const REDRAW: Duration = Duration::from_millis(100);
/// The shortest time between two plain lines, if a tenth of the run went by …
const TENTH: Duration = Duration::from_secs(1);
/// … and the longest time between them.
const LONGEST: Duration = Duration::from_secs(10);

/// A run's progress on standard error.
pub struct Progress {
    quiet: bool,
    /// Lines printed when the run begins, once nothing can stop it any more.
    opening: Vec<String>,
    /// The run was there before and is being continued.
    resumed: bool,
    first: u64,
    last: u64,
    /// The next step.
    next: u64,
    began: Instant,
    said: Instant,
    said_step: u64,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Silent with `quiet`. Otherwise prints the lines of `opening` first and, for a `resumed` run, the step at which it continues.
    pub fn new(quiet: bool, opening: Vec<String>, resumed: bool) -> Self {
        let now = Instant::now();
        Progress { quiet, opening, resumed, first: 0, last: 0, next: 0, began: now, said: now, said_step: 0, bar: None }
    }

    /// The step that the run has reached.
    pub fn step(&self) -> u64 {
        self.next
    }

    /// Clears the moving line.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Steps per second since the run began or was resumed, and the seconds left.
    fn pace(&self, step: u64) -> Option<(f64, f64)> {
        let rate = step.saturating_sub(self.first) as f64 / self.began.elapsed().as_secs_f64();
        (rate > 0.0 && rate.is_finite()).then(|| (rate, self.last.saturating_sub(step) as f64 / rate))
    }

    /// The run's progress, in words.
    fn words(&self, row: &Row) -> String {
        let mut words = format!("step {}/{}, loss {}", row.step, self.last, significant(row.loss, 4));
        if row.train_accuracy.is_finite() {
            words += &format!(", accuracy {:.1} %", 100.0 * row.train_accuracy);
        }
        if let Some((rate, left)) = self.pace(row.step) {
            words += &format!(", {} steps/s, {} left", significant(rate, 3), duration(left));
        }
        words
    }
}

impl Observer for Progress {
    fn begin(&mut self, first: u64, last: u64) {
        let now = Instant::now();
        (self.first, self.last, self.next, self.said_step, self.began, self.said) =
            (first, last, first, first, now, now);
        if self.quiet {
            return;
        }
        self.opening.drain(..).for_each(|text| line(&text));
        match (self.resumed, first) {
            (false, _) => {}
            (true, 0) => line(&format!("the run starts at step 0 of {last}: nothing was saved after it")),
            (true, _) => line(&format!("going on at step {first} of {last}")),
        }
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(last), ProgressDrawTarget::stderr());
            bar.set_style(
                ProgressStyle::with_template("{bar:20} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_position(first);
            // The first step may take a while: it may test, and probe.
            bar.set_message("starting");
            self.bar = Some(bar);
        }
    }

    fn row(&mut self, row: &Row) {
        self.next = if row.step < self.last && row.loss.is_finite() { row.step + 1 } else { row.step };
        if self.quiet {
            return;
        }
        let since = self.said.elapsed();
        let first = row.step == self.first;
        let due = match &self.bar {
            Some(_) => first || since >= REDRAW,
            None => {
                let tenth = (row.step - self.said_step) * 10 >= self.last - self.first;
                first || since >= LONGEST || (tenth && since >= TENTH)
            }
        };
        if !due {
            return;
        }
        (self.said, self.said_step) = (Instant::now(), row.step);
        let words = self.words(row);
        match &self.bar {
            Some(bar) => {
                bar.set_position(row.step);
                bar.set_message(words);
            }
            None => line(&words),
        }
    }

    fn warn(&mut self, message: &str) {
        let warning = format!("warning: {message}");
        match &self.bar {
            Some(bar) => bar.suspend(|| line(&warning)),
            None => line(&warning),
        }
    }
}

/// A download's progress on standard error.
pub struct Bytes {
    quiet: bool,
    bar: Option<ProgressBar>,
    said: Option<Instant>,
}

impl Bytes {
    /// Prints nothing with `quiet`.
    pub fn new(quiet: bool) -> Self {
        Bytes { quiet, bar: None, said: None }
    }

    /// Reports that `have` of `all` bytes have arrived.
    pub fn at(&mut self, have: u64, all: u64) {
        if self.quiet {
            return;
        }
        if std::io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| {
                let bar = ProgressBar::with_draw_target(Some(all), ProgressDrawTarget::stderr());
                let template = "{bar:20} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
                bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
            });
            return bar.set_position(have);
        }
        if self.said.is_none_or(|said| said.elapsed() >= LONGEST) {
            self.said = Some(Instant::now());
            line(&format!("{} of {} MiB", have >> 20, all >> 20));
        }
    }

    /// Clears the moving line.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Seconds in words: "4 s", "2 min 05 s", "3 h 07 min".
pub fn duration(seconds: f64) -> String {
    let all = seconds.max(0.0).round().min(1e15) as u64;
    let (hours, minutes, rest) = (all / 3600, all / 60 % 60, all % 60);
    match (hours, minutes) {
        (0, 0) if seconds < 9.95 => format!("{seconds:.1} s"),
        (0, 0) => format!("{rest} s"),
        (0, _) => format!("{minutes} min {rest:02} s"),
        _ => format!("{hours} h {minutes:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let read = [0.04, 9.94, 9.99, 59.4, 59.6, 125.0, 3599.9, 11_220.0].map(duration);
        assert_eq!(read, ["0.0 s", "9.9 s", "10 s", "59 s", "1 min 00 s", "2 min 05 s", "1 h 00 min", "3 h 07 min"]);
    }

    #[test]
    fn the_step_that_comes_next_is_known() {
        let mut progress = Progress::new(true, Vec::new(), false);
        progress.begin(3, 5);
        assert_eq!(progress.step(), 3);
        let row = |step, loss| Row { step, epoch: 0, loss, train_accuracy: 0.5, test: None, lr: 0.1, seconds: 0.0 };
        for (step, loss, next) in [(3, 1.0, 4), (4, 1.0, 5), (5, 1.0, 5)] {
            progress.row(&row(step, loss));
            assert_eq!(progress.step(), next);
        }
        progress.begin(0, 5);
        progress.row(&row(0, f64::NAN));
        assert_eq!(progress.step(), 0);
    }
}
