//! A value: which numbers of a run it takes, and how it reduces several to one.

use super::scale::ByScale;
use serde::Deserialize;

/// Which numbers of a run: an array in one of its files, and how the array is reduced at each step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pick {
    /// `loss`, `train_accuracy`, `test_accuracy`, `test_loss`, `diverged`, or FILE.ARRAY of a probe, as `landscape.beta`.
    pub quantity: String,
    /// The quantity that each value is divided by, of the same kind.
    pub per: Option<String>,
    /// The label on axes and in tables.
    pub label: String,
    /// For arrays with a value per layer: the layers to take, counted from 1.
    pub layer: Option<ByScale<Vec<usize>>>,
    /// For arrays with a value per unit: the unit to take, by its place among the probed units, from 0.
    pub unit: Option<usize>,
    /// For arrays along a line: the part of the line to take, in learning rates.
    pub along: Option<[f64; 2]>,
    /// Take the absolute value.
    #[serde(default)]
    pub abs: bool,
    /// Multiply by the run's learning rate. At 2, a step along a quadratic's gradient no longer lowers it.
    #[serde(default)]
    pub times_rate: bool,
    /// How several values at one step are reduced to one.
    pub over: Option<Over>,
    /// Take the absolute change from each probed step to the next.
    #[serde(default)]
    pub change: bool,
    /// Average over windows of this many rows.
    pub smooth: Option<ByScale<usize>>,
}

/// How several numbers are reduced to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// The lowest.
    Min,
    /// The highest.
    Max,
    /// The mean.
    Mean,
    /// The median.
    Median,
    /// The highest divided by the lowest.
    Ratio,
    /// The highest minus the lowest.
    Spread,
    /// The first.
    First,
    /// The last.
    Last,
    /// The share of the numbers that is above 0.
    Positive,
}

impl Over {
    /// The name in words: "highest".
    pub fn word(self) -> &'static str {
        match self {
            Over::Min => "lowest",
            Over::Max => "highest",
            Over::Mean => "mean",
            Over::Median => "median",
            Over::Ratio => "highest over lowest",
            Over::Spread => "highest less lowest",
            Over::First => "first",
            Over::Last => "last",
            Over::Positive => "share above 0",
        }
    }
}
