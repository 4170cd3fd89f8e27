//! A 3×3 convolution as a layer.

use super::Map;
use crate::Result;
use crate::ops::backend::Backend;
use crate::ops::bilinear::{self, Bilinear};
use crate::ops::boundary::{Extents, LayerOperator, Layout, OperatorOf};
use crate::ops::fusion::Fusion;
use crate::ops::layer::{Backward, Forward, Init, Layer, Param, Tangent, TangentBackward};
use crate::ops::weight_grads::WeightGrads;
use crate::runtime::slots::FileOrder;
use crate::runtime::tensor::{In, Out, Shape};

/// A convolution to `channels`; it has a bias only where no norm follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv2dLayer {
    /// K, the number of output channels.
    pub channels: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// Whether its weight is made of a direction and a gain: [`crate::ops::weight_norm`].
    pub weight_norm: bool,
}

impl Conv2dLayer {
    fn map(&self, x: Shape) -> Map {
        let [h, w, n, c] = x.hwnc();
        Map { h, w, n, c, k: self.channels }
    }
}

impl Layer for Conv2dLayer {
    fn describe(&self) -> String {
        let bias = if self.bias { ", bias" } else { "" };
        format!("conv3x3({}{bias}{})", self.channels, if self.weight_norm { ", weight norm" } else { "" })
    }

    fn prefix(&self) -> &'static str {
        "conv"
    }

    fn output(&self, x: Shape) -> Result<Shape> {
        let [h, w, n, _] = x.hwnc();
        Ok(Shape::new([h, w, n, self.channels]))
    }

    fn params(&self, x: Shape) -> Vec<Param> {
        let (c, k) = (x.hwnc()[3], self.channels);
        let init = Init::Glorot { fan_in: 9 * c, fan_out: 9 * k };
        let weight = Param { name: "weight", shape: Shape::new([9, c, k]), order: FileOrder::Conv3x3, init };
        let mut params = weight.in_parts(self.weight_norm);
        if self.bias {
            params.push(Param::per_unit("bias", k, 0.0));
        }
        params
    }

    fn multiplies(&self) -> bool {
        true
    }

    fn has_gain(&self) -> bool {
        self.weight_norm
    }

    fn epilogues<B: Backend>(&self, backend: &B) -> Fusion {
        backend.conv2d_epilogues()
    }

    fn leaves_norm_grads<B: Backend>(&self, backend: &B, x: Shape) -> bool {
        backend.conv2d_leaves_norm_grads(self.map(x))
    }

    fn updates_weight<B: Backend>(&self, backend: &B, x: Shape) -> bool {
        !self.weight_norm && backend.conv2d_updates_weight(self.map(x))
    }

    fn workspace<B: Backend>(&self, backend: &B, x: Shape) -> Shape {
        backend.conv2d_workspace(self.map(x))
    }

    fn forward<B: Backend>(&self, backend: &mut B, io: &Forward) -> Result<()> {
        let weight = bilinear::weight::<Self>(io)?;
        let bias = io.params.bias.map(In);
        match io.fusion == Fusion::default() {
            true => backend.conv2d(io.x, weight, bias, io.y, Out(io.workspace)),
            false => {
                let moments = io.saved.mean.zip(io.saved.spread).map(|(mean, var)| [mean, var].map(Out));
                backend.conv2d_fused(io.x, weight, bias, io.fusion, moments, io.y, Out(io.workspace))
            }
        }
    }

    fn backward<B: Backend>(&self, backend: &mut B, io: &Backward) -> Result<()> {
        bilinear::backward::<Self, B>(backend, io)
    }

    fn tangent<B: Backend>(&self, backend: &mut B, io: &Tangent) -> Result<()> {
        bilinear::tangent::<Self, B>(backend, io)
    }

    fn tangent_backward<B: Backend>(&self, backend: &mut B, io: &TangentBackward) -> Result<()> {
        bilinear::tangent_backward::<Self, B>(backend, io)
    }
}

impl Bilinear for Conv2dLayer {
    const OP: &'static str = "conv2d";

    fn product<B: Backend>(b: &mut B, x: In, weight: In, bias: Option<In>, y: Out, workspace: Out) -> Result<()> {
        b.conv2d(x, weight, bias, y, workspace)
    }

    fn gradients<B: Backend>(
        b: &mut B,
        x: In,
        weight: In,
        grad_y: In,
        grads: WeightGrads,
        workspace: Out,
    ) -> Result<()> {
        b.conv2d_backward(x, weight, grad_y, grads, workspace)
    }
}

/// `op conv2d`: `x[N,C,H,W] weight[K,C,3,3] bias[K]? grad_y[N,K,H,W]?`.
pub const OPERATOR: OperatorOf<Conv2dLayer> = LayerOperator {
    name: "conv2d",
    layout: Layout::Activations,
    extents: Extents::Axes(4, "N×C×H×W"),
    layer: |inputs, _| {
        let channels = inputs.first_extent("weight")?;
        Ok(Conv2dLayer { channels, bias: inputs.has("bias"), weight_norm: false }.into())
    },
    statistics: ["mean", "var"],
    cases: super::cases::CASES,
};
