//! What an experiment's TOML file holds: runs, values, panels, explorers, and [`ClaimSpec`]s. Unknown keys are errors.

use super::claim_spec::{ClaimSpec, Measure, Side};
use super::pick::{Over, Pick};
use super::runs::RunSpec;
use super::scale::ByScale;
use crate::{Error, Result};
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

impl Shown {
    /// Refuses a headline that names what is not there. Errors name `file`.
    pub fn check_headlines(&self, file: &str) -> Result<()> {
        for spec in &self.headlines {
            let bad = |problem: &str, right: &str| {
                Err(Error::input(file, format!("headline {}: {problem}", spec.claim), right))
            };
            let Some(claim) = self.claims.iter().find(|claim| claim.id == spec.claim) else {
                return bad("no such claim", "`claim` is the id of one in the same file");
            };
            if let Some(title) = &spec.panel {
                match self.panels.iter().find(|panel| panel.title == *title) {
                    None => {
                        return bad(&format!("no panel \"{title}\""), "`panel` is the title of one in the same file");
                    }
                    Some(panel) if panel.form == Form::Ridge => {
                        return bad(
                            &format!("panel \"{title}\" draws histograms"),
                            "a card has room for lines and bands",
                        );
                    }
                    Some(_) => {}
                }
            }
            if let Some(value) = spec.show.as_ref().filter(|value| !self.values.contains_key(*value)) {
                return bad(&format!("no value {value}"), "[value.NAME] describes one");
            }
            let Some(test) = spec.test.checked_sub(1).and_then(|at| claim.tests.get(at)) else {
                return bad(&format!("no test {}", spec.test), "tests are counted from 1");
            };
            if (spec.number == Number::Steps) != test.share.is_some() && spec.number != Number::Draws {
                return bad(
                    "the test has no such number",
                    "with `share` it has steps and draws, without left, right and draws",
                );
            }
            let right = matches!(
                spec.number,
                Number::Right | Number::LeftOfRight | Number::LeftOverRight | Number::RightOverLeft
            );
            if right && matches!(test.right, Side::Number(_)) {
                return bad("nothing is measured on the right", "`number` is left or draws");
            }
            if spec.words.matches("{}").count() != 1 {
                return bad("no place for the number", "`words` has {} in it once");
            }
        }
        Ok(())
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

/// A headline, as an experiment's file has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadlineSpec {
    /// The claim, by its id.
    pub claim: String,
    /// What its figure shows, in a few words.
    pub title: String,
    /// The panel that is drawn, by its title; where it is split, the first. Without one the number stands in its place.
    pub panel: Option<String>,
    /// The value that is drawn there, by name: the panel's where it says nothing.
    pub show: Option<String>,
    /// The groups of runs that are drawn, by id or pattern: the panel's where it says nothing.
    pub runs: Option<Vec<String>>,
    /// Which test of the claim the number is of, from 1.
    #[serde(default = "first")]
    pub test: usize,
    /// Which number of that test.
    pub number: Number,
    /// What the number says; `{}` stands for it.
    pub words: String,
}

fn first() -> usize {
    1
}

/// A number that a test has measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Number {
    /// The left side.
    Left,
    /// The right side, where it was measured.
    Right,
    /// The left side in per cent of the right one.
    LeftOfRight,
    /// How many times the left side the right one is.
    RightOverLeft,
    /// The other way about.
    LeftOverRight,
    /// The share of the steps at which the test holds, where it is judged by that.
    Steps,
    /// In how many draws it holds, and of how many.
    Draws,
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

#[cfg(test)]
mod tests {
    use super::super::catalogue;

    const FILE: &str = "title = \"own\"\n[value.loss]\nquantity = \"loss\"\nlabel = \"loss\"\n[[panel]]\ntitle = \"p\"\nshow = \"loss\"\n\
                        [[claim]]\nid = \"a\"\nplace = \"\"\nstatement = \"\"\ntest = [{ run = \"x\", value = \"loss\", is = \"<\", than = 1.0 }]\n\
                        [[headline]]\nclaim = \"a\"\ntitle = \"t\"\npanel = \"p\"\nnumber = \"left\"\nwords = \"loss {}\"\n";

    #[test]
    fn what_a_headline_names_must_be_there() {
        catalogue::read("own", "own.toml", FILE).unwrap();
        for (from, to, says) in [
            ("claim = \"a\"", "claim = \"b\"", "headline b: no such claim"),
            ("panel = \"p\"", "panel = \"q\"", "headline a: no panel \"q\""),
            ("number = \"left\"", "show = \"beta\"\nnumber = \"left\"", "no value beta"),
            ("number = \"left\"", "number = \"steps\"", "the test has no such number"),
            ("number = \"left\"", "number = \"left-over-right\"", "nothing is measured on the right"),
            ("number = \"left\"", "number = \"left\"\ntest = 2", "no test 2"),
            ("number = \"left\"", "number = \"left\"\ntest = 0", "no test 0"),
            ("words = \"loss {}\"", "words = \"loss\"", "no place for the number"),
            ("title = \"t\"", "titel = \"t\"", "unknown field"),
        ] {
            assert!(FILE.contains(from), "{from}");
            let (head, tail) = FILE.split_once("[[headline]]").unwrap();
            let text = format!("{head}[[headline]]{}", tail.replace(from, to));
            let message = catalogue::read("own", "own.toml", &text).unwrap_err().to_string();
            assert!(message.starts_with("own.toml") && message.contains(says), "{message}");
        }
    }
}
