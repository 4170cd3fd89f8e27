//! Theorem 4.1: ‖v‖² against `f (‖g‖² − mμ_g² − a²/m)`.

use super::case::{Case, Point};
use super::dense::dot;
use super::row::{Kind, Outcome, Row, Statement};

/// Theorem 4.1, section 4.1.
pub const STATEMENT: Statement = Statement {
    rows: &[
        Row {
            name: "theorem_4_1", kind: Kind::Identity, says: "‖v‖² = f (‖g‖² − mμ_g² − a²/m), g at z"
        },
        Row { name: "theorem_4_1_bound", kind: Kind::Bound, says: "the same with the printed ≤" },
        Row {
            name: "theorem_4_1_eps", kind: Kind::Identity, says: "at ε > 0: ‖v‖² = f (‖g‖² − mμ_g² − (2 − ρ) a²/m)"
        },
        Row { name: "theorem_4_1_eps_bound", kind: Kind::Bound, says: "at ε > 0 the printed ≤" },
        Row {
            name: "theorem_4_1_at_y",
            kind: Kind::Printed,
            says: "the printed ≤ with L's gradient at y; median of ‖v‖²/‖g‖²",
        },
    ],
    evaluate,
};

/// `f (‖g‖² − mμ_g² − part a²/m)`
fn right(p: &Point, part: f64) -> f64 {
    p.f * (p.gg - p.m * p.mean_g * p.mean_g - part * p.a * p.a / p.m)
}

/// The exact value of ‖v‖² for ε ≥ 0.
pub fn right_own(p: &Point) -> f64 {
    right(p, 2.0 - p.rho)
}

/// Both sides of the printed inequality, with L's gradient at y, and their scale.
pub fn at_y(case: &Case) -> [f64; 3] {
    let p = &case.exact;
    let g = case.of.loss.gradient(&case.of.y);
    let (gg, mean, a) = (dot(&g, &g), g.iter().sum::<f64>() / p.m, dot(&g, &p.u));
    [p.vv, p.f * (gg - p.m * mean * mean - a * a / p.m), p.f * gg + p.vv]
}

fn evaluate(case: &Case) -> Vec<Outcome> {
    let (p, own) = (&case.exact, &case.own);
    let (scale, own_scale) = (p.scale(p.f * p.gg), own.scale(own.f * own.gg));
    let [left, printed, size] = at_y(case);
    vec![
        Outcome::equal(p.vv, right(p, 1.0), scale),
        Outcome::at_most(p.vv, right(p, 1.0), scale),
        Outcome::equal(own.vv, right_own(own), own_scale),
        Outcome::at_most(own.vv, right(own, 1.0), own_scale),
        Outcome::at_most(left, printed, size).with(p.vv / p.gg),
    ]
}
