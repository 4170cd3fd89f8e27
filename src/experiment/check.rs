//! What can be wrong in an experiment's file that its form does not show.

use super::catalogue::Experiment;
use super::file::{Form, Measure, Pick, Side, TestSpec};
use super::scale::Scale;
use crate::theory::{Choice, STATEMENTS};
use crate::train::schedule;
use crate::{Error, Result};

/// Refuses values, claims and panels that contradict themselves or name what is not there.
pub fn experiment(experiment: &Experiment) -> Result<()> {
    let shown = &experiment.shown;
    let bad = |problem: String, remedy: &str| Err(Error::input(&experiment.file, problem, remedy));
    for (name, pick) in &shown.values {
        pick.check().map_err(|e| Error::input(&experiment.file, format!("value {name}: {e}"), "see README.md"))?;
    }
    let panels = shown.panels.iter().map(|panel| (&panel.show, &panel.title));
    let explorers =
        shown.explorers.iter().flat_map(|explorer| explorer.show.iter().map(|show| (show, &explorer.title)));
    if let Some((value, title)) = panels.chain(explorers).find(|(value, _)| !shown.values.contains_key(*value)) {
        return bad(format!("panel \"{title}\" shows {value}, which is no value"), "[value.NAME] describes one");
    }
    for panel in &shown.panels {
        let title = &panel.title;
        if panel.form == Form::Against && panel.setting.is_none() {
            return bad(format!("panel \"{title}\" has no setting"), "`setting` names the one on its horizontal axis");
        }
        if panel.form == Form::Ridge && shown.values[&panel.show].quantity != "activations.count" {
            return bad(
                format!("panel \"{title}\" draws no histograms"),
                "activations.count is what ridges are made of",
            );
        }
    }
    if let Some(spec) = &shown.theory {
        for instances in Scale::ALL.iter().filter_map(|scale| spec.instances.at(*scale)) {
            let choice = Choice { instances: *instances, m: spec.m, lambda: spec.lambda, family: None, seed: 0 };
            choice.check(|name| format!("{}: [theory] {name}", experiment.file))?;
        }
    }
    for claim in &shown.claims {
        if claim.tests.is_empty() && claim.untested.is_none() {
            return bad(format!("claim {} has no test", claim.id), "[[claim.test]], or `untested` with the reason");
        }
        for measure in claim.tests.iter().flat_map(TestSpec::measures) {
            let of_theory = [&measure.fails, &measure.residual].into_iter().flatten().next();
            if let Some(name) = of_theory {
                let there = STATEMENTS.iter().flat_map(|statement| statement.rows).any(|row| row.name == name);
                if !there || shown.theory.is_none() {
                    return bad(
                        format!("claim {}: no statement {name}", claim.id),
                        "see normscape theory, and [theory]",
                    );
                }
            } else if !shown.values.contains_key(&measure.value) {
                return bad(format!("claim {}: no value {}", claim.id, measure.value), "[value.NAME] describes one");
            } else if measure.run.is_empty() {
                return bad(format!("claim {}: a measurement of no run", claim.id), "`run` names a group of runs");
            }
        }
    }
    Ok(())
}

impl Pick {
    fn check(&self) -> Result<()> {
        for quantity in self.quantities() {
            match quantity.split_once('.') {
                Some((file, _)) => schedule::check(file)?,
                None if ["loss", "train_accuracy", "test_loss", "test_accuracy", "diverged"].contains(&quantity) => {}
                None => {
                    let right = "there are loss, train_accuracy, test_loss, test_accuracy, diverged and PROBE.ARRAY";
                    return Err(Error::input(format!("quantity {quantity}"), "unknown", right));
                }
            }
        }
        Ok(())
    }
}

impl TestSpec {
    /// What it measures: the left side and, where it is no number, the right one.
    pub fn measures(&self) -> impl Iterator<Item = &Measure> {
        let right = match &self.right {
            Side::Measure(measure) => Some(measure),
            Side::Number(_) => None,
        };
        std::iter::once(&self.left).chain(right)
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue;

    #[track_caller]
    fn refused(text: &str, says: &str) {
        let message = catalogue::read("own", "own.toml", &format!("title = \"own\"\n{text}")).unwrap_err().to_string();
        assert!(message.starts_with("own.toml: ") && message.contains(says), "{message}");
    }

    #[test]
    fn statements_on_no_instances_or_too_large_ones_are_refused() {
        for (spec, says) in [
            ("instances = 0\nm = 8\nlambda = 1.0", "[theory] instances 0: no instance"),
            ("instances = { smoke = 5, paper = 2000000000 }\nm = 8\nlambda = 1.0", "too many instances"),
            ("instances = 10\nm = 100000\nlambda = 1.0", "[theory] m 100000: not so many samples; 2 to 256"),
            ("instances = 10\nm = 1\nlambda = 1.0", "[theory] m 1"),
            ("instances = 10\nm = 8\nlambda = nan", "[theory] lambda NaN"),
        ] {
            refused(&format!("[theory]\n{spec}"), says);
        }
        catalogue::read("own", "own.toml", "title = \"own\"\n[theory]\ninstances = 1\nm = 2\nlambda = 1.0").unwrap();
    }
}
