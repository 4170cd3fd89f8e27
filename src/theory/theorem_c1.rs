//! Theorem C.1: the worst curvature along the gradient, over all layers X with ‖X‖ ≤ λ. y is held fixed.
//!
//! `max ĝ_WᵀĤ_Wĝ_W < f [max g_WᵀH_Wg_W − λ⁴κ]`, with g_W = Xᵀg, H_W = XᵀHX, ĝ_W = Xᵀv, Ĥ_W = XᵀĤX, κ = a‖v‖²/(mγ).

use super::case::{Case, Point};
use super::dense::{Square, dot, norm};
use super::row::{Kind, Outcome, Row, Statement};
use super::symmetric::{eigen, largest_on_ball};
use super::theorem_4_2::{is_psd, second_right};

/// Theorem C.1, appendix C.1.
pub const STATEMENT: Statement = Statement {
    rows: &[
        Row {
            name: "theorem_c1_i",
            kind: Kind::Identity,
            says: "(i) at XXᵀ = λ²I, where the proof is: the right side is λ⁴f (gᵀHg − vᵀHv) above the left",
        },
        Row { name: "theorem_c1_i_iff", kind: Kind::Equivalence, says: "(i) so ≤ exactly where vᵀHv ≤ gᵀHg" },
        Row {
            name: "theorem_c1_i_strict",
            kind: Kind::Printed,
            says: "(i) the printed < where vᵀHv ≤ gᵀHg: a linear L gives equality",
        },
        Row {
            name: "theorem_c1_ii",
            kind: Kind::Printed,
            says: "(ii) with true maxima, where 0 ≤ vᵀHv ≤ gᵀHg, H is PSD, ‖v‖ ≤ ‖g‖, a > 0; median of max/|value at λ²I|",
        },
        Row {
            name: "theorem_c1_ii_linear",
            kind: Kind::Printed,
            says: "(ii) for linear L and a > 0: the right side is below 0, the left is not",
        },
    ],
    evaluate,
};

/// `max xᵀXXᵀA XXᵀx` over ‖X‖ ≤ λ, which is `max wᵀAw` over ‖w − λ²x/2‖ ≤ λ²‖x‖/2.
pub fn largest(matrix: &Square, x: &[f64], lambda: f64) -> f64 {
    let n = x.len();
    let half = 0.5 * lambda * lambda;
    let (values, vectors) = eigen(n, |i, k| 0.5 * (matrix.at(i, k) + matrix.at(k, i)));
    let centre: Vec<f64> = (0..n).map(|k| half * (0..n).map(|i| vectors[i * n + k] * x[i]).sum::<f64>()).collect();
    largest_on_ball(&values, &centre, half * norm(x))
}

/// Both sides, with exact maxima: `max ĝ_WᵀĤ_Wĝ_W`, and `f [max g_WᵀH_Wg_W − λ⁴κ]`.
pub fn maxima(p: &Point, lambda: f64) -> [f64; 2] {
    [largest(&p.hat, &p.v, lambda), p.f * (largest(&p.h, &p.g, lambda) - lambda.powi(4) * p.kappa())]
}

fn evaluate(case: &Case) -> Vec<Outcome> {
    let (p, lambda) = (&case.exact, case.lambda);
    let fourth = lambda.powi(4);
    // The layer X = λI: ĝ_W = λv, Ĥ_W = λ²Ĥ.
    let moved: Vec<f64> = p.v.iter().map(|v| lambda * v).collect();
    let left = dot(&moved, &p.hat.apply(&moved)) * lambda * lambda;
    let (right, gap) = (fourth * second_right(p), fourth * p.f * (p.ghg - p.vhv));
    let scale = p.scale(fourth * p.third().max(p.f * p.h.norm() * (p.gg + p.vv)));
    let linear = p.h.norm() == 0.0;
    let psd = is_psd(p);
    let premises = psd && p.vhv >= 0.0 && p.vhv <= p.ghg && p.vv <= p.gg && p.a > 0.0 && !p.vanishes();
    let nothing = Outcome::at_most(0.0, 0.0, 1.0).given(false);
    // Only where it is looked at: eigenvalues are most of the work.
    let (true_maxima, linear_case) = if premises {
        let [most, bound] = maxima(p, lambda);
        let found = Outcome::below(most, bound, most.abs() + bound.abs());
        (found.with(most / (fourth * p.hat_v).abs()), found.given(linear))
    } else {
        (nothing, nothing)
    };
    vec![
        Outcome::equal(right - left, gap, scale),
        Outcome::agrees(left <= right, p.vhv <= p.ghg, gap / scale),
        Outcome::below(left, right, scale).given(p.vhv <= p.ghg),
        true_maxima.given(!linear),
        linear_case,
    ]
}

#[cfg(test)]
mod tests {
    use super::super::instance::{Draws, Instance, Stream};
    use super::*;

    #[test]
    fn no_layer_gives_more_than_the_largest_and_one_gives_it() {
        let lambda = 1.7;
        for index in 0..10 {
            let of = Instance::draw(2, index, 4, None);
            let p = Case::new(&of, lambda).exact;
            let most = largest(&p.hat, &p.v, lambda);
            // w = XXᵀv of many X of rank one and of X = λI; climbing from the best of them comes near.
            let mut draws = Draws::new(1, Stream::Search, index);
            let half = 0.5 * lambda * lambda;
            let at = |s: &[f64]| {
                let length = norm(s).max(1.0);
                let w: Vec<f64> = p.v.iter().zip(s).map(|(v, s)| half * (v + norm(&p.v) * s / length)).collect();
                p.hat.form(&w)
            };
            let mut best = draws.normals(4);
            for round in 0..20_000 {
                let size = 0.5_f64.powi(round / 1000);
                let next: Vec<f64> = best.iter().map(|s| s + size * draws.normal()).collect();
                let length = norm(&next).max(1.0);
                let next: Vec<f64> = next.iter().map(|s| s / length).collect();
                if at(&next) > at(&best) {
                    best = next;
                }
            }
            let scale = lambda.powi(4) * p.third();
            assert!(at(&best) <= most + 1e-9 * scale, "{index}: {} above {most}", at(&best));
            assert!(at(&best) >= most - 1e-3 * most.abs() - 1e-9 * scale, "{index}: {} below {most}", at(&best));
        }
    }
}
