//! What the device is asked for of one layer's units.

use super::{At, Inserted, PRODUCTS, Room};
use crate::network::Engine;
use crate::network::layer::Layer;
use crate::ops::activation::Activation;
use crate::ops::backend::Backend;
use crate::ops::noise::NoiseOptions;
use crate::ops::norm::{NormGrads, NormOptions, NormParams, Statistics};
use crate::ops::norm_tangent::{Law, Moving, Normed, Upstream};
use crate::ops::running::{RunningStatistics, Spread};
use crate::runtime::tensor::{In, Out, Shape, View};
use crate::{Error, Result};

/// What a layer's norm does after z, as a diagonal: noise's scale, and the ReLU's gaps.
#[derive(Debug, Clone, Copy, Default)]
struct After {
    noise: Option<NoiseOptions>,
    relu: bool,
}

/// One layer, with room.
struct Layered<'a> {
    room: &'a Room,
    at: &'a At,
    theta: In,
    after: After,
    /// z's tensor after the ReLU and the noise.
    output: In,
    spare: [View; 2],
}

/// Asks for it.
pub fn run<B: Backend>(engine: &mut Engine<B>, theta: In, room: &Room, at: &At) -> Result<()> {
    let here = engine.linearised(&room.tangents, at.link);
    let (shape, columns) = (here.y.0.shape, here.y.0.shape.matrix().1);
    let [v, u, product, a, b] = room.vectors.map(|view| view.slice(0, Shape::new([shape.len()])).reshape(shape));
    let after = match &engine.network().links()[at.link].layer {
        Layer::BatchNorm(layer) => After { noise: None, relu: layer.options.relu },
        Layer::NoisyBatchNorm(layer) => After { noise: Some(layer.noise), relu: layer.options.relu },
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
            let Some(stats) = here.kept.mean.zip(here.kept.spread) else {
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
    /// The first `[C]` of a per-unit vector of the room.
    fn per_unit(&self, which: usize) -> View {
        self.room.per_unit[which].slice(0, Shape::new([self.output.0.shape.matrix().1]))
    }

    /// `out ← e_unit x`, or with statistics `e_unit (x − μ)/S`: one unit of it, the others 0.
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
        let params = NormParams { weight: unit, bias: In(self.per_unit(0)) };
        let options = NormOptions { eps, relu: false, pool: false };
        let statistics = RunningStatistics { mean: Out(mean), spread: Out(spread) };
        engine.backend().norm_eval(Spread::Variance, x, params, options, statistics, out)
    }

    /// `out ←` what noise and ReLU make of `x`, a tangent of z or a gradient of y: a diagonal is the same both ways.
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

    /// `out ← H x`, of what follows z.
    fn hessian<B: Backend>(&self, engine: &mut Engine<B>, x: In, out: Out) -> Result<()> {
        let moved = Out(self.spare[0]);
        self.diagonal(engine, x, moved)?;
        engine.hessian_vector_at(&self.room.tangents, self.at.link + 1, self.theta, moved.into(), out)?;
        engine.backend().copy(out.into(), moved)?;
        self.diagonal(engine, moved.into(), out)
    }

    /// The inserted norm's passes with γ = 1 and β = 0; `y` is written and not read.
    fn insert<B: Backend>(&self, engine: &mut Engine<B>, inserted: Inserted, y: Out) -> Result<()> {
        let params = NormParams { weight: In(self.per_unit(1)), bias: In(self.per_unit(0)) };
        let options = NormOptions { eps: self.room.eps, relu: false, pool: false };
        let [mean, spread] = inserted.statistics.map(Out);
        let (stats, workspace) = (Statistics { mean, spread }, Out(self.room.workspace));
        let [weight, bias] = inserted.grads.map(Out);
        let grads = NormGrads { x: Out(inserted.through), weight, bias };
        let backend = engine.backend();
        backend.batch_norm(self.output, params, options, y, stats, workspace)?;
        backend.batch_norm_backward(self.output, params, options, stats, In(self.at.grad), grads, workspace)
    }

    /// The products of the inserted norm along `v`: u̇ᵀHu̇, and vᵀ with how its backward moves where g does not. `u` and `product` are room.
    fn through_inserted<B: Backend>(
        &self,
        engine: &mut Engine<B>,
        inserted: Inserted,
        v: View,
        u: View,
        product: View,
        [hat, normed]: [Out; 2],
    ) -> Result<()> {
        let [mean, spread] = inserted.statistics.map(In);
        let (weight, law, eps) = (In(self.per_unit(1)), Law::Variance, self.room.eps);
        let norm = Normed { law, eps, x: self.output, weight, mean, spread, relu: None };
        let moving = Moving { x: In(v), weight: None, bias: None };
        let [a, b, c, d] = [2, 3, 4, 5].map(|which| Out(self.per_unit(which)));
        let (stats, workspace) = (Statistics { mean: a, spread: b }, Out(self.room.workspace));
        engine.backend().norm_tangent(norm, moving, Out(u), stats, workspace)?;
        self.hessian(engine, In(u), Out(product))?;
        engine.backend().dot(In(u), In(product), hat)?;
        let zero = Out(self.spare[0]);
        self.select(engine, In(v), In(self.per_unit(0)), None, zero)?;
        let [grad_weight, grad_bias] = inserted.grads.map(In);
        let upstream = Upstream { grad_y: In(self.at.grad), moving: zero.into(), grad_weight, grad_bias };
        let grads = NormGrads { x: Out(product), weight: c, bias: d };
        engine.backend().norm_tangent_backward(norm, moving, stats, upstream, grads, workspace)?;
        engine.backend().dot(In(v), In(product), normed)
    }
}
