//! Everything that a plan's figures and claims are made of: the results of its runs, and the paper's statements where they were evaluated.

use super::file::{Measure, Over, Pick};
use super::plan::{Part, Plan};
use super::results::{Results, Track};
use super::runs::Group;
use super::scale::Scale;
use crate::theory;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// The results of every run of a plan.
pub struct Evidence<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// By the name of the run's folder.
    runs: BTreeMap<&'a str, Results>,
    /// Of each experiment that asks for them, by its name.
    theory: BTreeMap<&'a str, Vec<theory::Result>>,
}

impl<'a> Evidence<'a> {
    /// That of the runs in `folder`, which are finished; evaluates the statements that experiments ask for, until `stop` is set.
    ///
    /// Errors: [`Error::Interrupted`].
    pub fn gather(plan: &'a Plan, folder: &Path, stop: &AtomicBool) -> Result<Evidence<'a>> {
        let runs = plan.runs().map(|(_, name, of)| (name, Results::of(&folder.join(name), of))).collect();
        let statements = |part: &'a Part| {
            let spec = part.experiment.shown.theory.as_ref()?;
            let instances = *spec.instances.at(plan.request.scale)?;
            let choice =
                theory::Choice { instances, m: spec.m, lambda: spec.lambda, family: None, seed: plan.request.seed };
            Some(theory::run_until(&choice, stop).map(|rows| (part.experiment.name.as_str(), rows)))
        };
        Ok(Evidence { plan, runs, theory: plan.parts.iter().filter_map(statements).collect::<Result<_>>()? })
    }

    /// The scale.
    pub fn scale(&self) -> Scale {
        self.plan.request.scale
    }

    /// The statements that an experiment has evaluated.
    pub fn statements(&self, experiment: &str) -> &[theory::Result] {
        self.theory.get(experiment).map_or(&[], |rows| &rows[..])
    }

    /// The results of a group's runs, in the order of the seeds.
    pub fn of<'s>(&'s self, group: &'s Group) -> impl Iterator<Item = &'s Results> {
        group.runs.iter().filter_map(|(name, _)| self.runs.get(name.as_str()))
    }

    /// The run that stands for a group where only one can be shown: the first that did not diverge, else the first.
    pub fn shown<'s>(&'s self, group: &'s Group) -> Result<Option<&'s Results>> {
        for run in self.of(group) {
            if !run.diverged()? {
                return Ok(Some(run));
            }
        }
        Ok(self.of(group).next())
    }

    /// How many runs of a group diverged.
    pub fn diverged(&self, group: &Group) -> Result<usize> {
        self.of(group).try_fold(0, |count, run| Ok(count + usize::from(run.diverged()?)))
    }

    /// The tracks of every seed of a group. Errors: a file that is not there; seeds that do not have the same tracks.
    pub fn tracks(&self, group: &Group, pick: &Pick) -> Result<Vec<Vec<Track>>> {
        self.of(group).map(|run| run.tracks(pick, self.scale())).collect()
    }

    /// The one track of every seed of a group. Errors: there are several, of which `over` would make one.
    pub fn single(&self, group: &Group, name: &str, pick: &Pick) -> Result<Vec<Vec<(f64, f64)>>> {
        let single = |tracks: Vec<Track>| {
            let count = tracks.len();
            let mut tracks = tracks.into_iter();
            match (tracks.next(), count) {
                (Some(track), 1) => Ok(track.points),
                _ => Err(Error::input(
                    format!("value {name}"),
                    format!("has {count} numbers at a step of run {}", group.id),
                    "`over`, `layer` and `unit` make one of them",
                )),
            }
        };
        self.tracks(group, pick)?.into_iter().map(single).collect()
    }

    /// A number of a group of runs; `None` where the plan has no such group. Errors: as [`Evidence::single`].
    pub fn number(&self, part: &Part, measure: &Measure) -> Result<Option<f64>> {
        let row = |name: &String| self.statements(&part.experiment.name).iter().find(|of| of.row.name == name);
        if let Some(name) = &measure.fails {
            return Ok(row(name).map(|of| of.tally.failing_share().unwrap_or(0.0)));
        }
        if let Some(name) = &measure.residual {
            return Ok(row(name).map(|of| of.tally.max_residual().max(of.found.map_or(0.0, |f| f.residual))));
        }
        let Some((group, pick)) = self.measured(part, measure) else { return Ok(None) };
        let of_seed = |points: Vec<(f64, f64)>| match measure.until {
            Some(level) => points.iter().find(|point| point.1 <= level).map_or(f64::INFINITY, |point| point.0),
            None => made_of(&points, pick, measure.steps, measure.within, group),
        };
        let seeds: Vec<f64> = self.single(group, &measure.value, pick)?.into_iter().map(of_seed).collect();
        Ok(Some(measure.seeds.unwrap_or(Over::Median).of(seeds)))
    }

    /// The values of every seed at every step that a measurement looks at, and whether it diverged.
    pub fn series(&self, part: &Part, measure: &Measure) -> Result<Option<Vec<Seed>>> {
        let Some((group, pick)) = self.measured(part, measure) else { return Ok(None) };
        let all = self.single(group, &measure.value, pick)?;
        let seed = |(points, run): (Vec<(f64, f64)>, &Results)| {
            let points = inside(&points, measure.within, group).copied().collect();
            Ok(Seed { points, diverged: run.diverged()? })
        };
        all.into_iter().zip(self.of(group)).map(seed).collect::<Result<_>>().map(Some)
    }

    /// The group and the value of a measurement.
    pub fn measured<'s>(&'s self, part: &'s Part, measure: &Measure) -> Option<(&'s Group, &'s Pick)> {
        let group = self.plan.chosen(part, Some(std::slice::from_ref(&measure.run))).into_iter().next()?;
        Some((group, part.experiment.shown.values.get(&measure.value)?))
    }
}

/// One seed of a measurement, step by step.
#[derive(Debug, Clone, PartialEq)]
pub struct Seed {
    /// Step and value, steps rising.
    pub points: Vec<(f64, f64)>,
    /// Whether the run ended without a loss: from then on what it would have had counts as infinite.
    pub diverged: bool,
}

impl Seed {
    /// The value at a step; `None` where it was not measured.
    pub fn at(&self, step: f64) -> Option<f64> {
        let found = self.points.binary_search_by(|point| point.0.total_cmp(&step)).ok().map(|i| self.points[i].1);
        let after = self.points.last().is_none_or(|last| last.0 < step);
        found.or((self.diverged && after).then_some(f64::INFINITY))
    }
}

/// What stands for the value of a seed that ended before: a loss that has no bound; of probes there is none.
pub fn missing(pick: &Pick) -> Option<f64> {
    (pick.quantity == "loss").then_some(f64::INFINITY)
}

/// What is made of a seed's values over part of the run. A run that diverged before it has no loss there: that counts as infinite.
pub fn made_of(
    points: &[(f64, f64)],
    pick: &Pick,
    steps: Option<Over>,
    within: Option<[f64; 2]>,
    group: &Group,
) -> f64 {
    let values: Vec<f64> = inside(points, within, group).map(|point| point.1).collect();
    match values.is_empty() {
        true => missing(pick).unwrap_or(f64::NAN),
        false => steps.unwrap_or(Over::Last).of(values),
    }
}

fn inside<'s>(
    points: &'s [(f64, f64)],
    within: Option<[f64; 2]>,
    group: &Group,
) -> impl Iterator<Item = &'s (f64, f64)> + use<'s> {
    let [from, to] = within.unwrap_or([0.0, 1.0]).map(|share| share * group.settings().steps as f64);
    points.iter().filter(move |point| (from..=to).contains(&point.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Settings;

    fn pick(quantity: &str) -> Pick {
        toml::from_str(&format!("quantity = \"{quantity}\"\nlabel = \"\"")).unwrap()
    }

    #[test]
    fn a_run_that_diverged_counts_as_infinite() {
        let settings = Settings { steps: 10, ..Settings::defaults("dln") };
        let group = Group { id: "a".into(), label: "a".into(), style: 0, runs: vec![("a".into(), settings)] };
        let points = [(0.0, 3.0), (5.0, 2.0)];
        let of = |quantity, steps, within| made_of(&points, &pick(quantity), steps, within, &group);
        assert_eq!(of("loss", None, None), 2.0);
        assert_eq!(of("loss", Some(Over::Mean), Some([0.0, 0.5])), 2.5);
        // After its end there is no loss; of a probe nothing is known.
        assert_eq!(of("loss", Some(Over::Mean), Some([0.9, 1.0])), f64::INFINITY);
        assert!(of("landscape.beta", None, Some([0.9, 1.0])).is_nan());
        let seed = |diverged| Seed { points: points.to_vec(), diverged };
        assert_eq!([0.0, 5.0, 10.0].map(|t| seed(true).at(t)), [Some(3.0), Some(2.0), Some(f64::INFINITY)]);
        assert_eq!([0.0, 3.0, 10.0].map(|t| seed(false).at(t)), [Some(3.0), None, None]);
    }
}
