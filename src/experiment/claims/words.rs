//! Tests and measurements in words, as rules and tables have them.

use super::super::claim_spec::{Measure, Side, Test};
use super::super::evidence::Evidence;
use super::super::file::Over;
use super::super::plan::Part;
use super::super::runs::Group;
use crate::report::significant;

/// A test in words, with what decides.
pub fn rule(evidence: &Evidence, part: &Part, test: &Test) -> String {
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
    format!("{}{share}{draws}", comparison(evidence, part, test))
}

/// What is compared: "BatchNorm < 0.5 × no norm: training loss, mean over the steps".
pub fn comparison(evidence: &Evidence, part: &Part, test: &Test) -> String {
    let parts = |measure| parts(evidence, part, measure, test.share.is_some());
    let is = test.is.shown();
    let (left, of) = parts(&test.left);
    let right = match &test.right {
        Side::Number(number) => {
            return format!("{} {is} {}", joined(&left, &of), significant(test.times * number + test.plus, 4));
        }
        Side::Measure(measure) => parts(measure),
    };
    let bound = |right: &str| {
        let times = if test.times == 1.0 { right.into() } else { format!("{} × {right}", significant(test.times, 4)) };
        if test.plus == 0.0 { times } else { format!("{times} + {}", significant(test.plus, 4)) }
    };
    // What both sides have in common is said once.
    match right.1 == of && right.0 != left {
        true => joined(&format!("{left} {is} {}", bound(&right.0)), &of),
        false => format!("{} {is} {}", joined(&left, &of), bound(&joined(&right.0, &right.1))),
    }
}

/// A measurement in words: "BatchNorm: highest β, median over the steps".
pub fn name(evidence: &Evidence, part: &Part, measure: &Measure, every_step: bool) -> String {
    let (group, of) = parts(evidence, part, measure, every_step);
    joined(&group, &of)
}

/// A group in words. Two of an experiment may look alike: then their ids tell them apart.
pub fn called(evidence: &Evidence, part: &Part, group: &Group) -> String {
    let alike = evidence.plan.chosen(part, None).iter().filter(|other| other.label == group.label).count() > 1;
    if alike { format!("{} [{}]", group.label, group.id) } else { group.label.clone() }
}

fn joined(group: &str, of: &str) -> String {
    if of.is_empty() { group.into() } else { format!("{group}: {of}") }
}

/// The group, and what is measured of it.
fn parts(evidence: &Evidence, part: &Part, measure: &Measure, every_step: bool) -> (String, String) {
    if let Some(row) = &measure.fails {
        return (format!("share of instances on which \"{row}\" fails"), String::new());
    }
    let shown = &part.experiment.shown;
    let value = shown.values.get(&measure.value).map_or(measure.value.as_str(), |pick| pick.label.as_str());
    let found = evidence.measured(part, measure);
    let group = found.map_or_else(|| measure.run.clone(), |(group, _)| called(evidence, part, group));
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
