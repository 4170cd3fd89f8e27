//! The table of layers. A new kind of layer is its operator's folder and one row here.

use crate::Result;
use crate::ops::backend::Backend;
use crate::ops::cross_entropy::LossOut;
use crate::ops::fusion::Fusion;
use crate::ops::layer::{Backward, Forward, Layer as _, Param, Tangent, TangentBackward};
use crate::ops::norm::{Divisor, NormSpec};
use crate::runtime::tensor::{In, Shape};

macro_rules! layers {
    ($($kind:ident($settings:path)),+ $(,)?) => {
        /// A layer of a network: a kind and its settings.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Layer {
            $(#[doc = concat!("See [`", stringify!($settings), "`].")] $kind($settings)),+
        }

        impl Layer {
            /// See [`crate::ops::layer::Layer::describe`].
            pub fn describe(&self) -> String {
                match self { $(Layer::$kind(l) => l.describe()),+ }
            }
            /// See [`crate::ops::layer::Layer::output`].
            pub fn output(&self, x: Shape) -> Result<Shape> {
                match self { $(Layer::$kind(l) => l.output(x)),+ }
            }
            /// See [`crate::ops::layer::Layer::params`].
            pub fn params(&self, x: Shape) -> Vec<Param> {
                match self { $(Layer::$kind(l) => l.params(x)),+ }
            }
            /// See [`crate::ops::layer::Layer::multiplies`].
            pub fn multiplies(&self) -> bool {
                match self { $(Layer::$kind(l) => l.multiplies()),+ }
            }
            /// See [`crate::ops::layer::Layer::has_gain`].
            pub fn has_gain(&self) -> bool {
                match self { $(Layer::$kind(l) => l.has_gain()),+ }
            }
            /// See [`crate::ops::layer::Layer::epilogues`].
            pub fn epilogues<B: Backend>(&self, backend: &B) -> Fusion {
                match self { $(Layer::$kind(l) => l.epilogues(backend)),+ }
            }
            /// See [`crate::ops::layer::Layer::takes_moments`].
            pub fn takes_moments(&self) -> bool {
                match self { $(Layer::$kind(l) => l.takes_moments()),+ }
            }
            /// See [`crate::ops::layer::Layer::leaves_norm_grads`].
            pub fn leaves_norm_grads<B: Backend>(&self, backend: &B, x: Shape) -> bool {
                match self { $(Layer::$kind(l) => l.leaves_norm_grads(backend, x)),+ }
            }
            /// See [`crate::ops::layer::Layer::updates_weight`].
            pub fn updates_weight<B: Backend>(&self, backend: &B, x: Shape) -> bool {
                match self { $(Layer::$kind(l) => l.updates_weight(backend, x)),+ }
            }
            /// See [`crate::ops::layer::Layer::takes_norm_grads`].
            pub fn takes_norm_grads(&self) -> Option<NormSpec> {
                match self { $(Layer::$kind(l) => l.takes_norm_grads()),+ }
            }
            /// See [`crate::ops::layer::Layer::is_relu`].
            pub fn is_relu(&self) -> bool {
                match self { $(Layer::$kind(l) => l.is_relu()),+ }
            }
            /// See [`crate::ops::layer::Layer::is_activation`].
            pub fn is_activation(&self) -> bool {
                match self { $(Layer::$kind(l) => l.is_activation()),+ }
            }
            /// See [`crate::ops::layer::Layer::before_activation`].
            pub fn before_activation(&self) -> Layer {
                match self { $(Layer::$kind(l) => Layer::$kind(l.before_activation())),+ }
            }
            /// See [`crate::ops::layer::Layer::is_pool`].
            pub fn is_pool(&self) -> bool {
                match self { $(Layer::$kind(l) => l.is_pool()),+ }
            }
            /// See [`crate::ops::layer::Layer::statistics`].
            pub fn statistics(&self, x: Shape) -> Option<(usize, Divisor)> {
                match self { $(Layer::$kind(l) => l.statistics(x)),+ }
            }
            /// See [`crate::ops::layer::Layer::keeps`].
            pub fn keeps(&self, x: Shape) -> Option<Shape> {
                match self { $(Layer::$kind(l) => l.keeps(x)),+ }
            }
            /// See [`crate::ops::layer::Layer::workspace`].
            pub fn workspace<B: Backend>(&self, backend: &B, x: Shape) -> Shape {
                match self { $(Layer::$kind(l) => l.workspace(backend, x)),+ }
            }
            /// See [`crate::ops::layer::Layer::forward`].
            pub fn forward<B: Backend>(&self, backend: &mut B, io: &Forward) -> Result<()> {
                match self { $(Layer::$kind(l) => l.forward(backend, io)),+ }
            }
            /// See [`crate::ops::layer::Layer::forward_judged`].
            pub fn forward_judged<B: Backend>(
                &self,
                backend: &mut B,
                io: &Forward,
                labels: In,
                out: LossOut,
            ) -> Result<bool> {
                match self { $(Layer::$kind(l) => l.forward_judged(backend, io, labels, out)),+ }
            }
            /// See [`crate::ops::layer::Layer::evaluate`].
            pub fn evaluate<B: Backend>(&self, backend: &mut B, io: &Forward) -> Result<()> {
                match self { $(Layer::$kind(l) => l.evaluate(backend, io)),+ }
            }
            /// See [`crate::ops::layer::Layer::tangent`].
            pub fn tangent<B: Backend>(&self, backend: &mut B, io: &Tangent) -> Result<()> {
                match self { $(Layer::$kind(l) => l.tangent(backend, io)),+ }
            }
            /// See [`crate::ops::layer::Layer::tangent_backward`].
            pub fn tangent_backward<B: Backend>(&self, backend: &mut B, io: &TangentBackward) -> Result<()> {
                match self { $(Layer::$kind(l) => l.tangent_backward(backend, io)),+ }
            }
            /// See [`crate::ops::layer::Layer::backward`].
            pub fn backward<B: Backend>(&self, backend: &mut B, io: &Backward) -> Result<()> {
                match self { $(Layer::$kind(l) => l.backward(backend, io)),+ }
            }
        }
    };
}

layers! {
    Conv2d(crate::ops::conv2d::Conv2dLayer),
    Linear(crate::ops::linear::LinearLayer),
    Norm(crate::ops::norm::NormLayer),
    Noise(crate::ops::noise::NoiseLayer),
    Activation(crate::ops::activation::ActivationLayer),
    MaxPool2d(crate::ops::max_pool2d::MaxPool2dLayer),
}
