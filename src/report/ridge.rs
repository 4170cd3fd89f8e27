//! Ridge plots: distributions one behind another, used to show activations over training.
//!
//! All ridges of a panel share one scale of heights, from [`measure`]. They are drawn from the highest foot down, so that each hides a
//! little of those behind it. Outlines are unbroken, unless a panel has ridges with several looks.

use super::distribution::{Ridge, measure};
use super::marks::line_attributes;
use super::plot::{Kind, Panel, Scale, Series};
use super::style::{GRID, STYLES, tint_attributes};
use super::svg::{Document, polyline, stroke};
use super::trace::Area;

/// The height of a curve as high as the measure, in distances between two feet.
const RISE: f64 = 2.6;
/// The least distance between two feet, in pixels. Where there are more ridges than fit, some are left out.
const CLOSEST: f64 = 4.5;
/// Width of the outline.
const OUTLINE: f64 = 1.0;
/// The height above its foot at which a curve begins, in pixels. Below it: the most space above the highest foot, in distances between feet.
const BEGINS: f64 = 0.25;
const MOST_ROOM: f64 = 6.0;

/// All ridges of a panel that show anything, with their styles.
fn all(series: &[Series]) -> Vec<(usize, &Ridge)> {
    let mut found = Vec::new();
    for series in series {
        if let Kind::Ridge(ridges) = &series.kind {
            found.extend(ridges.iter().filter(|r| r.peak().is_some()).map(|r| (series.style, r)));
        }
    }
    found
}

/// The highest foot of a panel that shows only ridges.
pub fn highest_foot(series: &[Series]) -> Option<f64> {
    let only = series.iter().all(|s| matches!(s.kind, Kind::Ridge(_)));
    all(series).into_iter().map(|(_, ridge)| ridge.at).reduce(f64::max).filter(|_| only)
}

/// The space that the curves need above the highest foot, as a share of the range of all feet.
pub fn head_room(panel: &Panel, height: f64) -> Option<f64> {
    let ridges = all(&panel.series);
    let place = |at: f64| match panel.y.scale {
        Scale::Linear => Some(at),
        Scale::Log => (at > 0.0).then(|| at.log10()),
    };
    let feet: Vec<f64> = feet(&ridges).into_iter().filter_map(place).collect();
    let (Some(low), Some(high), Some(measure)) = (feet.first(), feet.last(), measure(ridges.iter().map(|r| r.1)))
    else {
        return None;
    };
    if feet.len() < 2 {
        return Some(0.0);
    }
    // As they will be spaced, were they spaced evenly: no closer than there is room for.
    let gaps = ((feet.len() - 1) as f64).min((height / CLOSEST - RISE).max(1.0).floor());
    let over = |ridge: &Ridge| {
        let below = (high - place(ridge.at)?) / (high - low) * gaps;
        Some(RISE * ridge.peak()? / measure - below)
    };
    let most = ridges.iter().filter_map(|(_, ridge)| over(ridge)).fold(0.0, f64::max);
    Some((most.min(MOST_ROOM) + 0.2) / gaps)
}

/// The distinct feet, rising.
fn feet(ridges: &[(usize, &Ridge)]) -> Vec<f64> {
    let mut feet: Vec<f64> = ridges.iter().map(|(_, ridge)| ridge.at).collect();
    feet.sort_unstable_by(f64::total_cmp);
    feet.dedup();
    feet
}

/// Draws every ridge of the panel.
pub fn draw(svg: &mut Document, area: &Area, series: &[Series]) {
    let mut ridges = all(series);
    let foot = |ridge: &Ridge| area.y.at(ridge.at).map(|at| (1.0 - at) * area.height);
    ridges.retain(|(_, ridge)| foot(ridge).is_some());
    let Some(measure) = measure(ridges.iter().map(|(_, ridge)| *ridge)) else { return };
    let feet: Vec<f64> = feet(&ridges);
    let place = |at: f64| area.y.at(at).map_or(0.0, |at| (1.0 - at) * area.height);
    let reach = match (feet.first(), feet.last()) {
        (Some(&low), Some(&high)) => (place(low) - place(high)).abs(),
        _ => 0.0,
    };
    let fitting = ((reach / CLOSEST).floor() as usize + 1).max(1);
    // Evenly, and always with the first and the last.
    let kept: Vec<f64> = if feet.len() > fitting.max(2) {
        let pick = |i: usize| feet[i * (feet.len() - 1) / (fitting.max(2) - 1)];
        (0..fitting.max(2)).map(pick).collect()
    } else {
        feet
    };
    ridges.retain(|(_, ridge)| kept.contains(&ridge.at));
    let apart = if kept.len() > 1 { reach / (kept.len() - 1) as f64 } else { 0.4 * area.height / RISE };
    let scale = RISE * apart / measure;
    // Sorting keeps the order of series with the same foot.
    ridges.sort_by(|a, b| b.1.at.total_cmp(&a.1.at));
    let lines = kept.iter().map(|&at| polyline([(0.0, place(at)), (area.width, place(at))].into_iter()));
    svg.path(&lines.collect::<String>(), &stroke(GRID.class, GRID.light, OUTLINE));
    let dashed = mixed(series);
    for (style, ridge) in ridges {
        let outline: String = outlines(area, ridge, place(ridge.at), scale)
            .into_iter()
            .map(|piece| format!("{}z", polyline(piece.into_iter())))
            .collect();
        svg.path(&outline, &attributes(style, dashed));
    }
}

/// Whether the ridges have several looks.
pub fn mixed(series: &[Series]) -> bool {
    let mut styles = series.iter().filter(|s| matches!(s.kind, Kind::Ridge(_))).map(|s| s.style % STYLES.len());
    styles.next().is_some_and(|first| styles.any(|other| other != first))
}

/// The attributes of a ridge in this style.
pub fn attributes(style: usize, dashed: bool) -> String {
    let class = style % STYLES.len();
    let solid = format!("{} stroke-linejoin=\"round\"", stroke(class, STYLES[class].light, OUTLINE));
    tint_attributes(class, &if dashed { line_attributes(style, OUTLINE) } else { solid })
}

/// The curve of a ridge, from foot to foot, in several pieces where bins are missing or have no place on the axis.
fn outlines(area: &Area, ridge: &Ridge, foot: f64, scale: f64) -> Vec<Vec<(f64, f64)>> {
    let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut open: Option<(Vec<(f64, f64)>, f64)> = None;
    let mut close = |open: Option<(Vec<(f64, f64)>, f64)>| {
        if let Some((mut points, end)) = open {
            points.push((end, foot));
            pieces.extend(standing(within(&points, area.width), foot));
        }
    };
    for (low, high, density) in ridge.bins() {
        let ends = area.x.at(low).zip(area.x.at(high)).map(|(a, b)| (a * area.width, b * area.width));
        let Some((a, b)) = ends.filter(|_| density.is_finite()) else {
            close(open.take());
            continue;
        };
        let (points, end) = open.get_or_insert_with(|| (vec![(a, foot)], a));
        points.push((0.5 * (a + b), foot - (scale * density.max(0.0)).min(10.0 * area.height)));
        *end = b;
    }
    close(open);
    pieces
}

/// The part of a curve from 0 to `width`.
fn within(points: &[(f64, f64)], width: f64) -> Vec<(f64, f64)> {
    let mut kept = Vec::new();
    let cut = |a: (f64, f64), b: (f64, f64), x: f64| (x, a.1 + (b.1 - a.1) * (x - a.0) / (b.0 - a.0));
    for (i, &point) in points.iter().enumerate() {
        if let Some(&before) = i.checked_sub(1).and_then(|i| points.get(i)) {
            let crossed = [0.0, width].into_iter().filter(|&x| before.0 < x && x < point.0);
            kept.extend(crossed.map(|x| cut(before, point, x)));
        }
        if (0.0..=width).contains(&point.0) {
            kept.push(point);
        }
    }
    kept
}

/// The part of a curve that rises from its foot line, closed by that line; `None` where there is none.
fn standing(points: Vec<(f64, f64)>, foot: f64) -> Option<Vec<(f64, f64)>> {
    let stands = |p: &(f64, f64)| foot - p.1 >= BEGINS;
    let first = points.iter().position(stands)?.saturating_sub(1);
    let last = (points.iter().rposition(stands)? + 1).min(points.len() - 1);
    let flat = |i: usize| points.get(i).is_none_or(|p| foot - p.1 < 0.04);
    // What lies between two others on the foot line is left out.
    let inner = |i: usize| i > first && i < last && flat(i - 1) && flat(i) && flat(i + 1);
    let mut curve = vec![(points[first].0, foot)];
    curve.extend((first..=last).filter(|&i| !inner(i)).map(|i| points[i]));
    curve.push((points[last].0, foot));
    curve.dedup();
    Some(curve)
}

#[cfg(test)]
mod tests {
    use super::super::distribution::{OVER_MIDDLE, span};
    use super::super::{Axis, Figure};
    use super::*;

    /// A normal distribution over bins from -4 to 4.
    fn ridge(at: f64, mean: f64, spread: f64) -> Ridge {
        let edges: Vec<f64> = (0..=80).map(|i| -4.0 + 0.1 * f64::from(i)).collect();
        let density = |w: &[f64]| {
            let z = (0.5 * (w[0] + w[1]) - mean) / spread;
            (-0.5 * z * z).exp() / (spread * std::f64::consts::TAU.sqrt())
        };
        Ridge { at, density: edges.windows(2).map(density).collect(), edges }
    }

    fn missing(at: f64) -> Ridge {
        Ridge { density: vec![f64::NAN; 80], ..ridge(at, 0.0, 1.0) }
    }

    fn figure(ridges: Vec<Ridge>) -> Figure {
        let panel = Panel {
            x: Axis::linear("activation"),
            y: Axis::linear("step"),
            series: vec![Series::ridge("BatchNorm", 1, ridges)],
            ..Panel::default()
        };
        Figure { title: "Ridges".into(), panels: vec![panel], ..Figure::default() }
    }

    fn drawn(figure: &Figure) -> usize {
        // The legend has one more.
        figure.svg().matches("nsc-1-t").count() - 2
    }

    #[test]
    fn mean_and_spread_are_those_of_the_distribution() {
        let (mean, spread) = ridge(0.0, 0.5, 0.4).moments().unwrap();
        assert!((mean - 0.5).abs() < 1e-3 && (spread - 0.4).abs() < 2e-3, "{mean} {spread}");
        assert_eq!(missing(0.0).moments(), None);
        assert_eq!(Ridge { at: 0.0, edges: vec![], density: vec![] }.moments(), None);
    }

    #[test]
    fn the_sides_are_trimmed_to_what_can_be_seen() {
        let edges = span(&[ridge(0.0, 0.0, 0.2), ridge(1.0, 1.0, 0.2), missing(2.0)]);
        assert!(edges.len() == 2 && (-0.9..-0.5).contains(&edges[0]) && (1.5..1.9).contains(&edges[1]), "{edges:?}");
        assert!(span(&[missing(0.0)]).is_empty());
    }

    #[test]
    fn one_narrow_distribution_does_not_press_the_others_flat() {
        let ridges: Vec<Ridge> = (0..9).map(|i| ridge(f64::from(i), 0.0, 1.0)).chain([ridge(9.0, 0.0, 0.01)]).collect();
        let common = ridges[0].peak().unwrap();
        assert!(measure(ridges.iter()).unwrap() <= OVER_MIDDLE * common);
    }

    #[test]
    fn a_missing_row_draws_nothing() {
        let whole = figure((0..9).map(|i| ridge(f64::from(i), 0.0, 1.0)).collect());
        assert_eq!(drawn(&whole), 9);
        let mut gap = whole.clone();
        if let Kind::Ridge(ridges) = &mut gap.panels[0].series[0].kind {
            ridges[3] = missing(3.0);
            ridges[4].at = f64::NAN;
            ridges[5].edges.clear();
        }
        assert_eq!(drawn(&gap), 6);
        assert!(!gap.svg().contains("NaN"));
        assert_eq!(drawn(&figure(vec![missing(0.0)])), 0);
    }

    /// The least y of the path that begins here, in the form that `polyline` writes.
    fn highest_of(path: &str) -> f64 {
        let numbers = path.split(['z', '"']).next().unwrap().replace('-', " -").replace('l', " ");
        let values: Vec<f64> = numbers.split_whitespace().map(|value| value.parse().unwrap()).collect();
        let steps = values.chunks(2).scan(0.0, |y, step| {
            *y += step[1];
            Some(*y)
        });
        steps.fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn the_last_curve_has_room_above_it() {
        for n in [2, 5, 30, 400] {
            let ridges: Vec<Ridge> = (0..n).map(|i| ridge(f64::from(i), 0.0, 1.0)).collect();
            let panel = &figure(ridges).panels[0];
            let share = head_room(panel, 200.0).unwrap();
            let y = super::super::scale::Mapping::padded(&panel.y, panel.series[0].ys(), (0.02, share));
            let x = super::super::scale::Mapping::new(&panel.x, panel.series[0].xs(), 0.0);
            let mut svg = Document::new(10.0, 10.0, "", "", "");
            draw(&mut svg, &Area { x, y, width: 300.0, height: 200.0 }, &panel.series);
            let heights = svg.finish();
            let paths = heights.matches("nsc-1-t").count();
            assert!(paths == n as usize || (30..=46).contains(&paths), "{n}: {paths}");
            let highest = heights.split("d=\"M").skip(2).map(highest_of).fold(f64::INFINITY, f64::min);
            assert!((0.0..30.0).contains(&highest), "{n}: a curve rises to {highest}");
        }
    }

    #[test]
    fn missing_bins_divide_a_curve() {
        let mut one = ridge(0.0, 0.0, 1.0);
        one.density[40] = f64::NAN;
        let area = |ridge: &Ridge| Area {
            x: super::super::scale::Mapping::new(&Axis::linear(""), ridge.edges.iter().copied(), 0.0),
            y: super::super::scale::Mapping::new(&Axis::linear(""), [0.0, 1.0].into_iter(), 0.0),
            width: 100.0,
            height: 100.0,
        };
        assert_eq!(outlines(&area(&one), &one, 100.0, 10.0).len(), 2);
    }

    #[test]
    fn a_curve_ends_where_the_panel_does() {
        let curve = [(-2.0, 10.0), (0.5, 5.0), (3.0, 0.0), (9.0, 6.0)];
        assert_eq!(within(&curve, 6.0), [(0.0, 6.0), (0.5, 5.0), (3.0, 0.0), (6.0, 3.0)]);
        assert_eq!(within(&[(-5.0, 1.0), (15.0, 5.0)], 10.0), [(0.0, 2.0), (10.0, 4.0)]);
        let flat = vec![(0.0, 9.0), (1.0, 9.0), (2.0, 5.0), (3.0, 9.0), (4.0, 9.0)];
        assert_eq!(standing(flat, 9.0), Some(vec![(1.0, 9.0), (2.0, 5.0), (3.0, 9.0)]));
        assert_eq!(standing(vec![(0.0, 9.0), (1.0, 9.0)], 9.0), None);
    }

    #[test]
    fn several_looks_in_one_panel_are_told_apart_by_dashes() {
        let mut figure = figure(vec![ridge(0.0, 0.0, 1.0), ridge(1.0, 0.0, 1.0)]);
        assert!(!figure.svg().contains("dasharray"));
        figure.panels[0].series.push(Series::ridge("ℓ1", 2, vec![ridge(0.5, 0.0, 1.0)]));
        assert!(figure.svg().contains("dasharray"));
    }
}
