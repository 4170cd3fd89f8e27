//! Facts C.1 and C.2 and (41)–(42): the first and second derivatives of the normalisation, for any ε ≥ 0.

use super::case::{Case, Point};
use super::dense::{Square, distance};
use super::jet::Norm;
use super::row::{Kind, Outcome, Row, Statement};

/// Fact C.1, appendix C.1.
pub const FACT_C1: Statement = Statement {
    rows: &[
        Row { name: "fact_c1", kind: Kind::Identity, says: "v = γ/(mσ) (m g − 1 Σg − ŷ a)" },
        Row { name: "fact_c1_eps", kind: Kind::Identity, says: "the same at ε > 0, S for σ" },
    ],
    evaluate: |case| [&case.exact, &case.own].map(first).into(),
};

/// Fact C.2, appendix C.1.
pub const FACT_C2: Statement = Statement {
    rows: &[
        Row { name: "fact_c2", kind: Kind::Identity, says: "∂ŷ_b/∂y_k = (1[b=k] − 1/m − ŷ_b ŷ_k/m)/σ" },
        Row { name: "fact_c2_eps", kind: Kind::Identity, says: "the same at ε > 0, S for σ" },
    ],
    evaluate: |case| [&case.exact, &case.own].map(|point| jacobian(case, point)).into(),
};

/// Equations (41) and (42), in the proof of Theorem 4.2.
pub const HESSIAN: Statement = Statement {
    rows: &[
        Row {
            name: "equations_41_42",
            kind: Kind::Identity,
            says: "Ĥ = f [PHP − (g̃ŷᵀ + ŷg̃ᵀ − (3a/m) ŷŷᵀ + a (I − 11ᵀ/m))/(mγ)]",
        },
        Row { name: "equations_41_42_eps", kind: Kind::Identity, says: "the same at ε > 0, S for σ" },
    ],
    evaluate: |case| [&case.exact, &case.own].map(second).into(),
};

/// v according to Fact C.1, `[m]`.
pub fn fact_c1(p: &Point) -> Vec<f64> {
    let total = p.m * p.mean_g;
    p.g.iter().zip(&p.u).map(|(g, u)| p.gamma / (p.m * p.s) * (p.m * g - total - u * p.a)).collect()
}

fn first(p: &Point) -> Outcome {
    Outcome::apart(distance(&p.v, &fact_c1(p)), p.scale(p.first()))
}

fn jacobian(case: &Case, p: &Point) -> Outcome {
    let delta = |i: usize, k: usize| f64::from(u8::from(i == k));
    let said = Square::new(p.u.len(), |b, k| (delta(b, k) - 1.0 / p.m - p.u[b] * p.u[k] / p.m) / p.s);
    let eps = p.s * p.s * (1.0 - p.rho);
    let norm = Norm { gamma: p.gamma, beta: case.of.beta, eps: if p.rho == 1.0 { 0.0 } else { eps } };
    Outcome::apart(norm.jacobian(&case.of.y).distance(&said), p.scale(said.norm()))
}

/// Ĥ according to (41) and (42), `[m, m]`.
pub fn equations_41_42(p: &Point) -> Square {
    let (n, m, a, u) = (p.u.len(), p.m, p.a, &p.u);
    // PH, then PHP, as P = I − 11ᵀ/m − ŷŷᵀ/m is I less two products.
    let projected = |of: &Square| {
        let ones: Vec<f64> = (0..n).map(|k| (0..n).map(|i| of.at(i, k)).sum::<f64>() / m).collect();
        let along: Vec<f64> = (0..n).map(|k| (0..n).map(|i| u[i] * of.at(i, k)).sum::<f64>() / m).collect();
        Square::new(n, |i, k| of.at(i, k) - ones[k] - u[i] * along[k])
    };
    let half = projected(&p.h);
    let both = projected(&Square::new(n, |i, k| half.at(k, i)));
    let centred: Vec<f64> = p.g.iter().map(|g| g - p.mean_g).collect();
    Square::new(n, |i, k| {
        let delta = f64::from(u8::from(i == k));
        let outer = centred[i] * u[k] + u[i] * centred[k] - 3.0 * a / m * u[i] * u[k] + a * (delta - 1.0 / m);
        p.f * (both.at(k, i) - outer / (m * p.gamma))
    })
}

fn second(p: &Point) -> Outcome {
    Outcome::apart(p.hat.distance(&equations_41_42(p)), p.scale(p.second()))
}
