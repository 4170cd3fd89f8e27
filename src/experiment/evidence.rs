//! The data behind a plan's figures and claims: the results of its runs, and the paper's statements where they were evaluated.

use super::claim_spec::Measure;
use super::pick::{Over, Pick};
use super::plan::{Part, Plan};
use super::results::{Results, Track};
use super::runs::Group;
use super::scale::Scale;
use crate::probe::table;
use crate::theory;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// The results of every run of a plan.
pub struct Evidence<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The results of each run, by the name of its folder.
    runs: BTreeMap<&'a str, Results>,
    /// The evaluated statements of each experiment that asks for them, by its name.
    theory: BTreeMap<&'a str, Vec<theory::Result>>,
}

impl<'a> Evidence<'a> {
    /// Gathers the finished runs in `folder`, and evaluates the statements that experiments ask for, until `stop` is set.
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

    /// The plan's scale.
    pub fn scale(&self) -> Scale {
        self.plan.request.scale
    }

    /// The statements evaluated for an experiment.
    pub fn statements(&self, experiment: &str) -> &[theory::Result] {
        self.theory.get(experiment).map_or(&[], |rows| &rows[..])
    }

    /// The results of a group's runs, in the order of the seeds.
    pub fn of<'s>(&'s self, group: &'s Group) -> impl Iterator<Item = &'s Results> {
        group.runs.iter().filter_map(|(name, _)| self.runs.get(name.as_str()))
    }

    /// The run that represents a group where only one can be shown: the first that did not diverge, else the first.
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

    /// The tracks of every seed of a group. Errors: a file is missing; the seeds do not have the same tracks.
    pub fn tracks(&self, group: &Group, pick: &Pick) -> Result<Vec<Vec<Track>>> {
        self.of(group).map(|run| run.tracks(pick, self.scale())).collect()
    }

    /// The only track of every seed of a group. Errors: there are several; `over` would reduce them to one.
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

    /// A number of each draw of a group; `None` where the plan has no such group. Errors: as [`Evidence::single`].
    pub fn numbers(&self, part: &Part, measure: &Measure) -> Result<Option<Vec<Draw>>> {
        let row = |name: &String| self.statements(&part.experiment.name).iter().find(|of| of.row.name == name);
        let one = |value: Option<f64>| value.map(|value| vec![Draw { seed: 0, value }]);
        if let Some(name) = &measure.fails {
            return Ok(one(row(name).map(theory::Result::failing_share)));
        }
        let Some((group, pick)) = self.measured(part, measure) else { return Ok(None) };
        let all = self.single(group, &measure.value, pick)?;
        let draw = |(points, run): (Vec<(f64, f64)>, &Results)| {
            let value = match measure.until {
                Some(level) => points.iter().find(|point| point.1 <= level).map_or(f64::INFINITY, |point| point.0),
                None => made_of(&points, run.diverged()?, pick, measure.steps, measure.within, group),
            };
            Ok(Draw { seed: run.settings().seed, value })
        };
        let skipped = usize::from(measure.others);
        all.into_iter().zip(self.of(group)).skip(skipped).map(draw).collect::<Result<_>>().map(Some)
    }

    /// The values of every draw at every step that a measurement looks at, separately for each layer and unit.
    pub fn series(&self, part: &Part, measure: &Measure) -> Result<Option<Vec<Vec<Seed>>>> {
        let Some((group, pick)) = self.measured(part, measure) else { return Ok(None) };
        let draw = |(tracks, run): (Vec<Track>, &Results)| {
            let after = missing(pick).filter(|_| run.diverged().unwrap_or(false));
            let seed = |track: Track| Seed {
                draw: run.settings().seed,
                points: inside(&track.points, measure.within, group).copied().collect(),
                after,
            };
            tracks.into_iter().map(seed).collect()
        };
        let skipped = usize::from(measure.others);
        Ok(Some(self.tracks(group, pick)?.into_iter().zip(self.of(group)).skip(skipped).map(draw).collect()))
    }

    /// The group and the value that a measurement refers to.
    pub fn measured<'s>(&'s self, part: &'s Part, measure: &Measure) -> Option<(&'s Group, &'s Pick)> {
        let group = self.plan.chosen(part, Some(std::slice::from_ref(&measure.run))).into_iter().next()?;
        Some((group, part.experiment.shown.values.get(&measure.value)?))
    }
}

/// A number of one draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// The run's seed, which identifies the draw: two runs with one seed have the same data and the same initial weights.
    pub seed: u64,
    /// The number; NaN where nothing was measured.
    pub value: f64,
}

/// One draw of a measurement, step by step.
#[derive(Debug, Clone, PartialEq)]
pub struct Seed {
    /// The run's seed, as in [`Draw`].
    pub draw: u64,
    /// Step and value, in rising order of steps.
    pub points: Vec<(f64, f64)>,
    /// The value that counts after the run diverged, if there is one.
    pub after: Option<f64>,
}

impl Seed {
    /// The value at a step; `None` where it was not measured.
    pub fn at(&self, step: f64) -> Option<f64> {
        let found = self.points.binary_search_by(|point| point.0.total_cmp(&step)).ok().map(|i| self.points[i].1);
        let ended = self.points.last().is_none_or(|last| last.0 < step);
        found.or(self.after.filter(|_| ended)).filter(|value| !value.is_nan())
    }
}

/// The value that a diverged run counts as having from then on. Its loss, and what a probe along a line would find, are infinite, as they
/// are beyond the point of a line where values stop being finite; its accuracy is 0. For other quantities nothing is known.
pub fn missing(pick: &Pick) -> Option<f64> {
    match pick.quantity.split_once('.').unwrap_or(("", &pick.quantity)) {
        ("", "loss" | "test_loss") => Some(f64::INFINITY),
        (file, "loss" | "grad_l2_diff" | "grad_norm" | "beta") if table::is_line(file) => Some(f64::INFINITY),
        ("", "train_accuracy" | "test_accuracy") => Some(0.0),
        _ => None,
    }
}

/// A draw's values over part of the run, reduced to a number. If the run diverged in or before that part, its substitute value. NaN where
/// nothing was measured.
pub fn made_of(
    points: &[(f64, f64)],
    diverged: bool,
    pick: &Pick,
    steps: Option<Over>,
    within: Option<[f64; 2]>,
    group: &Group,
) -> f64 {
    let last = points.last().map_or(f64::NEG_INFINITY, |point| point.0);
    let to = within.map_or(1.0, |[_, to]| to) * group.settings().steps as f64;
    match missing(pick).filter(|_| diverged && last < to) {
        Some(missing) => missing,
        None => steps.unwrap_or(Over::Last).of(inside(points, within, group).map(|point| point.1).collect()),
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
        let of = |quantity, diverged, steps, within| made_of(&points, diverged, &pick(quantity), steps, within, &group);
        assert_eq!(of("loss", false, None, None), 2.0);
        assert_eq!(of("loss", true, Some(Over::Mean), Some([0.0, 0.5])), 2.5);
        // After its end there is no loss, and nothing is right; of a probe nothing is known.
        assert_eq!(of("loss", true, None, None), f64::INFINITY);
        assert_eq!(of("loss", true, Some(Over::Mean), Some([0.9, 1.0])), f64::INFINITY);
        assert_eq!(of("train_accuracy", true, Some(Over::Mean), Some([0.2, 1.0])), 0.0);
        assert_eq!(of("landscape.beta", true, None, None), f64::INFINITY);
        assert_eq!(of("ics.cosine", true, None, None), 2.0);
        assert!(of("ics.cosine", true, None, Some([0.9, 1.0])).is_nan());
        let seed = |after| Seed { draw: 1, points: vec![(0.0, 3.0), (3.0, f64::NAN), (5.0, 2.0)], after };
        assert_eq!(
            [0.0, 5.0, 10.0].map(|t| seed(Some(f64::INFINITY)).at(t)),
            [Some(3.0), Some(2.0), Some(f64::INFINITY)]
        );
        assert_eq!([0.0, 3.0, 4.0, 10.0].map(|t| seed(None).at(t)), [Some(3.0), None, None, None]);
    }
}
