//! Lemma 4.5: how near to W₀ there is an optimum of the normalised loss, given an optimum W*.
//!
//! `k = ⟨W*,W₀⟩/‖W*‖²`, `‖W₀ − kW*‖² = ‖W₀ − W*‖² − ‖W*‖²(1 − k)²`.

use super::case::Case;
use super::dense::{distance, dot, norm};
use super::instance::{Draws, Stream};
use super::jet::Norm;
use super::layer::Layer;
use super::observation_4_3::undoing;
use super::row::{Kind, Outcome, Row, Statement};

/// Lemma 4.5, section 4.2.
pub const STATEMENT: Statement = Statement {
    rows: &[
        Row {
            name: "lemma_4_5", kind: Kind::Identity, says: "‖W₀ − kW*‖² = ‖W₀ − W*‖² − (‖W*‖² − ⟨W*,W₀⟩)²/‖W*‖²"
        },
        Row {
            name: "lemma_4_5_nearest",
            kind: Kind::Bound,
            says: "kW* is the nearest of the ray aW*, a > 0, to W₀, where ⟨W₀,W*⟩ > 0",
        },
        Row {
            name: "lemma_4_5_behind", kind: Kind::Bound, says: "for k ≤ 0 nothing on the ray is nearer than ‖W₀‖"
        },
        Row { name: "lemma_4_5_scale", kind: Kind::Identity, says: "premise: BN(aWx) = BN(Wx) for a > 0, ε = 0" },
        Row {
            name: "lemma_4_5_optimum",
            kind: Kind::Identity,
            says: "premise: ∇_W L̂(kW*) = 0, with γ, β, a bias as in 4.3",
        },
    ],
    evaluate,
};

/// k
pub fn factor(optimum: &[f64], start: &[f64]) -> f64 {
    dot(optimum, start) / dot(optimum, optimum)
}

fn times(a: f64, x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| a * x).collect()
}

fn evaluate(case: &Case) -> Vec<Outcome> {
    let of = case.of;
    let m = of.y.len();
    let mut draws = Draws::new(of.seed, Stream::Weights, of.index);
    let optimum = times(draws.magnitude(10.0), &draws.clone().normals(m));
    // Of one in three the start lies about the optimum.
    let about = if draws.word().is_multiple_of(3) { 1.0 } else { 0.0 };
    let start: Vec<f64> = draws.normals(m).iter().zip(&optimum).map(|(n, w)| n + about * w).collect();
    let k = factor(&optimum, &start);
    let square = |a: f64| distance(&start, &times(a, &optimum)).powi(2);
    let (ww, inner) = (dot(&optimum, &optimum), dot(&optimum, &start));
    let scale = square(1.0) + dot(&start, &start);
    let a = draws.magnitude(100.0);
    let invariant = |y: &[f64], a: f64| {
        let law = Norm { gamma: 1.0, beta: 0.0, eps: 0.0 };
        distance(&law.normed(&times(a, y)), &law.normed(y))
    };
    let optimum_of = match Layer::at_minimum(of.seed, of.index, m, true) {
        None => Outcome::apart(0.0, 1.0).given(false),
        Some(layer) => {
            let law = undoing(&layer.output(&layer.weights), 0.0);
            let scaled = times(a, &layer.weights);
            let ([by_weights, ..], scale) = layer.gradients(&scaled, law);
            // v is 1/a times as large.
            Outcome::apart(by_weights, scale * (1.0 + 1.0 / a))
        }
    };
    vec![
        Outcome::equal(square(k), square(1.0) - (ww - inner).powi(2) / ww, scale),
        Outcome::at_most(square(k), square(a), scale).given(inner > 0.0),
        Outcome::at_most(dot(&start, &start), square(a), scale).given(inner <= 0.0),
        Outcome::apart(invariant(&of.y, a), norm(&case.exact.u)),
        optimum_of,
    ]
}
