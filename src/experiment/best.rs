//! Variants at the best of several learning rates. The first seed chooses the rate; the other seeds are shown and judged.

use super::claim_spec::{ClaimSpec, Test};
use super::claims::{over, shown};
use super::evidence::Evidence;
use super::file::{BestSpec, NumberSpec};
use super::plan::Part;
use super::runs::Group;
use crate::Result;
use crate::report::{Captioned, Cell, Table, significant};
use crate::train::Settings;

/// For each variant, the group with the rate at which the spec's value is lowest for the first seed; in the plan's order.
///
/// Errors: as [`Evidence::numbers`].
pub fn groups<'s>(evidence: &'s Evidence, part: &'s Part, spec: &BestSpec, among: &[String]) -> Result<Vec<&'s Group>> {
    let mut best: Vec<(Settings, f64, &Group)> = Vec::new();
    for group in evidence.plan.chosen(part, Some(among)) {
        let measure = spec.by.of(&group.id);
        let drawn = evidence.numbers(part, &measure)?.into_iter().flatten().next();
        let score = drawn.map_or(f64::NAN, |draw| draw.value);
        let score = if score.is_nan() { f64::INFINITY } else { score };
        let variant = Settings { lr: 0.0, ..group.settings().clone() };
        match best.iter_mut().find(|other| other.0 == variant) {
            Some(known) if score < known.1 => (known.1, known.2) = (score, group),
            Some(_) => {}
            None => best.push((variant, score, group)),
        }
    }
    Ok(best.into_iter().map(|(_, _, group)| group).collect())
}

/// The table of these variants: the best rate of each, and the spec's columns as medians over the seeds that did not choose the rate.
pub fn table(evidence: &Evidence, part: &Part, spec: &BestSpec) -> Result<Captioned> {
    let pick = |column: &NumberSpec| part.experiment.shown.values.get(&column.value);
    let heads = spec.table.iter().map(|column| {
        let label = pick(column).map_or(column.value.as_str(), |pick| &pick.label);
        format!("{label}, {}", over(&column.of("")))
    });
    let mut table = Table::new(["variant".to_owned(), "best rate".to_owned()].into_iter().chain(heads));
    for group in groups(evidence, part, spec, &spec.runs)? {
        let mut row = vec![Cell::from(group.label.as_str()), Cell::number(significant(group.settings().lr, 3))];
        for column in &spec.table {
            let draws = evidence.numbers(part, &column.of(&group.id))?.unwrap_or_default();
            let others =
                draws.iter().skip(1).map(|draw| draw.value).filter(|value| !value.is_nan()).collect::<Vec<_>>();
            row.push(if others.is_empty() {
                Cell::from("")
            } else {
                Cell::number(shown(pick(column), super::series::median(others)))
            });
        }
        table.row(row);
    }
    let caption = "Each variant at the best of its learning rates, chosen with the first seed; the numbers are medians over the other seeds";
    Ok(Captioned { caption: caption.into(), table })
}

/// The claim with each run that is a pattern replaced by the best of the groups it matches. Errors: as [`groups`].
pub fn resolved(evidence: &Evidence, part: &Part, claim: &ClaimSpec) -> Result<ClaimSpec> {
    let mut claim = claim.clone();
    let Some(spec) = &part.experiment.shown.best else { return Ok(claim) };
    for measure in claim.tests.iter_mut().flat_map(Test::measures_mut).filter(|measure| measure.run.contains('*')) {
        if let Some(best) = groups(evidence, part, spec, std::slice::from_ref(&measure.run))?.first() {
            (measure.run, measure.others) = (best.id.clone(), true);
        }
    }
    Ok(claim)
}

#[cfg(test)]
mod tests {
    use super::super::{Scale, catalogue, plan::Plan, runs::Request};
    use super::*;
    use crate::report::Verdict;
    use std::sync::atomic::AtomicBool;

    const OWN: &str = r#"
title = "own"
best = { runs = ["*"], by = { value = "loss" }, table = [{ value = "loss" }] }
[[run]]
id = "{norm}-{lr}"
base = "dln"
vary.norm = ["none", "batch"]
vary.lr = [1e-6, 1e-7]
seeds = 3
smoke = { samples = 20, steps = 1, depth = 3 }
[[claim]]
id = "a"
place = ""
statement = ""
from = "smoke"
test = [{ run = "batch-*", value = "loss", is = "<", than = "none-*" }]
"#;

    #[test]
    fn the_first_seed_chooses_and_the_others_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        // With the first seed 1e-7 is the better rate of the standard network, with the others 1e-6; of BatchNorm it is 1e-6 with all.
        for (name, last) in [
            ("none-1e-6", [5.0, 1.0, 1.0]),
            ("none-1e-7", [4.0, 6.0, 8.0]),
            ("batch-1e-6", [2.0, 3.0, 5.0]),
            ("batch-1e-7", [9.0; 3]),
        ] {
            for (seed, last) in last.into_iter().enumerate() {
                let run = folder.path().join(format!("{name}-{}", seed + 1));
                std::fs::create_dir_all(&run).unwrap();
                let rows = format!("0,0,9.0,,,,0.1,0.0\n1,0,{last:?},,,,0.1,0.0\n");
                let head = "step,epoch,loss,train_accuracy,test_loss,test_accuracy,lr,seconds\n";
                std::fs::write(run.join("metrics.csv"), format!("{head}{rows}")).unwrap();
            }
        }
        let experiment = catalogue::read("own", "own.toml", OWN).unwrap();
        let plan = Plan::new(vec![experiment], &catalogue::shared().unwrap(), Request::at(Scale::Smoke)).unwrap();
        let evidence = Evidence::gather(&plan, folder.path(), &AtomicBool::new(false)).unwrap();
        let part = &plan.parts[0];
        let text = table(&evidence, part, part.experiment.shown.best.as_ref().unwrap()).unwrap().table.to_string();
        let rows: Vec<Vec<&str>> = text
            .lines()
            .skip(2)
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(rows, [["no norm", "1e-7", "7"], ["BatchNorm", "1e-6", "4"]], "{text}");
        let judged = super::super::claims::judge(&evidence, part).unwrap().remove(0);
        assert_eq!(judged.row.verdict, Verdict::Reproduced);
        let numbers: Vec<f64> = judged.measured.iter().map(|(_, value)| *value).collect();
        assert_eq!(numbers, [4.0, 7.0, 1.0], "{judged:?}");
    }
}
