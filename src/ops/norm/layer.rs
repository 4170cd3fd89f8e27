//! A norm as a layer, with the noise and the ReLU that may follow it.

use super::renorm::RenormLimits;
use super::renorm::passes::{self, RenormPass};
use super::{Axes, Divisor, NormGrads, NormPass, NormSpec, NormTangentBackward, NormTangents};
use crate::ops::backend::Backend;
use crate::ops::fusion::Fusion;
use crate::ops::layer::{Backward, Forward, Layer, Param, Params, Saved, Tangent, TangentBackward};
use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};

/// A norm as a layer. At evaluation, norms over the batch use the running statistics, and noise is off.
#[derive(Debug, Clone, PartialEq)]
pub struct NormLayer {
    /// Which norm it is. The settings of its noise include the layer's number.
    pub spec: NormSpec,
}

impl NormLayer {
    /// The spec and the tensors of a pass that may be fused with a pool; the pass writes or reads the statistics `saved`.
    fn pass(&self, f: &Forward, saved: Saved) -> Result<(NormSpec, NormPass)> {
        let (Some(weight), Some(bias), Some(mean), Some(spread)) =
            (f.params.weight, f.params.bias, saved.mean, saved.spread)
        else {
            return Err(self.unplanned());
        };
        let pass = NormPass {
            x: f.x,
            weight: In(weight),
            bias: In(bias),
            y: f.y,
            mean: Out(mean),
            spread: Out(spread),
            state: Some(f.state),
            moments_left: f.fusion.take_moments,
            chosen: saved.chosen.map(Out),
            workspace: Out(f.workspace),
        };
        Ok((NormSpec { pool: f.fusion.pool, ..self.spec }, pass))
    }

    fn grads(&self, x: Option<Out>, params: Params, left: bool) -> Result<NormGrads> {
        match (x, params.weight, params.bias) {
            (Some(x), Some(weight), Some(bias)) => Ok(NormGrads { x, weight: Out(weight), bias: Out(bias), left }),
            _ => Err(self.unplanned()),
        }
    }

    fn tangents(&self, io: &Tangent, y: Out) -> Result<NormTangents> {
        let (Some(mean), Some(divisor)) = (io.saved.mean, io.saved.spread) else { return Err(self.unplanned()) };
        Ok(NormTangents {
            x: io.moving(self.spec.name())?,
            weight: io.params.weight.map(In),
            bias: io.params.bias.map(In),
            y,
            mean: Out(mean),
            divisor: Out(divisor),
        })
    }

    /// A pass of batch renormalisation, which also reads the running statistics.
    fn renormed(&self, f: &Forward, limits: RenormLimits, spec: NormSpec, pass: NormPass) -> Result<RenormPass> {
        let missing = || Error::operator(self.spec.name(), "running statistics", "none planned");
        let (mean, var) = f.running.mean.zip(f.running.spread).ok_or_else(missing)?;
        Ok(RenormPass { limits, spec, pass, running_mean: In(mean), running_var: In(var) })
    }

    fn unplanned(&self) -> Error {
        Error::operator(self.spec.name(), "weight, bias, mean and spread", "not all planned")
    }
}

impl Layer for NormLayer {
    fn describe(&self) -> String {
        self.spec.to_string()
    }

    fn prefix(&self) -> &'static str {
        "norm"
    }

    fn output(&self, x: Shape) -> Result<Shape> {
        let [h, w, _, channels] = x.hwnc();
        let Axes::Groups(grouping) = self.spec.axes else { return Ok(x) };
        match grouping.unfit(h.saturating_mul(w), channels) {
            Some((problem, remedy)) => Err(Error::input(format!("--norm {grouping}"), problem, remedy)),
            None => Ok(x),
        }
    }

    fn params(&self, x: Shape) -> Vec<Param> {
        let channels = x.hwnc()[3];
        vec![Param::per_unit("weight", channels, 1.0), Param::per_unit("bias", channels, 0.0)]
    }

    fn statistics(&self, x: Shape) -> Option<(usize, Divisor)> {
        (self.spec.axes == Axes::Batch).then(|| (x.hwnc()[3], self.spec.divisor))
    }

    fn keeps(&self, x: Shape) -> Option<Shape> {
        (self.spec.axes != Axes::Batch).then(|| self.spec.saved_shape(x))
    }

    fn reads_running(&self) -> bool {
        self.spec.renorm.is_some()
    }

    fn takes_moments(&self) -> bool {
        self.spec.axes == Axes::Batch && self.spec.divisor == Divisor::Std
    }

    fn takes_norm_grads(&self) -> Option<NormSpec> {
        // Noise is drawn anew for dy; batch renormalisation takes its gradients from those of another γ.
        let plain = self.spec.noise.is_none() && self.spec.renorm.is_none();
        (self.spec.axes == Axes::Batch && plain).then_some(self.spec)
    }

    fn epilogues<B: Backend>(&self, backend: &B) -> Fusion {
        Fusion { pool: self.spec.axes == Axes::Batch && backend.norm_pools(), ..Fusion::default() }
    }

    fn before_activation(&self) -> Self {
        NormLayer { spec: NormSpec { relu: false, ..self.spec } }
    }

    fn workspace<B: Backend>(&self, backend: &B, x: Shape) -> Shape {
        match self.spec.renorm {
            None => backend.norm_workspace(&self.spec, x),
            Some(_) => passes::workspace(backend, &self.spec, x),
        }
    }

    fn forward<B: Backend>(&self, b: &mut B, io: &Forward) -> Result<()> {
        let (spec, pass) = self.pass(io, io.saved)?;
        match spec.renorm {
            None => b.norm_forward(spec, pass),
            Some(limits) => self.renormed(io, limits, spec, pass)?.forward(b),
        }
    }

    fn evaluate<B: Backend>(&self, b: &mut B, io: &Forward) -> Result<()> {
        if self.spec.axes != Axes::Batch {
            return self.forward(b, io);
        }
        let (spec, pass) = self.pass(io, io.running)?;
        b.norm_eval(NormSpec { renorm: None, ..spec }, pass)
    }

    fn backward<B: Backend>(&self, b: &mut B, io: &Backward) -> Result<()> {
        let (spec, pass) = self.pass(&io.forward, io.forward.saved)?;
        let grads = self.grads(io.grad_x, io.grads, io.forward.fusion.take_norm_grads)?;
        match spec.renorm {
            None => b.norm_backward(spec, pass, io.grad_y, grads),
            Some(limits) => self.renormed(&io.forward, limits, spec, pass)?.backward(b, io.grad_y, grads),
        }
    }

    fn tangent<B: Backend>(&self, b: &mut B, io: &Tangent) -> Result<()> {
        let (f, (spec, pass)) = (&io.forward, self.pass(&io.forward, io.forward.saved)?);
        match (spec.noise, spec.renorm) {
            (None, None) => b.norm_tangent(spec, pass, self.tangents(io, io.y)?),
            (_, Some(limits)) => self.renormed(f, limits, spec, pass)?.tangent(b, self.tangents(io, io.y)?),
            // The ReLU may mask before the noise scales: s times 0 is 0.
            (Some(noise), None) => {
                let normed = io.spare(0, io.y.0.shape);
                b.norm_tangent(spec, pass, self.tangents(io, normed)?)?;
                b.noise_backward(noise, false, f.x, normed.into(), f.state, io.y)
            }
        }
    }

    fn tangent_backward<B: Backend>(&self, b: &mut B, io: &TangentBackward) -> Result<()> {
        let (t, f) = (&io.tangent, &io.tangent.forward);
        let (spec, pass) = self.pass(f, f.saved)?;
        let (Some(grad_weight), Some(grad_bias)) = (io.grads.weight.map(In), io.grads.bias.map(In)) else {
            return Err(self.unplanned());
        };
        let (mut grad_y, mut grad_y_tangent) = (io.grad_y, io.moving);
        if let Some(noise) = spec.noise {
            let [own, moving] = [0, 1].map(|which| t.spare(which, f.y.0.shape));
            b.noise_backward(noise, false, f.x, grad_y, f.state, own)?;
            b.noise_backward(noise, false, f.x, grad_y_tangent, f.state, moving)?;
            (grad_y, grad_y_tangent) = (own.into(), moving.into());
        }
        let (tangents, grads) = (self.tangents(t, t.y)?, self.grads(io.grad_x, io.grads_tangent, false)?);
        let back = NormTangentBackward { tangents, grad_y, grad_y_tangent, grad_weight, grad_bias, grads };
        match spec.renorm {
            None => b.norm_tangent_backward(spec, pass, back),
            Some(limits) => self.renormed(f, limits, spec, pass)?.tangent_backward(b, back, t.spare(0, f.x.0.shape)),
        }
    }
}
