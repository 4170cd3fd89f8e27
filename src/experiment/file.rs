//! What an experiment's TOML file holds: runs, values, panels, claims, explorers. Unknown keys are errors.

use super::headline::HeadlineSpec;
use super::runs::RunSpec;
use super::scale::{ByScale, Scale};
use crate::report::ClaimKind;
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
    /// Numbers of a run, by the names that panels and claims call them.
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

/// One statement of the paper, and how it is judged: all of its tests must hold.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimSpec {
    /// Unique among all claims.
    pub id: String,
    /// Where the paper says it: "Figure 4 (c)".
    pub place: String,
    /// What it says, in a sentence.
    pub statement: String,
    /// Whose claim it is: the paper's where it says nothing.
    #[serde(default)]
    pub kind: ClaimKind,
    /// The scales at which it can be tested; all where it says nothing.
    pub scales: Option<Vec<Scale>>,
    /// Only CIFAR-10 can tell.
    #[serde(default)]
    pub cifar10: bool,
    /// Why it cannot be tested elsewhere.
    pub untested: Option<String>,
    /// What is known of what its verdict means, whatever that is.
    pub remark: Option<ByScale<String>>,
    /// What is known of why it fails, said where it does.
    pub why: Option<ByScale<String>>,
    /// The tests.
    #[serde(default, rename = "test")]
    pub tests: Vec<TestSpec>,
}

/// A comparison of two numbers, or of two series step by step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestSpec {
    /// The left side.
    pub left: Measure,
    /// `<`, `<=`, `>`, `>=`
    pub is: Sign,
    /// The right side.
    pub right: Side,
    /// What the right side is multiplied by.
    #[serde(default = "one")]
    pub times: f64,
    /// What is added to that.
    #[serde(default)]
    pub plus: f64,
    /// Compare step by step, and layer by layer where the value has several: the least share of them at which it must be so.
    pub share: Option<f64>,
    /// With `share` and a number on the right: only the steps of the same run at which this holds.
    pub when: Option<When>,
    /// Which form of the claim it tests, in words: tests of one form are met together, and some forms without the others reproduce the claim in part. `as printed`
    /// and `as corrected` are those of a statement that is false as printed.
    pub form: Option<String>,
}

/// A condition on the steps of a run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The value, by name: one at each step.
    pub value: String,
    /// How it compares.
    pub is: Sign,
    /// With what.
    pub than: f64,
}

fn one() -> f64 {
    1.0
}

/// An order between two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Sign {
    /// Less.
    #[serde(rename = "<")]
    Less,
    /// At most.
    #[serde(rename = "<=")]
    AtMost,
    /// More.
    #[serde(rename = ">")]
    More,
    /// At least.
    #[serde(rename = ">=")]
    AtLeast,
}

impl Sign {
    /// Whether it is so; never of what is no number, nor of two that are infinite alike, of which nothing is known.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            _ if left.is_infinite() && left == right => false,
            Sign::Less => left < right,
            Sign::AtMost => left <= right,
            Sign::More => left > right,
            Sign::AtLeast => left >= right,
        }
    }

    /// As it is written.
    pub fn shown(self) -> &'static str {
        match self {
            Sign::Less => "<",
            Sign::AtMost => "≤",
            Sign::More => ">",
            Sign::AtLeast => "≥",
        }
    }
}

/// The right side of a test.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Side {
    /// A number.
    Number(f64),
    /// Another measurement.
    Measure(Measure),
}

/// A number of each draw of a group of runs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// The group, by id.
    #[serde(default)]
    pub run: String,
    /// The value, by name.
    #[serde(default)]
    pub value: String,
    /// What is made of the steps; the last where it says nothing.
    pub steps: Option<Over>,
    /// The part of the run that is looked at, as shares of its steps.
    pub within: Option<[f64; 2]>,
    /// The first step at which the value is at most this, in place of a number made of all of them; infinite where it never is.
    pub until: Option<f64>,
    /// A row of the paper's statements on random instances, by its name: the share of instances on which it fails.
    pub fails: Option<String>,
    /// The same: its largest residual.
    pub residual: Option<String>,
    /// One number over all seeds, in place of one for each.
    pub seeds: Option<Over>,
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
