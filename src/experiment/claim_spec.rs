//! A claim as an experiment's file states it, with the tests that decide it, one per line.

use super::pick::Over;
use super::scale::{ByScale, Scale};
use super::vary::{combinations, filled};
use crate::report::ClaimKind;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Value;

/// One statement of the paper, and how it is judged: all of its tests must hold.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimSpec {
    /// Unique among all claims. `{KEY}` is replaced by a varied value here, in `statement`, and in the runs and values of the tests.
    pub id: String,
    /// Where the paper states it: "Figure 4 (c)".
    pub place: String,
    /// The statement, in a sentence.
    pub statement: String,
    /// Whose claim it is; the paper's by default.
    #[serde(default)]
    pub kind: ClaimKind,
    /// The smallest scale that can decide the claim. The default is `quick`, or any scale for statements on random instances.
    pub from: Option<Scale>,
    /// Whether only CIFAR-10 can decide it.
    #[serde(default)]
    pub cifar10: bool,
    /// Why it cannot be tested at all.
    pub untested: Option<String>,
    /// What is known about the meaning of its verdict, whatever the verdict is: a text, or the name of one in `runs.toml`.
    pub remark: Option<ByScale<String>>,
    /// What is known about why it fails, shown only if it does: a text, or the name of one in `runs.toml`.
    pub why: Option<ByScale<String>>,
    /// Values to vary: one claim is made for each combination.
    #[serde(default)]
    pub vary: BTreeMap<String, Vec<Value>>,
    /// The tests.
    #[serde(default, rename = "test")]
    pub tests: Vec<Test>,
}

/// A comparison of two numbers, or of two series step by step: `left` `is` `times` × `right` + `plus`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Line")]
pub struct Test {
    /// The left side.
    pub left: Measure,
    /// How they compare.
    pub is: Sign,
    /// The right side of the comparison.
    pub right: Side,
    /// The factor of the right side.
    pub times: f64,
    /// The number added to that product.
    pub plus: f64,
    /// Compare step by step, and layer by layer where the value has several layers. This is the least share of comparisons that must hold.
    pub share: Option<f64>,
    /// With `share` and a number on the right: compare only the steps of the same run at which this condition holds.
    pub when: Option<When>,
    /// The form of the claim that it tests, in words. Tests of one form must all be met. If some forms are met and others are not, the
    /// claim is reproduced in part. `as printed` and `as corrected` are the forms of a statement that is false as printed.
    pub form: Option<String>,
    /// Values to vary: one test is made for each combination.
    pub each: BTreeMap<String, Vec<Value>>,
}

/// A number measured on each draw of a group of runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measure {
    /// The group, by id. In an experiment with `best` it may be a pattern, and means the best of the groups it matches.
    pub run: String,
    /// The value, by name.
    pub value: String,
    /// How the steps are reduced to a number; the last step by default.
    pub steps: Option<Over>,
    /// The part of the run to look at, as shares of its steps.
    pub within: Option<[f64; 2]>,
    /// Measure the first step at which the value is at most this, instead of reducing all steps; infinite where it never is.
    pub until: Option<f64>,
    /// Leave out the first draw, which chose the run.
    pub others: bool,
    /// Measure a statement of the paper on random instances, by its name, instead of a run's value: the share of instances on which it fails.
    pub fails: Option<String>,
}

/// The right side of a test.
#[derive(Debug, Clone, PartialEq)]
pub enum Side {
    /// A number.
    Number(f64),
    /// Another measured number.
    Measure(Measure),
}

/// A condition on the steps of a run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The value, by name; it has one number at each step.
    pub value: String,
    /// The order that must hold.
    pub is: Sign,
    /// The number to compare with.
    pub than: f64,
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
    /// Whether the order holds. It never does if a side is NaN, nor if both are the same infinity: then nothing is known.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            _ if left.is_infinite() && left == right => false,
            Sign::Less => left < right,
            Sign::AtMost => left <= right,
            Sign::More => left > right,
            Sign::AtLeast => left >= right,
        }
    }

    /// The sign as it is written.
    pub fn shown(self) -> &'static str {
        match self {
            Sign::Less => "<",
            Sign::AtMost => "≤",
            Sign::More => ">",
            Sign::AtLeast => "≥",
        }
    }
}

impl Test {
    /// What the test measures: the left side, and the right side unless that is a number.
    pub fn measures(&self) -> impl Iterator<Item = &Measure> {
        let right = match &self.right {
            Side::Measure(measure) => Some(measure),
            Side::Number(_) => None,
        };
        std::iter::once(&self.left).chain(right)
    }

    /// The same as [`Test::measures`], mutable.
    pub fn measures_mut(&mut self) -> impl Iterator<Item = &mut Measure> {
        let right = match &mut self.right {
            Side::Measure(measure) => Some(measure),
            Side::Number(_) => None,
        };
        std::iter::once(&mut self.left).chain(right)
    }
}

impl ClaimSpec {
    /// The claims that this spec expands to, with their tests, every placeholder filled in. Names of reasons are looked up in `reasons`.
    pub fn expanded(&self, reasons: &BTreeMap<String, String>) -> Vec<ClaimSpec> {
        let claim = |chosen: Vec<(&String, &Value)>| {
            let mut claim = self.clone();
            [&mut claim.id, &mut claim.statement].into_iter().for_each(|text| fill(text, &chosen));
            for text in [&mut claim.remark, &mut claim.why].into_iter().flatten().flat_map(ByScale::all) {
                if let Some(reason) = reasons.get(text.as_str()) {
                    text.clone_from(reason);
                }
            }
            let tests =
                claim.tests.iter().flat_map(|test| combinations(&test.each).into_iter().map(move |of| (test, of)));
            let filled = tests.map(|(test, of)| {
                let mut test = test.clone();
                for name in test.measures_mut().flat_map(|measure| [&mut measure.run, &mut measure.value]) {
                    [&chosen, &of].into_iter().for_each(|of| fill(name, of));
                }
                test.each.clear();
                test
            });
            claim.tests = filled.collect();
            claim.vary.clear();
            claim
        };
        combinations(&self.vary).into_iter().map(claim).collect()
    }

    /// The smallest scale at which the claim is tested.
    pub fn from(&self) -> Scale {
        let of_instances = self.tests.iter().flat_map(Test::measures).all(|measure| measure.fails.is_some());
        self.from.unwrap_or(if of_instances { Scale::Smoke } else { Scale::Quick })
    }
}

fn fill(text: &mut String, chosen: &[(&String, &Value)]) {
    for (key, value) in chosen {
        *text = filled(text, key, value);
    }
}

/// A test as it is written in the file. The right side measures the same as the left, except for what it states itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    run: Option<String>,
    value: Option<String>,
    steps: Option<Over>,
    within: Option<[f64; 2]>,
    until: Option<f64>,
    /// Instead of `run`: this statement fails on no random instance.
    holds: Option<String>,
    is: Option<Sign>,
    than: Option<Than>,
    times: Option<f64>,
    plus: Option<f64>,
    share: Option<f64>,
    when: Option<When>,
    form: Option<String>,
    #[serde(default)]
    each: BTreeMap<String, Vec<Value>>,
}

/// The right side: a number; a run, of which the same is measured as of the left one; or the settings that differ.
#[derive(Deserialize)]
#[serde(untagged)]
enum Than {
    Number(f64),
    Run(String),
    Other(Other),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Other {
    run: Option<String>,
    value: Option<String>,
    steps: Option<Over>,
    within: Option<[f64; 2]>,
}

impl TryFrom<Line> for Test {
    type Error = &'static str;

    fn try_from(line: Line) -> Result<Test, &'static str> {
        let (left, is, right) = match (line.holds, line.run, line.value, line.is, line.than) {
            (Some(name), None, None, None, None) => {
                (Measure { fails: Some(name), ..Measure::default() }, Sign::AtMost, Side::Number(0.0))
            }
            (None, Some(run), Some(value), Some(is), Some(than)) => {
                let Line { steps, within, until, .. } = line;
                let left = Measure { run, value, steps, within, until, ..Measure::default() };
                let right = match than {
                    Than::Number(number) => Side::Number(number),
                    Than::Run(run) => Side::Measure(Measure { run, ..left.clone() }),
                    Than::Other(other) => Side::Measure(Measure {
                        run: other.run.unwrap_or_else(|| left.run.clone()),
                        value: other.value.unwrap_or_else(|| left.value.clone()),
                        steps: other.steps.or(left.steps),
                        within: other.within.or(left.within),
                        ..left.clone()
                    }),
                };
                (left, is, right)
            }
            _ => return Err("a test has `run`, `value`, `is` and `than`, or `holds`"),
        };
        let (times, plus) = (line.times.unwrap_or(1.0), line.plus.unwrap_or(0.0));
        Ok(Test { left, is, right, times, plus, share: line.share, when: line.when, form: line.form, each: line.each })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(text: &str) -> Result<ClaimSpec, toml::de::Error> {
        toml::from_str(&format!("id = \"a-{{rate}}\"\nplace = \"\"\nstatement = \"At {{rate}}.\"\n{text}"))
    }

    #[test]
    fn the_right_side_is_measured_as_the_left_one_where_it_does_not_say_otherwise() {
        let of = |than: &str| {
            let line = format!(
                "{{ run = \"a\", value = \"x\", steps = \"mean\", within = [0.0, 0.5], is = \"<\", than = {than} }}"
            );
            claim(&format!("test = [{line}]")).unwrap().tests.remove(0)
        };
        let Side::Measure(right) = of("\"b\"").right else { panic!() };
        assert_eq!(right, Measure { run: "b".into(), ..of("1.0").left });
        let Side::Measure(right) = of("{ steps = \"last\", within = [0.5, 1.0] }").right else { panic!() };
        assert_eq!(right, Measure { steps: Some(Over::Last), within: Some([0.5, 1.0]), ..of("1.0").left });
        assert_eq!((of("2.5").right, of("2").right), (Side::Number(2.5), Side::Number(2.0)));
    }

    #[test]
    fn one_claim_stands_for_several_and_one_test_too() {
        let text = "why = \"known\"\nvary.rate = [1e-6, 1e-7]\n\
                    test = [{ each.norm = [\"l1\", \"l2\"], run = \"{norm}-{rate}\", value = \"x\", is = \"<\", than = \"none-{rate}\" }]";
        let claims = claim(text).unwrap().expanded(&BTreeMap::from([("known".into(), "It is known.".into())]));
        assert_eq!(
            claims.iter().map(|of| (&of.id[..], &of.statement[..])).collect::<Vec<_>>(),
            [("a-1e-6", "At 1e-6."), ("a-1e-7", "At 1e-7.")]
        );
        let runs =
            |of: &ClaimSpec| of.tests.iter().flat_map(Test::measures).map(|of| of.run.clone()).collect::<Vec<_>>();
        assert_eq!(runs(&claims[1]), ["l1-1e-7", "none-1e-7", "l2-1e-7", "none-1e-7"]);
        assert_eq!(claims[0].why, Some(ByScale::Same("It is known.".into())));
    }

    #[test]
    fn statements_on_random_instances_are_tested_at_every_scale() {
        let from = |test: &str| claim(&format!("test = [{test}]")).unwrap().from();
        assert_eq!(from("{ holds = \"fact_c1\" }"), Scale::Smoke);
        assert_eq!(
            from("{ holds = \"fact_c1\" }, { run = \"a\", value = \"x\", is = \"<\", than = 1.0 }"),
            Scale::Quick
        );
    }

    #[test]
    fn half_a_test_is_refused() {
        for test in
            ["{ run = \"a\", value = \"x\", is = \"<\" }", "{ holds = \"fact_c1\", run = \"a\" }", "{ run = \"a\" }"]
        {
            let message = claim(&format!("test = [{test}]")).unwrap_err().to_string();
            assert!(message.contains("a test has `run`, `value`, `is` and `than`, or `holds`"), "{message}");
        }
    }
}
