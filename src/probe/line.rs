//! The landscape along the negative gradient (appendix A.2.2; figures 4, 9, 11, 12).
//!
//! For step lengths s, with `θ_s = θ − s·g` and the same batch, noise and training mode throughout: L(θ_s), `‖∇L(θ_s) − g‖`,
//! and the effective smoothness `β = ‖∇L(θ_s) − g‖ / (s‖g‖)`. An evaluation, never a training step: θ, running statistics
//! and the step state are left as they are.

use crate::network::{Engine, Scalar};
use crate::ops::backend::Backend;
use crate::ops::vector::NormKind;
use crate::runtime::tensor::{DType, In, Out, Shape, View};
use crate::{Error, Result};

/// Room to work in: θ_s and its gradient, and scalar slots for the results of every point.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    theta: View,
    grad: View,
    /// f64 `[points, 3]`: loss, right answers, ‖∇L(θ_s) − g‖.
    results: View,
}

/// Columns of a room's results.
const RESULTS: usize = 3;

impl Room {
    /// Allocates it, for `points` step lengths.
    pub fn new<B: Backend>(engine: &mut Engine<B>, points: usize) -> Result<Room> {
        let (theta, grad) = (engine.vector()?, engine.vector()?);
        let mut plan = engine.backend().plan();
        let results = plan.view(Shape::new([points, RESULTS]), DType::F64);
        engine.backend().commit(&plan)?;
        Ok(Room { theta, grad, results })
    }

    fn slot(&self, point: usize, column: usize) -> Out {
        Out(self.results.slice(point * RESULTS + column, Shape::new([1])))
    }
}

/// One landscape: an entry per step length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Landscape {
    /// L(θ)
    pub base_loss: f64,
    /// ‖g‖
    pub grad_norm: f64,
    /// s, absolute: the learning rate is in it.
    pub s: Vec<f64>,
    /// L(θ_s)
    pub loss: Vec<f64>,
    /// ‖∇L(θ_s) − g‖, the numerator of β.
    pub grad_l2_diff: Vec<f64>,
    /// s‖g‖, the denominator of β.
    pub distance: Vec<f64>,
    /// β
    pub beta: Vec<f64>,
}

impl Landscape {
    /// A landscape of which nothing is known: of a step whose loss is not finite.
    pub fn unknown(base_loss: f64, s: &[f64]) -> Self {
        let nan = vec![f64::NAN; s.len()];
        let [loss, grad_l2_diff, distance, beta] = [nan.clone(), nan.clone(), nan.clone(), nan];
        Landscape { base_loss, grad_norm: f64::NAN, s: s.to_vec(), loss, grad_l2_diff, distance, beta }
    }
}

/// The landscape at `theta`, whose loss stands in slot [`Scalar::Loss`] and whose gradient is `grad`.
///
/// Costs one forward and backward pass per point. Errors: those of [`check`], an interruption.
pub fn landscape<B: Backend>(engine: &mut Engine<B>, theta: In, grad: In, s: &[f64], room: Room) -> Result<Landscape> {
    check(s)?;
    ask(engine, theta, grad, s, room)?;
    let base_loss = engine.scalar(Scalar::Loss)?;
    read(engine, base_loss, s, room)
}

/// Refuses step lengths that no landscape has: none, or one that is not above 0.
pub fn check(s: &[f64]) -> Result<()> {
    if s.is_empty() {
        return Err(Error::input("probe landscape", "no step lengths", "at least one s is needed"));
    }
    match s.iter().find(|s| !(**s > 0.0 && s.is_finite())) {
        Some(bad) => Err(Error::input("probe landscape", format!("a step length of {bad}"), "every s lies above 0")),
        None => Ok(()),
    }
}

/// Asks the device for a landscape; nothing is read back. The same work each time: it may be part of a graph.
pub fn ask<B: Backend>(engine: &mut Engine<B>, theta: In, grad: In, s: &[f64], room: Room) -> Result<()> {
    let slot = engine.slot(Scalar::GradNorm);
    engine.backend().norm(NormKind::L2, grad, Out(slot))?;
    for (point, &s) in s.iter().enumerate() {
        let [loss, correct, diff] = [0, 1, 2].map(|column| room.slot(point, column));
        engine.backend().displace(theta, -s, grad, Out(room.theta))?;
        engine.loss_and_grad(In(room.theta), Out(room.grad), loss, correct)?;
        engine.backend().diff_norm(NormKind::L2, In(room.grad), grad, diff)?;
    }
    Ok(())
}

/// Reads what [`ask`] asked for; `base_loss` is L(θ).
pub fn read<B: Backend>(engine: &mut Engine<B>, base_loss: f64, s: &[f64], room: Room) -> Result<Landscape> {
    let grad_norm = engine.scalar(Scalar::GradNorm)?;
    let results = engine.backend().download_f64(In(room.results))?;
    let mut found = Landscape { base_loss, grad_norm, ..Landscape::default() };
    for (&s, result) in s.iter().zip(results.chunks_exact(RESULTS)) {
        let (distance, difference) = (s * grad_norm, result[2]);
        found.s.push(s);
        found.loss.push(result[0]);
        found.grad_l2_diff.push(difference);
        found.distance.push(distance);
        found.beta.push(difference / distance);
    }
    Ok(found)
}

/// How the step lengths of a range are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// Equal ratios.
    Geometric,
    /// Equal differences.
    Linear,
}

/// `points` step lengths from `low` to `high`, both included; one point is `high`.
///
/// Errors: no points, or a range that is not 0 < low ≤ high.
pub fn step_lengths(points: usize, low: f64, high: f64, spacing: Spacing) -> Result<Vec<f64>> {
    if points == 0 || points > 100_000 {
        return Err(Error::input(
            format!("--probe-points {points}"),
            "not a number of points",
            "it lies between 1 and 100000",
        ));
    }
    if !(low > 0.0 && low <= high && high.is_finite()) {
        return Err(Error::input(
            format!("--probe-range {low}:{high}"),
            "not a range",
            "LO:HI with 0 < LO ≤ HI is needed",
        ));
    }
    Ok((0..points)
        .map(|i| match (points, i) {
            (1, _) => high,
            (_, 0) => low,
            _ if i + 1 == points => high,
            _ => {
                let t = i as f64 / (points - 1) as f64;
                match spacing {
                    Spacing::Geometric => low * (high / low).powf(t),
                    Spacing::Linear => low + (high - low) * t,
                }
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_both_ends() {
        let s = step_lengths(8, 0.05, 0.4, Spacing::Geometric).unwrap();
        assert_eq!((s.len(), s[0], s[7]), (8, 0.05, 0.4));
        assert!(s.windows(2).all(|w| (w[1] / w[0] - 8f64.powf(1.0 / 7.0)).abs() < 1e-12));
        let s = step_lengths(5, 1.0, 2.0, Spacing::Linear).unwrap();
        assert_eq!(s, [1.0, 1.25, 1.5, 1.75, 2.0]);
        assert_eq!(step_lengths(1, 1.0, 2.0, Spacing::Linear).unwrap(), [2.0]);
        for (points, low, high) in
            [(0, 1.0, 2.0), (3, 0.0, 1.0), (3, -1.0, 1.0), (3, 2.0, 1.0), (3, f64::NAN, 1.0), (3, 1.0, f64::INFINITY)]
        {
            assert!(step_lengths(points, low, high, Spacing::Geometric).is_err(), "{points} {low} {high}");
        }
    }
}
