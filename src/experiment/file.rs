//! What an experiment's TOML file holds: runs, values, panels, explorers, and [`ClaimSpec`]s. Unknown keys are errors.

use super::claim_spec::{ClaimSpec, Measure};
use super::headline::HeadlineSpec;
use super::runs::RunSpec;
use super::scale::ByScale;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// In one line.
    pub title: String,
    /// It goes beyond the paper: this project's own, or a course's.
    #[serde(default)]
    pub beyond: bool,
    /// What the paper says of it, a paragraph each.
    #[serde(default)]
    pub paper: Vec<String>,
    /// What a reader should know of how it was done here, a paragraph each.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Groups of runs from `runs.toml`, by id; `*` stands for any letters.
    #[serde(default)]
    pub uses: Vec<String>,
    /// Runs of its own.
    #[serde(default, rename = "run")]
    pub runs: Vec<RunSpec>,
    /// Panels in a row.
    pub columns: Option<usize>,
    /// Numbers of a run, by the names that panels and claims call them, beside those of `runs.toml`.
    #[serde(default, rename = "value")]
    pub values: BTreeMap<String, Pick>,
    /// The panels, in reading order.
    #[serde(default, rename = "panel")]
    pub panels: Vec<PanelSpec>,
    /// The claims, in the paper's order.
    #[serde(default, rename = "claim")]
    pub claims: Vec<ClaimSpec>,
    /// The claims that a report shows first.
    #[serde(default, rename = "headline")]
    pub headlines: Vec<HeadlineSpec>,
    /// What the report lets a reader choose from.
    #[serde(default, rename = "explore")]
    pub explorers: Vec<ExploreSpec>,
    /// Variants that are shown at the best of several learning rates.
    pub best: Option<BestSpec>,
    /// Groups whose networks are drawn side by side.
    #[serde(default)]
    pub diagram: Vec<String>,
    /// The paper's statements on random instances.
    pub theory: Option<TheorySpec>,
}

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

/// How a panel draws what it picks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Against the step: the middle of the seeds, and where there are several a band from the lowest to the highest.
    #[default]
    Line,
    /// Against the step, from the lowest to the highest of the values at each step: the middle of the seeds of either.
    Band,
    /// Against the distance along the line, at one step.
    Distance,
    /// Histograms of a layer's unit over training.
    Ridge,
    /// From the lowest to the highest over runs that were trained apart, at each step.
    Spread,
    /// A number of each run against one of its settings.
    Against,
}

/// What a panel is made once for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// For each layer of the value.
    Layer,
    /// For each group of runs.
    Run,
}

/// One panel of a figure, or several.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PanelSpec {
    /// Stands above the axes; `{layer}` and `{run}` are filled in.
    pub title: String,
    /// Groups of runs, by id or pattern; all that the experiment has where it says nothing.
    pub runs: Option<Vec<String>>,
    /// The value shown, by name.
    pub show: String,
    /// How.
    #[serde(default)]
    pub form: Form,
    /// One panel for each.
    pub split: Option<Split>,
    /// Of distances: where in the run, as a share of its steps.
    pub at: Option<f64>,
    /// Of `against`: the setting on the horizontal axis.
    pub setting: Option<String>,
    /// Of `against`: what is made of the steps.
    pub steps: Option<Over>,
    /// Of `against`: the part of the run that is looked at, as shares of its steps.
    pub within: Option<[f64; 2]>,
    /// What the horizontal axis shows, where it is not what the form says.
    pub x_label: Option<String>,
    /// What the vertical axis shows, where it is not the value's label.
    pub y_label: Option<String>,
    /// A logarithmic horizontal axis.
    #[serde(default)]
    pub x_log: bool,
    /// A logarithmic vertical axis.
    #[serde(default)]
    pub y_log: bool,
    /// The ends of the vertical axis.
    pub y_range: Option<[f64; 2]>,
    /// Panels with the same word share the ends of their vertical axis.
    pub share_y: Option<String>,
}

/// A panel of the report whose content the reader chooses.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExploreSpec {
    /// Stands above it.
    pub title: String,
    /// Groups of runs, by id or pattern; all that the experiment has where it says nothing.
    pub runs: Option<Vec<String>>,
    /// The values that can be chosen, by name.
    pub show: Vec<String>,
    /// `line`, `band`, `distance` or `ridge`.
    #[serde(default)]
    pub form: Form,
    /// A logarithmic horizontal axis at first.
    #[serde(default)]
    pub x_log: bool,
    /// A logarithmic vertical axis at first.
    #[serde(default)]
    pub y_log: bool,
}

/// Variants at the best of several learning rates: groups that differ in the rate alone are one variant.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestSpec {
    /// Groups of runs, by id or pattern.
    pub runs: Vec<String>,
    /// What is lowest at the best rate, with the first seed.
    pub by: NumberSpec,
    /// The columns of the table of variants.
    pub table: Vec<NumberSpec>,
}

/// A number of a run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberSpec {
    /// The value, by name.
    pub value: String,
    /// What is made of the steps; the last where it says nothing.
    pub steps: Option<Over>,
    /// The part of the run that is looked at, as shares of its steps.
    pub within: Option<[f64; 2]>,
}

impl NumberSpec {
    /// The same of a group of runs.
    pub fn of(&self, run: &str) -> Measure {
        let NumberSpec { value, steps, within } = self.clone();
        Measure { run: run.into(), value, steps, within, ..Measure::default() }
    }
}

/// Random instances for the paper's statements.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TheorySpec {
    /// How many.
    pub instances: ByScale<u64>,
    /// Samples of each.
    pub m: usize,
    /// λ
    pub lambda: f64,
}
