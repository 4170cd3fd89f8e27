//! Shortens long series. Series that are shown together keep the same steps, and the lowest and highest values of the steps left out.

use crate::report::{Faceted, Kind, Series};
use std::collections::BTreeMap;

/// The most steps of a series in the report. A longer series is cut into this many stretches.
const STRETCHES: usize = 160;
/// The note about this under a panel.
pub const NOTE: &str = "Of long runs one step of each stretch is shown; the band reaches from the lowest to the highest \
                        value of the stretch.";

/// The first step of a stretch, and the step of it that is shown: the first of those that most series have.
type Stretch = (f64, f64);

/// The same series in the same order, shortened. Where the series of one choice have too many steps, all keep the same steps, and each line
/// gets a band. Also returns whether any series was shortened.
pub fn thinned(all: Vec<Faceted>) -> (Vec<Faceted>, bool) {
    let mut steps: BTreeMap<Vec<(String, String)>, Vec<f64>> = BTreeMap::new();
    for Faceted { facets, series } in &all {
        if let Some(ends) = ends(&series.kind) {
            steps.entry(facets.clone()).or_default().extend(ends.iter().map(|end| end.0));
        }
    }
    let grids: BTreeMap<_, _> = steps.into_iter().map(|(facets, steps)| (facets, stretches(steps))).collect();
    let (mut kept, mut short) = (Vec::with_capacity(all.len()), false);
    for faceted in all {
        let grid = grids.get(&faceted.facets).filter(|grid| !grid.is_empty());
        let Some((ends, grid)) = ends(&faceted.series.kind).zip(grid) else {
            kept.push(faceted);
            continue;
        };
        short = true;
        let cut = cut(&ends, grid);
        let band = Kind::Band(cut.iter().map(|&(step, _, low, high)| (step, low, high)).collect());
        let line = || Kind::Line(cut.iter().map(|&(step, shown, ..)| (step, shown)).collect());
        let line = matches!(faceted.series.kind, Kind::Line(_)).then(line);
        for kind in [Some(band), line].into_iter().flatten() {
            let Faceted { facets, series } = &faceted;
            kept.push(Faceted { facets: facets.clone(), series: Series { kind, ..series.clone() } });
        }
    }
    (kept, short)
}

/// (step, lowest, highest) of a line or a band.
fn ends(kind: &Kind) -> Option<Vec<(f64, f64, f64)>> {
    match kind {
        Kind::Line(points) => Some(points.iter().map(|&(x, y)| (x, y, y)).collect()),
        Kind::Band(points) => Some(points.clone()),
        Kind::Points(_) | Kind::Ridge(_) => None,
    }
}

/// Cuts steps into stretches; none where there are few enough. The last step is a stretch of its own, because it is the run's outcome.
fn stretches(mut steps: Vec<f64>) -> Vec<Stretch> {
    steps.sort_by(f64::total_cmp);
    let counted: Vec<(f64, usize)> = steps.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect();
    let Some((&(last, _), before)) = counted.split_last().filter(|_| counted.len() > STRETCHES) else {
        return Vec::new();
    };
    let stretch = |part: &[(f64, usize)]| {
        let most = part.iter().map(|step| step.1).max();
        let at = part.iter().find(|step| Some(step.1) == most).map_or(part[0].0, |step| step.0);
        (part[0].0, at)
    };
    let mut all: Vec<Stretch> = before.chunks(counted.len().div_ceil(STRETCHES)).map(stretch).collect();
    all.push((last, last));
    all
}

/// Shortens points (step, lowest, highest) in rising order. For each stretch: the step shown, its lowest value, and the stretch's lowest
/// and highest values.
fn cut(points: &[(f64, f64, f64)], grid: &[Stretch]) -> Vec<(f64, f64, f64, f64)> {
    let mut kept = Vec::new();
    for (i, &(from, at)) in grid.iter().enumerate() {
        let to = grid.get(i + 1).map_or(f64::INFINITY, |next| next.0);
        let within = points.partition_point(|point| point.0 < from)..points.partition_point(|point| point.0 < to);
        let part = &points[within];
        let Some(point) = part.iter().find(|point| point.0 == at).or(part.first()) else { continue };
        // `min` and `max` leave out what is no number.
        let low = part.iter().map(|point| point.1).fold(f64::NAN, f64::min);
        let high = part.iter().map(|point| point.2).fold(f64::NAN, f64::max);
        kept.push((point.0, point.1, low, high));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(label: &str, facet: &str, points: Vec<(f64, f64)>) -> Faceted {
        Faceted { facets: vec![("seed".into(), facet.into())], series: Series::line(label, 0, points) }
    }

    /// The points of the line and of the band with one label.
    type Drawn = (Vec<(f64, f64)>, Vec<(f64, f64, f64)>);

    fn of(all: &[Faceted], label: &str) -> Drawn {
        let (mut line, mut band) = (Vec::new(), Vec::new());
        for faceted in all.iter().filter(|faceted| faceted.series.label == label) {
            match &faceted.series.kind {
                Kind::Line(points) => line.clone_from(points),
                Kind::Band(points) => band.clone_from(points),
                _ => {}
            }
        }
        (line, band)
    }

    #[test]
    fn what_is_shown_together_keeps_the_same_steps() {
        // Noise of two kinds: where each is lowest and highest has nothing to do with the other.
        let noisy = |a: u32, b: u32| (0..10_001).map(|i| (f64::from(i), f64::from(i * a % b))).collect::<Vec<_>>();
        let ended = noisy(7, 11)[..700].to_vec();
        let all = vec![
            line("a", "1", noisy(7919, 1009)),
            line("b", "1", noisy(104_729, 997)),
            line("ended", "1", ended),
            line("short", "2", noisy(3, 5)[..50].to_vec()),
        ];
        let (kept, short) = thinned(all.clone());
        assert!(short);
        let steps = |label: &str| of(&kept, label).0.iter().map(|point| point.0).collect::<Vec<_>>();
        assert_eq!(steps("a"), steps("b"));
        assert!(steps("a").len() <= STRETCHES + 1 && steps("a").is_sorted(), "{}", steps("a").len());
        assert_eq!((steps("a")[0], steps("a").last()), (0.0, Some(&10_000.0)));
        assert_eq!(steps("ended"), steps("a")[..steps("ended").len()], "a run that ended keeps those until then");
        // Of what another choice shows nothing is taken away.
        assert_eq!(of(&kept, "short"), (noisy(3, 5)[..50].to_vec(), Vec::new()));
        assert_eq!(thinned(all[3..].to_vec()), (all[3..].to_vec(), false));
    }

    #[test]
    fn a_spike_between_two_steps_is_in_the_band() {
        let mut points: Vec<(f64, f64)> = (0..10_001).map(|i| (f64::from(i), f64::from(i % 7))).collect();
        points[4_321].1 = 1e9;
        points[5_000].1 = f64::NAN;
        points[9_000].1 = f64::INFINITY;
        let (kept, _) = thinned(vec![line("a", "1", points.clone())]);
        let (shown, band) = of(&kept, "a");
        assert!(shown.iter().all(|point| points.contains(point) || point.1.is_nan()), "a step has its own value");
        assert_eq!(shown.iter().map(|p| p.0).collect::<Vec<_>>(), band.iter().map(|p| p.0).collect::<Vec<_>>());
        assert!(band.iter().any(|end| end.2 == 1e9) && band.iter().any(|end| end.2 == f64::INFINITY));
        assert!(band.iter().all(|end| end.1 <= end.2 && end.1 < 7.0));
        // A band stays one, with the ends of its stretches.
        let ends: Vec<_> = points.iter().map(|&(x, y)| (x, y - 1.0, y + 1.0)).collect();
        let faceted = Faceted { facets: Vec::new(), series: Series::band("b", 0, ends) };
        let (kept, _) = thinned(vec![faceted]);
        let (none, wide) = of(&kept, "b");
        assert!(none.is_empty() && wide.len() == band.len() && wide.iter().any(|end| end.2 == 1e9 + 1.0));
    }

    #[test]
    fn runs_looked_at_more_or_less_often_meet_where_they_can() {
        let every = |n: u32| (0..=10_000 / n).map(|i| (f64::from(i * n), 1.0)).collect::<Vec<_>>();
        let (kept, _) = thinned(vec![line("often", "1", every(1)), line("seldom", "1", every(50))]);
        let (often, seldom) = (of(&kept, "often").0, of(&kept, "seldom").0);
        let met = seldom.iter().filter(|point| often.iter().any(|other| other.0 == point.0)).count();
        assert!(met >= seldom.len() - 1 && seldom.len() > 100, "{met} of {}", seldom.len());
    }
}
