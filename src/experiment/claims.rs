//! Judges the paper's claims: what was measured, by which rule, and with which verdict.

mod describe;
mod findings;
mod verdict;

use super::best;
use super::claim_spec::{ClaimSpec, Measure, Side, Test};
use super::evidence::{Draw, Evidence, Seed};
use super::pick::Over;
use super::plan::Part;
use super::runs::{Group, Kind};
use super::scale::ByScale;
use crate::Result;
use crate::report::{ClaimRow, Verdict, significant};
use serde_json::{Map, Value, json};
use verdict::{Form, in_part, verdict};

pub use findings::{Found, over, percent, shown};

/// One claim with its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The claim's row in the report.
    pub row: ClaimRow,
    /// The measured numbers, by name.
    pub measured: Vec<(String, f64)>,
    /// The result of each test of the claim, in order; `None` where nothing was measured.
    pub found: Vec<Option<Found>>,
}

impl Judged {
    /// The claim's entry in `claims.json`; `scale` is the scale of the runs.
    pub fn json(&self, scale: &str) -> Value {
        // JSON has no infinities: those stand as words.
        let number = |value: f64| if value.is_finite() { json!(value) } else { json!(significant(value, 3)) };
        let measured: Map<String, Value> =
            self.measured.iter().map(|(name, value)| (name.clone(), number(*value))).collect();
        let ClaimRow { id, kind, figure, place, statement, rule, verdict, remark, runs, .. } = &self.row;
        json!({
            "id": id, "kind": kind.word(), "figure": figure, "place": place, "statement": statement, "measured": measured, "rule": rule,
            "verdict": verdict.word(), "scale": scale, "remark": remark, "runs": runs,
        })
    }
}

/// Judges every claim of an experiment. Errors: a file is missing, or lacks what a claim reads.
pub fn judge(evidence: &Evidence, part: &Part) -> Result<Vec<Judged>> {
    let claims = part.experiment.shown.claims.iter();
    claims.map(|claim| judge_one(evidence, part, &best::resolved(evidence, part, claim)?)).collect()
}

fn judge_one(evidence: &Evidence, part: &Part, claim: &ClaimSpec) -> Result<Judged> {
    let (mut measured, mut found, mut runs, mut forms) = (Vec::new(), Vec::new(), Vec::new(), Vec::<Form>::new());
    let mut untested = untested(evidence, part, claim);
    for test in &claim.tests {
        for measure in test.measures() {
            let of = evidence.measured(part, measure).map(|(group, _)| group);
            runs.extend(of.into_iter().flat_map(|group| &group.runs).map(|(name, _)| name.clone()));
        }
        let name = test.form.as_deref().unwrap_or_default();
        let tried = try_one(evidence, part, test)?;
        found.push(if let Tried::Known(_, found) = &tried { Some(*found) } else { None });
        match tried {
            Tried::Known(numbers, Found { met, .. }) => {
                match forms.iter_mut().find(|form| form.name == name) {
                    Some(form) => form.met &= met,
                    None => forms.push(Form { name: name.into(), met }),
                }
                measured.extend(numbers);
            }
            Tried::Unknown => {
                untested = untested.or_else(|| {
                    let why = format!("nothing was measured to compare: {}", describe::rule(evidence, part, test));
                    Some((Verdict::NotTested, why))
                });
            }
            Tried::Absent => {
                let why = "its runs are not part of what was asked for".into();
                untested = untested.or(Some((Verdict::NotTested, why)));
            }
        }
    }
    runs.sort_unstable();
    runs.dedup();
    measured.dedup();
    let diverged = diverged(evidence, part, claim)?;
    measured.extend(diverged.iter().map(|(group, count)| {
        let called = describe::called(evidence, part, group);
        (format!("{called}: draws that diverged, of {}", group.runs.len()), *count as f64)
    }));
    let (verdict, untested) = match untested {
        Some((verdict, why)) => (verdict, Some(why)),
        None => (verdict(&forms), None),
    };
    let said = |of: &Option<ByScale<String>>| of.as_ref().and_then(|of| of.at(evidence.scale())).cloned();
    let why = said(&claim.why).filter(|_| matches!(verdict, Verdict::NotBorneOut | Verdict::InPart));
    let which = (verdict == Verdict::InPart).then(|| in_part(&forms));
    let remark = [untested, which, said(&claim.remark), why].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let row = ClaimRow {
        id: claim.id.clone(),
        kind: claim.kind,
        figure: part.experiment.name.clone(),
        place: claim.place.clone(),
        statement: claim.statement.clone(),
        measured: findings::of(evidence, part, claim, &found, &diverged),
        rule: describe::rules(evidence, part, claim),
        verdict,
        remark,
        runs,
    };
    Ok(Judged { row, measured, found })
}

/// The groups of a claim in which draws diverged, each once, and how many draws did.
fn diverged<'a>(evidence: &'a Evidence, part: &'a Part, claim: &ClaimSpec) -> Result<Vec<(&'a Group, usize)>> {
    let mut found: Vec<(&Group, usize)> = Vec::new();
    for measure in claim.tests.iter().flat_map(Test::measures) {
        let Some((group, pick)) = evidence.measured(part, measure) else { continue };
        let count = if pick.quantity == "diverged" { 0 } else { evidence.diverged(group)? };
        if count > 0 && !found.iter().any(|(known, _)| known.id == group.id) {
            found.push((group, count));
        }
    }
    Ok(found)
}

/// Why a claim cannot be tested here, if it cannot.
fn untested(evidence: &Evidence, part: &Part, claim: &ClaimSpec) -> Option<(Verdict, String)> {
    let request = &evidence.plan.request;
    if let Some(reason) = &claim.untested {
        return Some((Verdict::NotTested, reason.clone()));
    }
    if request.scale < claim.from() {
        return Some((Verdict::LargerScale, format!("the scale {} cannot tell", request.scale)));
    }
    let alone = |at: &usize| evidence.plan.groups[*at].runs.len() < 2;
    if part.experiment.shown.best.is_some() && part.groups.iter().all(alone) {
        let why = "the first seed chooses the learning rates, and the others are compared: it takes two seeds or more";
        return Some((Verdict::NotTested, why.into()));
    }
    let images = part.groups.iter().any(|&at| Kind::of(evidence.plan.groups[at].settings()) == Kind::Vgg);
    let images = claim.cifar10 && images && request.pictures == "images";
    images.then(|| (Verdict::NotTested, "only CIFAR-10 can tell".into()))
}

/// The result of a test.
enum Tried {
    /// The measured numbers by name, and the result of comparing them.
    Known(Vec<(String, f64)>, Found),
    /// Nothing was measured that can be compared.
    Unknown,
    /// The plan does not contain its runs.
    Absent,
}

fn try_one(evidence: &Evidence, part: &Part, test: &Test) -> Result<Tried> {
    let name = |measure: &Measure| describe::name(evidence, part, measure, test.share.is_some());
    let so = describe::comparison(evidence, part, test);
    if let Some(least) = test.share {
        let Some(draws) = at_every_step(evidence, part, test)? else { return Ok(Tried::Absent) };
        let fits = |(pairs, _): &Steps| {
            let fits =
                pairs.iter().filter(|(left, right)| test.is.holds(*left, test.times * right + test.plus)).count();
            fits as f64 / pairs.len() as f64
        };
        let shares: Vec<f64> = draws.iter().filter(|(pairs, _)| !pairs.is_empty()).map(fits).collect();
        if shares.is_empty() {
            return Ok(Tried::Unknown);
        }
        let (count, most) = (shares.len(), shares.iter().filter(|&&share| share >= least).count());
        let steps = Over::Median.of(shares);
        let mut measured = vec![(format!("share of steps: {so}"), steps)];
        if count > 1 {
            let what =
                format!("share of draws in which it is {} % or more of the steps: {so}", significant(100.0 * least, 3));
            measured.push((what, most as f64 / count as f64));
        }
        // As where the precision told no β.
        let (told, left_out) = draws.iter().fold((0, 0), |all, of| (all.0 + of.0.len(), all.1 + of.1));
        if left_out > 0 {
            let share = left_out as f64 / (told + left_out) as f64;
            measured.push((format!("share of steps left out, nothing being known of one side: {so}"), share));
        }
        let met = 2 * most > count;
        return Ok(Tried::Known(measured, Found { met, steps: Some(steps), draws: (most, count), ..Found::default() }));
    }
    let Some(mut left) = evidence.numbers(part, &test.left)? else { return Ok(Tried::Absent) };
    let mut right = match &test.right {
        Side::Number(value) => left.iter().map(|draw| Draw { value: *value, ..*draw }).collect(),
        Side::Measure(measure) => match evidence.numbers(part, measure)? {
            Some(right) => right,
            None => return Ok(Tried::Absent),
        },
    };
    // Draw by draw where both sides have several: what a deep linear network comes to depends on its data more than on its norm.
    if left.len() > 1 && right.len() > 1 {
        let seeds = |of: &[Draw]| of.iter().map(|draw| draw.seed).collect::<Vec<_>>();
        let (of_left, of_right) = (seeds(&left), seeds(&right));
        left.retain(|draw| of_right.contains(&draw.seed));
        right.retain(|draw| of_left.contains(&draw.seed));
    }
    let middle = |of: &[Draw]| Over::Median.of(of.iter().map(|draw| draw.value).collect());
    let pairs: Vec<(f64, f64)> = match left.len() == right.len() {
        true => left.iter().zip(&right).map(|(left, right)| (left.value, right.value)).collect(),
        // One number beside those of several draws.
        false => vec![(middle(&left), middle(&right))],
    };
    let pairs: Vec<_> = pairs.into_iter().filter(|(left, right)| !left.is_nan() && !right.is_nan()).collect();
    if pairs.is_empty() {
        return Ok(Tried::Unknown);
    }
    let fits = pairs.iter().filter(|(left, right)| test.is.holds(*left, test.times * right + test.plus)).count();
    let met = 2 * fits > pairs.len();
    let found = Found { met, left: middle(&left), right: middle(&right), steps: None, draws: (fits, pairs.len()) };
    let mut measured = vec![(name(&test.left), found.left)];
    if let Side::Measure(measure) = &test.right {
        measured.push((name(measure), found.right));
    }
    if pairs.len() > 1 {
        measured.push((format!("share of draws: {so}"), fits as f64 / pairs.len() as f64));
    }
    Ok(Tried::Known(measured, found))
}

/// For one draw: the left and right value at every step at which both are known, and the number of steps at which they are not.
type Steps = (Vec<(f64, f64)>, usize);

/// For every draw, the left and right value at each layer and step. For a run that diverged, [`super::evidence::missing`] gives the values
/// that it would have had.
fn at_every_step(evidence: &Evidence, part: &Part, test: &Test) -> Result<Option<Vec<Steps>>> {
    let Some(left_of) = evidence.series(part, &test.left)? else { return Ok(None) };
    let right_of = match &test.right {
        Side::Number(number) => {
            let only = match &test.when {
                Some(when) => evidence.series(part, &Measure { value: when.value.clone(), ..test.left.clone() })?,
                None => None,
            };
            let counts = |draw: u64, step: f64| match (&only, &test.when) {
                (Some(only), Some(when)) => {
                    let mut of_draw = only.iter().flatten().filter(|seed| seed.draw == draw);
                    of_draw.any(|seed| seed.at(step).is_some_and(|value| when.is.holds(value, when.than)))
                }
                _ => true,
            };
            let steps = |of: &Vec<Seed>| {
                let points = || {
                    let with_draw = of.iter().flat_map(|seed| seed.points.iter().map(|point| (seed.draw, point)));
                    with_draw.filter(|(draw, point)| counts(*draw, point.0)).map(|(_, point)| point)
                };
                let known: Vec<_> =
                    points().filter(|point| !point.1.is_nan()).map(|point| (point.1, *number)).collect();
                let left_out = points().count() - known.len();
                (known, left_out)
            };
            return Ok(Some(left_of.iter().map(steps).collect()));
        }
        Side::Measure(measure) => evidence.series(part, measure)?,
    };
    let Some(right_of) = right_of else { return Ok(None) };
    let draw = |of: &Vec<Seed>| of.first().map(|seed| seed.draw);
    let mut draws = Vec::new();
    for left_of in &left_of {
        let Some(right_of) = right_of.iter().find(|of| draw(of) == draw(left_of)) else { continue };
        let (mut pairs, mut left_out) = (Vec::new(), 0);
        for (left, right) in left_of.iter().zip(right_of) {
            let longer = if left.points.len() >= right.points.len() { left } else { right };
            for &(step, _) in &longer.points {
                match left.at(step).zip(right.at(step)) {
                    Some(pair) => pairs.push(pair),
                    None => left_out += 1,
                }
            }
        }
        draws.push((pairs, left_out));
    }
    Ok(Some(draws))
}

#[cfg(test)]
mod tests {
    use super::super::{catalogue, plan::Plan, runs::Request, scale::Scale};
    use super::*;
    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    const RUNS: &str = r#"
title = "Draws"
[value.loss]
quantity = "loss"
label = "loss"
[value.test]
quantity = "test_accuracy"
label = "test accuracy"
[[run]]
id = "{norm}"
base = "dln"
vary.norm = ["none", "batch"]
seeds = 3
smoke = { samples = 20, steps = 2, depth = 3 }
"#;

    /// The verdict and the judged claim for runs with these losses at steps 0 and 2. A loss that is NaN ends a run.
    fn judged(none: [[f64; 2]; 3], batch: [[f64; 2]; 3], test: &str) -> (Verdict, Judged) {
        let folder = tempfile::tempdir().unwrap();
        for (norm, of) in [("none", none), ("batch", batch)] {
            for (seed, [first, last]) in of.into_iter().enumerate() {
                write(&folder.path().join(format!("{norm}-{}", seed + 1)), first, last);
            }
        }
        let claim = "[[claim]]\nid = \"a\"\nplace = \"\"\nstatement = \"\"\nfrom = \"smoke\"\nwhy = \"known\"\n";
        let experiment =
            catalogue::read("draws", "draws.toml", &format!("{RUNS}{claim}test = [{{ {test} }}]\n")).unwrap();
        let request = Request::at(Scale::Smoke);
        let plan = Plan::new(vec![experiment], &catalogue::shared().unwrap(), request).unwrap();
        let evidence = Evidence::gather(&plan, folder.path(), &AtomicBool::new(false)).unwrap();
        let judged = judge(&evidence, &plan.parts[0]).unwrap().remove(0);
        (judged.row.verdict, judged)
    }

    fn write(folder: &Path, first: f64, last: f64) {
        std::fs::create_dir_all(folder).unwrap();
        let row = |step: usize, loss: f64| format!("{step},0,{loss},,,,0.1,0.0\n");
        let rows =
            if last.is_nan() { row(0, first) + &row(1, last) } else { row(0, first) + &row(1, last) + &row(2, last) };
        std::fs::write(
            folder.join("metrics.csv"),
            format!("step,epoch,loss,train_accuracy,test_loss,test_accuracy,lr,seconds\n{rows}"),
        )
        .unwrap();
    }

    const LOWER: &str = "run = \"batch\", value = \"loss\", is = \"<\", than = \"none\"";

    #[test]
    fn a_condition_leaves_the_steps_at_which_it_holds() {
        let (none, batch) = ([[9.0, 1.0]; 3], [[9.0, 9.0]; 3]);
        let test = "run = \"none\", value = \"loss\", is = \"<\", than = 2.0, share = 1.0";
        assert_eq!(judged(none, batch, test).0, Verdict::NotBorneOut);
        let when = |than: f64| format!("{test}, when = {{ value = \"loss\", is = \"<\", than = {than:?} }}");
        let (verdict, judged_where) = judged(none, batch, &when(5.0));
        assert_eq!(verdict, Verdict::Reproduced, "{judged_where:?}");
        assert!(judged_where.row.rule.contains("100 % or more of the steps where loss is < 5"), "{judged_where:?}");
        // Of no step nothing can be said.
        assert_eq!(judged(none, batch, &when(0.5)).0, Verdict::NotTested);
    }

    #[test]
    fn draws_are_compared_with_themselves() {
        // Two of three draws are worse with BatchNorm, though the middle one of all is better.
        let at_end = |last: [f64; 3]| last.map(|last| [9.0, last]);
        let (verdict, judged) = self::judged(at_end([5.0, 1.0, 9.0]), at_end([6.0, 2.0, 4.0]), LOWER);
        assert_eq!(verdict, Verdict::NotBorneOut, "{judged:?}");
        assert_eq!(judged.measured.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [4.0, 5.0, 1.0 / 3.0]);
        assert_eq!(judged.row.remark, "known");
        assert_eq!(judged.row.rule, "BatchNorm < no norm: loss, at the end, in most draws");
        let (verdict, judged) = self::judged(at_end([5.0, 3.0, 3.0]), at_end([6.0, 2.0, 2.0]), LOWER);
        assert_eq!(
            (verdict, judged.row.remark.as_str()),
            (Verdict::Reproduced, ""),
            "what explains a failure stands under none else"
        );
    }

    #[test]
    fn a_draw_that_diverged_is_a_loss_without_bound() {
        let diverged = [9.0, f64::NAN];
        let trains = [9.0, 1.0];
        assert_eq!(judged([diverged; 3], [trains; 3], LOWER).0, Verdict::Reproduced);
        assert_eq!(judged([trains; 3], [diverged; 3], LOWER).0, Verdict::NotBorneOut);
        // Of two that have no bound neither is at most the other.
        let at_most = LOWER.replace('<', "<=");
        assert_eq!(judged([diverged; 3], [diverged; 3], &at_most).0, Verdict::NotBorneOut);
        // Step by step from there on too: at steps 1 and 2 of the draw that diverged, of which there is one.
        let (verdict, judged) = judged([diverged, trains, trains], [trains; 3], &format!("{LOWER}, share = 0.6"));
        let numbers: Vec<f64> = judged.measured.iter().map(|(_, value)| *value).collect();
        assert_eq!((verdict, numbers), (Verdict::NotBorneOut, vec![0.0, 1.0 / 3.0, 1.0]), "{judged:?}");
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        for share in ["", ", share = 0.5"] {
            let test = format!("{}{share}", LOWER.replace("\"loss\"", "\"test\""));
            let (verdict, judged) = judged([[9.0, 1.0]; 3], [[9.0, 2.0]; 3], &test);
            assert_eq!(verdict, Verdict::NotTested);
            assert!(judged.row.remark.contains("nothing was measured"), "{}", judged.row.remark);
        }
    }

    #[test]
    fn a_share_of_steps_is_taken_against_a_number_too() {
        let test = "run = \"none\", value = \"loss\", is = \">\", than = 4.0, plus = 0.5, share = 0.3";
        let (verdict, judged) = judged([[9.0, 1.0], [9.0, 8.0], [4.2, 4.4]], [[1.0, 1.0]; 3], test);
        // One step of three, all, and none.
        let shares = [judged.measured[0].1, judged.measured[1].1];
        assert_eq!((verdict, shares), (Verdict::Reproduced, [1.0 / 3.0, 2.0 / 3.0]));
    }
}
