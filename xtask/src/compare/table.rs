//! The measurements, as a Markdown table.

use super::competitor::Competitor;
use super::kind::Kind;
use std::fmt::Write;

/// One competitor's time of one step kind in one round, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The median over its steps.
    pub median: f64,
    /// The least over its steps.
    pub least: f64,
    /// Only the mean is known, and is given for both.
    pub mean: bool,
}

impl Measured {
    /// The measurement in a line, for people.
    pub fn line(&self) -> String {
        match self.mean {
            true => format!("mean {} ms", milliseconds(self.median)),
            false => format!("median {} ms, least {}", milliseconds(self.median), milliseconds(self.least)),
        }
    }
}

/// All measurements.
pub struct Table {
    /// The competitors' names, and whether others are compared with each.
    competitors: Vec<(String, bool)>,
    kinds: Vec<String>,
    /// For each kind and competitor, the measurements of all rounds.
    measured: Vec<Vec<Vec<Measured>>>,
}

impl Table {
    /// An empty table.
    pub fn new(competitors: &[Competitor], kinds: &[Kind]) -> Table {
        let programs = competitors.iter().filter(|c| c.is_program()).count();
        // PyTorch, where there is one; and of several builds the first.
        let is_reference = |(i, c): (usize, &Competitor)| !c.is_program() || (i == 0 && programs > 1);
        let names = competitors.iter().enumerate().map(|(i, c)| (c.label().to_owned(), is_reference((i, c))));
        Table::of(names.collect(), kinds.iter().map(Kind::to_string).collect())
    }

    fn of(competitors: Vec<(String, bool)>, kinds: Vec<String>) -> Table {
        let measured = kinds.iter().map(|_| competitors.iter().map(|_| Vec::new()).collect()).collect();
        Table { competitors, kinds, measured }
    }

    /// Adds a measurement of competitor `c` on kind `k`.
    pub fn add(&mut self, k: usize, c: usize, found: Measured) {
        self.measured[k][c].push(found);
    }

    /// The table: for each kind and competitor, the median of the rounds' medians and the least of all times, and both as ratios.
    pub fn markdown(&self) -> String {
        let references: Vec<usize> = (0..self.competitors.len()).filter(|&c| self.competitors[c].1).collect();
        let mut head = "| step | program | median ms | least ms |".to_owned();
        let mut line = "|---|---|---|---|".to_owned();
        for &c in &references {
            let _ = write!(head, " of {}: median | least |", self.competitors[c].0);
            line += "---|---|";
        }
        let mut text = format!("{head}\n{line}\n");
        for (kind, row) in self.kinds.iter().zip(&self.measured) {
            let all: Vec<_> = row.iter().map(|rounds| summary(rounds)).collect();
            for ((name, _), found) in self.competitors.iter().zip(&all) {
                let Some(found) = found else { continue };
                let mark = if found.mean { " (mean)" } else { "" };
                let _ = write!(
                    text,
                    "| {kind} | {name} | {}{mark} | {}{mark} |",
                    milliseconds(found.median),
                    milliseconds(found.least)
                );
                for &c in &references {
                    let _ = match all[c] {
                        Some(of) => write!(text, " {:.3} | {:.3} |", found.median / of.median, found.least / of.least),
                        None => write!(text, " | |"),
                    };
                }
                text.push('\n');
            }
        }
        text
    }
}

/// The median of the rounds' medians, and the least of all times.
fn summary(rounds: &[Measured]) -> Option<Measured> {
    let mut medians: Vec<f64> = rounds.iter().map(|m| m.median).collect();
    medians.sort_by(f64::total_cmp);
    let middle = medians.len() / 2;
    let median = match medians.len() {
        0 => return None,
        n if n % 2 == 0 => 0.5 * (medians[middle - 1] + medians[middle]),
        _ => medians[middle],
    };
    let least = rounds.iter().map(|m| m.least).fold(f64::INFINITY, f64::min);
    Some(Measured { median, least, mean: rounds.iter().any(|m| m.mean) })
}

/// A time in milliseconds, to four digits.
fn milliseconds(seconds: f64) -> String {
    let ms = 1e3 * seconds;
    let before = if ms >= 1.0 { ms.log10() as usize + 1 } else { 1 };
    format!("{ms:.*}", 4usize.saturating_sub(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(median: f64, least: f64) -> Measured {
        Measured { median, least, mean: false }
    }

    #[test]
    fn rounds_become_a_median_and_a_least() {
        assert_eq!(summary(&[]), None);
        let rounds = [times(3.0, 2.5), times(1.0, 0.75), times(2.0, 1.0)];
        assert_eq!(summary(&rounds), Some(times(2.0, 0.75)));
        assert_eq!(summary(&rounds[..2]), Some(times(2.0, 0.75)));
        let mean = summary(&[times(1.0, 1.0), Measured { mean: true, ..times(3.0, 3.0) }]).unwrap();
        assert!(mean.mean && mean.median == 2.0);
    }

    #[test]
    fn ratios_are_of_what_each_is_compared_with() {
        let names = [("new", false), ("old", false), ("PyTorch", true)].map(|(name, of)| (name.to_owned(), of));
        let mut table = Table::of(names.into(), vec!["a f32".into(), "b f32".into()]);
        table.add(0, 0, times(0.001, 0.0005));
        table.add(0, 2, times(0.004, 0.001));
        table.add(1, 0, Measured { mean: true, ..times(1.5, 1.5) });
        let text = table.markdown();
        assert!(text.contains("of PyTorch: median | least |\n|---|---|---|---|---|---|\n"), "{text}");
        assert!(text.contains("| a f32 | new | 1.000 | 0.500 | 0.250 | 0.500 |\n"), "{text}");
        assert!(text.contains("| a f32 | PyTorch | 4.000 | 1.000 | 1.000 | 1.000 |\n"), "{text}");
        assert!(text.contains("| b f32 | new | 1500 (mean) | 1500 (mean) | | |\n"), "{text}");
        assert!(!text.contains("old"), "who took nothing has no row: {text}");
    }

    #[test]
    fn times_have_four_digits() {
        let shown = [1.0384, 0.07861, 0.000543, 5.4e-6].map(milliseconds);
        assert_eq!(shown, ["1038", "78.61", "0.543", "0.005"]);
    }
}
