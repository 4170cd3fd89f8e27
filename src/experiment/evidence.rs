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
    /// That of the runs in `folder`, which are finished; evaluates the statements that experiments ask for.
    pub fn gather(plan: &'a Plan, folder: &Path) -> Evidence<'a> {
        let runs = plan.runs().map(|(_, name, of)| (name, Results::of(&folder.join(name), of))).collect();
        let statements = |part: &'a Part| {
            let spec = part.experiment.shown.theory.as_ref()?;
            let instances = *spec.instances.at(plan.request.scale)?;
            let choice =
                theory::Choice { instances, m: spec.m, lambda: spec.lambda, family: None, seed: plan.request.seed };
            Some((part.experiment.name.as_str(), theory::run(&choice)))
        };
        Evidence { plan, runs, theory: plan.parts.iter().filter_map(statements).collect() }
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
        let of_seed = |points: Vec<(f64, f64)>| {
            let values: Vec<f64> = within(&points, measure, group).map(|point| point.1).collect();
            match measure.until {
                Some(level) => points.iter().find(|point| point.1 <= level).map_or(f64::INFINITY, |point| point.0),
                // A run that diverged before has no loss there.
                None if values.is_empty() => missing(pick).unwrap_or(f64::NAN),
                None => measure.steps.unwrap_or(Over::Last).of(values),
            }
        };
        let seeds: Vec<f64> = self.single(group, &measure.value, pick)?.into_iter().map(of_seed).collect();
        Ok(Some(measure.seeds.unwrap_or(Over::Median).of(seeds)))
    }

    /// The values of every seed at every step that a measurement looks at, and whether it diverged.
    pub fn series(&self, part: &Part, measure: &Measure) -> Result<Option<Vec<Seed>>> {
        let Some((group, pick)) = self.measured(part, measure) else { return Ok(None) };
        let all = self.single(group, &measure.value, pick)?;
        let seed = |(points, run): (Vec<(f64, f64)>, &Results)| {
            let points = within(&points, measure, group).copied().collect();
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
    /// Step and value.
    pub points: Vec<(f64, f64)>,
    /// Whether the run ended without a loss: from then on what it would have had counts as infinite.
    pub diverged: bool,
}

impl Seed {
    /// The value at a step; `None` where it was not measured.
    pub fn at(&self, step: f64) -> Option<f64> {
        let found = self.points.iter().find(|point| point.0 == step).map(|point| point.1);
        let after = self.points.last().is_none_or(|last| last.0 < step);
        found.or((self.diverged && after).then_some(f64::INFINITY))
    }
}

/// What stands for the value of a seed that ended before: a loss that has no bound; of probes there is none.
pub fn missing(pick: &Pick) -> Option<f64> {
    (pick.quantity == "loss").then_some(f64::INFINITY)
}

fn within<'s>(
    points: &'s [(f64, f64)],
    measure: &Measure,
    group: &Group,
) -> impl Iterator<Item = &'s (f64, f64)> + use<'s> {
    let [from, to] = measure.within.unwrap_or([0.0, 1.0]).map(|share| share * group.settings().steps as f64);
    points.iter().filter(move |point| (from..=to).contains(&point.0))
}
