//! Internal covariate shift by the paper's Definition 2.1 (figures 3, 6).
//!
//! For layer i, `G_i` is the gradient of its weights at θ_t. `G'_i` is the same gradient, on the same batch, with layers 1 … i−1 at θ_{t+1}
//! and layers i … k at θ_t. The results are `‖G_i − G'_i‖`, the cosine of the two, and `‖G_i‖`. θ_{t+1} is the run's own next update, made
//! on a copy. For the first layer nothing is replaced, so it gives (0, 1).
//!
//! The layers before layer i + 1 are those before layer i and one more. So each layer is run forward at θ_{t+1} once, and G'_i costs a
//! forward and backward pass through the layers from i on. A backend may compute all G'_i at once. The probe only evaluates: θ, velocity,
//! running statistics and step state do not change.

use super::measure::{Entry, Found, Kind, Measurement, Moment, Options, Order, Probe, Row, layers_of};
use crate::files::Arrays;
use crate::mutant::{Mutant, made};
pub use crate::network::Update;
use crate::network::{Engine, Scalar, WeightedLayer};
use crate::ops::backend::Backend;
use crate::ops::sgd::Descent;
use crate::ops::vector::COMPARED;
use crate::runtime::tensor::{DType, In, Out, Shape, View};
use crate::{Error, Result};

/// The probe's workspace.
#[derive(Debug, Clone)]
pub struct Workspace {
    layers: Vec<WeightedLayer>,
    /// θ_{t+1}, and below it the velocity of that update.
    next: View,
    velocity: Option<View>,
    /// The parameters with layers before i at θ_{t+1} and the others at θ_t.
    mixed: View,
    /// G computed layer by layer, where a pass would otherwise treat the network as a whole and round differently.
    base: Option<View>,
    /// G'
    moved: View,
    /// f64 `[layers, 4]`: what `compare_rows` gives for G'_i and G_i, and ‖G_i‖².
    results: View,
}

/// Columns of the results.
const RESULTS: usize = COMPARED + 1;

/// The result: an entry per layer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CovariateShift {
    /// ‖G_i − G'_i‖
    pub l2: Vec<f64>,
    /// cos(G_i, G'_i); NaN where a gradient is zero.
    pub cosine: Vec<f64>,
    /// ‖G_i‖
    pub grad_norm: Vec<f64>,
}

impl Workspace {
    /// Allocates the workspace; `momentum` says whether updates have a velocity. Errors: the network has only one layer, with none before
    /// it; not enough memory.
    pub fn new<B: Backend>(engine: &mut Engine<B>, momentum: bool) -> Result<Workspace> {
        let layers = engine.network().weighted_layers();
        if layers.len() < 2 {
            let problem = format!("the network has {} layer with weights", layers.len());
            return Err(Error::input("--probe ics", problem, "it takes two: no layer lies before the first"));
        }
        let [next, mixed, moved] = [engine.vector()?, engine.vector()?, engine.vector()?];
        let velocity = momentum.then(|| engine.vector()).transpose()?;
        let base = engine.takes_whole().then(|| engine.vector()).transpose()?;
        let mut plan = engine.backend().plan();
        let results = plan.view(Shape::new([layers.len(), RESULTS]), DType::F64);
        engine.backend().commit(&plan)?;
        Ok(Workspace { layers, next, velocity, mixed, base, moved, results })
    }

    /// The layers: their numbers, from 1, and names.
    pub fn layers(&self) -> &[WeightedLayer] {
        &self.layers
    }
}

/// Issues the work for the shift of every layer at `theta`, whose gradient is `grad`, to the device; nothing is read back.
pub fn ask<B: Backend>(engine: &mut Engine<B>, theta: In, grad: In, update: Update, room: &Workspace) -> Result<()> {
    let (loss, correct) = (Out(engine.slot(Scalar::Aside)), Out(engine.slot(Scalar::AsideCorrect)));
    let state = In(engine.state());
    let Update { velocity: from, momentum, weight_decay } = update;
    let backend = engine.backend();
    backend.copy(theta, Out(room.next))?;
    if let (Some(from), Some(to)) = (from, room.velocity) {
        backend.copy(In(from), Out(to))?;
    }
    let velocity = room.velocity.map(Out);
    let next = Descent { velocity, momentum, weight_decay, ..Descent::plain(Out(room.next), state) };
    backend.sgd(grad, next)?;
    backend.copy(theta, Out(room.mixed))?;
    let part = |whole: View, at: usize, len: usize| whole.slice(at, Shape::new([len]));
    // A mistake is made layer by layer.
    let mistaken = made(Mutant::E13) || made(Mutant::E14) || made(Mutant::M5);
    if !mistaken && engine.moved_gradients(theta, In(room.next), Out(room.moved))? {
        for (i, layer) in room.layers.iter().enumerate() {
            let [moved, own] = [room.moved, grad.0].map(|v| part(v, layer.weight.start, layer.weight.len()));
            compare(engine, moved, own, room.results, i)?;
        }
        return Ok(());
    }
    let base = match room.base {
        None => grad,
        Some(base) => {
            engine.layers_loss_and_grad(theta, Out(base), loss, correct)?;
            In(base)
        }
    };
    for (i, layer) in room.layers.iter().enumerate() {
        let mut of = base.0;
        if let Some(before) = i.checked_sub(1).map(|before| &room.layers[before]) {
            let moved = match () {
                () if made(Mutant::E14) => before.weight.clone(),
                () if made(Mutant::M5) => 0..theta.0.shape.len(),
                () => before.parameters.clone(),
            };
            let [from, to] = [room.next, room.mixed].map(|v| part(v, moved.start, moved.len()));
            engine.backend().copy(In(from), Out(to))?;
            engine.forward_part(before.links.clone(), In(room.mixed))?;
            engine.grad_of_link(layer.links.start, In(room.mixed), Out(room.moved), loss, correct)?;
            of = room.moved;
        }
        let [moved, own] = [of, base.0].map(|v| part(v, layer.weight.start, layer.weight.len()));
        #[cfg(debug_assertions)]
        if made(Mutant::E13) {
            let compared = Out(part(room.results, i * RESULTS, COMPARED));
            engine.evaluate(In(room.mixed), loss, correct)?;
            let y = engine.output()?;
            let row = y.reshape(Shape::new([1, y.shape.len()]));
            engine.backend().compare_rows(In(row), In(y), compared)?;
            continue;
        }
        compare(engine, moved, own, room.results, i)?;
    }
    Ok(())
}

/// Issues row `i` of the results, the comparison of G′ with G.
fn compare<B: Backend>(engine: &mut Engine<B>, moved: View, own: View, results: View, i: usize) -> Result<()> {
    let row = moved.reshape(Shape::new([1, moved.shape.len()]));
    let [compared, length] =
        [(0, COMPARED), (COMPARED, 1)].map(|(at, len)| Out(results.slice(i * RESULTS + at, Shape::new([len]))));
    engine.backend().compare_rows(In(row), In(own), compared)?;
    engine.backend().dot(In(own), In(own), length)
}

/// Reads the results of [`ask`].
pub fn read<B: Backend>(engine: &mut Engine<B>, room: &Workspace) -> Result<CovariateShift> {
    let mut found = CovariateShift::default();
    for of in engine.read(room.results)?.chunks_exact(RESULTS) {
        found.l2.push(of[0].sqrt());
        found.cosine.push(of[1] / (of[2] * of[3]).sqrt());
        found.grad_norm.push(of[3].sqrt());
    }
    Ok(found)
}

/// The covariate shift as a probe.
pub struct Measured(Workspace);

impl Kind for Measured {
    const ROW: Row = Row {
        probes: &[Probe {
            name: "ics",
            arrays: &[("l2", Entry::Layers), ("cosine", Entry::Layers), ("grad_norm", Entry::Layers)],
        }],
        vectors: |momentum| 3 + momentum,
        tangents: false,
        units: false,
        fits: |network| network.weighted_layers().len() > 1,
        work: |of| 0.25 * of.layers * of.step,
        order: Order::Any,
    };

    fn plan<B: Backend>(engine: &mut Engine<B>, options: &Options) -> Result<Self> {
        Workspace::new(engine, options.momentum).map(Measured)
    }
}

impl<B: Backend> Measurement<B> for Measured {
    fn fixed(&self, _: &str) -> Arrays {
        layers_of(self.0.layers())
    }

    fn shape(&self, _: Entry) -> Vec<usize> {
        vec![self.0.layers().len()]
    }

    fn ask(&self, engine: &mut Engine<B>, at: Moment) -> Result<()> {
        ask(engine, at.theta, at.grad, at.update, &self.0)
    }

    fn read(&self, engine: &mut Engine<B>, loss: f64) -> Result<Found> {
        if !loss.is_finite() {
            let unknown = Some(f64::NAN);
            return Ok(Found::one(Vec::new(), vec![("cosine_mean", unknown), ("l2_mean", unknown)]));
        }
        let CovariateShift { l2, cosine, grad_norm } = read(engine, &self.0)?;
        let [of_cosine, of_l2] = [&cosine, &l2].map(|values| Some(values.iter().sum::<f64>() / values.len() as f64));
        Ok(Found::one(vec![l2, cosine, grad_norm], vec![("cosine_mean", of_cosine), ("l2_mean", of_l2)]))
    }
}
