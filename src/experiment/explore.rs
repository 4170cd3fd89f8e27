//! The report's panels whose content the reader chooses: every layer, unit, seed and step of an experiment's runs.

use super::evidence::Evidence;
use super::figures::{along, histograms, looked_at};
use super::file::{ExploreSpec, Form, Over, Pick};
use super::plan::Part;
use super::results::{Results, Track, ends};
use super::runs::Group;
use crate::Result;
use crate::report::{Axis, Explorer, Faceted, Kind, Series, significant};

/// How many points of a series the report holds; of more the lowest and the highest of each stretch are kept.
const POINTS: usize = 240;
/// Steps that a reader can choose among.
const STEPS: usize = 12;

/// An experiment's explorers; those whose runs are not part of the plan are left out.
pub fn explorers(evidence: &Evidence, part: &Part) -> Result<Vec<Explorer>> {
    let all = part.experiment.shown.explorers.iter().map(|spec| explorer(evidence, part, spec));
    all.filter(|explorer| explorer.as_ref().map_or(true, |explorer| !explorer.series.is_empty())).collect()
}

fn explorer(evidence: &Evidence, part: &Part, spec: &ExploreSpec) -> Result<Explorer> {
    let mut series = Vec::new();
    let mut label = String::new();
    for name in &spec.show {
        let Some(pick) = part.experiment.shown.values.get(name) else { continue };
        label.clone_from(&pick.label);
        for group in evidence.plan.chosen(part, spec.runs.as_deref()) {
            for run in evidence.of(group) {
                let mut of_run = match spec.form {
                    Form::Ridge => of_ridges(run, group)?,
                    Form::Distance => of_distance(evidence, run, group, pick)?,
                    Form::Band => of_band(evidence, run, group, pick)?,
                    _ => of_lines(evidence, run, group, pick)?,
                };
                let seed = run.settings().seed.to_string();
                for faceted in &mut of_run {
                    if spec.show.len() > 1 {
                        faceted.facets.insert(0, ("value".into(), pick.label.clone()));
                    }
                    faceted.facets.push(("seed".into(), seed.clone()));
                }
                series.extend(of_run);
            }
        }
    }
    let axis = |label: &str, log| if log { Axis::log(label) } else { Axis::linear(label) };
    let (x, y) = match spec.form {
        Form::Ridge => ("activation", "step"),
        Form::Distance => ("distance along the line", if spec.show.len() == 1 { label.as_str() } else { "value" }),
        _ => ("step", if spec.show.len() == 1 { label.as_str() } else { "value" }),
    };
    Ok(Explorer { title: spec.title.clone(), x: axis(x, spec.x_log), y: axis(y, spec.y_log), series })
}

fn facets(track: &Track) -> Vec<(String, String)> {
    track.facets.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn of_lines(evidence: &Evidence, run: &Results, group: &Group, pick: &Pick) -> Result<Vec<Faceted>> {
    let line = |track: Track| {
        let series = Series::line(group.label.clone(), group.style, thinned(&track.points));
        Faceted { facets: facets(&track), series }
    };
    Ok(run.tracks(pick, evidence.scale())?.into_iter().map(line).collect())
}

fn of_band(evidence: &Evidence, run: &Results, group: &Group, pick: &Pick) -> Result<Vec<Faceted>> {
    let points = ends(&run.tracks(pick, evidence.scale())?);
    Ok(vec![Faceted { facets: Vec::new(), series: Series::band(group.label.clone(), group.style, points) }])
}

/// A line for each of some steps, evenly chosen.
fn of_distance(evidence: &Evidence, run: &Results, group: &Group, pick: &Pick) -> Result<Vec<Faceted>> {
    let all = run.tracks(&Pick { over: Some(Over::First), ..pick.clone() }, evidence.scale())?;
    let steps: Vec<f64> = all.first().map_or_else(Vec::new, |track| track.points.iter().map(|point| point.0).collect());
    let stride = steps.len().div_ceil(STEPS).max(1);
    let line = |&step: &f64| {
        let points = along(run, pick, evidence, step)?;
        let series = Series::line(group.label.clone(), group.style, points);
        Ok(Faceted { facets: vec![("step".into(), significant(step, 9))], series })
    };
    steps.iter().step_by(stride).map(line).collect()
}

fn of_ridges(run: &Results, group: &Group) -> Result<Vec<Faceted>> {
    let arrays = run.arrays("activations")?;
    let Some((layers, units)) = looked_at(&arrays) else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (row, layer) in layers.iter().enumerate() {
        for unit in 0..units {
            let ridges = histograms(&arrays, row * units + unit, layers.len() * units);
            let facets = vec![("layer".into(), layer.to_string()), ("unit".into(), format!("{} of {units}", unit + 1))];
            let series = Series { label: group.label.clone(), style: group.style, kind: Kind::Ridge(ridges) };
            all.push(Faceted { facets, series });
        }
    }
    Ok(all)
}

/// The lowest and the highest of each stretch, in the order in which they came, where there are too many.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= POINTS {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(POINTS / 2);
    let mut kept = Vec::with_capacity(POINTS + 2);
    for (i, part) in points.chunks(stretch).enumerate() {
        let by = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (Some(low), Some(high)) = (part.iter().min_by(by), part.iter().max_by(by)) else { continue };
        let (first, second) = if low.0 <= high.0 { (low, high) } else { (high, low) };
        if i == 0 && *first != part[0] {
            kept.push(part[0]);
        }
        kept.push(*first);
        if second != first {
            kept.push(*second);
        }
    }
    if let (Some(last), Some(kept_last)) = (points.last(), kept.last().copied())
        && *last != kept_last
    {
        kept.push(*last);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_thinned_keeps_its_ends_and_its_spikes() {
        let mut points: Vec<(f64, f64)> = (0..10_001).map(|i| (f64::from(i), f64::from(i % 7))).collect();
        points[4_321].1 = 1e9;
        let kept = thinned(&points);
        assert!(kept.len() <= POINTS + 2 && kept.is_sorted_by(|a, b| a.0 < b.0), "{}", kept.len());
        assert_eq!((kept[0], kept[kept.len() - 1]), (points[0], points[10_000]));
        assert!(kept.contains(&(4_321.0, 1e9)));
        assert_eq!(thinned(&points[..50]), points[..50]);
    }
}
