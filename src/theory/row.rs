//! The rows that are reported for each statement, and what one instance contributes to them.

use super::case::Case;

/// Differences below this share of a statement's scale count as rounding.
pub const TOLERANCE: f64 = 1e-9;

/// What kind of statement a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Both sides are equal.
    Identity,
    /// The left side is at most the right one.
    Bound,
    /// One condition holds exactly if the other does.
    Equivalence,
    /// A statement as the paper prints it, which is not a theorem; the question is how often it fails.
    Printed,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Identity => "identity",
            Kind::Bound => "bound",
            Kind::Equivalence => "equivalence",
            Kind::Printed => "printed",
        }
    }

    /// Whether it must hold wherever its premise does.
    pub fn must_hold(self) -> bool {
        self != Kind::Printed
    }
}

/// One line of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its name in results.
    pub name: &'static str,
    /// What kind of statement it is.
    pub kind: Kind,
    /// The formula or claim that is evaluated.
    pub says: &'static str,
}

/// One statement of the paper: its rows, and a function that evaluates one case for all of them, in order.
#[derive(Debug, Clone, Copy)]
pub struct Statement {
    /// Its rows.
    pub rows: &'static [Row],
    /// Returns an outcome for each row.
    pub evaluate: fn(&Case) -> Vec<Outcome>,
}

/// The outcome of one instance for one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Whether the statement's premise holds.
    pub premise: bool,
    /// How far the statement is from holding, in units of its scale: |left − right| for identities; for bounds, the amount by which the left side is
    /// too large.
    pub residual: f64,
    /// right − left, in the same units.
    pub slack: f64,
    /// Whether the statement fails, regardless of the premise.
    pub fails: bool,
    /// A quotient whose median is reported.
    pub ratio: Option<f64>,
}

/// x/scale, where 0/0 counts as 0; a NaN counts as infinitely wrong.
fn share(x: f64, scale: f64) -> f64 {
    let share = if x == 0.0 { 0.0 } else { x / scale };
    if share.is_nan() { f64::INFINITY } else { share }
}

impl Outcome {
    /// left = right
    pub fn equal(left: f64, right: f64, scale: f64) -> Outcome {
        Outcome { slack: share(right - left, scale), ..Outcome::apart((left - right).abs(), scale) }
    }

    /// Two vectors or matrices are equal; `distance` is the length of their difference.
    pub fn apart(distance: f64, scale: f64) -> Outcome {
        let residual = share(distance, scale);
        Outcome { premise: true, residual, slack: -residual, fails: residual > TOLERANCE, ratio: None }
    }

    /// left ≤ right
    pub fn at_most(left: f64, right: f64, scale: f64) -> Outcome {
        let slack = share(right - left, scale);
        // No number on either side is a failure too.
        let fails = !(right - left).is_finite() || slack < -TOLERANCE;
        Outcome { premise: true, residual: (-slack).max(0.0), slack, fails, ratio: None }
    }

    /// left < right
    pub fn below(left: f64, right: f64, scale: f64) -> Outcome {
        let at_most = Outcome::at_most(left, right, scale);
        Outcome { fails: at_most.slack <= TOLERANCE || at_most.fails, ..at_most }
    }

    /// `left` holds exactly if `right` does. `margin` says how far the two are from a tie, in units of their scale; ties do not count.
    pub fn agrees(left: bool, right: bool, margin: f64) -> Outcome {
        let clear = margin.abs() > TOLERANCE;
        let fails = clear && left != right;
        let residual = if fails { margin.abs() } else { 0.0 };
        Outcome { premise: clear, residual, slack: -residual, fails, ratio: None }
    }

    /// The same outcome under a premise.
    pub fn given(self, premise: bool) -> Outcome {
        Outcome { premise: self.premise && premise, ..self }
    }

    /// The same outcome with a quotient.
    pub fn with(self, ratio: f64) -> Outcome {
        Outcome { ratio: Some(ratio), ..self }
    }
}
