//! Theorem 4.2: vᵀĤv, in its first and in its second form.

use super::case::{Case, Point};
use super::dense::dot;
use super::row::{Kind, Outcome, Row, Statement, TOLERANCE};
use super::symmetric::eigen;

/// Theorem 4.2, section 4.1: first form.
pub const FIRST: Statement = Statement {
    rows: &[
        Row {
            name: "theorem_4_2", kind: Kind::Identity, says: "vᵀĤv = f vᵀHv − γ/(mσ²) a‖v‖², g and H at z"
        },
        Row { name: "theorem_4_2_bound", kind: Kind::Bound, says: "the same with the printed ≤" },
        Row {
            name: "theorem_4_2_eps",
            kind: Kind::Identity,
            says: "at ε > 0: vᵀĤv = f wᵀHw − γ/(mS²) (2⟨g̃,v⟩ d + a (‖v‖² − 3d²/m))",
        },
        Row { name: "theorem_4_2_at_y", kind: Kind::Printed, says: "the printed ≤ with L's derivatives at y" },
    ],
    evaluate: first,
};

/// Theorem 4.2, section 4.1: "if H preserves the relative norms of g and v".
pub const SECOND: Statement = Statement {
    rows: &[
        Row {
            name: "theorem_4_2_second",
            kind: Kind::Identity,
            says: "what f (gᵀHg − a‖v‖²/(mγ)) is above vᵀĤv: f (gᵀHg − vᵀHv)",
        },
        Row {
            name: "theorem_4_2_second_iff",
            kind: Kind::Equivalence,
            says: "it bounds vᵀĤv exactly where vᵀHv ≤ gᵀHg",
        },
        Row {
            name: "theorem_4_2_second_premises",
            kind: Kind::Bound,
            says: "the printed ≤ where H is PSD, keeps relative norms, and ‖v‖ ≤ ‖g‖",
        },
        Row {
            name: "theorem_4_2_second_printed",
            kind: Kind::Printed,
            says: "the printed ≤ where H keeps relative norms, as printed; median of ‖v‖²/‖g‖²",
        },
        Row {
            name: "theorem_4_2_second_psd",
            kind: Kind::Printed,
            says: "the printed ≤ where H is PSD and ‖v‖ ≤ ‖g‖; median of vᵀHv/gᵀHg",
        },
        Row { name: "sign_v_h_v", kind: Kind::Printed, says: "vᵀHv ≥ 0, which \"more predictive\" wants" },
        Row { name: "sign_g_h_g", kind: Kind::Printed, says: "gᵀHg ≥ 0" },
        Row { name: "sign_a", kind: Kind::Printed, says: "a ≥ 0, which \"more predictive\" wants" },
    ],
    evaluate: second,
};

/// `f vᵀHv − γ/(mσ²) a ‖v‖²`
pub fn right(p: &Point) -> f64 {
    p.f * p.vhv - p.gamma / (p.m * p.s * p.s) * p.a * p.vv
}

/// The exact value of vᵀĤv for ε ≥ 0.
pub fn right_own(p: &Point) -> f64 {
    let d = dot(&p.v, &p.u);
    let w: Vec<f64> = p.v.iter().zip(&p.u).map(|(v, u)| v - u * d / p.m).collect();
    let along: f64 = p.g.iter().zip(&p.v).map(|(g, v)| (g - p.mean_g) * v).sum();
    p.f * p.h.form(&w) - p.gamma / (p.m * p.s * p.s) * (2.0 * along * d + p.a * (p.vv - 3.0 * d * d / p.m))
}

fn first(case: &Case) -> Vec<Outcome> {
    let (p, own) = (&case.exact, &case.own);
    let scale = p.scale(p.third());
    // With L's derivatives at y.
    let (g, h) = (case.of.loss.gradient(&case.of.y), case.of.loss.hessian(&case.of.y));
    let (curved, bent) = (p.f * h.form(&p.v), p.gamma / (p.m * p.s * p.s) * dot(&g, &p.u) * p.vv);
    let size = p.hat_v.abs() + curved.abs() + bent.abs() + p.third();
    vec![
        Outcome::equal(p.hat_v, right(p), scale),
        Outcome::at_most(p.hat_v, right(p), scale),
        Outcome::equal(own.hat_v, right_own(own), own.scale(own.third())),
        Outcome::at_most(p.hat_v, curved - bent, size),
    ]
}

/// The right side of the second form.
pub fn second_right(p: &Point) -> f64 {
    p.f * (p.ghg - p.kappa())
}

/// Whether H is positive semidefinite, up to rounding.
pub fn is_psd(p: &Point) -> bool {
    let (values, _) = eigen(p.h.rows(), |i, k| p.h.at(i, k));
    values.iter().all(|l| *l >= -1e-12 * p.h.norm())
}

/// Whether vᵀHv/gᵀHg = ‖v‖²/‖g‖².
fn keeps_norms(p: &Point) -> bool {
    (p.vhv * p.gg - p.ghg * p.vv).abs() <= TOLERANCE * p.h.norm() * p.gg * p.vv.max(f64::MIN_POSITIVE)
}

fn second(case: &Case) -> Vec<Outcome> {
    let p = &case.exact;
    let (left, right, scale) = (p.hat_v, second_right(p), p.scale(p.third().max(p.f * p.h.norm() * (p.gg + p.vv))));
    let gap = p.f * (p.ghg - p.vhv);
    let (bounds, keeps, no_longer) = (left <= right, keeps_norms(p) && !p.vanishes(), p.vv <= p.gg);
    let psd = is_psd(p);
    let printed = Outcome::at_most(left, right, scale);
    let sign = |x: f64, scale: f64| Outcome::at_most(-x, 0.0, scale);
    vec![
        Outcome::equal(right - left, gap, scale),
        Outcome::agrees(bounds, p.vhv <= p.ghg, gap / scale),
        printed.given(psd && keeps && no_longer),
        printed.given(keeps).with(p.vv / p.gg),
        printed.given(psd && no_longer && !p.vanishes()).with(p.vhv / p.ghg),
        sign(p.vhv, p.h.norm() * p.vv).given(!p.vanishes()),
        sign(p.ghg, p.h.norm() * p.gg),
        sign(p.a, p.m.sqrt() * p.gg.sqrt()),
    ]
}
