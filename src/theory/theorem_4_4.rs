//! Theorem 4.4: the worst gradient over all layers `X` with ‖X‖ ≤ λ (spectral norm). y is held fixed, and with it g, v and σ.
//!
//! `g_j = max ‖Xᵀg‖² = λ²‖g‖²` and `ĝ_j = max ‖Xᵀv‖² = λ²‖v‖²`.

use super::case::{Case, Point};
use super::dense::{dot, norm};
use super::instance::{Draws, Stream};
use super::jet::Norm;
use super::row::{Kind, Outcome, Row, Statement};

/// Theorem 4.4, section 4.1, and equation (17).
pub const STATEMENT: Statement = Statement {
    rows: &[
        Row {
            name: "theorem_4_4", kind: Kind::Identity, says: "derived: ĝ_j = f (g_j − λ²mμ_g² − (λ²/m) a²)"
        },
        Row {
            name: "theorem_4_4_maximum", kind: Kind::Bound, says: "‖Xᵀv‖² ≤ λ²‖v‖² at a random X with ‖X‖ = λ"
        },
        Row {
            name: "theorem_4_4_maximiser",
            kind: Kind::Identity,
            says: "‖Xᵀg‖² = λ²‖g‖² and ‖Xᵀv‖² = λ²‖v‖² at λgwᵀ/‖g‖, at λvwᵀ/‖v‖, and in the layer X = λI",
        },
        Row { name: "theorem_4_4_printed", kind: Kind::Printed, says: "A: ĝ_j ≤ f (g_j² − mμ_g² − λ²a²)" },
        Row { name: "theorem_4_4_printed_b", kind: Kind::Printed, says: "B: ĝ_j ≤ f (g_j − mμ_g² − λ²a²)" },
        Row {
            name: "theorem_4_4_printed_c", kind: Kind::Printed, says: "C, (17): ĝ_j ≤ λ²f (‖g‖² − mμ_g² − a²/√m)"
        },
        Row {
            name: "theorem_4_4_b_iff",
            kind: Kind::Equivalence,
            says: "B fails exactly where λ²(1 − 1/m) a² > (λ² − 1) mμ_g²",
        },
    ],
    evaluate,
};

/// ĝ_j, followed by the values that it is said to equal or to stay below: derived, A, B, C.
pub fn sides(p: &Point, lambda: f64) -> [f64; 5] {
    let square = lambda * lambda;
    let (worst, mean, along) = (square * p.gg, p.m * p.mean_g * p.mean_g, p.a * p.a);
    [
        square * p.vv,
        p.f * (worst - square * mean - square / p.m * along),
        p.f * (worst * worst - mean - square * along),
        p.f * (worst - mean - square * along),
        square * p.f * (p.gg - mean - along / p.m.sqrt()),
    ]
}

/// ‖Xᵀx‖², with X given by its columns.
fn through(columns: &[Vec<f64>], x: &[f64]) -> f64 {
    columns.iter().map(|column| dot(column, x).powi(2)).sum()
}

/// A random X with two columns and spectral norm λ.
fn random(draws: &mut Draws, m: usize, lambda: f64) -> [Vec<f64>; 2] {
    let [p, q] = [draws.normals(m), draws.normals(m)];
    let (pp, pq, qq) = (dot(&p, &p), dot(&p, &q), dot(&q, &q));
    // The larger eigenvalue of XᵀX.
    let top = 0.5 * (pp + qq + (pp - qq).hypot(2.0 * pq));
    [p, q].map(|column| column.iter().map(|x| lambda / top.sqrt() * x).collect())
}

fn evaluate(case: &Case) -> Vec<Outcome> {
    let (p, lambda) = (&case.exact, case.lambda);
    let [worst, derived, a, b, c] = sides(p, lambda);
    let scale = p.f * lambda * lambda * p.gg;
    let mut draws = Draws::new(case.of.seed, Stream::Inputs, case.of.index);
    let x = random(&mut draws, p.g.len(), lambda);
    let square = |x: f64| x * x;
    let wide = |right: f64| scale + p.f * (square(lambda * lambda * p.gg) + p.m * square(p.mean_g)) + right.abs();
    let (part, rest) = (square(lambda * p.a) * (1.0 - 1.0 / p.m), (square(lambda) - 1.0) * p.m * square(p.mean_g));
    vec![
        Outcome::equal(worst, derived, p.scale(scale)),
        Outcome::at_most(through(&x, &p.v), worst, p.scale(scale)),
        maximiser(case, &mut draws),
        Outcome::at_most(worst, a, wide(a)),
        Outcome::at_most(worst, b, scale + p.f * p.m * square(p.mean_g)),
        Outcome::at_most(worst, c, scale),
        Outcome::agrees(worst > b, part > rest, p.f * (part - rest) / (scale + p.f * p.m * square(p.mean_g))),
    ]
}

/// The largest deviation, among three layers, from the maxima λ²‖g‖² and λ²‖v‖².
fn maximiser(case: &Case, draws: &mut Draws) -> Outcome {
    let (p, lambda) = (&case.exact, case.lambda);
    let w = draws.normals(2);
    let along = |x: &[f64]| -> Vec<Vec<f64>> {
        let factor = |w_k: f64| lambda * w_k / (norm(&w) * norm(x));
        w.iter().map(|w| x.iter().map(|x| factor(*w) * x).collect()).collect()
    };
    let mut worst: f64 = 0.0;
    let mut compare = |found: f64, most: f64, scale: f64| {
        if most > 0.0 {
            worst = worst.max((found - most).abs() / scale);
        }
    };
    let square = lambda * lambda;
    if p.gg > 0.0 {
        compare(through(&along(&p.g), &p.g), square * p.gg, square * p.gg);
    }
    if !p.vanishes() {
        compare(through(&along(&p.v), &p.v), square * p.vv, square * p.vv);
    }
    // The layer y = λ W: its gradients by differentiation, ∇_W L = λ g where z = y, and ∇_W L̂ = λ v.
    let weights: Vec<f64> = case.of.y.iter().map(|y| y / lambda).collect();
    let y: Vec<f64> = weights.iter().map(|w| lambda * w).collect();
    let law = Norm { gamma: case.of.gamma, beta: case.of.beta, eps: 0.0 };
    let grad: Vec<f64> = law.pull(&y, &p.g).iter().map(|v| lambda * v).collect();
    compare(dot(&grad, &grad), square * p.vv, p.scale(p.f * square * p.gg));
    Outcome::apart(worst, 1.0)
}
