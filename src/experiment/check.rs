//! What can be wrong in an experiment's file that its form does not show.

use super::catalogue::Experiment;
use super::file::{Form, Measure, Pick, Side, Split, TestSpec};
use super::fits::entry;
use super::scale::Scale;
use crate::theory::{Choice, STATEMENTS};
use crate::train::probe_arrays::{self, Entry};
use crate::train::schedule;
use crate::{Error, Result};

/// Refuses values, claims and panels that contradict themselves or name what is not there.
pub fn experiment(experiment: &Experiment) -> Result<()> {
    let shown = &experiment.shown;
    let bad = |problem: String, remedy: &str| Err(Error::input(&experiment.file, problem, remedy));
    for (name, pick) in &shown.values {
        pick.check()
            .map_err(|e| Error::input(&experiment.file, format!("value {name}: {e}"), "see docs/experiments.md"))?;
    }
    let of_value = |name: &str| shown.values.get(name).and_then(|pick| entry(&pick.quantity));
    let panels = shown.panels.iter().map(|panel| (&panel.show, &panel.title));
    let explorers =
        shown.explorers.iter().flat_map(|explorer| explorer.show.iter().map(|show| (show, &explorer.title)));
    if let Some((value, title)) = panels.chain(explorers).find(|(value, _)| !shown.values.contains_key(*value)) {
        return bad(format!("panel \"{title}\" shows {value}, which is no value"), "[value.NAME] describes one");
    }
    for explorer in &shown.explorers {
        if matches!(explorer.form, Form::Spread | Form::Against) {
            let problem = format!("explorer \"{}\" has a form that only panels have", explorer.title);
            return bad(problem, "there are line, band, distance and ridge");
        }
    }
    let distances = shown.explorers.iter().map(|explorer| (explorer.form, &explorer.title, &explorer.show[..]));
    let drawn = shown.panels.iter().map(|panel| (panel.form, &panel.title, std::slice::from_ref(&panel.show)));
    for (_, title, values) in distances.chain(drawn).filter(|of| of.0 == Form::Distance) {
        if let Some(value) = values.iter().find(|value| of_value(value) != Some(Entry::Points)) {
            let problem = format!("panel \"{title}\": value {value} has no distance");
            return bad(problem, "loss, beta, distance and grad_l2_diff of landscape, predictiveness and random do");
        }
    }
    for panel in &shown.panels {
        let title = &panel.title;
        if panel.form == Form::Against && panel.setting.is_none() {
            return bad(format!("panel \"{title}\" has no setting"), "`setting` names the one on its horizontal axis");
        }
        let places = [("{layer}", Split::Layer), ("{run}", Split::Run)];
        if let Some((place, _)) =
            places.iter().find(|(place, split)| title.contains(place) && panel.split != Some(*split))
        {
            return bad(
                format!("panel \"{title}\" has nothing for {place}"),
                "`split` makes a panel for each layer or run",
            );
        }
        let layers = matches!(of_value(&panel.show), Some(Entry::Layers | Entry::Units | Entry::Bins));
        if panel.split == Some(Split::Layer) && !(layers && shown.values[&panel.show].layer.is_some()) {
            let problem = format!("panel \"{title}\" is split by the layers of {}, which has none", panel.show);
            return bad(problem, "a value of single layers, with `layer` saying which, is");
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
        for when in claim.tests.iter().filter_map(|test| test.when.as_ref()) {
            if !shown.values.contains_key(&when.value) {
                return bad(format!("claim {}: no value {}", claim.id, when.value), "[value.NAME] describes one");
            }
        }
        if claim
            .tests
            .iter()
            .any(|test| test.when.is_some() && (test.share.is_none() || matches!(test.right, Side::Measure(_))))
        {
            let right = "`when` chooses steps, for a `share` of which a number stands on the right";
            return bad(format!("claim {}: `when` without steps", claim.id), right);
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
            } else if measure.run.contains('*') {
                let problem = format!("claim {}: run {} is a pattern", claim.id, measure.run);
                return bad(problem, "a measurement is of one group of runs, by its id");
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
                Some((file, array)) => {
                    schedule::check(file)?;
                    if entry(quantity).is_none() {
                        let there: Vec<_> = probe_arrays::of(file).into_iter().map(|(name, _)| name).collect();
                        let problem = format!("{file} has no array {array} with an entry for every step");
                        return Err(Error::input(
                            format!("quantity {quantity}"),
                            problem,
                            format!("there are {}", there.join(", ")),
                        ));
                    }
                }
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
    fn what_the_forms_of_panels_and_claims_cannot_show_is_refused() {
        let values = "[value.loss]\nquantity = \"loss\"\nlabel = \"\"\n[value.beta]\nquantity = \"landscape.beta\"\nlabel = \"\"\n\
                      [value.mean]\nquantity = \"moments.mean\"\nlabel = \"\"\n";
        let claim = "[[claim]]\nid = \"a\"\nplace = \"\"\nstatement = \"\"\n[[claim.test]]\nis = \"<\"\nright = 1.0\n";
        for (text, says) in [
            ("[value.x]\nquantity = \"landscape.bta\"\nlabel = \"\"".into(), "landscape has no array bta"),
            ("[value.x]\nquantity = \"loss\"\nper = \"ics.s\"\nlabel = \"\"".into(), "there are l2, cosine, grad_norm"),
            (
                format!("{values}[[panel]]\ntitle = \"p\"\nshow = \"loss\"\nform = \"distance\""),
                "value loss has no distance",
            ),
            (
                format!("{values}[[explore]]\ntitle = \"p\"\nshow = [\"beta\", \"loss\"]\nform = \"distance\""),
                "value loss has no",
            ),
            (format!("{values}[[explore]]\ntitle = \"p\"\nshow = [\"loss\"]\nform = \"spread\""), "only panels have"),
            (
                format!("{values}[[panel]]\ntitle = \"p\"\nshow = \"beta\"\nsplit = \"layer\""),
                "split by the layers of beta",
            ),
            (
                format!("{values}[[panel]]\ntitle = \"p\"\nshow = \"mean\"\nsplit = \"layer\""),
                "split by the layers of mean",
            ),
            (format!("{values}[[panel]]\ntitle = \"a {{layer}}\"\nshow = \"mean\""), "has nothing for {layer}"),
            (format!("{values}[[panel]]\ntitle = \"{{run}}\"\nshow = \"loss\""), "has nothing for {run}"),
            (format!("{values}{claim}left = {{ run = \"vgg-*\", value = \"loss\" }}"), "run vgg-* is a pattern"),
        ] {
            refused(&text, says);
        }
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
