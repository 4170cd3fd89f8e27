//! The report's interactive panels: every layer, unit, seed and step of an experiment's runs.

pub(super) mod apart;
mod thin;

use super::evidence::Evidence;
use super::figures::{along, histograms, looked_at};
use super::file::{ExploreSpec, Form};
use super::pick::{Over, Pick};
use super::plan::Part;
use super::results::{Results, Track, ends};
use super::runs::Group;
use crate::Result;
use crate::report::{Axis, Explorer, Faceted, Kind, Series, significant};

/// The most steps that a reader can choose from.
const STEPS: usize = 12;
/// Draws per group that a reader can choose from: the first ones. All draws are in the runs' files.
const DRAWS: usize = 2;
/// The note about this under a panel.
const NOTE: &str = "Of each run the first two draws are here; the others are in the runs' files.";

/// An experiment's interactive panels, except those whose runs are not part of the plan.
pub fn explorers(evidence: &Evidence, part: &Part) -> Result<Vec<Explorer>> {
    let all = part.experiment.shown.explorers.iter().map(|spec| explorer(evidence, part, spec));
    all.filter(|explorer| explorer.as_ref().map_or(true, |explorer| !explorer.series.is_empty())).collect()
}

/// A group of runs, with its name in an interactive panel.
struct Named<'a> {
    group: &'a Group,
    /// The label in the legend; it includes the run's name where runs can be chosen.
    label: String,
    /// The name among the runs to choose from, where the labels alone do not tell them apart.
    run: Option<String>,
}

fn named<'a>(groups: &[&'a Group]) -> Vec<Named<'a>> {
    let runs = apart::names(groups);
    let named = |(i, group): (usize, &&'a Group)| {
        let run = runs.as_ref().map(|runs| runs[i].clone());
        let label = run.as_ref().map_or_else(|| group.label.clone(), |run| format!("{} ({run})", group.label));
        Named { group, label, run }
    };
    groups.iter().enumerate().map(named).collect()
}

fn explorer(evidence: &Evidence, part: &Part, spec: &ExploreSpec) -> Result<Explorer> {
    let (mut series, mut short, mut more) = (Vec::new(), false, false);
    let mut label = String::new();
    let groups = named(&evidence.plan.chosen(part, spec.runs.as_deref()));
    for name in &spec.show {
        let Some(pick) = part.experiment.shown.values.get(name) else { continue };
        label.clone_from(&pick.label);
        let mut of_value = Vec::new();
        for named in &groups {
            more |= evidence.of(named.group).count() > DRAWS;
            for run in evidence.of(named.group).take(DRAWS) {
                let mut of_run = match spec.form {
                    Form::Ridge => of_ridges(run, named)?,
                    Form::Distance => of_distance(evidence, run, named, pick)?,
                    Form::Band => of_band(evidence, run, named, pick)?,
                    _ => of_lines(evidence, run, named, pick)?,
                };
                // A choice at which nothing was measured is said to have no data.
                of_run.retain(|faceted| faceted.series.ys().any(|y| !y.is_nan()));
                let seed = run.settings().seed.to_string();
                for faceted in &mut of_run {
                    if let Some(run) = &named.run {
                        faceted.facets.insert(0, ("run".into(), run.clone()));
                    }
                    if spec.show.len() > 1 {
                        faceted.facets.insert(0, ("value".into(), pick.label.clone()));
                    }
                    faceted.facets.push(("seed".into(), seed.clone()));
                }
                of_value.extend(of_run);
            }
        }
        let (kept, cut) = thin::thinned(of_value);
        series.extend(kept);
        short |= cut;
    }
    let axis = |label: &str, log| if log { Axis::log(label) } else { Axis::linear(label) };
    let (x, y) = match spec.form {
        Form::Ridge => ("activation", "step"),
        Form::Distance => ("distance along the line", if spec.show.len() == 1 { label.as_str() } else { "value" }),
        _ => ("step", if spec.show.len() == 1 { label.as_str() } else { "value" }),
    };
    let notes = [(more, NOTE), (short, thin::NOTE)];
    let note = notes.into_iter().filter(|(said, _)| *said).map(|(_, note)| note).collect::<Vec<_>>().join(" ");
    let first = well(evidence, &groups)?.map(|seed| ("seed".to_owned(), seed)).into_iter().collect();
    Ok(Explorer { title: spec.title.clone(), note, first, x: axis(x, spec.x_log), y: axis(y, spec.y_log), series })
}

/// The first seed for which no run diverged; the panel shows it at first.
fn well(evidence: &Evidence, groups: &[Named]) -> Result<Option<String>> {
    let mut diverged: Vec<(u64, bool)> = Vec::new();
    for run in groups.iter().flat_map(|named| evidence.of(named.group).take(DRAWS)) {
        let seed = run.settings().seed;
        match diverged.iter_mut().find(|(of, _)| *of == seed) {
            Some((_, any)) => *any |= run.diverged()?,
            None => diverged.push((seed, run.diverged()?)),
        }
    }
    Ok(diverged.iter().find(|(_, any)| !any).map(|(seed, _)| seed.to_string()))
}

fn facets(track: &Track) -> Vec<(String, String)> {
    track.facets.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn of_lines(evidence: &Evidence, run: &Results, named: &Named, pick: &Pick) -> Result<Vec<Faceted>> {
    let line = |track: Track| {
        let facets = facets(&track);
        Faceted { facets, series: Series::line(named.label.clone(), named.group.style, track.points) }
    };
    Ok(run.tracks(pick, evidence.scale())?.into_iter().map(line).collect())
}

fn of_band(evidence: &Evidence, run: &Results, named: &Named, pick: &Pick) -> Result<Vec<Faceted>> {
    let points = ends(&run.tracks(pick, evidence.scale())?);
    Ok(vec![Faceted { facets: Vec::new(), series: Series::band(named.label.clone(), named.group.style, points) }])
}

/// One line for each of some evenly chosen steps.
fn of_distance(evidence: &Evidence, run: &Results, named: &Named, pick: &Pick) -> Result<Vec<Faceted>> {
    let all = run.tracks(&Pick { over: Some(Over::First), ..pick.clone() }, evidence.scale())?;
    let steps: Vec<f64> = all.first().map_or_else(Vec::new, |track| track.points.iter().map(|point| point.0).collect());
    let stride = steps.len().div_ceil(STEPS).max(1);
    let line = |&step: &f64| {
        let points = along(run, pick, evidence, step)?;
        let series = Series::line(named.label.clone(), named.group.style, points);
        Ok(Faceted { facets: vec![("step".into(), significant(step, 9))], series })
    };
    steps.iter().step_by(stride).map(line).collect()
}

fn of_ridges(run: &Results, named: &Named) -> Result<Vec<Faceted>> {
    let arrays = run.arrays("activations")?;
    let Some((layers, units)) = looked_at(&arrays) else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (row, layer) in layers.iter().enumerate() {
        for unit in 0..units {
            let ridges = histograms(&arrays, row * units + unit, layers.len() * units);
            let facets = vec![("layer".into(), layer.to_string()), ("unit".into(), format!("{} of {units}", unit + 1))];
            let series = Series { label: named.label.clone(), style: named.group.style, kind: Kind::Ridge(ridges) };
            all.push(Faceted { facets, series });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Settings;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_runs_of_a_choice_are_called_the_same() {
        let group = |id: &str, label: &str, style, lr| {
            let settings = Settings { lr, ..Settings::defaults("dln") };
            Group { id: id.into(), label: label.into(), style, runs: vec![(id.into(), settings)] }
        };
        let groups = [
            group("none-a", "no norm", 0, 1e-6),
            group("batch-a", "BatchNorm", 1, 1e-6),
            group("none-b", "no norm", 0, 1e-7),
            group("batch-b", "BatchNorm", 1, 1e-7),
        ];
        let all = named(&groups.iter().collect::<Vec<_>>());
        let labels: BTreeSet<&str> = all.iter().map(|named| named.label.as_str()).collect();
        assert_eq!(labels.len(), 4, "{labels:?}");
        assert!(labels.contains("no norm (lr 1e-6)") && labels.contains("BatchNorm (lr 1e-7)"), "{labels:?}");
        // What can be compared is one choice.
        let choices: BTreeSet<_> = all.iter().map(|named| named.run.clone()).collect();
        assert_eq!(choices, ["lr 1e-6", "lr 1e-7"].map(|run| Some(run.to_owned())).into());
        // Where labels tell them apart there is nothing to choose.
        assert!(named(&[&groups[0], &groups[1]]).iter().all(|named| named.run.is_none()));
        assert_eq!(named(&[&groups[0]])[0].label, "no norm");
    }
}
