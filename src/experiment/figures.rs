//! Draws an experiment's panels from its runs.

use super::evidence::{Evidence, made_of, missing};
use super::file::{Form, PanelSpec, Split};
use super::pick::{Over, Pick};
use super::plan::Part;
use super::results::{Results, Track, ends, middle, spread};
use super::runs::Group;
use super::scale::ByScale;
use crate::files::Arrays;
use crate::report::{Axis, Figure, Kind, Panel, Ridge, Scale, Series};
use crate::train::Settings;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// The experiment's figure, without the panels whose runs are not part of the plan. `notes` are printed below: the differences from the
/// paper's setting.
pub fn figure(evidence: &Evidence, part: &Part, notes: Vec<String>) -> Result<Figure> {
    let shown = &part.experiment.shown;
    let (mut panels, mut shared) = (Vec::new(), Vec::new());
    for spec in &shown.panels {
        let groups = evidence.plan.chosen(part, spec.runs.as_deref());
        if groups.is_empty() {
            continue;
        }
        let Some(pick) = shown.values.get(&spec.show) else { continue };
        let draw = Draw { evidence, spec, pick };
        for (title, groups, pick) in draw.split(&groups) {
            panels.push(Draw { pick: &pick, ..draw }.panel(title, &groups)?);
            shared.push(spec.share_y.as_deref());
        }
    }
    share_ranges(&mut panels, &shared);
    let title = shown.title.clone();
    Ok(Figure { title, subtitle: String::new(), notes, panels, columns: shown.columns })
}

/// The panel with this title alone, and only for its first layer or run if it is split. `show` and `runs` replace its value and its runs,
/// where given. `None` where its runs are not part of the plan.
pub fn small(
    evidence: &Evidence,
    part: &Part,
    title: &str,
    show: Option<&String>,
    runs: Option<&Vec<String>>,
) -> Result<Option<Panel>> {
    let shown = &part.experiment.shown;
    let Some(mut spec) = shown.panels.iter().find(|panel| panel.title == title).cloned() else { return Ok(None) };
    if let Some(show) = show {
        (spec.show, spec.split) = (show.clone(), None);
    }
    spec.runs = runs.cloned().or(spec.runs);
    let spec = &spec;
    let groups = evidence.plan.chosen(part, spec.runs.as_deref());
    let Some(pick) = shown.values.get(&spec.show).filter(|_| !groups.is_empty()) else { return Ok(None) };
    let draw = Draw { evidence, spec, pick };
    let first = draw.split(&groups).into_iter().next();
    first.map(|(title, groups, pick)| Draw { pick: &pick, ..draw }.panel(title, &groups)).transpose()
}

/// Gives all panels with the same word the same vertical range, wide enough for all their values.
fn share_ranges(panels: &mut [Panel], words: &[Option<&str>]) {
    let mut ends: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (panel, word) in panels.iter().zip(words) {
        let Some(word) = word else { continue };
        let fits = |y: &f64| y.is_finite() && (panel.y.scale == Scale::Linear || *y > 0.0);
        for y in panel.series.iter().flat_map(Series::ys).filter(fits) {
            let (low, high) = ends.entry(word).or_insert((y, y));
            (*low, *high) = (low.min(y), high.max(y));
        }
    }
    for (panel, word) in panels.iter_mut().zip(words) {
        panel.y.range = panel.y.range.or_else(|| word.and_then(|word| ends.get(word).copied()));
    }
}

#[derive(Clone, Copy)]
struct Draw<'a> {
    evidence: &'a Evidence<'a>,
    spec: &'a PanelSpec,
    pick: &'a Pick,
}

impl<'a> Draw<'a> {
    /// The title, groups and value of each panel that the description makes.
    fn split(&self, groups: &[&'a Group]) -> Vec<(String, Vec<&'a Group>, Pick)> {
        let title = &self.spec.title;
        let layers = self.pick.layer.as_ref().and_then(|by| by.at(self.evidence.scale()));
        match (self.spec.split, layers) {
            (Some(Split::Run), _) => {
                let one = |group: &&'a Group| (title.replace("{run}", &group.label), vec![*group], self.pick.clone());
                groups.iter().map(one).collect()
            }
            (Some(Split::Layer), Some(layers)) => {
                let one = |&layer: &usize| {
                    let pick = Pick { layer: Some(ByScale::Same(vec![layer])), ..self.pick.clone() };
                    (title.replace("{layer}", &layer.to_string()), groups.to_vec(), pick)
                };
                layers.iter().map(one).collect()
            }
            _ => vec![(title.clone(), groups.to_vec(), self.pick.clone())],
        }
    }

    fn panel(&self, title: String, groups: &[&Group]) -> Result<Panel> {
        let spec = self.spec;
        let mut series = Vec::new();
        match spec.form {
            Form::Spread => series.push(self.apart(groups)?),
            Form::Against => series = self.against(groups)?,
            _ => {
                for group in groups {
                    series.extend(self.of_group(group)?);
                }
            }
        }
        let (x, y) = match spec.form {
            Form::Distance => ("distance along the line", self.pick.label.as_str()),
            Form::Ridge => ("activation", "step"),
            Form::Against => (spec.setting.as_deref().unwrap_or_default(), self.pick.label.as_str()),
            _ => ("step", self.pick.label.as_str()),
        };
        let axis = |given: &Option<String>, default: &str, log| {
            let label = given.clone().unwrap_or_else(|| default.into());
            if log { Axis::log(label) } else { Axis::linear(label) }
        };
        let (x, mut y) = (axis(&spec.x_label, x, spec.x_log), axis(&spec.y_label, y, spec.y_log));
        y.range = spec.y_range.map(|[low, high]| (low, high));
        Ok(Panel { title, x, y, series })
    }

    /// What the panel shows for one group.
    fn of_group(&self, group: &Group) -> Result<Vec<Series>> {
        let (label, style) = (group.label.as_str(), group.style);
        match self.spec.form {
            Form::Band => Ok(vec![Series::band(label, style, self.band(group)?)]),
            Form::Distance => Ok(vec![Series::line(label, style, self.distance(group)?)]),
            Form::Ridge => {
                let run = self.evidence.shown(group)?;
                let ridges =
                    run.map(|run| ridges(run, self.pick, self.evidence.scale())).transpose()?.unwrap_or_default();
                Ok(vec![Series { label: label.into(), style, kind: Kind::Ridge(ridges) }])
            }
            _ => {
                let mut series = Vec::new();
                let seeds = self.evidence.tracks(group, self.pick)?;
                let most = seeds.iter().map(Vec::len).max().unwrap_or(0);
                for i in 0..most {
                    let of: Vec<_> =
                        seeds.iter().filter_map(|tracks| tracks.get(i)).map(|t| t.points.clone()).collect();
                    if of.len() > 1 {
                        series.push(Series::band(label, style, spread(&of, missing(self.pick))));
                    }
                    series.push(Series::line(label, style, middle(&of, missing(self.pick))));
                }
                Ok(series)
            }
        }
    }

    /// The lowest and the highest of the values at each step, each as the median of the seeds.
    fn band(&self, group: &Group) -> Result<Vec<(f64, f64, f64)>> {
        let seeds = self.evidence.tracks(group, self.pick)?;
        let ends: Vec<_> = seeds.iter().map(|tracks| ends(tracks)).collect();
        let end = |of: fn(&(f64, f64, f64)) -> f64| {
            let one = |ends: &Vec<(f64, f64, f64)>| ends.iter().map(|point| (point.0, of(point))).collect();
            middle(&ends.iter().map(one).collect::<Vec<Vec<_>>>(), missing(self.pick))
        };
        let (low, high) = (end(|point| point.1), end(|point| point.2));
        Ok(low.into_iter().zip(high).map(|((step, low), (_, high))| (step, low, high)).collect())
    }

    /// Values against the distance, at the step nearest to the requested share of the run.
    fn distance(&self, group: &Group) -> Result<Vec<(f64, f64)>> {
        let wanted = self.spec.at.unwrap_or(0.5) * group.settings().steps as f64;
        let lines: Vec<_> =
            self.evidence.of(group).map(|run| along(run, self.pick, self.evidence, wanted)).collect::<Result<_>>()?;
        let points = lines.iter().map(Vec::len).max().unwrap_or(0);
        let middle_of = |i: usize, of: fn(&(f64, f64)) -> f64| {
            Over::Median.of(lines.iter().filter_map(|line| line.get(i)).map(of).collect())
        };
        Ok((0..points).map(|i| (middle_of(i, |p| p.0), middle_of(i, |p| p.1))).collect())
    }

    /// A band from the lowest to the highest loss of all runs, which were trained separately. It shows how far they spread, not a landscape
    /// around one.
    fn apart(&self, groups: &[&Group]) -> Result<Series> {
        let runs = groups.iter().flat_map(|group| self.evidence.of(group));
        let losses: Vec<_> = runs.map(|run| run.training().map(|of| of.loss.clone())).collect::<Result<_>>()?;
        let (label, style) = groups.first().map_or(("", 0), |group| (group.label.as_str(), group.style));
        Ok(Series::band(label, style, apart(&losses)))
    }

    /// A number of each group against one of its settings. Groups with the same label make one line.
    fn against(&self, groups: &[&Group]) -> Result<Vec<Series>> {
        let setting = self.spec.setting.as_deref().unwrap_or_default();
        let mut lines: Vec<Variant> = Vec::new();
        for group in groups {
            let x = number_of(group.settings(), setting)?;
            let of_seed = |(points, run): (Vec<(f64, f64)>, &Results)| {
                Ok(made_of(&points, run.diverged()?, self.pick, self.spec.steps, self.spec.within, group))
            };
            let seeds = self.evidence.single(group, &self.spec.show, self.pick)?;
            let y =
                Over::Median.of(seeds.into_iter().zip(self.evidence.of(group)).map(of_seed).collect::<Result<_>>()?);
            match lines.iter_mut().find(|(label, style, _)| *label == group.label && *style == group.style) {
                Some((_, _, points)) => points.push((x, y)),
                None => lines.push((group.label.clone(), group.style, vec![(x, y)])),
            }
        }
        let mut series = Vec::new();
        for (label, style, mut points) in lines {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            series.push(Series::line(label.clone(), style, points.clone()));
            series.push(Series::points(label, style, points));
        }
        Ok(series)
    }
}

/// Label, style, and points of one variant.
type Variant = (String, usize, Vec<(f64, f64)>);

/// A run's setting as a number. Errors: there is no such setting, or it is not a number.
fn number_of(settings: &Settings, name: &str) -> Result<f64> {
    let found = toml::Table::try_from(settings).ok().and_then(|table| table.get(name).cloned());
    match found {
        Some(toml::Value::Float(value)) => Ok(value),
        Some(toml::Value::Integer(value)) => Ok(value as f64),
        _ => Err(Error::input(format!("setting {name}"), "is no number of a run", "lr, width, eps and the like are")),
    }
}

/// The distance and value of each point along a run's line, at the probed step nearest to `wanted`.
pub fn along(run: &Results, pick: &Pick, evidence: &Evidence, wanted: f64) -> Result<Vec<(f64, f64)>> {
    let file = pick.quantity.split('.').next().unwrap_or_default();
    let distance = Pick { quantity: format!("{file}.distance"), per: None, over: None, ..pick.clone() };
    let values = run.tracks(&Pick { over: None, ..pick.clone() }, evidence.scale())?;
    // A run that diverged before has nothing to show there.
    let ended = run.diverged()? && run.training()?.loss.len() as f64 <= wanted;
    let at = |track: &Track| {
        let near = |a: &&(f64, f64), b: &&(f64, f64)| (a.0 - wanted).abs().total_cmp(&(b.0 - wanted).abs());
        track.points.iter().min_by(near).filter(|_| !ended).map_or(f64::NAN, |point| point.1)
    };
    let distances = run.tracks(&distance, evidence.scale())?;
    Ok(distances.iter().map(at).zip(values.iter().map(at)).collect())
}

/// Histograms of the picked unit, at every probed step.
pub fn ridges(run: &Results, pick: &Pick, scale: super::scale::Scale) -> Result<Vec<Ridge>> {
    let arrays = run.arrays("activations")?;
    let Some((layers, units)) = looked_at(&arrays) else { return Ok(Vec::new()) };
    let wanted = pick.layer.as_ref().and_then(|by| by.at(scale)).and_then(|layers| layers.first()).copied();
    let row = wanted.map_or(Some(0), |layer| layers.iter().position(|&of| of == layer));
    let unit = pick.unit.unwrap_or(0);
    match row.filter(|_| unit < units) {
        Some(row) => Ok(histograms(&arrays, row * units + unit, layers.len() * units)),
        None => Err(Error::input(
            format!("layer {}, unit {unit}", wanted.unwrap_or(0)),
            "was not looked at",
            "the run's probe_layers and probe_units say what is",
        )),
    }
}

/// The layers that were probed, and the number of units of each.
pub fn looked_at(arrays: &Arrays) -> Option<(Vec<usize>, usize)> {
    let layers = arrays.get("layer")?;
    let units = arrays.get("unit")?.shape.get(1).copied()?;
    match &layers.values {
        crate::files::Values::I64(layers) => Some((layers.iter().map(|&layer| layer as usize).collect(), units)),
        _ => None,
    }
}

/// The histograms of the unit at `place`, out of `of` units, as densities.
pub fn histograms(arrays: &Arrays, place: usize, of: usize) -> Vec<Ridge> {
    let numbers = |name: &str| match arrays.get(name).map(|array| &array.values) {
        Some(crate::files::Values::I64(values)) => values.iter().map(|&value| value as f64).collect(),
        Some(_) => arrays[name].to_f64().unwrap_or_default(),
        None => Vec::new(),
    };
    let (steps, count, outside, edges): (Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>) =
        (numbers("step"), numbers("count"), numbers("outside"), numbers("edges"));
    let bins = (count.len() / (steps.len() * of).max(1)).max(1);
    let edges: Vec<f64> =
        edges.get(place * (bins + 1)..(place + 1) * (bins + 1)).map_or_else(Vec::new, <[f64]>::to_vec);
    let ridge = |(i, &at): (usize, &f64)| {
        let counts = &count[(i * of + place) * bins..][..bins];
        let beyond = &outside[(i * of + place) * 2..][..2];
        let all: f64 = counts.iter().chain(beyond).sum();
        let measured = counts.iter().all(|&count| count >= 0.0);
        let density =
            |(count, ends): (&f64, &[f64])| if measured { count / all / (ends[1] - ends[0]) } else { f64::NAN };
        Ridge { at, density: counts.iter().zip(edges.windows(2)).map(density).collect(), edges: edges.clone() }
    };
    steps.iter().enumerate().map(ridge).collect()
}

/// The lowest and the highest of several runs' losses, at each step that all of them logged. A NaN loss counts as infinite.
fn apart(losses: &[Vec<f64>]) -> Vec<(f64, f64, f64)> {
    let steps = losses.iter().map(Vec::len).min().unwrap_or(0);
    let at = |t: usize| losses.iter().map(move |run| if run[t].is_nan() { f64::INFINITY } else { run[t] });
    (0..steps)
        .map(|t| (t as f64, at(t).fold(f64::INFINITY, f64::min), at(t).fold(f64::NEG_INFINITY, f64::max)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_trained_apart_spread_from_the_lowest_to_the_highest_loss() {
        let band = apart(&[vec![3.0, 2.0, 1.0], vec![3.0, 2.5, 0.5], vec![3.0, 2.25]]);
        assert_eq!(band, [(0.0, 3.0, 3.0), (1.0, 2.0, 2.5)], "where they began they are one");
        assert_eq!(apart(&[vec![3.0, 1.0, 1.0], vec![3.0, f64::NAN]])[1], (1.0, 1.0, f64::INFINITY), "one diverged");
    }
}
