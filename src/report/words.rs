//! Describes a figure in words, for readers who cannot see it.

use super::layout::letter;
use super::plot::{Figure, Kind, Panel, Ridge, Scale, Series};
use super::table::significant;

impl Figure {
    /// What the figure shows, in words, for readers who cannot see it.
    pub(super) fn description(&self) -> String {
        let mut lines = Vec::new();
        for (i, panel) in self.panels.iter().enumerate() {
            let name = if self.panels.len() > 1 { format!("Panel {}: ", letter(i)) } else { String::new() };
            let title = if panel.title.is_empty() { String::new() } else { format!("{}. ", panel.title) };
            let logarithmic = |scale| if scale == Scale::Log { " (logarithmic)" } else { "" };
            let (x, y) = (&panel.x, &panel.y);
            let axes = format!("{}{} against {}{}", y.label, logarithmic(y.scale), x.label, logarithmic(x.scale));
            lines.push(format!("{name}{title}{axes}. {}", series_in_words(panel)).trim_end().to_owned());
        }
        lines.join("\n")
    }
}

/// Each series of a panel: where it begins and ends, and its range.
fn series_in_words(panel: &Panel) -> String {
    let words = |series: &Series| {
        if let Kind::Ridge(ridges) = &series.kind {
            return format!("{} (ridges): {}.", named(series), ridges_in_words(ridges));
        }
        let finite = || series.ys().filter(|y| y.is_finite());
        let shown = |value: f64| significant(value, 3);
        let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), y| (a.min(y), b.max(y)));
        let reach = if low > high { "no values".into() } else { format!("from {} to {}", shown(low), shown(high)) };
        let last = match (&series.kind, finite().last()) {
            (Kind::Line(_), Some(last)) => format!(", last {}", shown(last)),
            _ => String::new(),
        };
        let kind = match series.kind {
            Kind::Line(_) => "line",
            Kind::Points(_) => "points",
            Kind::Band(_) => "band",
            Kind::Ridge(_) => "ridges",
        };
        format!("{} ({kind}): {reach}{last}.", named(series))
    };
    panel.series.iter().map(words).collect::<Vec<_>>().join(" ")
}

fn named(series: &Series) -> &str {
    if series.label.is_empty() { "unnamed" } else { &series.label }
}

/// The number of distributions, and a description of the first and the last.
fn ridges_in_words(ridges: &[Ridge]) -> String {
    let measured: Vec<(f64, (f64, f64))> = ridges.iter().filter_map(|r| Some((r.at, r.moments()?))).collect();
    let one = |(at, (mean, spread)): &(f64, (f64, f64))| {
        format!(
            "at {} mean {}, standard deviation {}",
            significant(*at, 6),
            significant(*mean, 3),
            significant(*spread, 3)
        )
    };
    match measured.as_slice() {
        [] => "no values".into(),
        [only] => format!("one distribution, {}", one(only)),
        [first, .., last] => format!("{} distributions, {}, {}", measured.len(), one(first), one(last)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ridges_are_told_by_their_first_and_last() {
        let ridge =
            |at: f64, mean: f64| Ridge { at, edges: vec![mean - 1.0, mean, mean + 1.0], density: vec![0.5, 0.5] };
        let words = ridges_in_words(&[ridge(0.0, 0.0), ridge(5.0, 3.0), ridge(15000.0, 2.0)]);
        assert_eq!(
            words,
            "3 distributions, at 0 mean 0, standard deviation 0.5, at 15000 mean 2, standard deviation 0.5"
        );
        let missing = Ridge { at: 1.0, edges: vec![0.0, 1.0], density: vec![f64::NAN] };
        assert_eq!(ridges_in_words(&[missing]), "no values");
    }
}
