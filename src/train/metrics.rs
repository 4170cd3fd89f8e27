//! `metrics.csv`: one row per step t, at θ_t, before update t.

use crate::files::append::{self, AppendLog};
use crate::files::disk;
use crate::mutant::{Mutant, made};
use crate::{Error, Result};
use std::fmt::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// The file's columns.
pub const HEADER: &str = "step,epoch,loss,train_accuracy,test_loss,test_accuracy,lr,seconds";

/// The largest log that is read, in bytes: some 15 million rows.
const LOG_CAP: u64 = 1 << 30;

/// One row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// The step t.
    pub step: u64,
    /// The complete passes over the training set before step t.
    pub epoch: u64,
    /// The batch's loss.
    pub loss: f64,
    /// The share of the batch's answers that are right; NaN (blank) for a network without classes.
    pub train_accuracy: f64,
    /// Loss and accuracy on the test set, where measured.
    pub test: Option<(f64, f64)>,
    /// The learning rate of update t.
    pub lr: f64,
    /// Seconds since the run began, over all its parts.
    pub seconds: f64,
}

impl Row {
    /// Writes the row as text: decimals that read back to the same number.
    fn write(&self, to: &mut String) -> fmt::Result {
        fn number(to: &mut String, x: f64) -> fmt::Result {
            if made(Mutant::E18) { write!(to, "{x:.6},") } else { write!(to, "{x:?},") }
        }
        let Row { step, epoch, loss, train_accuracy, test, lr, seconds } = *self;
        write!(to, "{step},{epoch},")?;
        number(to, loss)?;
        for x in [Some(train_accuracy).filter(|x| !x.is_nan()), test.map(|of| of.0), test.map(|of| of.1)] {
            match x {
                Some(x) => number(to, x)?,
                None => to.push(','),
            }
        }
        // Milliseconds, rounded: what `{:.3}` says, without its search for digits.
        let milliseconds = (seconds * 1e3).round_ties_even() as u64;
        write!(to, "{lr:?},{}.{:03}", milliseconds / 1000, milliseconds % 1000)
    }
}

/// How often at least rows are written to the disk, so that an observer, or someone after a kill, can see how far the run has come.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

/// The log of one run.
pub struct Metrics {
    log: AppendLog,
    /// A buffer for one row.
    line: String,
    /// When all rows were last written to the disk, or when the log was opened.
    written: Instant,
    within: Duration,
}

impl Metrics {
    /// Creates a log.
    pub fn create(path: &Path) -> Result<Metrics> {
        Ok(Metrics::of(AppendLog::create(path, HEADER)?))
    }

    /// Reopens the log of an earlier part, dropping the rows from step `from` on; also returns the seconds spent until the last row that is
    /// kept. Errors: an earlier row is missing.
    pub fn reopen(path: &Path, from: u64) -> Result<(Metrics, f64)> {
        // Looked at before it is cut: a log that lacks rows is not made shorter still.
        let text = disk::read_text_capped(path, LOG_CAP)?;
        let step = |line: &str| line.split(',').next().and_then(|step| step.parse::<u64>().ok());
        // A last line without its end would be cut off: it is no row.
        let rows = text.split_inclusive('\n').skip(1).map_while(|line| line.strip_suffix('\n'));
        let there = rows.zip(0..from).take_while(|(line, t)| step(line) == Some(*t)).count() as u64;
        if there < from {
            let problem = format!("line {} is not row {there}", there + 2);
            return Err(Error::file(path, problem, format!("the checkpoint of step {from} needs the rows before it")));
        }
        // By place, not by number: a row that comes a second time is none of those before `from`.
        let (mut left, mut spent) = (from, 0.0);
        let (log, _) = AppendLog::reopen(path, HEADER, |line| {
            let kept = left > 0;
            if left == 1 {
                spent = step_and_seconds(line).map_or(0.0, |(_, seconds)| seconds);
            }
            left = left.saturating_sub(1);
            kept
        })?;
        Ok((Metrics::of(log), spent))
    }

    fn of(log: AppendLog) -> Metrics {
        Metrics { log, line: String::new(), written: Instant::now(), within: WRITTEN_WITHIN }
    }

    /// Adds a row. If the last write to the disk was a minute ago, it is written with all rows before it.
    pub fn append(&mut self, row: &Row) -> Result<()> {
        self.line.clear();
        // A string takes what is written to it.
        let _ = row.write(&mut self.line);
        self.log.append(&self.line)?;
        if self.written.elapsed() >= self.within { self.sync() } else { Ok(()) }
    }

    /// Makes all added rows durable, even through a crash of the machine.
    pub fn sync(&mut self) -> Result<()> {
        self.written = Instant::now();
        self.log.sync()
    }
}

/// The step and the seconds of the last whole row of the log at `path`; `None` where there is none.
pub fn last(path: &Path) -> Option<(u64, f64)> {
    step_and_seconds(&append::last_line(path).ok()??)
}

/// A row's first field and its last.
fn step_and_seconds(row: &str) -> Option<(u64, f64)> {
    let (step, rest) = row.split_once(',')?;
    Some((step.parse().ok()?, rest.rsplit(',').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_to_the_same_bits() {
        let loss = 0.1f64 + 0.2;
        let row = Row { step: 3, epoch: 0, loss, train_accuracy: f64::NAN, test: None, lr: 1e-6, seconds: 1.0 };
        let mut line = String::new();
        row.write(&mut line).unwrap();
        let fields: Vec<_> = line.split(',').collect();
        assert_eq!(fields.len(), HEADER.split(',').count());
        assert_eq!(fields[2].parse::<f64>().unwrap().to_bits(), loss.to_bits());
        assert_eq!((fields[3], fields[4], fields[6]), ("", "", "1e-6"));
    }

    #[test]
    fn exactly_the_rows_before_the_checkpoint_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        let whole = format!("{HEADER}\n0,a\n1,b\n2,c\n");
        for more in ["", "1,again\n", "2,again\n3,d\n", "3,d\n4,e\n", "3,ha"] {
            std::fs::write(&path, format!("{whole}{more}")).unwrap();
            drop(Metrics::reopen(&path, 3).unwrap());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole, "{more}");
        }
        // A row without its end is none, and nothing is cut where one is missing.
        let half = whole.trim_end();
        for content in [half, "", &whole.replace("1,b\n", "")] {
            std::fs::write(&path, content).unwrap();
            assert!(Metrics::reopen(&path, 3).is_err(), "{content}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn the_time_spent_goes_on_from_the_last_row_that_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        assert_eq!(last(&path), None);
        let mut metrics = Metrics::create(&path).unwrap();
        assert_eq!(last(&path), None, "a header is no row");
        for step in 0..5u64 {
            let row =
                Row { step, epoch: 0, loss: 1.0, train_accuracy: 0.5, test: None, lr: 0.1, seconds: 1.5 * step as f64 };
            metrics.append(&row).unwrap();
        }
        metrics.sync().unwrap();
        assert_eq!(last(&path), Some((4, 6.0)));
        assert_eq!(Metrics::reopen(&path, 3).unwrap().1, 3.0);
        assert_eq!(last(&path), Some((2, 3.0)));
        assert_eq!(Metrics::reopen(&path, 0).unwrap().1, 0.0);
    }

    #[test]
    fn rows_are_written_through_when_their_time_has_come() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        let row = Row { step: 0, epoch: 0, loss: 1.0, train_accuracy: 0.5, test: None, lr: 0.1, seconds: 0.0 };
        let lines = || std::fs::read_to_string(&path).unwrap().lines().count();
        let mut metrics = Metrics::create(&path).unwrap();
        metrics.append(&row).unwrap();
        assert_eq!(lines(), 1, "not at every row");
        metrics.within = Duration::ZERO;
        metrics.append(&Row { step: 1, ..row }).unwrap();
        assert_eq!(lines(), 3);
    }
}
