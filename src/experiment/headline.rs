//! The claims that a report shows first, each as a card: a small figure, and one number in words.

use super::catalogue::Experiment;
use super::claim_spec::{ClaimSpec, Side};
use super::claims::{Found, Judged, percent, shown};
use super::evidence::Evidence;
use super::figures;
use super::file::Form;
use super::plan::Part;
use crate::report::{ClaimRow, Headline, Verdict, rounded};
use crate::{Error, Result};
use serde::Deserialize;

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

/// Refuses a headline that names what is not there. Errors name the file.
pub fn check(experiment: &Experiment) -> Result<()> {
    let shown = &experiment.shown;
    for spec in &shown.headlines {
        let bad = |problem: &str, right: &str| {
            Err(Error::input(&experiment.file, format!("headline {}: {problem}", spec.claim), right))
        };
        let Some(claim) = shown.claims.iter().find(|claim| claim.id == spec.claim) else {
            return bad("no such claim", "`claim` is the id of one in the same file");
        };
        if let Some(title) = &spec.panel {
            match shown.panels.iter().find(|panel| panel.title == *title) {
                None => return bad(&format!("no panel \"{title}\""), "`panel` is the title of one in the same file"),
                Some(panel) if panel.form == Form::Ridge => {
                    return bad(&format!("panel \"{title}\" draws histograms"), "a card has room for lines and bands");
                }
                Some(_) => {}
            }
        }
        if let Some(value) = spec.show.as_ref().filter(|value| !shown.values.contains_key(*value)) {
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
        let right =
            matches!(spec.number, Number::Right | Number::LeftOfRight | Number::LeftOverRight | Number::RightOverLeft);
        if right && matches!(test.right, Side::Number(_)) {
            return bad("nothing is measured on the right", "`number` is left or draws");
        }
        if spec.words.matches("{}").count() != 1 {
            return bad("no place for the number", "`words` has {} in it once");
        }
    }
    Ok(())
}

/// The headlines of a part whose runs are there. `claims` are its own.
pub fn of(evidence: &Evidence, part: &Part, claims: &[Judged]) -> Result<Vec<Headline>> {
    let mut headlines = Vec::new();
    for spec in &part.experiment.shown.headlines {
        let judged = claims.iter().find(|claim| claim.row.id == spec.claim);
        let claim = part.experiment.shown.claims.iter().find(|claim| claim.id == spec.claim);
        let (Some(judged), Some(claim)) = (judged, claim) else { continue };
        let Some(found) = judged.found.get(spec.test - 1).copied().flatten() else { continue };
        let svg = match spec.panel.as_ref() {
            Some(title) => figures::small(evidence, part, title, spec.show.as_ref(), spec.runs.as_ref())?
                .map_or(String::new(), |panel| panel.small_svg(&format!("{}: {}", claim.place, spec.title))),
            None => String::new(),
        };
        let (number, words) = said(evidence, part, spec, claim, &judged.row, &found);
        headlines.push(Headline { claim: spec.claim.clone(), title: spec.title.clone(), svg, number, words });
    }
    Ok(headlines)
}

/// The number and its words; where the scale or the data can tell nothing, that.
fn said(
    evidence: &Evidence,
    part: &Part,
    spec: &HeadlineSpec,
    claim: &ClaimSpec,
    row: &ClaimRow,
    found: &Found,
) -> (String, String) {
    if matches!(row.verdict, Verdict::LargerScale | Verdict::NotTested) {
        let why = row.remark.split(';').next().unwrap_or_default();
        return (String::new(), capitalised(why));
    }
    let measure = &claim.tests[spec.test - 1].left;
    let pick = evidence.measured(part, measure).map(|(_, pick)| pick);
    let value = |value| if measure.fails.is_some() { percent(value) } else { shown(pick, value) };
    let number = match spec.number {
        Number::Left => value(found.left),
        Number::Right => value(found.right),
        Number::LeftOverRight => rounded(found.left / found.right),
        Number::LeftOfRight => percent(found.left / found.right),
        Number::RightOverLeft => rounded(found.right / found.left),
        Number::Steps => percent(found.steps.unwrap_or(f64::NAN)),
        Number::Draws => format!("{} of {}", found.draws.0, found.draws.1),
    };
    (number, spec.words.clone())
}

/// With a capital at its beginning.
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
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

    #[test]
    fn capitals_stand_at_the_beginning() {
        assert_eq!(super::capitalised("the scale"), "The scale");
        assert_eq!((super::capitalised("ℓ1 trains"), super::capitalised("")), ("ℓ1 trains".into(), String::new()));
    }
}
