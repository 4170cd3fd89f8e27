//! The work issued to the device for the units of one layer.

use super::room::{At, Inserted, PRODUCTS, Workspace};
use crate::network::Engine;
use crate::network::layer::Layer;
use crate::ops::activation::Activation;
use crate::ops::backend::Backend;
use crate::ops::noise::NoiseOptions;
use crate::ops::norm::{NormGrads, NormPass, NormSpec, NormTangentBackward, NormTangents};
use crate::runtime::tensor::{In, Out, Shape, View};
use crate::{Error, Result};

/// What follows z in a layer's norm, as a diagonal: the noise's scale, and the zeros of the ReLU.
#[derive(Debug, Clone, Copy, Default)]
struct After {
    noise: Option<NoiseOptions>,
    relu: bool,
}

/// One layer, with its workspace.
struct Layered<'a> {
    room: &'a Workspace,
    at: &'a At,
    theta: In,
    after: After,
    /// The tensor that z becomes after noise and ReLU.
    output: In,
    spare: [View; 2],
}

/// Issues the work for one layer.
pub fn run<B: Backend>(engine: &mut Engine<B>, theta: In, room: &Workspace, at: &At) -> Result<()> {
    let here = engine.linearised(&room.tangents, at.link);
    let (shape, columns) = (here.y.0.shape, here.y.0.shape.matrix().1);
    let [v, u, product, a, b] = room.vectors.map(|view| view.slice(0, Shape::new([shape.len()])).reshape(shape));
    let after = match &engine.network().links()[at.link].layer {
        Layer::Norm(layer) => After { noise: layer.spec.noise, relu: layer.spec.relu },
        _ => After::default(),
    };
    let layered = Layered { room, at, theta, after, output: here.y, spare: [a, b] };
    layered.diagonal(engine, here.grad_y, Out(at.grad))?;
    if let (Some(to), Some(from)) = (at.gamma, engine.weight(at.link, theta)) {
        engine.backend().copy(from, Out(to))?;
    }
    // What the norm reads, its statistics, and ∂L̂/∂y.
    let (x, stats, through) = match at.inserted {
        Some(inserted) => {
            layered.insert(engine, inserted, Out(product))?;
            (here.y, inserted.statistics, In(inserted.through))
        }
        None => {
            let Some(stats) = here.saved.mean.zip(here.saved.spread) else {
                return Err(Error::operator("theory", "a norm's statistics", "none planned"));
            };
            let through = engine.linearised(&room.tangents, at.link - 1).grad_y;
            (here.x, [stats.0, stats.1], through)
        }
    };
    for row in 0..at.units.len() {
        let unit = In(at.chosen.slice(row * columns, Shape::new([columns])));
        let slot = |which: usize| Out(at.products.slice(row * PRODUCTS + which, Shape::new([1])));
        layered.select(engine, through, unit, None, Out(v))?;
        layered.select(engine, x, unit, Some(stats), Out(u))?;
        layered.hessian(engine, In(v), Out(product))?;
        engine.backend().dot(In(v), In(product), slot(1))?;
        engine.backend().dot(In(u), In(product), slot(2))?;
        layered.hessian(engine, In(u), Out(product))?;
        engine.backend().dot(In(u), In(product), slot(3))?;
        layered.select(engine, In(at.grad), unit, None, Out(u))?;
        layered.hessian(engine, In(u), Out(product))?;
        engine.backend().dot(In(u), In(product), slot(4))?;
        match at.inserted {
            None => {
                engine.hessian_vector_at(&room.tangents, at.link, theta, In(v), Out(product))?;
                engine.backend().dot(In(v), In(product), slot(0))?;
            }
            Some(inserted) => layered.through_inserted(engine, inserted, v, u, product, [slot(0), slot(5)])?,
        }
    }
    Ok(())
}

impl Layered<'_> {
    /// The first `[C]` of a per-unit vector of the workspace.
    fn per_unit(&self, which: usize) -> View {
        self.room.per_unit[which].slice(0, Shape::new([self.output.0.shape.matrix().1]))
    }

    /// `out ← e_unit x`, or with statistics `e_unit (x − μ)/S`: one unit is kept, and the others become 0.
    fn select<B: Backend>(
        &self,
        engine: &mut Engine<B>,
        x: In,
        unit: In,
        stats: Option<[View; 2]>,
        out: Out,
    ) -> Result<()> {
        let eps = if stats.is_some() { self.room.eps } else { 0.0 };
        let [mean, spread] = stats.unwrap_or([self.per_unit(0), self.per_unit(1)]);
        let pass = NormPass { x, weight: unit, ..self.pass(self.per_unit(0), [mean, spread], out) };
        engine.backend().norm_eval(NormSpec { eps, ..NormSpec::batch() }, pass)
    }

    /// The arguments of a BatchNorm with β = 0 and γ = `weight`. Its input is the layer's output.
    fn pass(&self, weight: View, statistics: [View; 2], y: Out) -> NormPass {
        let [mean, spread] = statistics.map(Out);
        NormPass {
            x: self.output,
            weight: In(weight),
            bias: In(self.per_unit(0)),
            y,
            mean,
            spread,
            state: None,
            moments_left: false,
            chosen: None,
            workspace: Out(self.room.workspace),
        }
    }

    /// Applies noise and ReLU to `x`, a tangent of z or a gradient of y, into `out`. As a diagonal, they act the same way on both.
    fn diagonal<B: Backend>(&self, engine: &mut Engine<B>, x: In, out: Out) -> Result<()> {
        let state = In(engine.state());
        let backend = engine.backend();
        let After { noise, relu } = self.after;
        match (noise, relu) {
            (None, false) => backend.copy(x, out),
            (None, true) => backend.activation_backward(Activation::Relu, self.output, x, out),
            (Some(noise), false) => backend.noise_backward(noise, false, self.output, x, state, out),
            (Some(noise), true) => {
                let scaled = Out(self.spare[1]);
                backend.noise_backward(noise, false, self.output, x, state, scaled)?;
                backend.activation_backward(Activation::Relu, self.output, scaled.into(), out)
            }
        }
    }

    /// `out ← H x`, where H belongs to what follows z.
    fn hessian<B: Backend>(&self, engine: &mut Engine<B>, x: In, out: Out) -> Result<()> {
        let moved = Out(self.spare[0]);
        self.diagonal(engine, x, moved)?;
        engine.hessian_vector_at(&self.room.tangents, self.at.link + 1, self.theta, moved.into(), out)?;
        engine.backend().copy(out.into(), moved)?;
        self.diagonal(engine, moved.into(), out)
    }

    /// Issues the inserted norm's passes with γ = 1 and β = 0. `y` is written but not read.
    fn insert<B: Backend>(&self, engine: &mut Engine<B>, inserted: Inserted, y: Out) -> Result<()> {
        let spec = NormSpec { eps: self.room.eps, ..NormSpec::batch() };
        let pass = self.pass(self.per_unit(1), inserted.statistics, y);
        let [weight, bias] = inserted.grads.map(Out);
        let grads = NormGrads { x: Out(inserted.through), weight, bias, left: false };
        engine.backend().norm_forward(spec, pass)?;
        engine.backend().norm_backward(spec, pass, In(self.at.grad), grads)
    }

    /// Issues the products of the inserted norm along `v`: u̇ᵀHu̇, and the product of v with the change of the norm's backward pass for
    /// fixed g. `u` and `product` are scratch space.
    fn through_inserted<B: Backend>(
        &self,
        engine: &mut Engine<B>,
        inserted: Inserted,
        v: View,
        u: View,
        product: View,
        [hat, normed]: [Out; 2],
    ) -> Result<()> {
        let spec = NormSpec { eps: self.room.eps, ..NormSpec::batch() };
        // y is neither read nor written here.
        let pass = self.pass(self.per_unit(1), inserted.statistics, Out(u));
        let [a, b, c, d] = [2, 3, 4, 5].map(|which| Out(self.per_unit(which)));
        let tangents = NormTangents { x: In(v), weight: None, bias: None, y: Out(u), mean: a, divisor: b };
        engine.backend().norm_tangent(spec, pass, tangents)?;
        self.hessian(engine, In(u), Out(product))?;
        engine.backend().dot(In(u), In(product), hat)?;
        let zero = Out(self.spare[0]);
        self.select(engine, In(v), In(self.per_unit(0)), None, zero)?;
        let [grad_weight, grad_bias] = inserted.grads.map(In);
        let grad_y_tangent = zero.into();
        let grads = NormGrads { x: Out(product), weight: c, bias: d, left: false };
        let grad_y = In(self.at.grad);
        let back = NormTangentBackward { tangents, grad_y, grad_y_tangent, grad_weight, grad_bias, grads };
        engine.backend().norm_tangent_backward(spec, pass, back)?;
        engine.backend().dot(In(v), In(product), normed)
    }
}
