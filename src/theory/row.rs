//! What is said of each statement: rows, and what one instance adds to them.

use super::case::Case;

/// Differences below this share of a statement's scale are rounding.
pub const TOLERANCE: f64 = 1e-9;

/// What kind of statement a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Both sides are equal.
    Identity,
    /// The left side is at most the right one.
    Bound,
    /// One thing is so exactly where another is.
    Equivalence,
    /// A statement as the paper prints it, which is no theorem: how often it fails is what is wanted.
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

/// One line of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its name in results.
    pub name: &'static str,
    /// What kind of statement it is.
    pub kind: Kind,
    /// What is evaluated.
    pub says: &'static str,
}

/// One statement of the paper: its rows, and how one case evaluates them, in their order.
#[derive(Debug, Clone, Copy)]
pub struct Statement {
    /// Its rows.
    pub rows: &'static [Row],
    /// Gives an outcome for each.
    pub evaluate: fn(&Case) -> Vec<Outcome>,
}

/// What one instance says of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Whether the statement's premise holds.
    pub premise: bool,
    /// How far it is from holding, in units of its scale: |left − right| of identities, what the left side is too large of bounds.
    pub residual: f64,
    /// right − left, in the same units.
    pub slack: f64,
    /// Whether it fails, premise or not.
    pub fails: bool,
    /// A quotient of which the median is wanted.
    pub ratio: Option<f64>,
}

/// x/scale, where 0/0 is 0; what is no number is infinitely wrong.
fn share(x: f64, scale: f64) -> f64 {
    let share = if x == 0.0 { 0.0 } else { x / scale };
    if share.is_nan() { f64::INFINITY } else { share }
}

impl Outcome {
    /// left = right
    pub fn equal(left: f64, right: f64, scale: f64) -> Outcome {
        Outcome { slack: share(right - left, scale), ..Outcome::apart((left - right).abs(), scale) }
    }

    /// Two vectors or matrices are equal: the length of their difference.
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

    /// `left` exactly where `right`. `margin` says how far from a tie the two are, in units of their scale: ties are not counted.
    pub fn agrees(left: bool, right: bool, margin: f64) -> Outcome {
        let clear = margin.abs() > TOLERANCE;
        let fails = clear && left != right;
        let residual = if fails { margin.abs() } else { 0.0 };
        Outcome { premise: clear, residual, slack: -residual, fails, ratio: None }
    }

    /// The same under a premise.
    pub fn given(self, premise: bool) -> Outcome {
        Outcome { premise: self.premise && premise, ..self }
    }

    /// The same with a quotient.
    pub fn with(self, ratio: f64) -> Outcome {
        Outcome { ratio: Some(ratio), ..self }
    }
}
