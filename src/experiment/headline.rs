//! The claims that a report shows first, each as a card with a small figure and one number in words.

use super::claim_spec::ClaimSpec;
use super::claims::{Found, Judged, percent, shown};
use super::evidence::Evidence;
use super::figures;
use super::file::{HeadlineSpec, Number};
use super::plan::Part;
use crate::Result;
use crate::report::{ClaimRow, Headline, Verdict, rounded};

/// The headlines of a part whose runs exist. `claims` are the part's own.
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

/// The number in words; where the scale or the data cannot decide the claim, words that say so.
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

/// The text with its first letter in upper case.
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capitals_stand_at_the_beginning() {
        assert_eq!(capitalised("the scale"), "The scale");
        assert_eq!((capitalised("ℓ1 trains"), capitalised("")), ("ℓ1 trains".into(), String::new()));
    }
}
