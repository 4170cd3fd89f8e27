//! A linear layer of a network.

use super::Extents;
use crate::ops::backend::Backend;
use crate::ops::bilinear::{self, Bilinear};
use crate::ops::boundary::{self, LayerOperator, Layout, OperatorOf};
use crate::ops::cross_entropy::LossOut;
use crate::ops::layer::{Backward, Forward, Init, Layer, Param, Tangent, TangentBackward};
use crate::ops::weight_grads::WeightGrads;
use crate::runtime::slots::FileOrder;
use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};

/// A linear layer to `outputs`, from a map of one pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearLayer {
    /// O, the number of outputs.
    pub outputs: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// Whether its weight is made of a direction and a gain: [`crate::ops::weight_norm`].
    pub weight_norm: bool,
}

impl LinearLayer {
    fn extents(&self, x: Shape) -> Extents {
        let [_, _, n, i] = x.hwnc();
        Extents { n, i, o: self.outputs }
    }
}

impl Layer for LinearLayer {
    fn describe(&self) -> String {
        let bias = if self.bias { ", bias" } else { "" };
        format!("linear({}{bias}{})", self.outputs, if self.weight_norm { ", weight norm" } else { "" })
    }

    fn prefix(&self) -> &'static str {
        "fc"
    }

    fn output(&self, x: Shape) -> Result<Shape> {
        let [h, w, n, _] = x.hwnc();
        if (h, w) != (1, 1) {
            return Err(Error::operator("linear", "a map of 1×1", format!("{h}×{w}")));
        }
        Ok(Shape::new([1, 1, n, self.outputs]))
    }

    fn params(&self, x: Shape) -> Vec<Param> {
        let (i, o) = (x.hwnc()[3], self.outputs);
        let init = Init::Glorot { fan_in: i, fan_out: o };
        let weight = Param { name: "weight", shape: Shape::new([i, o]), order: FileOrder::Linear, init };
        let mut params = weight.in_parts(self.weight_norm);
        if self.bias {
            params.push(Param::per_unit("bias", o, 0.0));
        }
        params
    }

    fn multiplies(&self) -> bool {
        true
    }

    fn has_gain(&self) -> bool {
        self.weight_norm
    }

    fn leaves_norm_grads<B: Backend>(&self, backend: &B, x: Shape) -> bool {
        backend.linear_leaves_norm_grads(self.extents(x))
    }

    fn workspace<B: Backend>(&self, backend: &B, x: Shape) -> Shape {
        backend.linear_workspace(self.extents(x))
    }

    fn forward<B: Backend>(&self, backend: &mut B, io: &Forward) -> Result<()> {
        let weight = bilinear::weight::<Self>(io)?;
        backend.linear(io.x, weight, io.params.bias.map(In), io.y, Out(io.workspace))
    }

    fn forward_judged<B: Backend>(&self, backend: &mut B, io: &Forward, labels: In, out: LossOut) -> Result<bool> {
        let weight = bilinear::weight::<Self>(io)?;
        backend.linear_cross_entropy(io.x, weight, io.params.bias.map(In), io.y, labels, out)
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

impl Bilinear for LinearLayer {
    const OP: &'static str = "linear";

    fn product<B: Backend>(b: &mut B, x: In, weight: In, bias: Option<In>, y: Out, workspace: Out) -> Result<()> {
        b.linear(x, weight, bias, y, workspace)
    }

    fn gradients<B: Backend>(
        b: &mut B,
        x: In,
        weight: In,
        grad_y: In,
        grads: WeightGrads,
        workspace: Out,
    ) -> Result<()> {
        b.linear_backward(x, weight, grad_y, grads, workspace)
    }
}

/// `op linear`: `x[N,I] weight[O,I] bias[O]? grad_y[N,O]?`.
pub const OPERATOR: OperatorOf<LinearLayer> = LayerOperator {
    name: "linear",
    layout: Layout::Elements,
    extents: boundary::Extents::Axes(2, "N×I"),
    layer: |inputs, _| {
        let outputs = inputs.first_extent("weight")?;
        Ok(LinearLayer { outputs, bias: inputs.has("bias"), weight_norm: false }.into())
    },
    statistics: ["mean", "var"],
    cases: super::cases::CASES,
};
