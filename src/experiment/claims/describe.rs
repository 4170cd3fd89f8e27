//! Tests and measurements in words, for the rules in the report and the keys of `claims.json`.

use super::super::claim_spec::{ClaimSpec, Measure, Side, Test};
use super::super::evidence::Evidence;
use super::super::explore::apart;
use super::super::pick::Over;
use super::super::plan::Part;
use super::super::runs::Group;
use crate::report::significant;

/// The names of the groups of one claim on the page: their labels, and where two labels are equal, also the settings that tell the groups apart.
pub struct Names<'a>(Vec<(&'a str, Option<String>)>);

impl<'a> Names<'a> {
    /// The names of a claim's groups.
    pub fn of(evidence: &'a Evidence, part: &'a Part, claim: &ClaimSpec) -> Names<'a> {
        let mut groups: Vec<&Group> = Vec::new();
        for (group, _) in claim.tests.iter().flat_map(Test::measures).filter_map(|of| evidence.measured(part, of)) {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        let apart = apart::names(&groups);
        let alike = |group: &Group| groups.iter().filter(|other| other.label == group.label).count() > 1;
        let name = |(i, group): (usize, &&'a Group)| {
            let apart = apart.as_ref().filter(|_| alike(group)).map(|names| names[i].replace("lr ", "rate "));
            (group.id.as_str(), apart)
        };
        Names(groups.iter().enumerate().map(name).collect())
    }

    fn apart(&self, group: &Group) -> Option<&String> {
        self.0.iter().find(|(id, _)| *id == group.id)?.1.as_ref()
    }

    /// The name of a group.
    pub fn get(&self, group: &Group) -> String {
        self.apart(group).map_or_else(|| group.label.clone(), |apart| format!("{} ({apart})", group.label))
    }

    /// The distinguishing settings of two groups with different labels, where both have the same.
    pub fn shared(&self, left: Option<&Group>, right: Option<&Group>) -> Option<String> {
        let (left, right) = (left?, right?);
        let apart = self.apart(left)?;
        (self.apart(right) == Some(apart) && left.label != right.label).then(|| apart.clone())
    }
}

/// The rule of a claim in words. A rule that several groups share is stated once.
pub fn rules(evidence: &Evidence, part: &Part, claim: &ClaimSpec) -> String {
    let names = Names::of(evidence, part, claim);
    let mut rules: Vec<String> = Vec::new();
    let alike = |a: &Test, b: &Test| {
        let run = a.left.run.clone();
        !run.is_empty() && *a == Test { left: Measure { run, ..b.left.clone() }, ..b.clone() }
    };
    for tests in claim.tests.chunk_by(alike) {
        let lefts: Vec<String> = tests
            .iter()
            .filter_map(|test| evidence.measured(part, &test.left))
            .map(|(group, _)| names.get(group))
            .collect();
        let call = |group: &Group| match evidence.measured(part, &tests[0].left) {
            Some((left, _)) if left.id == group.id && tests.len() > 1 => format!("each of {}", lefts.join(", ")),
            _ => names.get(group),
        };
        let rule = rule_by(evidence, part, &tests[0], &call);
        rules.push(tests[0].form.as_ref().map_or(rule.clone(), |form| format!("{form}: {rule}")));
    }
    rules.join("; and ")
}

/// A test in words, including what decides it.
pub fn rule(evidence: &Evidence, part: &Part, test: &Test) -> String {
    rule_by(evidence, part, test, &|group| called(evidence, part, group))
}

fn rule_by(evidence: &Evidence, part: &Part, test: &Test, call: &dyn Fn(&Group) -> String) -> String {
    let when = test.when.as_ref().map_or(String::new(), |when| {
        let label =
            part.experiment.shown.values.get(&when.value).map_or(when.value.as_str(), |pick| pick.label.as_str());
        format!(" where {label} is {} {}", when.is.shown(), significant(when.than, 4))
    });
    let share = test
        .share
        .map_or(String::new(), |share| format!(", at {} % or more of the steps{when}", significant(100.0 * share, 3)));
    let several = test.measures().filter_map(|of| evidence.measured(part, of));
    let several = several.map(|(group, _)| group.runs.len()).min().is_some_and(|least| least > 1);
    let draws = if several { ", in most draws" } else { "" };
    format!("{}{share}{draws}", comparison_by(evidence, part, test, call))
}

/// The comparison in words: "BatchNorm < 0.5 × no norm: training loss, mean over the steps".
pub fn comparison(evidence: &Evidence, part: &Part, test: &Test) -> String {
    comparison_by(evidence, part, test, &|group| called(evidence, part, group))
}

fn comparison_by(evidence: &Evidence, part: &Part, test: &Test, call: &dyn Fn(&Group) -> String) -> String {
    let parts = |measure| parts(evidence, part, measure, test.share.is_some(), call);
    let is = test.is.shown();
    let (left, of) = parts(&test.left);
    let right = match &test.right {
        Side::Number(number) => {
            return format!("{} {is} {}", joined(&left, &of), significant(test.times * number + test.plus, 4));
        }
        Side::Measure(measure) => parts(measure),
    };
    let bound = |right: &str| bound(test, right);
    // What both sides have in common is said once.
    match right.1 == of && right.0 != left {
        true => joined(&format!("{left} {is} {}", bound(&right.0)), &of),
        false => format!("{} {is} {}", joined(&left, &of), bound(&joined(&right.0, &right.1))),
    }
}

/// What the left side is compared with; `right` is the name of the right side.
pub fn bound(test: &Test, right: &str) -> String {
    let times = if test.times == 1.0 { right.into() } else { format!("{} × {right}", significant(test.times, 4)) };
    if test.plus == 0.0 { times } else { format!("{times} + {}", significant(test.plus, 4)) }
}

/// A measurement in words: "BatchNorm: highest β, median over the steps".
pub fn name(evidence: &Evidence, part: &Part, measure: &Measure, every_step: bool) -> String {
    let (group, of) = parts(evidence, part, measure, every_step, &|group| called(evidence, part, group));
    joined(&group, &of)
}

/// A group in words. Where two groups of an experiment look alike, their ids tell them apart.
pub fn called(evidence: &Evidence, part: &Part, group: &Group) -> String {
    let alike = evidence.plan.chosen(part, None).iter().filter(|other| other.label == group.label).count() > 1;
    if alike { format!("{} [{}]", group.label, group.id) } else { group.label.clone() }
}

fn joined(group: &str, of: &str) -> String {
    if of.is_empty() { group.into() } else { format!("{group}: {of}") }
}

/// The group, and what is measured on it.
fn parts(
    evidence: &Evidence,
    part: &Part,
    measure: &Measure,
    every_step: bool,
    call: &dyn Fn(&Group) -> String,
) -> (String, String) {
    if let Some(row) = &measure.fails {
        return (format!("share of instances on which \"{row}\" fails"), String::new());
    }
    let shown = &part.experiment.shown;
    let value = shown.values.get(&measure.value).map_or(measure.value.as_str(), |pick| pick.label.as_str());
    let found = evidence.measured(part, measure);
    let group = found.map_or_else(|| measure.run.clone(), |(group, _)| call(group));
    let part_of_run = measure.within.map_or(String::new(), |[from, to]| {
        format!(" of the run's {} to {} %", significant(100.0 * from, 3), significant(100.0 * to, 3))
    });
    let steps = match (measure.until, measure.steps) {
        _ if every_step => part_of_run.clone(),
        (Some(level), _) => format!(", first step at {} or below", significant(level, 3)),
        (None, None | Some(Over::Last)) if measure.within.is_none() => ", at the end".into(),
        (None, over) => format!(", {} over the steps{part_of_run}", over.unwrap_or(Over::Last).word()),
    };
    (group, format!("{value}{steps}"))
}
