//! The paper's claims, judged: what was measured, by which rule, and what came of it.

use super::evidence::Evidence;
use super::file::{ClaimSpec, Measure, Over, Side, TestSpec};
use super::plan::Part;
use super::runs::Kind;
use crate::Result;
use crate::report::{ClaimRow, Verdict, significant};
use serde_json::{Map, Value, json};

/// One claim with its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// As it is shown.
    pub row: ClaimRow,
    /// What was measured, as numbers.
    pub measured: Vec<(String, f64)>,
}

impl Judged {
    /// As `claims.json` has it; `scale` is what was run at.
    pub fn json(&self, scale: &str) -> Value {
        // JSON has no infinities: those stand as words.
        let number = |value: f64| if value.is_finite() { json!(value) } else { json!(significant(value, 3)) };
        let measured: Map<String, Value> =
            self.measured.iter().map(|(name, value)| (name.clone(), number(*value))).collect();
        let ClaimRow { id, figure, place, statement, rule, verdict, remark, runs, .. } = &self.row;
        json!({
            "id": id, "figure": figure, "place": place, "statement": statement, "measured": measured, "rule": rule,
            "verdict": verdict.word(), "scale": scale, "remark": remark, "runs": runs,
        })
    }
}

/// Judges every claim of an experiment. Errors: a file that is not there, or lacks what a claim reads.
pub fn judge(evidence: &Evidence, part: &Part) -> Result<Vec<Judged>> {
    part.experiment.shown.claims.iter().map(|claim| judge_one(evidence, part, claim)).collect()
}

fn judge_one(evidence: &Evidence, part: &Part, claim: &ClaimSpec) -> Result<Judged> {
    let (mut measured, mut rules, mut runs, mut holds) = (Vec::new(), Vec::new(), Vec::new(), true);
    let mut untested = untested(evidence, part, claim);
    for test in &claim.tests {
        for measure in test.measures() {
            let of = evidence.measured(part, measure).map(|(group, _)| group);
            runs.extend(of.into_iter().flat_map(|group| &group.runs).map(|(name, _)| name.clone()));
        }
        rules.push(rule(evidence, part, test));
        match try_one(evidence, part, test)? {
            Some((numbers, fine)) => {
                holds &= fine;
                measured.extend(numbers);
            }
            None => untested = untested.or_else(|| Some("its runs are not part of what was asked for".into())),
        }
    }
    runs.sort_unstable();
    runs.dedup();
    measured.dedup();
    let verdict = match (&untested, holds) {
        (Some(_), _) => Verdict::NotTested,
        (None, true) => Verdict::Holds,
        (None, false) => Verdict::Fails,
    };
    let known = claim.remark.as_ref().and_then(|remark| remark.at(evidence.scale())).cloned();
    let remark = [untested, known].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let row = ClaimRow {
        id: claim.id.clone(),
        figure: part.experiment.name.clone(),
        place: claim.place.clone(),
        statement: claim.statement.clone(),
        measured: measured.iter().map(|(name, value)| (name.clone(), significant(*value, 3))).collect(),
        rule: rules.join("; and "),
        verdict,
        remark,
        runs,
    };
    Ok(Judged { row, measured })
}

/// Why a claim cannot be tested here.
fn untested(evidence: &Evidence, part: &Part, claim: &ClaimSpec) -> Option<String> {
    let request = &evidence.plan.request;
    if let Some(reason) = &claim.untested {
        return Some(reason.clone());
    }
    if claim.scales.as_ref().is_some_and(|scales| !scales.contains(&request.scale)) {
        return Some(format!("the scale {} cannot tell", request.scale));
    }
    let images = part.groups.iter().any(|&at| Kind::of(evidence.plan.groups[at].settings()) == Kind::Vgg);
    (claim.cifar10 && images && request.pictures == "images").then(|| "only CIFAR-10 can tell".into())
}

/// Measured numbers by name, and whether the test holds.
type Tried = (Vec<(String, f64)>, bool);

/// What a test measures, and whether it holds; `None` where the plan lacks its runs.
fn try_one(evidence: &Evidence, part: &Part, test: &TestSpec) -> Result<Option<Tried>> {
    let name = |measure| name(evidence, part, measure, test.share.is_some());
    if let (Some(least), Side::Measure(right)) = (test.share, &test.right) {
        let (left_of, right_of) = (evidence.series(part, &test.left)?, evidence.series(part, right)?);
        let (Some(left_of), Some(right_of)) = (left_of, right_of) else { return Ok(None) };
        // Draw by draw: two runs of one seed, at every step that one of them has; a run that diverged counts as infinite from there on.
        let mut fits = Vec::new();
        for (left, right) in left_of.iter().zip(&right_of) {
            let longer = if left.points.len() >= right.points.len() { left } else { right };
            let pairs = longer.points.iter().filter_map(|&(step, _)| Some((left.at(step)?, right.at(step)?)));
            fits.extend(pairs.map(|(left, right)| test.is.holds(left, test.times * right)));
        }
        let share = fits.iter().filter(|&&fits| fits).count() as f64 / fits.len().max(1) as f64;
        let what = format!(
            "share of draws and steps: {} {} {}",
            name(&test.left),
            test.is.shown(),
            times(test.times, &name(right))
        );
        return Ok(Some((vec![(what, share)], share >= least)));
    }
    let Some(left) = evidence.number(part, &test.left)? else { return Ok(None) };
    let mut measured = vec![(name(&test.left), left)];
    let right = match &test.right {
        Side::Number(number) => *number,
        Side::Measure(measure) => {
            let Some(right) = evidence.number(part, measure)? else { return Ok(None) };
            measured.push((name(measure), right));
            right
        }
    };
    Ok(Some((measured, test.is.holds(left, test.times * right))))
}

fn times(factor: f64, of: &str) -> String {
    if factor == 1.0 { of.into() } else { format!("{} × {of}", significant(factor, 4)) }
}

/// A test in words.
fn rule(evidence: &Evidence, part: &Part, test: &TestSpec) -> String {
    let right = match &test.right {
        Side::Number(number) => significant(test.times * number, 4),
        Side::Measure(measure) => times(test.times, &name(evidence, part, measure, test.share.is_some())),
    };
    let share = test.share.map_or(String::new(), |share| {
        format!(", at {} % of all draws and steps or more", significant(100.0 * share, 3))
    });
    format!("{} {} {right}{share}", name(evidence, part, &test.left, test.share.is_some()), test.is.shown())
}

/// A measurement in words: "BatchNorm (lr 0.1): highest β, median over steps".
fn name(evidence: &Evidence, part: &Part, measure: &Measure, every_step: bool) -> String {
    if let Some(row) = &measure.fails {
        return format!("share of instances on which \"{row}\" fails");
    }
    if let Some(row) = &measure.residual {
        return format!("largest residual of \"{row}\"");
    }
    let shown = &part.experiment.shown;
    let value = shown.values.get(&measure.value).map_or(measure.value.as_str(), |pick| pick.label.as_str());
    let group = evidence.measured(part, measure).map_or_else(|| measure.run.clone(), |(group, _)| group.label.clone());
    // Two groups of an experiment may look alike: then their ids tell them apart.
    let alike = evidence.plan.chosen(part, None).iter().filter(|other| other.label == group).count() > 1;
    let group = if alike { format!("{group} [{}]", measure.run) } else { group };
    let part_of_run = measure.within.map_or(String::new(), |[from, to]| {
        format!(" of the run's {} to {} %", significant(100.0 * from, 3), significant(100.0 * to, 3))
    });
    let steps = match (measure.until, measure.steps) {
        _ if every_step => part_of_run.clone(),
        (Some(level), _) => format!(", first step at {} or below", significant(level, 3)),
        (None, None | Some(Over::Last)) if measure.within.is_none() => ", at the end".into(),
        (None, over) => format!(", {} over the steps{part_of_run}", over.unwrap_or(Over::Last).word()),
    };
    let seeds = measure.seeds.map_or(String::new(), |over| format!(", {} of the seeds", over.word()));
    format!("{group}: {value}{steps}{seeds}")
}
