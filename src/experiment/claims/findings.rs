//! The measurements for a claim as the report shows them: in words and round numbers. `claims.json` has every digit.

use super::super::claim_spec::{ClaimSpec, Measure, Side, Test};
use super::super::evidence::Evidence;
use super::super::pick::{Over, Pick};
use super::super::plan::Part;
use super::super::runs::Group;
use super::describe::{Names, bound};
use crate::report::{Finding, Line, rounded};
use crate::theory::STATEMENTS;

/// The result of a test, as numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Whether the test is met.
    pub met: bool,
    /// The left side, as the median of the draws; NaN where the sides are compared step by step.
    pub left: f64,
    /// The right side, likewise.
    pub right: f64,
    /// For a comparison step by step: the share of steps at which it holds, as the median of the draws.
    pub steps: Option<f64>,
    /// The number of draws in which it holds (or holds at enough of the steps), and the number of draws.
    pub draws: (usize, usize),
}

impl Default for Found {
    fn default() -> Found {
        Found { met: false, left: f64::NAN, right: f64::NAN, steps: None, draws: (0, 0) }
    }
}

/// One test's result, ready to be placed next to others.
struct Piece {
    /// What is measured, and how its steps are reduced.
    of: (String, String),
    left: Vec<(String, String)>,
    right: Option<(String, String)>,
    notes: Vec<String>,
    met: bool,
}

/// The measurements for a claim: a finding for each quantity, and at the end the draws that diverged.
pub fn of(
    evidence: &Evidence,
    part: &Part,
    claim: &ClaimSpec,
    found: &[Option<Found>],
    diverged: &[(&Group, usize)],
) -> Vec<Finding> {
    let names = Names::of(evidence, part, claim);
    let mut pieces: Vec<Piece> = Vec::new();
    for (test, found) in claim.tests.iter().zip(found) {
        let Some(found) = found else { continue };
        let piece = piece(evidence, part, test, found, &names);
        match pieces.last_mut() {
            // Several groups that were put to the same test stand on one line.
            Some(last) if last.joins(&piece) => last.left.extend(piece.left),
            _ => pieces.push(piece),
        }
    }
    let mut findings: Vec<Finding> = Vec::new();
    for of_one in pieces.chunk_by(|a, b| a.of.0 == b.of.0) {
        let (of, over) = &of_one[0].of;
        let same = !over.is_empty() && of_one.iter().all(|piece| piece.of.1 == *over);
        let title = if same { format!("{of}, {over}") } else { of.clone() };
        findings.push(Finding { of: title, lines: of_one.iter().map(|piece| piece.line(!same)).collect() });
    }
    let line = |(group, count): &(&Group, usize)| {
        let values =
            vec![(format!("{} diverged in", names.get(group)), format!("{count} of {} draws", group.runs.len()))];
        Line { values, ..Line::default() }
    };
    if !diverged.is_empty() {
        findings.push(Finding { of: String::new(), lines: diverged.iter().map(line).collect() });
    }
    findings
}

impl Piece {
    /// Whether `other` is the same test of another group, with the same outcome in the same number of draws.
    fn joins(&self, other: &Piece) -> bool {
        self.of == other.of
            && self.right.is_some()
            && self.right == other.right
            && self.notes == other.notes
            && self.met == other.met
    }

    /// The line of the report. With `with_over` it says how the steps are reduced, because the title does not.
    fn line(&self, with_over: bool) -> Line {
        let over = (with_over && !self.of.1.is_empty()).then(|| self.of.1.clone());
        // Share by share the right side stands in the names.
        let right = self.right.iter().filter(|(_, value)| !value.is_empty());
        Line {
            met: Some(self.met),
            values: self.left.iter().chain(right).cloned().collect(),
            note: over.into_iter().chain(self.notes.iter().cloned()).collect::<Vec<_>>().join(", "),
        }
    }
}

fn piece(evidence: &Evidence, part: &Part, test: &Test, found: &Found, names: &Names) -> Piece {
    if test.left.fails.is_some() {
        return of_statement(test, found);
    }
    let pick = evidence.measured(part, &test.left).map(|(_, pick)| pick);
    let group = |measure: &Measure| evidence.measured(part, measure).map(|(group, _)| group);
    // What tells the groups of the claim apart is said once where both sides have the same.
    let both = match &test.right {
        Side::Measure(measure) => names.shared(group(&test.left), group(measure)),
        Side::Number(_) => None,
    };
    let called = |measure: &Measure| match group(measure) {
        Some(group) if both.is_some() => group.label.clone(),
        Some(group) => names.get(group),
        None => measure.run.clone(),
    };
    let left = called(&test.left);
    let (right, bound) = match &test.right {
        Side::Number(number) => {
            let right = shown(pick, test.times * number + test.plus);
            (right.clone(), right)
        }
        Side::Measure(measure) => (called(measure), bound(test, &called(measure))),
    };
    let is = test.is.shown();
    let several = found.draws.1 > 1;
    let mut notes: Vec<String> = both.iter().cloned().collect();
    let draws = format!("in {} of {} draws", found.draws.0, found.draws.1);
    let label = pick.map_or(test.left.value.as_str(), |pick| &pick.label).to_owned();
    if let (Some(share), Some(least)) = (found.steps, test.share) {
        let layers = pick.is_some_and(|pick| pick.layer.is_some() && pick.over.is_none());
        let when = test.when.as_ref().map_or(String::new(), |when| {
            let pick = part.experiment.shown.values.get(&when.value);
            let label = pick.map_or(when.value.as_str(), |pick| &pick.label);
            format!("of those with {label} {} {}", when.is.shown(), shown(pick, when.than))
        });
        let steps = format!("{} of the {}steps", percent(share), if layers { "layers and " } else { "" });
        notes.extend(Some(when).filter(|when| !when.is_empty()));
        notes.push(format!("{} needed", percent(least)));
        notes.extend(several.then(|| format!("enough {draws}")));
        let left = vec![(format!("{left} {is} {bound} at"), steps)];
        let right = Some((right, String::new()));
        return Piece { of: (label, within(&test.left).unwrap_or_default()), left, right, notes, met: found.met };
    }
    if matches!(test.right, Side::Number(_)) || test.times != 1.0 || test.plus != 0.0 {
        notes.push(format!("{is} {bound} needed"));
    }
    notes.extend(several.then(|| format!("so {draws}")));
    let value = |measure: &Measure, value: f64| match measure.until {
        Some(_) if value.is_infinite() => "never".into(),
        Some(_) => format!("step {}", rounded(value)),
        None => shown(pick, value),
    };
    let left = vec![(left, value(&test.left, found.left))];
    let right = match &test.right {
        Side::Measure(measure) => Some((right, value(measure, found.right))),
        Side::Number(_) => None,
    };
    Piece { of: (label, over(&test.left)), left, right, notes, met: found.met }
}

/// The piece for a statement of the paper on random instances.
fn of_statement(test: &Test, found: &Found) -> Piece {
    let name = test.left.fails.as_deref().unwrap_or_default();
    let row = STATEMENTS.iter().flat_map(|statement| statement.rows).find(|row| row.name == name);
    // Behind a semicolon stands what else is tabled.
    let says = row.map_or(name, |row| row.says.split(';').next().unwrap_or(row.says));
    let who = test.form.as_ref().map_or_else(|| says.to_owned(), |form| format!("{form}: {says}"));
    let of = ("Random instances on which it fails; f is γ²/σ², a is ⟨g, ŷ⟩, v is ∇_y L̂".to_owned(), String::new());
    Piece { of, left: vec![(who, percent(found.left))], right: None, notes: Vec::new(), met: found.met }
}

/// How the steps are reduced, in words: "mean over the last 10 % of the run".
pub fn over(measure: &Measure) -> String {
    let part = within(measure);
    match (measure.until, measure.steps) {
        (Some(level), _) => format!("first step at {} or below", rounded(level)),
        (None, None | Some(Over::Last)) if part.is_none() => "at the end".into(),
        (None, over) => {
            let word = over.unwrap_or(Over::Last).word();
            part.map_or_else(|| format!("{word} over the steps"), |part| format!("{word} {part}"))
        }
    }
}

/// The part of the run that is looked at, in words.
fn within(measure: &Measure) -> Option<String> {
    let [from, to] = measure.within?;
    Some(match (from, to) {
        (_, 1.0) => format!("over the last {} of the run", percent(1.0 - from)),
        (0.0, _) => format!("over the first {} of the run", percent(to)),
        _ => format!("from {} to {} of the run", percent(from), percent(to)),
    })
}

/// A value in its most readable form: shares of a count are in per cent.
pub fn shown(pick: Option<&Pick>, value: f64) -> String {
    let counted = pick.is_some_and(|pick| pick.quantity.ends_with("accuracy") || pick.over == Some(Over::Positive));
    if counted { percent(value) } else { rounded(value) }
}

/// A share in per cent, to three digits.
pub fn percent(share: f64) -> String {
    format!("{}\u{a0}%", rounded(100.0 * share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_of_a_run_is_said_in_words() {
        let test = "run = \"a\"\nvalue = \"x\"\nis = \"<\"\nthan = 1.0\n";
        let of = |toml: &str| over(&toml::from_str::<Test>(&format!("{test}{toml}")).unwrap().left);
        for (toml, words) in [
            ("", "at the end"),
            ("steps = \"mean\"", "mean over the steps"),
            ("steps = \"mean\"\nwithin = [0.9, 1.0]", "mean over the last 10\u{a0}% of the run"),
            ("steps = \"median\"\nwithin = [0.0, 0.33]", "median over the first 33\u{a0}% of the run"),
            ("within = [0.25, 0.5]", "last from 25\u{a0}% to 50\u{a0}% of the run"),
            ("until = 12500.0", "first step at 12,500 or below"),
        ] {
            assert_eq!(of(toml), words);
        }
    }

    #[test]
    fn shares_of_what_was_counted_are_per_cent() {
        let pick = |toml: &str| toml::from_str::<Pick>(&format!("label = \"\"\n{toml}")).unwrap();
        assert_eq!(shown(Some(&pick("quantity = \"train_accuracy\"")), 0.9408203), "94.1\u{a0}%");
        assert_eq!(shown(Some(&pick("quantity = \"theory.along\"\nover = \"positive\"")), 0.5), "50\u{a0}%");
        assert_eq!(shown(Some(&pick("quantity = \"loss\"")), 24833.03), "24,800");
        assert_eq!(percent(0.0), "0\u{a0}%");
    }
}
