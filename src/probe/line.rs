//! The landscape along a line (appendix A.2.2; figures 4, 9, 10, 11, 12).
//!
//! The line has the points `θ_s = θ − s·g` for step lengths s, all with the same batch, noise and training mode. At each point the probe
//! measures L(θ_s), `‖∇L(θ_s) − g‖`, and the effective smoothness `β = ‖∇L(θ_s) − g‖ / ‖θ_s − θ‖`, where θ_s is the point after rounding. β
//! is NaN where the precision cannot tell the two gradients apart ([`resolution`]). Along a random direction, `d ‖g‖/‖d‖` replaces g. The
//! direction d is the same for all s and drawn again at each step (end of section 3.2), so the distances are the same up to rounding. The
//! probe evaluates and never trains: θ, running statistics and the step state do not change.

use super::portion::{Points, Portion};
use super::resolution::{self, Difference};
use crate::mutant::{Mutant, made};
use crate::network::{Engine, Scalar};
use crate::ops::backend::Backend;
use crate::ops::vector::{COMPARED, Direction, NormKind};
use crate::runtime::tensor::{DType, In, Out, Shape, View};
use crate::{Error, Result};
use std::ops::Range;

/// The probe's workspace: θ_s and its gradient for several points at once, and slots for the results of every point.
#[derive(Debug, Clone, Copy)]
pub struct Workspace {
    /// `[points at once, …]`
    thetas: View,
    grads: View,
    /// −s of every point, f64 `[points]`; below it, the same as multiples of the direction.
    lengths: View,
    displacements: View,
    /// The direction d, if the line is not along the gradient.
    random: Option<View>,
    /// L(θ_s) and, below it, the number of right answers at every point, f64 `[points + 1]` each. The last place is for [`resolution`]'s θ′.
    loss: View,
    correct: View,
    /// What [`crate::ops::vector::Vector::compare_rows`] gives for ∇L(θ_s) and g, f64 `[points + 1, 3]`; below it, the same for θ_s and θ.
    compared: View,
    moved: View,
}

/// The direction of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Along {
    /// Against the gradient.
    Gradient,
    /// Against a random direction of the gradient's length.
    Random,
}

/// The most bytes of parameters of the points that a device takes at once.
const AT_ONCE: usize = 256 << 20;

impl Workspace {
    /// Allocates the workspace for the step lengths `s` of a line along `along`. An asynchronous device takes several points at once; the
    /// CPU takes as many as there are engines. Errors: not enough memory.
    pub fn new<B: Backend>(engine: &mut Engine<B>, s: &[f64], along: Along) -> Result<Workspace> {
        let bytes = engine.network().slots().len().max(1) * engine.backend().dtype().size();
        let (points, all) = (s.len(), s.len() + 1);
        let at_once = match engine.is_async() {
            true => all.min((AT_ONCE / bytes).max(1)),
            false => engine.accompany(points)?,
        };
        let (thetas, grads) = (engine.vectors(at_once)?, engine.vectors(at_once)?);
        let random = (along == Along::Random).then(|| engine.vector()).transpose()?;
        let mut plan = engine.backend().plan();
        let [lengths, displacements] = [0; 2].map(|_| plan.view(Shape::new([points]), DType::F64));
        let [loss, correct] = [0; 2].map(|_| plan.view(Shape::new([all]), DType::F64));
        let [compared, moved] = [0; 2].map(|_| plan.view(Shape::new([all, COMPARED]), DType::F64));
        engine.backend().commit(&plan)?;
        let negative: Vec<_> = s.iter().map(|s| -s).collect();
        for to in [lengths, displacements] {
            engine.backend().upload(&negative, Out(to))?;
        }
        Ok(Workspace { thetas, grads, lengths, displacements, random, loss, correct, compared, moved })
    }
}

impl Workspace {
    /// What [`crate::ops::vector::Vector::compare_rows`] gave for ∇L(θ_s) and g at every point, f64 `[points + 1, 3]`; the last row is for θ′.
    pub fn compared(&self) -> View {
        self.compared
    }
}

/// One landscape, with an entry per step length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Landscape {
    /// L(θ)
    pub base_loss: f64,
    /// ‖g‖
    pub grad_norm: f64,
    /// s in absolute terms, with the learning rate included.
    pub s: Vec<f64>,
    /// L(θ_s)
    pub loss: Vec<f64>,
    /// ‖∇L(θ_s) − g‖, the numerator of β.
    pub grad_l2_diff: Vec<f64>,
    /// ‖θ_s − θ‖, the denominator of β: s‖g‖ after rounding.
    pub distance: Vec<f64>,
    /// β; NaN where the precision cannot resolve it.
    pub beta: Vec<f64>,
}

impl Landscape {
    /// The landscape of a step whose loss is not finite: nothing is known.
    pub fn unknown(base_loss: f64, s: &[f64]) -> Self {
        let nan = vec![f64::NAN; s.len()];
        let [loss, grad_l2_diff, distance, beta] = [nan.clone(), nan.clone(), nan.clone(), nan];
        Landscape { base_loss, grad_norm: f64::NAN, s: s.to_vec(), loss, grad_l2_diff, distance, beta }
    }
}

/// The landscape at `theta`, whose loss is in slot [`Scalar::Loss`] and whose gradient is `grad`.
///
/// It costs one forward and backward pass per point, and one more where the points are so near that rounding may matter. An asynchronous
/// device always makes that pass, so that the work is the same each time. Errors: those of [`check`]; an interruption.
pub fn landscape<B: Backend>(
    engine: &mut Engine<B>,
    theta: In,
    grad: In,
    s: &[f64],
    room: Workspace,
) -> Result<Landscape> {
    check(s)?;
    ask(engine, theta, grad, room)?;
    let base_loss = engine.scalar(Scalar::Loss)?;
    read(engine, base_loss, s, room)
}

/// Refuses step lengths that no landscape can have: an empty list, or a length that is not above 0.
pub fn check(s: &[f64]) -> Result<()> {
    if s.is_empty() {
        return Err(Error::input("probe landscape", "no step lengths", "at least one s is needed"));
    }
    match s.iter().find(|s| !(**s > 0.0 && s.is_finite())) {
        Some(bad) => Err(Error::input("probe landscape", format!("a step length of {bad}"), "every s lies above 0")),
        None => Ok(()),
    }
}

/// Issues the work for a landscape at the step lengths of `room` to the device; nothing is read back. The work is the same each time, so it
/// may be part of a graph.
pub fn ask<B: Backend>(engine: &mut Engine<B>, theta: In, grad: In, room: Workspace) -> Result<()> {
    ask_portion(engine, theta, grad, room, Portion::WHOLE)
}

/// The same for a portion of the points. Only an asynchronous device takes less than the whole line.
pub fn ask_portion<B: Backend>(
    engine: &mut Engine<B>,
    theta: In,
    grad: In,
    room: Workspace,
    portion: Portion,
) -> Result<()> {
    let slot = engine.slot(Scalar::GradNorm);
    engine.backend().norm(NormKind::L2, grad, Out(slot))?;
    let mut along = grad;
    if let Some(random) = room.random {
        let (length, state) = (engine.slot(Scalar::DirectionNorm), engine.state());
        engine.backend().direction(Direction::Normal, 0, In(state), Out(random))?;
        engine.backend().norm(NormKind::L2, In(random), Out(length))?;
        engine.backend().stretch(In(room.lengths), In(slot), In(length), Out(room.displacements))?;
        along = In(random);
    }
    let (points, (at_once, stride)) = (room.lengths.shape.len(), room.thetas.shape.matrix());
    let Range { start: mut first, end: last } = portion.rows(points + 1);
    while first < last {
        // Whether θ′ is needed is found out after all points, where that can be found out: with however many of them at once.
        let end = if first < points && !engine.is_async() { points } else { last };
        let some = at_once.clamp(1, end - first);
        let [thetas, grads] = [room.thetas, room.grads].map(|rows| rows.slice(0, Shape::new([some, stride])));
        let part = |view: View| view.slice(first, Shape::new([some]));
        let found = |view: View| view.slice(first * COMPARED, Shape::new([some, COMPARED]));
        // The last row is that of θ′.
        let on_line = some.min(points - first);
        if on_line > 0 {
            let lengths = room.displacements.slice(first, Shape::new([on_line]));
            let rows = thetas.slice(0, Shape::new([on_line, stride]));
            engine.backend().displace_rows(theta, In(lengths), along, Out(rows))?;
        }
        if on_line < some {
            if on_line == 0 && beyond_rounding(engine, room)? {
                return engine.backend().upload(&[0.0; COMPARED], Out(found(room.compared)));
            }
            let row = thetas.slice(on_line * stride, theta.0.shape);
            resolution::ask_neighbour(engine, theta, Out(row))?;
        }
        engine.backend().compare_rows(In(thetas), theta, Out(found(room.moved)))?;
        #[cfg(debug_assertions)]
        mistaken::before(engine, thetas, grads)?;
        engine.losses_and_grads(In(thetas), Out(grads), Out(part(room.loss)), Out(part(room.correct)))?;
        #[cfg(debug_assertions)]
        mistaken::after(engine, thetas, grads, grad, part(room.loss))?;
        let all = if made(Mutant::E5) { In(engine.network().slots().view(grad.0, 0)) } else { grad };
        engine.backend().compare_rows(In(grads), all, Out(found(room.compared)))?;
        first += some;
    }
    Ok(())
}

/// Whether rounding cannot matter at any of the points. Always false for an asynchronous device, because the answer would have to be waited for.
fn beyond_rounding<B: Backend>(engine: &mut Engine<B>, room: Workspace) -> Result<bool> {
    if engine.is_async() {
        return Ok(false);
    }
    let points = room.lengths.shape.len();
    let (moved, compared) = (engine.read(room.moved)?, engine.read(room.compared)?);
    let gradient = engine.scalar(Scalar::GradNorm)?;
    let (moved, compared) = (moved.chunks_exact(COMPARED), compared.chunks_exact(COMPARED));
    let least = resolution::least_distance(engine);
    let mut points = moved.zip(compared).take(points);
    Ok(points.all(|(moved, compared)| {
        moved[0].sqrt() >= least * moved[2].sqrt() || resolution::more_than_rounding(compared[0].sqrt(), gradient)
    }))
}

/// Reads the results of [`ask`]; `base_loss` is L(θ), and `s` are the step lengths of `room`.
pub fn read<B: Backend>(engine: &mut Engine<B>, base_loss: f64, s: &[f64], room: Workspace) -> Result<Landscape> {
    let grad_norm = engine.scalar(Scalar::GradNorm)?;
    Ok(landscape_of(points(engine, room, Portion::WHOLE)?, (base_loss, grad_norm), s))
}

/// Reads what [`ask_portion`] found.
pub fn points<B: Backend>(engine: &mut Engine<B>, room: Workspace, portion: Portion) -> Result<Points> {
    let Range { start, end } = portion.rows(room.loss.shape.len());
    let rows = end - start;
    let matrix = |view: View| view.slice(start * COMPARED, Shape::new([rows, COMPARED]));
    Ok(Points {
        loss: engine.read(room.loss.slice(start, Shape::new([rows])))?,
        compared: engine.read(matrix(room.compared))?,
        moved: engine.read(matrix(room.moved))?,
    })
}

/// The landscape that all `points` of a line make, at a θ whose loss and whose gradient's length are given.
pub fn landscape_of(points: Points, (base_loss, grad_norm): (f64, f64), s: &[f64]) -> Landscape {
    let Points { mut loss, compared, moved } = points;
    loss.truncate(s.len());
    let change = |compared: &[f64]| {
        let [apart, along, own] = std::array::from_fn(|i| compared[i]);
        let square = match () {
            () if made(Mutant::E4) => (own.sqrt() - grad_norm).powi(2),
            () if made(Mutant::E7) => 4.0 * along + apart,
            () => apart,
        };
        square.sqrt()
    };
    let (points, neighbour) = compared.split_at(s.len() * COMPARED);
    let noise = neighbour.first().map_or(f64::NAN, |square| square.sqrt());
    let mut found = Landscape { base_loss, grad_norm, loss, s: s.to_vec(), ..Landscape::default() };
    for (compared, moved) in points.chunks_exact(COMPARED).zip(moved.chunks_exact(COMPARED)) {
        let (gradients, distance) = (change(compared), moved[0].sqrt());
        let resolved = Difference { gradients, distance }.resolved(noise);
        let beta = if made(Mutant::E3) { gradients } else { gradients / distance };
        found.grad_l2_diff.push(gradients);
        found.distance.push(distance);
        found.beta.push(if resolved { beta } else { f64::NAN });
    }
    found
}

/// Deliberate mistakes about the points of a line.
#[cfg(debug_assertions)]
mod mistaken {
    use super::*;
    use crate::runtime::state::StepState;

    fn rows<B: Backend>(engine: &Engine<B>, matrix: View) -> Vec<View> {
        let (count, stride) = matrix.shape.matrix();
        let len = engine.network().slots().len();
        (0..count).map(|row| matrix.slice(row * stride, Shape::new([len]))).collect()
    }

    pub fn before<B: Backend>(engine: &mut Engine<B>, thetas: View, grads: View) -> Result<()> {
        if made(Mutant::E1) {
            for (theta, grad) in rows(engine, thetas).into_iter().zip(rows(engine, grads)) {
                let [loss, correct] = [Scalar::Aside, Scalar::AsideCorrect].map(|slot| Out(engine.slot(slot)));
                engine.loss_and_grad(In(theta), Out(grad), loss, correct)?;
                engine.backend().axpy(-1e-3, In(grad), Out(theta))?;
            }
        }
        if made(Mutant::E2) {
            engine.turn_batch()?;
        }
        if made(Mutant::M3) {
            engine.set_state(&StepState::new(99, 7, 0.1))?;
        }
        Ok(())
    }

    pub fn after<B: Backend>(engine: &mut Engine<B>, thetas: View, grads: View, grad: In, losses: View) -> Result<()> {
        for (i, (theta, row)) in rows(engine, thetas).into_iter().zip(rows(engine, grads)).enumerate() {
            if made(Mutant::E6) {
                engine.backend().axpy(1.0, grad, Out(row))?;
            }
            if made(Mutant::M4) {
                let correct = Out(engine.slot(Scalar::AsideCorrect));
                engine.evaluate(In(theta), Out(losses.slice(i, Shape::new([1]))), correct)?;
            }
        }
        if made(Mutant::E9) {
            engine.move_running(0.1)?;
        }
        Ok(())
    }
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
