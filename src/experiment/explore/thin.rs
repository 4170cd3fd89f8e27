//! Long series made short: what is shown together keeps the same steps, and of what lies between the lowest and the highest.

use crate::report::{Faceted, Kind, Series};
use std::collections::BTreeMap;

/// Steps of a series that the report holds; longer ones are cut into so many stretches.
const STRETCHES: usize = 160;
/// What a reader must know of it.
pub const NOTE: &str = "Of long runs one step of each stretch is shown; the band reaches from the lowest to the highest \
                        value of the stretch.";

/// Some steps that follow one another.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stretch {
    from: f64,
    to: f64,
    /// The one that is shown: of those that most series have the first.
    at: f64,
}

/// The same series in the same order; where those of one choice have too many steps, each keeps the same of them, and a line gets a band. Also
/// whether any was made short.
pub fn thinned(all: Vec<Faceted>) -> (Vec<Faceted>, bool) {
    let mut steps: BTreeMap<Vec<(String, String)>, Vec<f64>> = BTreeMap::new();
    for faceted in &all {
        let own = steps.entry(faceted.facets.clone()).or_default();
        match &faceted.series.kind {
            Kind::Line(points) => own.extend(points.iter().map(|point| point.0)),
            Kind::Band(points) => own.extend(points.iter().map(|point| point.0)),
            Kind::Points(_) | Kind::Ridge(_) => {}
        }
    }
    let grids: BTreeMap<_, _> = steps.into_iter().map(|(facets, steps)| (facets, stretches(steps))).collect();
    let mut short = false;
    let mut kept = Vec::with_capacity(all.len());
    for Faceted { facets, series } in all {
        let grid = grids.get(&facets).map_or(&[][..], Vec::as_slice);
        let Series { label, style, kind } = series;
        let (band, line) = match kind {
            Kind::Line(points) if !grid.is_empty() => {
                let ends: Vec<_> = points.iter().map(|&(x, y)| (x, y, y)).collect();
                let (places, band) = cut(&ends, grid);
                (Some(Kind::Band(band)), Some(Kind::Line(places.into_iter().map(|i| points[i]).collect())))
            }
            Kind::Band(points) if !grid.is_empty() => (Some(Kind::Band(cut(&points, grid).1)), None),
            other => {
                kept.push(Faceted { facets, series: Series { label, style, kind: other } });
                continue;
            }
        };
        short = true;
        for kind in [band, line].into_iter().flatten() {
            kept.push(Faceted { facets: facets.clone(), series: Series { label: label.clone(), style, kind } });
        }
    }
    (kept, short)
}

/// The stretches of these steps; none where there are few enough.
fn stretches(mut steps: Vec<f64>) -> Vec<Stretch> {
    steps.sort_by(f64::total_cmp);
    let counted: Vec<(f64, usize)> = steps.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect();
    if counted.len() <= STRETCHES {
        return Vec::new();
    }
    let stretch = |part: &[(f64, usize)]| {
        let most = part.iter().map(|step| step.1).max().unwrap_or(0);
        let at = part.iter().find(|step| step.1 == most).map_or(part[0].0, |step| step.0);
        Stretch { from: part[0].0, to: part[part.len() - 1].0, at }
    };
    let mut all: Vec<Stretch> = counted.chunks(counted.len().div_ceil(STRETCHES)).map(stretch).collect();
    // The last step is one of its own: it is what a run came to.
    if let (Some(last), Some(&(end, _))) = (all.last_mut(), counted.last())
        && last.from < end
    {
        let before = counted[counted.len() - 2].0;
        *last = Stretch { to: before, at: if last.at == end { last.from } else { last.at }, ..*last };
        all.push(Stretch { from: end, to: end, at: end });
    }
    all
}

/// Of (step, lowest, highest), steps rising, the place that is shown of each stretch, and the ends over the stretch.
fn cut(points: &[(f64, f64, f64)], grid: &[Stretch]) -> (Vec<usize>, Vec<(f64, f64, f64)>) {
    let (mut places, mut ends) = (Vec::new(), Vec::new());
    for stretch in grid {
        let from = points.partition_point(|point| point.0 < stretch.from);
        let to = points.partition_point(|point| point.0 <= stretch.to);
        let Some(part) = points.get(from..to).filter(|part| !part.is_empty()) else { continue };
        let place = part.iter().position(|point| point.0 == stretch.at).unwrap_or(0);
        // `min` and `max` leave out what is no number.
        let low = part.iter().map(|point| point.1).fold(f64::NAN, f64::min);
        let high = part.iter().map(|point| point.2).fold(f64::NAN, f64::max);
        places.push(from + place);
        ends.push((part[place].0, low, high));
    }
    (places, ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(label: &str, facet: &str, points: Vec<(f64, f64)>) -> Faceted {
        Faceted { facets: vec![("seed".into(), facet.into())], series: Series::line(label, 0, points) }
    }

    /// The points of the line and of the band of one label.
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
