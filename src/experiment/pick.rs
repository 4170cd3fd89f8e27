//! A value: which numbers of a run, and what is made of several.

use super::scale::ByScale;
use serde::Deserialize;

/// Which numbers of a run: an array of one of its files, and what is made of it at each step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pick {
    /// `loss`, `train_accuracy`, `test_accuracy`, `test_loss`, `diverged`, or FILE.ARRAY of a probe, as `landscape.beta`.
    pub quantity: String,
    /// What each value is divided by: another of the same kind.
    pub per: Option<String>,
    /// What it is called on axes and in tables.
    pub label: String,
    /// Of arrays with a value for each layer: the layers that are taken, counted from 1.
    pub layer: Option<ByScale<Vec<usize>>>,
    /// Of arrays with a value for each unit: the one that is taken, by its place among those looked at, from 0.
    pub unit: Option<usize>,
    /// Of arrays along a line: the part that is taken, in learning rates.
    pub along: Option<[f64; 2]>,
    /// Each value without its sign.
    #[serde(default)]
    pub abs: bool,
    /// Each value times the run's learning rate: 2 is where a step along a quadratic's gradient no longer lowers it.
    #[serde(default)]
    pub times_rate: bool,
    /// What is made of several values at one step.
    pub over: Option<Over>,
    /// The change from each step that was looked at to the next, in absolute value.
    #[serde(default)]
    pub change: bool,
    /// Means over windows of so many rows.
    pub smooth: Option<ByScale<usize>>,
}

/// What is made of several numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// The lowest.
    Min,
    /// The highest.
    Max,
    /// The mean.
    Mean,
    /// The middle one.
    Median,
    /// The highest over the lowest.
    Ratio,
    /// The highest less the lowest.
    Spread,
    /// The first.
    First,
    /// The last.
    Last,
    /// The share of them that is above 0.
    Positive,
}

impl Over {
    /// In words: "highest".
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
