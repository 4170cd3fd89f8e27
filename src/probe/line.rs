//! The landscape along the negative gradient (appendix A.2.2; figures 4, 9, 11, 12).
//!
//! For step lengths s, with `θ_s = θ − s·g` and the same batch, noise and training mode throughout: L(θ_s), `‖∇L(θ_s) − g‖`,
//! and the effective smoothness `β = ‖∇L(θ_s) − g‖ / (s‖g‖)`. An evaluation, never a training step: θ, running statistics
//! and the step state are left as they are.

use crate::network::{Engine, Scalar};
use crate::ops::backend::Backend;
use crate::ops::vector::NormKind;
use crate::runtime::tensor::{In, Out, View};
use crate::{Error, Result};

/// Two flat vectors to work in: θ_s and its gradient.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    theta: View,
    grad: View,
}

impl Room {
    /// Allocates them.
    pub fn new<B: Backend>(engine: &mut Engine<B>) -> Result<Room> {
        Ok(Room { theta: engine.vector()?, grad: engine.vector()? })
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
/// Costs one forward and backward pass per point. Errors: no points, a step length that is not above 0, an interruption.
pub fn landscape<B: Backend>(engine: &mut Engine<B>, theta: In, grad: In, s: &[f64], room: Room) -> Result<Landscape> {
    if s.is_empty() {
        return Err(Error::input("probe landscape", "no step lengths", "at least one s is needed"));
    }
    if let Some(bad) = s.iter().find(|s| !(**s > 0.0 && s.is_finite())) {
        return Err(Error::input("probe landscape", format!("a step length of {bad}"), "every s lies above 0"));
    }
    let slot = engine.slot(Scalar::GradNorm);
    engine.backend().norm(NormKind::L2, grad, Out(slot))?;
    let (base_loss, grad_norm) = (engine.scalar(Scalar::Loss)?, engine.scalar(Scalar::GradNorm)?);
    let mut found = Landscape { base_loss, grad_norm, ..Landscape::default() };
    let (loss, correct) = (engine.slot(Scalar::ProbeLoss), engine.slot(Scalar::ProbeCorrect));
    let diff = engine.slot(Scalar::ProbeDiff);
    for &s in s {
        engine.backend().displace(theta, -s, grad, Out(room.theta))?;
        engine.loss_and_grad(In(room.theta), Out(room.grad), Out(loss), Out(correct))?;
        engine.backend().diff_norm(NormKind::L2, In(room.grad), grad, Out(diff))?;
        let (distance, difference) = (s * grad_norm, engine.scalar(Scalar::ProbeDiff)?);
        found.s.push(s);
        found.loss.push(engine.scalar(Scalar::ProbeLoss)?);
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
