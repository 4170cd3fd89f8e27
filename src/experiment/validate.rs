//! Checks whether everything in an experiment is possible, before any run is made rather than hours later.
//!
//! Anything that shows or tests a value is a [`Use`] of it. The value must exist in every group of runs that it is taken from.

use super::catalogue::Experiment;
use super::claim_spec::{ClaimSpec, Side, Test};
use super::file::{Form, Shown, Split};
use super::pick::Pick;
use super::plan::{Part, Plan, matches};
use super::runs::{Group, Request, Shared};
use super::scale::Scale;
use crate::probe::measure::Entry;
use crate::probe::table;
use crate::theory::{Choice, STATEMENTS};
use crate::train::probe_entry;
use crate::{Error, Result};
use std::slice::from_ref;

impl Plan {
    /// Puts experiments into a plan; each is checked once its runs are there.
    ///
    /// Errors name the experiment's file. They concern its runs, and what it shows and tests.
    pub fn new(experiments: Vec<Experiment>, shared: &Shared, request: Request) -> Result<Plan> {
        let mut plan = Plan { request, parts: Vec::new(), groups: Vec::new() };
        for experiment in experiments {
            let names = plan.add(experiment, shared)?;
            plan.parts.last().map_or(Ok(()), |part| validate(&plan, part, &names))?;
        }
        Ok(plan)
    }
}

/// Checks everything that a part of the plan shows or tests. `names` are the groups of runs that it has at some scale.
///
/// Errors name the experiment's file and the value, panel, claim or run. Something contradicts itself or names what does not exist; a run
/// lacks the probe; the probe does not look at the layers, units or points; there are several numbers where one is needed.
fn validate(plan: &Plan, part: &Part, names: &[String]) -> Result<()> {
    let shown = &part.experiment.shown;
    let check = Check { plan, part, shown };
    for (name, pick) in &shown.values {
        pick.check().map_err(|e| {
            Error::input(&part.experiment.file, format!("value {name}: {e}"), "see docs/experiments.md")
        })?;
    }
    check.theory()?;
    shown.claims.iter().try_for_each(|claim| check.claim(claim))?;
    check.names(names)?;
    check.panels()?;
    check.uses().iter().try_for_each(|of| check.one_use(of))
}

/// Something that shows or tests a value.
struct Use<'a> {
    /// What uses it: "panel \"loss\"".
    by: String,
    value: &'a str,
    /// Groups of runs, by pattern; all groups without patterns.
    runs: Option<&'a [String]>,
    need: Need,
}

/// What a use needs from a step of a run.
#[derive(Clone, Copy, PartialEq)]
enum Need {
    /// One number or several.
    Some,
    /// One number.
    One,
    /// Points along a line.
    Distance,
    /// Histograms of this many of the picked layers; 0 if any probed layer will do.
    Histograms(usize),
}

struct Check<'a> {
    plan: &'a Plan,
    part: &'a Part,
    shown: &'a Shown,
}

impl<'a> Check<'a> {
    fn bad<T>(&self, problem: String, remedy: &str) -> Result<T> {
        Err(Error::input(&self.part.experiment.file, problem, remedy))
    }

    fn scale(&self) -> Scale {
        self.plan.request.scale
    }

    fn pick(&self, value: &str) -> Option<&'a Pick> {
        self.shown.values.get(value)
    }

    /// All uses of values.
    fn uses(&self) -> Vec<Use<'a>> {
        let mut uses = Vec::new();
        for panel in &self.shown.panels {
            let layers = if panel.split.is_some() { usize::MAX } else { 1 };
            let need = match panel.form {
                Form::Against => Need::One,
                Form::Distance => Need::Distance,
                Form::Ridge => Need::Histograms(layers),
                _ => Need::Some,
            };
            uses.push(Use {
                by: format!("panel \"{}\"", panel.title),
                value: &panel.show,
                runs: panel.runs.as_deref(),
                need,
            });
        }
        for explorer in &self.shown.explorers {
            let need = match explorer.form {
                Form::Distance => Need::Distance,
                Form::Ridge => Need::Histograms(0),
                _ => Need::Some,
            };
            let of = |value| Use {
                by: format!("explorer \"{}\"", explorer.title),
                value,
                runs: explorer.runs.as_deref(),
                need,
            };
            uses.extend(explorer.show.iter().map(|value| of(value.as_str())));
        }
        if let Some(best) = &self.shown.best {
            let numbers = best.table.iter().chain([&best.by]);
            uses.extend(numbers.map(|number| Use {
                by: "best".into(),
                value: &number.value,
                runs: Some(&best.runs),
                need: Need::One,
            }));
        }
        for claim in &self.shown.claims {
            for test in &claim.tests {
                let by = || format!("claim {}", claim.id);
                let need = if test.share.is_some() { Need::Some } else { Need::One };
                let measures = test.measures().filter(|measure| measure.fails.is_none());
                uses.extend(measures.map(|of| Use { by: by(), value: &of.value, runs: Some(from_ref(&of.run)), need }));
                let when = test.when.iter().map(|of| Use {
                    by: by(),
                    value: &of.value,
                    runs: Some(from_ref(&test.left.run)),
                    need: Need::One,
                });
                uses.extend(when);
            }
        }
        uses
    }

    /// Checks that the value exists, and that every group has it in the form that is needed.
    fn one_use(&self, of: &Use) -> Result<()> {
        let Use { by, value, .. } = of;
        let Some(pick) = self.pick(value) else {
            return self.bad(format!("{by}: no value {value}"), "[value.NAME] describes one");
        };
        if of.need == Need::Distance && entry(&pick.quantity) != Some(Entry::Points) {
            let right = "loss, beta, distance and grad_l2_diff of landscape, predictiveness and random do";
            return self.bad(format!("{by}: value {value} has no distance"), right);
        }
        if matches!(of.need, Need::Histograms(_)) && pick.quantity != "activations.count" {
            return self.bad(format!("{by} draws no histograms"), "activations.count is what ridges are made of");
        }
        self.plan.chosen(self.part, of.runs).into_iter().try_for_each(|group| self.of_group(of, pick, group))
    }

    fn of_group(&self, of: &Use, pick: &Pick, group: &Group) -> Result<()> {
        let Use { by, value, .. } = of;
        for quantity in pick.quantities() {
            if let Some((file, _)) = quantity.split_once('.').filter(|(file, _)| !group.settings().asks(file)) {
                let problem = format!("{by}: value {value} wants the probe {file} of run {}, which has none", group.id);
                return self.bad(problem, "the run's own `probe` names it");
            }
        }
        if let Need::Histograms(layers) = of.need {
            return self.histograms(of, pick, layers, group);
        }
        match (self.count(pick, group)?, of.need) {
            (0, _) => {
                let problem = format!("{by}: value {value} picks nothing of run {}", group.id);
                self.bad(problem, "`layer`, `unit` and `along` are among what the run's probes look at")
            }
            (count, Need::One) if count > 1 => {
                let problem =
                    format!("{by}: value {value} has {count} numbers at a step of run {}, and one is needed", group.id);
                self.bad(problem, "`over`, `layer` and `unit` make one of them")
            }
            _ => Ok(()),
        }
    }

    /// How many numbers a value has at a step of a run. Errors: the settings make no network.
    fn count(&self, pick: &Pick, group: &Group) -> Result<usize> {
        let settings = group.settings();
        let layers = pick.layer.as_ref().and_then(|by| by.at(self.scale()));
        let picked = |layer: usize| layers.is_none_or(|layers| layers.contains(&layer));
        let look = || settings.look(&settings.network()?);
        let count = match entry(&pick.quantity) {
            None | Some(Entry::Number) => 1,
            Some(Entry::Points) => {
                let fits = |s: &f64| {
                    pick.along.is_none_or(|[low, high]| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(s))
                };
                settings.step_lengths()?.iter().map(|s| s / settings.lr).filter(fits).count()
            }
            Some(Entry::Layers) => {
                (1..=settings.network()?.weighted_layers().len()).filter(|&layer| picked(layer)).count()
            }
            Some(Entry::Units) => {
                let units = |units: usize| pick.unit.map_or(units, |unit| usize::from(unit < units));
                let look = look()?;
                let chosen = look.iter().flat_map(|look| &look.chosen).filter(|(layer, _)| picked(*layer));
                chosen.map(|(_, of)| units(of.len())).sum()
            }
            // Told apart by their place alone.
            Some(Entry::Bins | Entry::Outside) => {
                look()?.map_or(0, |look| look.chosen.len() * look.units() * look.bins.max(2))
            }
        };
        Ok(if pick.over.is_some() { count.min(1) } else { count })
    }

    /// Checks that the layers and the unit of histograms are among those that are probed.
    fn histograms(&self, of: &Use, pick: &Pick, layers: usize, group: &Group) -> Result<()> {
        let settings = group.settings();
        let look = settings.look(&settings.network()?)?;
        let (all, unit) = (pick.layer.as_ref().and_then(|by| by.at(self.scale())), pick.unit.unwrap_or(0));
        for layer in all.into_iter().flatten().take(layers) {
            let there = look.iter().flat_map(|look| &look.chosen).any(|(of, units)| of == layer && unit < units.len());
            if !there {
                let problem =
                    format!("value {}: run {} does not look at layer {layer}, unit {unit}", of.value, group.id);
                return self.bad(problem, "the run's probe_layers and probe_units say what is looked at");
            }
        }
        Ok(())
    }

    /// Checks that every named run exists at some scale.
    fn names(&self, names: &[String]) -> Result<()> {
        let uses = self.uses();
        let named =
            uses.iter().filter_map(|of| of.runs).flatten().chain(&self.shown.diagram).filter(|run| !run.is_empty());
        match named.into_iter().find(|pattern| !names.iter().any(|name| matches(pattern, name))) {
            Some(pattern) => self.bad(format!("no run {pattern}"), "`uses` names runs of runs.toml, [[run]] makes one"),
            None => Ok(()),
        }
    }

    /// Checks what the forms of panels and explorers need in addition to their values.
    fn panels(&self) -> Result<()> {
        if let Some(explorer) = self.shown.explorers.iter().find(|of| matches!(of.form, Form::Spread | Form::Against)) {
            let problem = format!("explorer \"{}\" has a form that only panels have", explorer.title);
            return self.bad(problem, "there are line, band, distance and ridge");
        }
        for panel in &self.shown.panels {
            let title = &panel.title;
            for (place, split) in [("{layer}", Split::Layer), ("{run}", Split::Run)] {
                if title.contains(place) && panel.split != Some(split) {
                    let problem = format!("panel \"{title}\" has nothing for {place}");
                    return self.bad(problem, "`split` makes a panel for each layer or run");
                }
            }
            let layered = |pick: &&Pick| {
                matches!(entry(&pick.quantity), Some(Entry::Layers | Entry::Units | Entry::Bins | Entry::Outside))
            };
            let of_layers = self.pick(&panel.show).filter(layered).is_some_and(|pick| pick.layer.is_some());
            if panel.split == Some(Split::Layer) && !of_layers {
                let problem = format!("panel \"{title}\" is split by the layers of {}, which has none", panel.show);
                return self.bad(problem, "a value of single layers, with `layer` saying which, is");
            }
            let groups = self.plan.chosen(self.part, panel.runs.as_deref());
            if panel.form == Form::Spread && groups.iter().map(|group| group.runs.len()).sum::<usize>() == 1 {
                let problem = format!("panel \"{title}\" shows the spread of one run");
                return self.bad(problem, "a spread is of two or more: more runs, or more seeds");
            }
            if panel.form != Form::Against {
                continue;
            }
            let Some(setting) = &panel.setting else {
                return self.bad(
                    format!("panel \"{title}\" has no setting"),
                    "`setting` names the one on its horizontal axis",
                );
            };
            for group in groups {
                let all = toml::Table::try_from(group.settings()).unwrap_or_default();
                if !matches!(all.get(setting), Some(toml::Value::Float(_) | toml::Value::Integer(_))) {
                    let problem = format!("panel \"{title}\": setting {setting} is no number of run {}", group.id);
                    return self.bad(problem, "lr, width, eps and the like are");
                }
            }
        }
        Ok(())
    }

    fn theory(&self) -> Result<()> {
        let Some(spec) = &self.shown.theory else { return Ok(()) };
        for instances in Scale::ALL.iter().filter_map(|scale| spec.instances.at(*scale)) {
            let choice = Choice { instances: *instances, m: spec.m, lambda: spec.lambda, family: None, seed: 0 };
            choice.check(|name| format!("{}: [theory] {name}", self.part.experiment.file))?;
        }
        Ok(())
    }

    /// Checks what the tests of a claim need in addition to their values.
    fn claim(&self, claim: &ClaimSpec) -> Result<()> {
        let bad = |problem: &str, remedy| self.bad(format!("claim {}: {problem}", claim.id), remedy);
        if claim.tests.is_empty() && claim.untested.is_none() {
            return bad("no test", "`test` holds some, or `untested` the reason");
        }
        for test in &claim.tests {
            if test.when.is_some() && (test.share.is_none() || matches!(test.right, Side::Measure(_))) {
                return bad(
                    "`when` without steps",
                    "`when` chooses steps, for a `share` of which a number stands on the right",
                );
            }
            for measure in test.measures() {
                if let Some(name) = &measure.fails {
                    let there = STATEMENTS.iter().flat_map(|statement| statement.rows).any(|row| row.name == name);
                    if !there || self.shown.theory.is_none() {
                        return bad(&format!("no statement {name}"), "see normscape theory, and [theory]");
                    }
                } else if measure.run.is_empty() {
                    return bad("a measurement of no run", "`run` names a group of runs");
                } else if measure.run.contains('*') && self.shown.best.is_none() {
                    let right =
                        "a measurement is of one group of runs, by its id, or with `best` of the best of several";
                    return bad(&format!("run {} is a pattern", measure.run), right);
                }
            }
            self.alike(claim, test)?;
        }
        Ok(())
    }

    /// Checks that a comparison step by step has as many numbers on both sides.
    fn alike(&self, claim: &ClaimSpec, test: &Test) -> Result<()> {
        let mut counts = Vec::new();
        for measure in test.measures().filter(|_| test.share.is_some()) {
            let pick = self.pick(&measure.value);
            for group in self.plan.chosen(self.part, Some(from_ref(&measure.run))) {
                counts.extend(pick.map(|pick| self.count(pick, group)).transpose()?);
            }
        }
        match counts[..] {
            [left, right] if left != right => {
                let problem = format!("claim {}: {left} numbers at a step are compared with {right}", claim.id);
                self.bad(problem, "as many on the right as on the left, or a number")
            }
            _ => Ok(()),
        }
    }
}

impl Pick {
    /// The quantities that this value reads.
    pub fn quantities(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.quantity.as_str()).chain(self.per.as_deref())
    }

    fn check(&self) -> Result<()> {
        for quantity in self.quantities() {
            let bad =
                |problem: String, right: String| Err(Error::input(format!("quantity {quantity}"), problem, right));
            match quantity.split_once('.') {
                Some((file, array)) => {
                    probe_entry::check(file)?;
                    if entry(quantity).is_none() {
                        let there: Vec<_> = table::arrays(file).iter().map(|(name, _)| *name).collect();
                        let problem = format!("{file} has no array {array} with an entry for every step");
                        return bad(problem, format!("there are {}", there.join(", ")));
                    }
                }
                None if ["loss", "train_accuracy", "test_loss", "test_accuracy", "diverged"].contains(&quantity) => {}
                None => {
                    let right = "there are loss, train_accuracy, test_loss, test_accuracy, diverged and PROBE.ARRAY";
                    return bad("unknown".into(), right.into());
                }
            }
        }
        Ok(())
    }
}

/// The kind of array that a quantity has; `None` for one that is logged at every row.
fn entry(quantity: &str) -> Option<Entry> {
    let (file, array) = quantity.split_once('.')?;
    table::arrays(file).iter().find(|(name, _)| *name == array).map(|&(_, entry)| entry)
}

#[cfg(test)]
mod tests;
