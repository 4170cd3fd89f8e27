//! What was found beside what is allowed.

use super::loops::Loop;
use super::measure::Measured;
use super::rule::Rule;
use serde::Serialize;

/// Something that has a limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What it is, in words that follow a number.
    pub what: String,
    /// How much of it there is.
    pub found: f64,
    /// How much there may be; of blocks, how many there must be.
    pub allowed: f64,
    /// Whether `allowed` is the least.
    pub least: bool,
}

impl Check {
    /// A limit that must not be passed.
    pub fn most(what: impl Into<String>, found: impl Into<f64>, allowed: impl Into<f64>) -> Check {
        Check { what: what.into(), found: found.into(), allowed: allowed.into(), least: false }
    }

    /// Whether it is within its limit.
    pub fn holds(&self) -> bool {
        if self.least { self.found >= self.allowed } else { self.found <= self.allowed }
    }
}

/// A loop held to a budget.
pub struct CheckedLoop<'m> {
    /// The rule that chose it.
    pub rule: Rule,
    /// The loop.
    pub of: &'m Loop,
    /// Its limits.
    pub checks: Vec<Check>,
}

/// A kernel held to its budgets.
pub struct Checked<'m> {
    /// The kernel.
    pub of: &'m Measured,
    /// Whether it has a budget of its own.
    pub budgeted: bool,
    /// Blocks that a multiprocessor holds.
    pub blocks: u32,
    /// Limits of the whole kernel.
    pub checks: Vec<Check>,
    /// The loops that its budget names, or without one the loop that is looked at usually.
    pub loops: Vec<CheckedLoop<'m>>,
}

impl Checked<'_> {
    /// A line for each limit that does not hold.
    pub fn breaches(&self) -> Vec<String> {
        let name = format!("{} (sm_{})", self.of.kernel, self.of.architecture);
        let line = |check: &Check, place: String| {
            let Check { what, found, allowed, least } = check;
            let least = if *least { "at least" } else { "at most" };
            format!("{name}: {} {what}{place}; {least} {} are allowed", number(*found), number(*allowed))
        };
        let whole = self.checks.iter().filter(|check| !check.holds()).map(|check| line(check, String::new()));
        let loops = self.loops.iter().flat_map(|l| {
            let place = format!(" in the loop at {:#x}–{:#x} ({})", l.of.begin, l.of.end, l.rule);
            l.checks.iter().filter(|check| !check.holds()).map(move |check| line(check, place.clone()))
        });
        whole.chain(loops).collect()
    }
}

/// Two digits behind the point at the most, rounded up: what is above a limit never looks as if it were at it.
pub fn number(value: f64) -> String {
    // Sums of binary fractions may lie a hair above what was meant.
    let hundredths = (value * 100.0 - 1e-6).ceil().max(0.0);
    format!("{}", hundredths / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_up() {
        let shown = [23.0625, 23.0, 0.0, 1.344_73, 5.8].map(number);
        assert_eq!(shown, ["23.07", "23", "0", "1.35", "5.8"]);
    }
}
