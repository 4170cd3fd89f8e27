//! The curvature of the loss at θ, with the norms in training mode: `gᵀHg/‖g‖²`, and the largest eigenvalue and the trace of H.
//!
//! H = ∇²L(θ) is never formed; it is only multiplied, exactly, with vectors ([`Engine::hessian_vector`]).
//!
//! - Along the gradient: `gᵀHg/‖g‖²` is the rate at which the loss's slope along −g changes, and `‖Hg‖/‖g‖` is the limit of the effective β
//!   (A.2.2) as s → 0.
//! - The largest eigenvalue comes from Lanczos with a random start. Rounding lets old directions back in, which repeats Ritz values but spoils
//!   none. The residual's length is given too; an eigenvalue lies within that distance.
//! - The trace comes from Hutchinson: the mean of `zᵀHz` over vectors z of random signs, with its standard error.
//!
//! The probe only evaluates: θ, running statistics and the step state do not change. The random vectors are functions of (seed, step).

use super::eigen;
use super::measure::{Entry, Found, Kind, Measurement, Moment, Options, Order, Probe, Row};
use crate::files::Arrays;
use crate::network::{Engine, Scalar, Tangents};
use crate::ops::backend::Backend;
use crate::ops::vector::{COMPARED, Direction, NormKind};
use crate::runtime::tensor::{DType, In, Out, Shape, View};
use crate::{Error, Result};

/// The effort to spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Steps of Lanczos; each takes one product.
    pub lanczos: usize,
    /// Vectors of Hutchinson; each takes one product.
    pub hutchinson: usize,
}

/// The numbers of this probe's random directions: the first is for Lanczos, the next are for Hutchinson. [`super::line`] uses number 0.
const FIRST_DIRECTION: u32 = 1;

/// The probe's workspace.
#[derive(Debug, Clone)]
pub struct Workspace {
    tangents: Tangents,
    effort: Effort,
    /// The vector to multiply, the one before it, the product, and space for an intermediate.
    vectors: [View; 4],
    zero: View,
    /// f64: what `compare_rows` gives for Hg and g.
    along: View,
    /// f64 `[lanczos, 2]`: the diagonal and the off-diagonal of Lanczos' matrix.
    lanczos: View,
    /// f64 `[hutchinson]`: zᵀHz
    traces: View,
    /// f64: −1, 1, three changing numbers, and ‖g‖.
    numbers: View,
}

/// The result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curvature {
    /// gᵀHg/‖g‖²
    pub rayleigh: f64,
    /// ‖Hg‖/‖g‖
    pub gain: f64,
    /// The largest eigenvalue of H, by Lanczos, and the length of its residual; an eigenvalue of H lies within that distance.
    pub top: [f64; 2],
    /// The trace of H, by Hutchinson, and its standard error, which is NaN for a single vector.
    pub trace: [f64; 2],
}

impl Curvature {
    /// The result for a step whose loss is not finite.
    pub const UNKNOWN: Curvature =
        Curvature { rayleigh: f64::NAN, gain: f64::NAN, top: [f64::NAN; 2], trace: [f64::NAN; 2] };
}

impl Workspace {
    /// Allocates the workspace. Errors: no steps or no vectors; bf16, which has no Hessian-vector products; not enough memory.
    pub fn new<B: Backend>(engine: &mut Engine<B>, effort: Effort) -> Result<Workspace> {
        let tangents = engine.tangents()?;
        Self::with(engine, tangents, effort)
    }

    /// The same with given `tangents`, which others may use at other times.
    pub fn with<B: Backend>(engine: &mut Engine<B>, tangents: Tangents, effort: Effort) -> Result<Workspace> {
        if effort.lanczos == 0 || effort.hutchinson == 0 {
            let problem = format!("{} steps of Lanczos and {} vectors", effort.lanczos, effort.hutchinson);
            return Err(Error::input("--probe curvature", problem, "at least one of each is needed"));
        }
        let effort = Effort { lanczos: effort.lanczos.min(engine.network().slots().len().max(1)), ..effort };
        let zero = engine.vector()?;
        let [a, b, c, d] = [engine.vector()?, engine.vector()?, engine.vector()?, engine.vector()?];
        let mut plan = engine.backend().plan();
        let [along, lanczos, traces, numbers] = [
            Shape::new([1, COMPARED]),
            Shape::new([effort.lanczos, 2]),
            Shape::new([effort.hutchinson]),
            Shape::new([6]),
        ]
        .map(|shape| plan.view(shape, DType::F64));
        engine.backend().commit(&plan)?;
        engine.backend().upload(&[-1.0, 1.0, 0.0, 0.0, 0.0, 0.0], Out(numbers))?;
        engine.backend().upload_f32(&vec![0.0; zero.shape.len()], Out(zero))?;
        Ok(Workspace { tangents, effort, vectors: [a, b, c, d], zero, along, lanczos, traces, numbers })
    }

    fn number(&self, at: usize) -> View {
        self.numbers.slice(at, Shape::new([1]))
    }
}

/// A vector as a matrix of one row.
fn row(vector: View) -> View {
    vector.reshape(Shape::new([1, vector.shape.len()]))
}

/// Issues the work for the curvature at `theta`, whose gradient is `grad`, to the device; nothing is read back. The work is one forward and
/// backward pass and `1 + lanczos + hutchinson` Hessian-vector products. It is the same each time, so it may be part of a graph.
pub fn ask<B: Backend>(engine: &mut Engine<B>, theta: In, grad: In, room: &Workspace) -> Result<()> {
    let (loss, correct) = (Out(engine.slot(Scalar::Aside)), Out(engine.slot(Scalar::AsideCorrect)));
    let state = In(engine.state());
    let [mut v, mut before, product, aside] = room.vectors;
    let tangents = &room.tangents;
    engine.ready_products(tangents, theta, loss, correct)?;
    engine.hessian_vector(tangents, theta, grad, Out(product))?;
    engine.backend().compare_rows(In(row(product)), grad, Out(room.along))?;
    engine.backend().norm(NormKind::L2, grad, Out(room.number(5)))?;

    for i in 0..room.effort.hutchinson {
        let index = FIRST_DIRECTION + 1 + i as u32;
        engine.backend().direction(Direction::Signs, index, state, Out(v))?;
        engine.hessian_vector(tangents, theta, In(v), Out(product))?;
        engine.backend().dot(In(v), In(product), Out(room.traces.slice(i, Shape::new([1]))))?;
    }

    // H v_j = β_{j−1} v_{j−1} + α_j v_j + β_j v_{j+1}
    let [minus, one, factor, other, length] = [0, 1, 2, 3, 4].map(|at| room.number(at));
    let entry = |j: usize, which: usize| room.lanczos.slice(2 * j + which, Shape::new([1]));
    engine.backend().direction(Direction::Normal, FIRST_DIRECTION, state, Out(aside))?;
    engine.backend().norm(NormKind::L2, In(aside), Out(length))?;
    engine.backend().stretch(In(one), In(one), In(length), Out(factor))?;
    engine.backend().displace_rows(In(room.zero), In(factor), In(aside), Out(row(v)))?;
    for j in 0..room.effort.lanczos {
        engine.hessian_vector(tangents, theta, In(v), Out(product))?;
        let backend = engine.backend();
        backend.dot(In(v), In(product), Out(entry(j, 0)))?;
        backend.stretch(In(minus), In(entry(j, 0)), In(one), Out(factor))?;
        let mut rest = aside;
        backend.displace_rows(In(product), In(factor), In(v), Out(row(rest)))?;
        if j > 0 {
            backend.stretch(In(minus), In(entry(j - 1, 1)), In(one), Out(other))?;
            backend.displace_rows(In(aside), In(other), In(before), Out(row(product)))?;
            rest = product;
        }
        backend.norm(NormKind::L2, In(rest), Out(entry(j, 1)))?;
        backend.stretch(In(one), In(one), In(entry(j, 1)), Out(factor))?;
        backend.displace_rows(In(room.zero), In(factor), In(rest), Out(row(before)))?;
        (v, before) = (before, v);
    }
    Ok(())
}

/// Reads the results of [`ask`].
pub fn read<B: Backend>(engine: &mut Engine<B>, room: &Workspace) -> Result<Curvature> {
    let (along, lanczos) = (engine.read(room.along)?, engine.read(room.lanczos)?);
    let traces = engine.read(room.traces)?;
    // Not of those three: where ‖Hg‖ is 1e8 times as long as g, nothing of ‖g‖² is left in ‖Hg − g‖² − ‖Hg‖² + 2⟨Hg, g⟩.
    let grad = engine.read(room.number(5))?[0].powi(2);
    let [diagonal, beside] = [0, 1].map(|which| lanczos.iter().skip(which).step_by(2).copied().collect::<Vec<_>>());
    let n = traces.len() as f64;
    let mean = traces.iter().sum::<f64>() / n;
    let variance = traces.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Ok(Curvature {
        rayleigh: along[1] / grad,
        gain: (along[2] / grad).sqrt(),
        top: eigen::top_of_lanczos(&diagonal, &beside),
        trace: [mean, (variance / n).sqrt()],
    })
}

/// The curvature as a probe.
pub struct Measured(Workspace);

impl Kind for Measured {
    const ROW: Row = Row {
        probes: &[Probe {
            name: "curvature",
            arrays: &[
                ("rayleigh", Entry::Number),
                ("gain", Entry::Number),
                ("top_eigenvalue", Entry::Number),
                ("top_residual", Entry::Number),
                ("trace", Entry::Number),
                ("trace_stderr", Entry::Number),
            ],
        }],
        vectors: |_| 7,
        tangents: true,
        units: false,
        fits: |_| true,
        work: |of| (4.0 + 3.0 * of.products) * of.step,
        order: Order::Any,
    };

    fn plan<B: Backend>(engine: &mut Engine<B>, options: &Options) -> Result<Self> {
        let tangents = options.tangents.clone().map_or_else(|| engine.tangents(), Ok)?;
        let effort = Effort { lanczos: options.lanczos, hutchinson: options.hutchinson };
        Workspace::with(engine, tangents, effort).map(Measured)
    }
}

impl<B: Backend> Measurement<B> for Measured {
    fn fixed(&self, _: &str) -> Arrays {
        Arrays::new()
    }

    fn shape(&self, _: Entry) -> Vec<usize> {
        Vec::new()
    }

    fn ask(&self, engine: &mut Engine<B>, at: Moment) -> Result<()> {
        ask(engine, at.theta, at.grad, &self.0)
    }

    fn read(&self, engine: &mut Engine<B>, loss: f64) -> Result<Found> {
        let found = if loss.is_finite() { read(engine, &self.0)? } else { Curvature::UNKNOWN };
        let Curvature { rayleigh, gain, top: [top, residual], trace: [trace, stderr] } = found;
        let numbers = [("rayleigh", rayleigh), ("gain", gain), ("top_eigenvalue", top), ("trace", trace)];
        let entries = [rayleigh, gain, top, residual, trace, stderr].map(|number| vec![number]);
        Ok(Found::one(entries.into(), numbers.map(|(name, number)| (name, Some(number))).into()))
    }
}
