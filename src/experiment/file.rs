//! The content of an experiment's TOML file: runs, values, panels, explorers, and [`ClaimSpec`]s. Unknown keys are errors.

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
    /// The title, in one line.
    pub title: String,
    /// The experiment goes beyond the paper: it is this project's own, or a course's.
    #[serde(default)]
    pub beyond: bool,
    /// What the paper says about it, one string per paragraph.
    #[serde(default)]
    pub paper: Vec<String>,
    /// What a reader should know about how it was done here, one string per paragraph.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Groups of runs from `runs.toml`, by id; `*` stands for any letters.
    #[serde(default)]
    pub uses: Vec<String>,
    /// The experiment's own runs.
    #[serde(default, rename = "run")]
    pub runs: Vec<RunSpec>,
    /// The number of panels in a row.
    pub columns: Option<usize>,
    /// Numbers of a run, by the names that panels and claims use; those of `runs.toml` are added.
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
    /// Panels of the report in which the reader chooses what is shown.
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
    /// Refuses a headline that names something missing. Errors name `file`.
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

/// How a panel draws its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Against the step: the median of the seeds and, with several seeds, a band from the lowest to the highest.
    #[default]
    Line,
    /// Against the step: a band from the lowest to the highest of the values at each step, each as the median of the seeds.
    Band,
    /// Against the distance along the line, at one step.
    Distance,
    /// Histograms of a layer's unit over training.
    Ridge,
    /// Against the step: a band from the lowest to the highest over runs that were trained separately.
    Spread,
    /// A number of each run against one of its settings.
    Against,
}

/// What a split panel is repeated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Each layer of the value.
    Layer,
    /// Each group of runs.
    Run,
}

/// One panel of a figure, or several.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PanelSpec {
    /// The text above the axes; `{layer}` and `{run}` are filled in.
    pub title: String,
    /// Groups of runs, by id or pattern; all of the experiment's by default.
    pub runs: Option<Vec<String>>,
    /// The value shown, by name.
    pub show: String,
    /// How the value is drawn.
    #[serde(default)]
    pub form: Form,
    /// Repeat the panel for each of these.
    pub split: Option<Split>,
    /// For `distance`: the place in the run, as a share of its steps.
    pub at: Option<f64>,
    /// For `against`: the setting on the horizontal axis.
    pub setting: Option<String>,
    /// For `against`: how the steps are reduced to a number.
    pub steps: Option<Over>,
    /// For `against`: the part of the run to look at, as shares of its steps.
    pub within: Option<[f64; 2]>,
    /// The label of the horizontal axis, if not the form's.
    pub x_label: Option<String>,
    /// The label of the vertical axis, if not the value's.
    pub y_label: Option<String>,
    /// Whether the horizontal axis is logarithmic.
    #[serde(default)]
    pub x_log: bool,
    /// Whether the vertical axis is logarithmic.
    #[serde(default)]
    pub y_log: bool,
    /// The ends of the vertical axis.
    pub y_range: Option<[f64; 2]>,
    /// Panels with the same word share the range of their vertical axis.
    pub share_y: Option<String>,
}

/// A panel of the report in which the reader chooses what is shown.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExploreSpec {
    /// The text above the panel.
    pub title: String,
    /// Groups of runs, by id or pattern; all of the experiment's by default.
    pub runs: Option<Vec<String>>,
    /// The values to choose from, by name.
    pub show: Vec<String>,
    /// `line`, `band`, `distance` or `ridge`.
    #[serde(default)]
    pub form: Form,
    /// Whether the horizontal axis is logarithmic at first.
    #[serde(default)]
    pub x_log: bool,
    /// Whether the vertical axis is logarithmic at first.
    #[serde(default)]
    pub y_log: bool,
}

/// A headline, as an experiment's file states it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadlineSpec {
    /// The claim, by its id.
    pub claim: String,
    /// What its figure shows, in a few words.
    pub title: String,
    /// The panel to draw, by its title; the first one where it is split. Without a panel, the number is shown in its place.
    pub panel: Option<String>,
    /// The value to draw there, by name; the panel's by default.
    pub show: Option<String>,
    /// The groups of runs to draw, by id or pattern; the panel's by default.
    pub runs: Option<Vec<String>>,
    /// The test of the claim that the number is from, counted from 1.
    #[serde(default = "first")]
    pub test: usize,
    /// Which number of that test it is.
    pub number: Number,
    /// The words around the number; `{}` is replaced by it.
    pub words: String,
}

fn first() -> usize {
    1
}

/// A number that a test measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Number {
    /// The left side.
    Left,
    /// The right side, where it is measured.
    Right,
    /// The left side as a percentage of the right one.
    LeftOfRight,
    /// The right side divided by the left one.
    RightOverLeft,
    /// The left side divided by the right one.
    LeftOverRight,
    /// The share of the steps at which the test holds, where that share decides the test.
    Steps,
    /// The number of draws in which it holds, and the number of draws.
    Draws,
}

/// Variants at the best of several learning rates. Groups that differ only in the rate are one variant.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestSpec {
    /// Groups of runs, by id or pattern.
    pub runs: Vec<String>,
    /// The number that decides the rate: it is lowest, with the first seed, at the best rate.
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
    /// How the steps are reduced to a number; the last step by default.
    pub steps: Option<Over>,
    /// The part of the run to look at, as shares of its steps.
    pub within: Option<[f64; 2]>,
}

impl NumberSpec {
    /// The same number, of a group of runs.
    pub fn of(&self, run: &str) -> Measure {
        let NumberSpec { value, steps, within } = self.clone();
        Measure { run: run.into(), value, steps, within, ..Measure::default() }
    }
}

/// Random instances for evaluating the paper's statements.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TheorySpec {
    /// The number of instances.
    pub instances: ByScale<u64>,
    /// Samples of each instance.
    pub m: usize,
    /// λ, the bound on ‖X‖.
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
