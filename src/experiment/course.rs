//! A course's shortcut to the paper's figure 4: a band over runs that were trained apart, at [`RATES`], from the highest to the lowest loss at
//! each step.
//!
//! **It measures another thing than the paper does**: how far runs spread that have gone to different places, not how much the loss varies
//! around one. The paper's band ([`Band::of_landscape`]) is of points θ − s·g on one batch, at each step of one run. The two are told apart by
//! their labels, and [`beside`] sets them side by side.

use super::series::{Landscapes, Training};
use crate::report::{Cell, Table, significant};
use crate::{Error, Result};

/// The learning rates that the course trains with.
pub const RATES: [f64; 4] = [1e-3, 2e-3, 1e-4, 5e-4];

/// What the course's band is called, wherever it is shown.
pub const OF_RUNS: &str = "spread of runs trained apart (the course's shortcut), not of one landscape";

/// What the paper's band is called beside it.
pub const OF_LANDSCAPE: &str = "loss along -g around one run (the paper's A.2.2)";

/// The lowest and the highest loss at some steps, and what they are of.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// [`OF_RUNS`] or [`OF_LANDSCAPE`].
    pub label: &'static str,
    /// Steps; an entry of `low` and of `high` each.
    pub step: Vec<f64>,
    /// The lowest loss.
    pub low: Vec<f64>,
    /// The highest loss; infinite where one is no number.
    pub high: Vec<f64>,
}

impl Band {
    /// The course's: over the losses of `runs`, which differ in the learning rate, at each step that all of them have logged. Where a run has
    /// diverged it has no further steps, and its last loss counts as infinite.
    ///
    /// Errors: fewer than two runs, which have no spread.
    pub fn of_runs(runs: &[Training]) -> Result<Band> {
        if runs.len() < 2 {
            return Err(Error::input("course", format!("{} runs", runs.len()), "a spread is of two or more"));
        }
        let steps = runs.iter().map(|run| run.loss.len()).min().unwrap_or(0);
        let at = |t: usize| (t as f64, runs.iter().map(|run| run.loss[t]).collect());
        Ok(Band::over(OF_RUNS, (0..steps).map(at)))
    }

    /// The paper's: over the points along −g, at each probed step.
    pub fn of_landscape(landscapes: &Landscapes) -> Band {
        let rows = landscapes.step.iter().copied().zip(landscapes.loss.iter().cloned());
        Band::over(OF_LANDSCAPE, rows)
    }

    fn over(label: &'static str, rows: impl Iterator<Item = (f64, Vec<f64>)>) -> Band {
        let mut band = Band { label, step: Vec::new(), low: Vec::new(), high: Vec::new() };
        for (step, losses) in rows {
            let finite = losses.iter().map(|&loss| if loss.is_nan() { f64::INFINITY } else { loss });
            band.step.push(step);
            band.low.push(finite.clone().fold(f64::INFINITY, f64::min));
            band.high.push(finite.fold(f64::NEG_INFINITY, f64::max));
        }
        band
    }

    /// Lowest and highest loss at `step`, where the band has it.
    pub fn at(&self, step: f64) -> Option<[f64; 2]> {
        let at = self.step.iter().position(|&s| s == step)?;
        Some([self.low[at], self.high[at]])
    }
}

/// Both bands, at the steps that both have, under their labels.
pub fn beside(runs: &Band, landscape: &Band) -> Table {
    let mut table = Table::new(["step", runs.label, "high/low", landscape.label, "high/low"]);
    for &step in &landscape.step {
        let (Some(a), Some(b)) = (runs.at(step), landscape.at(step)) else { continue };
        let ends = |[low, high]: [f64; 2]| Cell::number(format!("{} to {}", significant(low, 3), significant(high, 3)));
        let ratio = |[low, high]: [f64; 2]| Cell::number(significant(high / low, 3));
        table.row([Cell::number(format!("{step}")), ends(a), ratio(a), ends(b), ratio(b)]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn training(loss: &[f64]) -> Training {
        Training { loss: loss.to_vec(), ..Training::default() }
    }

    #[test]
    fn a_band_goes_from_the_lowest_to_the_highest_loss() {
        let runs = [training(&[3.0, 2.0, 1.0]), training(&[3.0, 2.5, 0.5]), training(&[3.0, 2.25])];
        let band = Band::of_runs(&runs).unwrap();
        assert_eq!((band.label, &band.step[..]), (OF_RUNS, &[0.0, 1.0][..]));
        assert_eq!((&band.low[..], &band.high[..]), (&[3.0, 2.0][..], &[3.0, 2.5][..]));
        // A run that has diverged.
        let band = Band::of_runs(&[training(&[3.0, 1.0, 1.0]), training(&[3.0, f64::NAN])]).unwrap();
        assert_eq!((band.at(1.0), band.at(2.0)), (Some([1.0, f64::INFINITY]), None));
        assert!(Band::of_runs(&runs[..1]).is_err());
    }

    #[test]
    fn the_two_bands_are_told_apart() {
        let runs = Band::of_runs(&[training(&[3.0, 2.0]), training(&[3.0, 1.0])]).unwrap();
        let landscapes =
            Landscapes { step: vec![0.0, 1.0, 2.0], loss: vec![vec![2.0, 6.0]; 3], ..Landscapes::default() };
        let landscape = Band::of_landscape(&landscapes);
        assert_eq!((landscape.label, landscape.at(1.0)), (OF_LANDSCAPE, Some([2.0, 6.0])));
        // Where they started all runs are one, and the landscape is none the narrower for it.
        assert_eq!(runs.at(0.0), Some([3.0, 3.0]));
        let text = beside(&runs, &landscape).to_string();
        assert!(text.contains(OF_RUNS) && text.contains(OF_LANDSCAPE) && text.contains("1 to 2"), "{text}");
    }
}
