//! Turns a series into the pieces of line to draw.
//!
//! A line breaks where a value has no place. Where several successive values fall into one column of the page, at most two are kept: the
//! lowest and the highest. So a file stays small however long the run was, and no spike is lost.

use super::scale::Mapping;

/// The area of the page between a panel's axes, in the drawing's unit. Columns are one unit wide.
#[derive(Debug, Clone)]
pub struct Area {
    pub x: Mapping,
    pub y: Mapping,
    pub width: f64,
    pub height: f64,
}

impl Area {
    /// The place where (x, y) is drawn, from the area's upper left corner.
    pub fn point(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        Some((self.x.at(x)? * self.width, (1.0 - self.y.at(y)?) * self.height))
    }

    /// The unbroken pieces of a line.
    pub fn line(&self, points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
        let placed = points.iter().map(|&(x, y)| self.point(x, y));
        pieces(placed, |p| p.0, lowest_and_highest)
    }

    /// The unbroken pieces of a band, as (x, y of the highest, y of the lowest) in drawing units.
    pub fn band(&self, points: &[(f64, f64, f64)]) -> Vec<Vec<(f64, f64, f64)>> {
        let placed = points.iter().map(|&(x, a, b)| {
            let (a, b) = (self.y.edge(a)?, self.y.edge(b)?);
            Some((self.x.at(x)? * self.width, (1.0 - a.max(b)) * self.height, (1.0 - a.min(b)) * self.height))
        });
        pieces(
            placed,
            |p| p.0,
            |run, out| {
                if run.len() < 3 {
                    return out.extend_from_slice(run);
                }
                let top = run.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
                let foot = run.iter().map(|p| p.2).fold(f64::NEG_INFINITY, f64::max);
                out.extend([(run[0].0, top, foot), (run[run.len() - 1].0, top, foot)]);
            },
        )
    }
}

/// The lowest and the highest of the points in one column, in their original order.
fn lowest_and_highest(run: &[(f64, f64)], out: &mut Vec<(f64, f64)>) {
    let by_height = |a: &usize, b: &usize| run[*a].1.total_cmp(&run[*b].1);
    let (Some(low), Some(high)) = ((0..run.len()).min_by(by_height), (0..run.len()).max_by(by_height)) else { return };
    out.push(run[low.min(high)]);
    if low != high {
        out.push(run[low.max(high)]);
    }
}

/// Splits at the gaps, and passes each run of points in one column, by their place `x`, to `thin`, which appends the points to keep.
///
/// A gap within a column is too narrow to be seen, so it does not split. Otherwise a series with every other value missing would give a
/// piece for each.
fn pieces<P>(
    points: impl Iterator<Item = Option<P>>,
    x: impl Fn(&P) -> f64,
    thin: impl Fn(&[P], &mut Vec<P>),
) -> Vec<Vec<P>> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    let mut run: Vec<P> = Vec::new();
    let mut gap = false;
    for point in points {
        let Some(point) = point else {
            gap = true;
            continue;
        };
        if run.last().is_some_and(|last| x(last).floor() != x(&point).floor()) {
            thin(&run, &mut piece);
            run.clear();
            if gap {
                pieces.push(std::mem::take(&mut piece));
            }
        }
        gap = false;
        run.push(point);
    }
    if !run.is_empty() {
        thin(&run, &mut piece);
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::super::plot::Axis;
    use super::*;

    /// An area of 100 × 100 units, over 0..1 in x and the given y axis.
    fn area(y: Axis) -> Area {
        let fixed = |axis: Axis| Mapping::new(&axis, std::iter::empty(), 0.0);
        Area { x: fixed(Axis::linear("x").with_range(0.0, 1.0)), y: fixed(y), width: 100.0, height: 100.0 }
    }

    #[test]
    fn a_line_breaks_where_a_value_is_missing() {
        let points: Vec<_> = [1.0, 2.0, f64::NAN, 3.0, f64::INFINITY, 4.0, 5.0]
            .into_iter()
            .enumerate()
            .map(|(i, y)| (i as f64 / 10.0, y))
            .collect();
        let pieces = area(Axis::linear("y").with_range(0.0, 10.0)).line(&points);
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 2]);
        assert_eq!(pieces[1], [(30.0, 70.0)]);
    }

    #[test]
    fn a_logarithmic_axis_leaves_out_what_is_not_positive() {
        let points = [(0.1, 1.0), (0.2, 0.0), (0.3, 10.0), (0.4, -1.0), (0.5, 100.0)];
        let pieces = area(Axis::log("y").with_range(1.0, 100.0)).line(&points);
        assert_eq!(pieces, [[(10.0, 100.0)], [(30.0, 50.0)], [(50.0, 0.0)]]);
    }

    #[test]
    fn a_long_series_is_thinned_and_keeps_every_columns_extremes() {
        let n = 1_000_000;
        // A sine with one spike up and one down that a stride would miss.
        let mut points: Vec<_> = (0..n).map(|i| (i as f64 / n as f64, (i as f64 * 1e-4).sin())).collect();
        points[123_457].1 = 9.0;
        points[765_433].1 = -9.0;
        let area = area(Axis::linear("y").with_range(-10.0, 10.0));
        let pieces = area.line(&points);
        assert_eq!(pieces.len(), 1);
        assert!(pieces[0].len() <= 2 * 100, "{}", pieces[0].len());
        for column in 0..100 {
            let extremes = |points: &mut dyn Iterator<Item = (f64, f64)>| {
                points
                    .filter(|p| p.0.floor() == f64::from(column))
                    .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| (low.min(p.1), high.max(p.1)))
            };
            let all = extremes(&mut points.iter().filter_map(|&(x, y)| area.point(x, y)));
            assert_eq!(extremes(&mut pieces[0].iter().copied()), all, "column {column}");
        }
    }

    #[test]
    fn thinning_keeps_the_order() {
        let points: Vec<_> = (0..10_000).map(|i| (f64::from(i) / 1e4, f64::from(i * 7919 % 1000))).collect();
        let pieces = area(Axis::linear("y").with_range(0.0, 1000.0)).line(&points);
        assert!(pieces[0].is_sorted_by(|a, b| a.0 <= b.0));
        assert!(pieces[0].len() <= 200);
    }

    #[test]
    fn gaps_narrower_than_a_column_do_not_cut() {
        let points: Vec<_> =
            (0..100_000).map(|i| (f64::from(i) / 1e5, if i % 2 == 0 { 1.0 } else { f64::NAN })).collect();
        assert!(area(Axis::linear("y")).line(&points).len() <= 100);
    }

    #[test]
    fn a_bands_envelope_survives_thinning() {
        let mut points: Vec<_> = (0..10_000).map(|i| (f64::from(i) / 1e4, 4.0, 6.0)).collect();
        points[5_050] = (0.505, 1.0, 6.0);
        points[5_051] = (0.5051, 4.0, 9.0);
        let pieces = area(Axis::linear("y").with_range(0.0, 10.0)).band(&points);
        assert_eq!(pieces.len(), 1);
        assert!(pieces[0].len() <= 200);
        let top = pieces[0].iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
        let foot = pieces[0].iter().map(|p| p.2).fold(f64::NEG_INFINITY, f64::max);
        assert!((top - 10.0).abs() < 1e-9 && (foot - 90.0).abs() < 1e-9, "{top} {foot}");
    }

    #[test]
    fn an_unbounded_band_reaches_the_edge() {
        let points = [(0.1, 0.0, 10.0), (0.2, 1.0, f64::INFINITY), (0.3, f64::NAN, 1.0), (0.4, 100.0, 1.0)];
        let pieces = area(Axis::log("y").with_range(1.0, 100.0)).band(&points);
        assert_eq!(pieces, [vec![(10.0, 50.0, 100.0), (20.0, 0.0, 100.0)], vec![(40.0, 0.0, 100.0)]]);
    }
}
