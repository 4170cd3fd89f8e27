//! Observation 4.3: with γ = √(σ² + ε) and β = μ, BatchNorm is the identity on that batch; and a minimum stays a minimum under a condition.

use super::case::Case;
use super::dense::{distance, moments, norm};
use super::instance::{Draws, Stream};
use super::jet::Norm;
use super::layer::Layer;
use super::row::{Kind, Outcome, Row, Statement};

/// Observation 4.3, section 4.1.
pub const STATEMENT: Statement = Statement {
    rows: &[
        Row { name: "observation_4_3", kind: Kind::Identity, says: "z = y on the batch for γ = σ, β = μ" },
        Row {
            name: "observation_4_3_eps", kind: Kind::Identity, says: "z = y at ε > 0 for γ = √(σ² + ε), β = μ"
        },
        Row {
            name: "observation_4_3_other_batch",
            kind: Kind::Printed,
            says: "z = y on another batch with the same γ, β",
        },
        Row {
            name: "observation_4_3_minimum",
            kind: Kind::Identity,
            says: "∇_(W,γ,β) L̂ = 0 at a minimum of L, in a layer with a bias",
        },
        Row {
            name: "observation_4_3_minimum_no_bias",
            kind: Kind::Printed,
            says: "the same in a layer without one; median of the norm",
        },
    ],
    evaluate,
};

/// The γ and β that undo the norm on this batch.
pub fn undoing(y: &[f64], eps: f64) -> Norm {
    let (mean, variance) = moments(y);
    Norm { gamma: (variance + eps).sqrt(), beta: mean, eps }
}

fn evaluate(case: &Case) -> Vec<Outcome> {
    let of = case.of;
    let m = of.y.len();
    let scale = case.exact.scale(norm(&of.y));
    let law = undoing(&of.y, 0.0);
    let same = |law: Norm| Outcome::apart(distance(&law.output(&of.y), &of.y), scale);
    let mut draws = Draws::new(of.seed, Stream::Inputs, of.index);
    let sigma = law.gamma;
    let other: Vec<f64> = draws.normals(m).iter().map(|n| law.beta + sigma * n).collect();
    let elsewhere = Outcome::apart(distance(&law.output(&other), &other), sigma);
    let minimum = |bias| match Layer::at_minimum(of.seed, of.index, m, bias) {
        None => Outcome::apart(0.0, 1.0).given(false),
        Some(layer) => {
            let ([w, gamma, beta], scale) =
                layer.gradients(&layer.weights, undoing(&layer.output(&layer.weights), 0.0));
            let length = w.hypot(gamma).hypot(beta);
            Outcome::apart(length, scale).with(length)
        }
    };
    vec![
        same(law),
        same(undoing(&of.y, of.floor * sigma * sigma)),
        elsewhere,
        Outcome { ratio: None, ..minimum(true) },
        minimum(false),
    ]
}
