//! A norm over groups of channels as a layer, with the ReLU that may follow.

use super::{GroupSpec, Grouping, unfit};
use crate::ops::backend::Backend;
use crate::ops::layer::{Backward, Forward, Layer, Param, Tangent, TangentBackward};
use crate::ops::norm::{NormGrads, NormOptions};
use crate::ops::norm_layer::{self, gradients, moving, normed, operands, statistics};
use crate::ops::norm_tangent::{Law, Upstream};
use crate::runtime::tensor::{Out, Shape};
use crate::{Error, Result};

/// A norm over groups of channels as a layer, with the ReLU that may follow.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupNormLayer {
    /// How channels are grouped.
    pub grouping: Grouping,
    /// ε and ReLU.
    pub options: NormOptions,
}

impl GroupNormLayer {
    fn groups(&self, x: Shape) -> GroupSpec {
        self.grouping.of(x.hwnc()[3])
    }
}

impl Layer for GroupNormLayer {
    fn describe(&self) -> String {
        let rest = format!("eps {}{}", self.options.eps, if self.options.relu { ", relu" } else { "" });
        match self.grouping {
            Grouping::Groups(groups) => format!("group_norm(groups {groups}, {rest})"),
            other => format!("{other}_norm({rest})"),
        }
    }

    fn prefix(&self) -> &'static str {
        "norm"
    }

    fn output(&self, x: Shape) -> Result<Shape> {
        let [h, w, _, channels] = x.hwnc();
        match unfit(h.saturating_mul(w), channels, self.groups(x).count) {
            Some((problem, remedy)) => Err(Error::input(format!("--norm {}", self.grouping), problem, remedy)),
            None => Ok(x),
        }
    }

    fn params(&self, x: Shape) -> Vec<Param> {
        norm_layer::params(x)
    }

    fn keeps(&self, x: Shape) -> Option<Shape> {
        let [_, _, samples, _] = x.hwnc();
        Some(Shape::new([samples, self.groups(x).count]))
    }

    fn before_activation(&self) -> Self {
        GroupNormLayer { options: NormOptions { relu: false, ..self.options }, ..*self }
    }

    fn workspace<B: Backend>(&self, backend: &B, x: Shape) -> Shape {
        backend.group_norm_workspace(x)
    }

    fn forward<B: Backend>(&self, b: &mut B, io: &Forward) -> Result<()> {
        let (params, stats, options) = (operands(io.params)?, statistics(io.kept)?, io.fusion.norm(self.options));
        b.group_norm(self.groups(io.x.0.shape), io.x, params, options, io.y, stats, Out(io.workspace))
    }

    fn backward<B: Backend>(&self, b: &mut B, io: &Backward) -> Result<()> {
        let (f, grads, groups) = (&io.forward, gradients(io)?, self.groups(io.forward.x.0.shape));
        let (params, stats, options) = (operands(f.params)?, statistics(f.kept)?, f.fusion.norm(self.options));
        b.group_norm_backward(groups, f.x, params, options, stats, io.grad_y, grads, Out(f.workspace))
    }

    fn tangent<B: Backend>(&self, b: &mut B, io: &Tangent) -> Result<()> {
        let (norm, groups) = (normed(Law::Variance, self.options, &io.forward)?, self.groups(io.forward.x.0.shape));
        b.group_norm_tangent(groups, norm, moving(io)?, io.y, statistics(io.kept)?, Out(io.forward.workspace))
    }

    fn tangent_backward<B: Backend>(&self, b: &mut B, io: &TangentBackward) -> Result<()> {
        let (t, own) = (&io.tangent, operands(io.grads)?);
        let (norm, groups) = (normed(Law::Variance, self.options, &t.forward)?, self.groups(t.forward.x.0.shape));
        let upstream = Upstream { grad_y: io.grad_y, moving: io.moving, grad_weight: own.weight, grad_bias: own.bias };
        let to = operands(io.grads_tangent)?;
        let grads = NormGrads { x: io.grad_x(super::OP)?, weight: Out(to.weight.0), bias: Out(to.bias.0) };
        let (stats, workspace) = (statistics(t.kept)?, Out(t.forward.workspace));
        b.group_norm_tangent_backward(groups, norm, moving(t)?, stats, upstream, grads, workspace)
    }
}
