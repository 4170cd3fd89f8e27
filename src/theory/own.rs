//! The statements on a backend's own BatchNorm. v comes from its forward and backward passes and Ĥv from its tangents, and both are compared with the
//! f64 statements.
//!
//! Each instance is one unit of a single call, with its own γ and β. The host supplies L's gradient, and H times the tangent of z.

use super::case::Point;
use super::dense::{distance, dot, moments, norm};
use super::facts::{equations_41_42, fact_c1};
use super::row::{Kind, Outcome, Row};
use super::tally::Tally;
use super::{Choice, Result as Found, theorem_4_1, theorem_4_2};
use crate::Result;
use crate::ops::backend::Backend;
use crate::ops::boundary::layered::check_tangents;
use crate::ops::norm::{NormGrads, NormPass, NormSpec, NormTangentBackward, NormTangents};
use crate::runtime::tensor::{DType, In, Out, Shape};
use crate::theory::instance::Instance;

/// The most instances; each is a unit.
const MOST: u64 = 256;
/// The values of ε that are evaluated: the engine's own, and one large enough to matter.
const EPS: [f64; 2] = [1e-5, 0.1];

const ROWS: [Row; 4] = [
    Row {
        name: "own_fact_c1", kind: Kind::Identity, says: "v of the device's BatchNorm is that of Fact C.1 (ε form)"
    },
    Row {
        name: "own_equations_41_42", kind: Kind::Identity, says: "Ĥv of its tangents is that of (41)–(42) (ε form)"
    },
    Row {
        name: "own_theorem_4_1", kind: Kind::Identity, says: "‖v‖² of the device is that of Theorem 4.1 (ε form)"
    },
    Row {
        name: "own_theorem_4_2", kind: Kind::Identity, says: "vᵀĤv of the device is that of Theorem 4.2 (ε form)"
    },
];

/// A bound on the effect of rounding on v or Ĥv, in units of their scale. It counts roundings of y/S: as many as a sum over m samples and the passes
/// make.
fn bound(p: &Point, y: &[f64], unit: f64) -> f64 {
    16.0 * (8.0 + p.m.sqrt()) * unit * (1.0 + moments(y).0.abs() / p.s)
}

/// Evaluates the statements on `backend`, for the first instances of `choice`, with their means limited to |μ| ≤ 10 σ. A row's `fails` refers to the
/// bound that the precision gives. Errors: a backend without tangents (bf16), or the backend's own errors.
pub fn run<B: Backend>(backend: &mut B, choice: &Choice) -> Result<Vec<Found>> {
    check_tangents(backend)?;
    let single = backend.dtype() == DType::F32;
    let held = |x: f64| if single { f64::from(x as f32) } else { x };
    let unit = if single { f64::from(f32::EPSILON) / 2.0 } else { f64::EPSILON / 2.0 };
    let units: Vec<Instance> = (0..choice.instances.min(MOST))
        .map(|index| {
            let mut of = choice.instance(index);
            let mean = moments(&of.y).0;
            of.y.iter_mut().for_each(|y| *y = held(*y - 0.9 * mean));
            (of.gamma, of.beta) = (held(of.gamma), held(of.beta));
            of
        })
        .collect();
    let mut tallies = vec![Tally::default(); ROWS.len()];
    for eps in EPS {
        let points: Vec<Point> = units.iter().map(|of| Point::new(of, eps)).collect();
        let (v, hat_v) = passes(backend, &units, &points, eps)?;
        for (k, (of, p)) in units.iter().zip(&points).enumerate() {
            let (v, hat_v) = (column(&v, units.len(), k), column(&hat_v, units.len(), k));
            let bound = bound(p, &of.y, unit);
            let along = equations_41_42(p).apply(&v);
            let outcomes = [
                Outcome::apart(distance(&v, &fact_c1(p)), p.first()),
                Outcome::apart(distance(&hat_v, &along), p.second() * norm(&v)),
                Outcome::equal(dot(&v, &v), theorem_4_1::right_own(p), p.f * p.gg),
                Outcome::equal(dot(&v, &hat_v), theorem_4_2::right_own(p), p.third()),
            ];
            for ((tally, outcome), times) in tallies.iter_mut().zip(outcomes).zip([1.0, 1.0, 2.0, 3.0]) {
                // NaN fails.
                let within = outcome.residual <= times * bound;
                tally.add(of.index, &Outcome { fails: !within, ..outcome });
            }
        }
    }
    Ok(ROWS.into_iter().zip(tallies).map(|(row, tally)| Found { row, tally, found: None }).collect())
}

/// Column k of a matrix `[m, columns]`.
fn column(of: &[f64], columns: usize, k: usize) -> Vec<f64> {
    of.iter().skip(k).step_by(columns).copied().collect()
}

/// v and Ĥv of every unit, `[m, units]` each.
fn passes<B: Backend>(b: &mut B, of: &[Instance], points: &[Point], eps: f64) -> Result<(Vec<f64>, Vec<f64>)> {
    let (m, columns, dtype) = (of[0].y.len(), of.len(), b.dtype());
    let (all, each) = (Shape::new([m, columns]), Shape::new([columns]));
    let spec = NormSpec { eps, ..NormSpec::batch() };
    let room = b.norm_workspace(&spec, all);
    let mut plan = b.plan();
    let [x, y, grad_y, grad_x, moved, upstream, out] = std::array::from_fn(|_| plan.view(all, dtype));
    let [weight, bias, mean, spread, mean_t, spread_t] = std::array::from_fn(|_| plan.view(each, dtype));
    let [grad_weight, grad_bias, moved_weight, moved_bias] = std::array::from_fn(|_| plan.view(each, dtype));
    let workspace = Out(plan.view(room, dtype));
    b.commit(&plan)?;
    let rows = |value: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
        (0..m).flat_map(|i| (0..columns).map(move |k| (i, k))).map(|(i, k)| value(i, k)).collect()
    };
    b.upload_f64(&rows(&|i, k| of[k].y[i]), Out(x))?;
    b.upload_f64(&rows(&|i, k| points[k].g[i]), Out(grad_y))?;
    b.upload_f64(&of.iter().map(|of| of.gamma).collect::<Vec<_>>(), Out(weight))?;
    b.upload_f64(&of.iter().map(|of| of.beta).collect::<Vec<_>>(), Out(bias))?;

    let pass = NormPass {
        x: In(x),
        weight: In(weight),
        bias: In(bias),
        y: Out(y),
        mean: Out(mean),
        spread: Out(spread),
        state: None,
        moments_left: false,
        chosen: None,
        workspace,
    };
    b.norm_forward(spec, pass)?;
    let grads = NormGrads { x: Out(grad_x), weight: Out(grad_weight), bias: Out(grad_bias), left: false };
    b.norm_backward(spec, pass, In(grad_y), grads)?;

    // y moves along v; how z moves comes back, and H times it goes up again.
    let tangents = NormTangents {
        x: In(grad_x),
        weight: None,
        bias: None,
        y: Out(moved),
        mean: Out(mean_t),
        divisor: Out(spread_t),
    };
    b.norm_tangent(spec, pass, tangents)?;
    let z_moves = b.download_f64(In(moved))?;
    let bent: Vec<Vec<f64>> =
        points.iter().enumerate().map(|(k, p)| p.h.apply(&column(&z_moves, columns, k))).collect();
    b.upload_f64(&rows(&|i, k| bent[k][i]), Out(upstream))?;
    let back = NormTangentBackward {
        tangents,
        grad_y: In(grad_y),
        grad_y_tangent: In(upstream),
        grad_weight: In(grad_weight),
        grad_bias: In(grad_bias),
        grads: NormGrads { x: Out(out), weight: Out(moved_weight), bias: Out(moved_bias), left: false },
    };
    b.norm_tangent_backward(spec, pass, back)?;
    Ok((b.download_f64(In(grad_x))?, b.download_f64(In(out))?))
}
