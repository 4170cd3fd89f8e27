//! The deep linear network: `depth` linear layers `dim × dim` without bias, and a norm after every one but the last. Weight normalisation applies to
//! the same layers.

use super::chain::{Loss, Network, Reduction};
use super::layer::Layer;
use super::norm::{Norm, Normalisation};
use crate::ops::activation::Activation;
use crate::ops::deep_linear::{Chain, ChainNorm};
use crate::ops::linear::LinearLayer;
use crate::ops::norm::{Axes, Divisor, NormLayer};
use crate::runtime::tensor::Shape;
use crate::{Error, Result};

/// Settings of a deep linear network; the paper's network has 25 layers of 10.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dln {
    /// The number of linear layers.
    pub depth: usize,
    /// The width of every layer, input and output included.
    pub dim: usize,
    /// Whether the last layer has a norm too.
    pub norm_last: bool,
    /// How the squared errors are reduced.
    pub loss: Reduction,
}

impl Default for Dln {
    fn default() -> Self {
        Dln { depth: 25, dim: 10, norm_last: false, loss: Reduction::Sum }
    }
}

/// The network with these settings. Errors: no layers, no width, or more than memory could hold; a non-linearity other than the default, since it
/// would not be used.
pub fn dln(settings: Dln, normalisation: Normalisation) -> Result<Network> {
    let Dln { depth, dim, norm_last, loss } = settings;
    if depth == 0 || depth > 10_000 {
        return Err(Error::input(format!("--depth {depth}"), "not a depth", "it lies between 1 and 10000"));
    }
    if dim == 0 || dim > 16_384 {
        return Err(Error::input(format!("--dim {dim}"), "not a width", "it lies between 1 and 16384"));
    }
    if normalisation.activation != Activation::Relu {
        let place = format!("--activation {}", normalisation.activation);
        return Err(Error::input(place, "not for the dln", "it is linear"));
    }
    let mut layers = Vec::new();
    for index in 1..=depth {
        let normed = index < depth || norm_last;
        let weight_norm = normed && normalisation.norm == Norm::Weight;
        layers.push((format!("fc{index}"), Layer::Linear(LinearLayer { outputs: dim, bias: false, weight_norm })));
        if normed {
            layers.extend(normalisation.layers(index, false));
        }
    }
    Network::new(layers, Shape::new([1, 1, 1, dim]), Loss::SquaredError(loss))
}

/// The network as a chain that a backend may run as one operator on batches of `samples`; for deep linear networks without noise.
pub(super) fn whole_chain(network: &Network, samples: usize) -> Option<Chain> {
    let [h, w, _, dim] = network.input(1).hwnc();
    let Loss::SquaredError(loss) = network.loss() else { return None };
    let (mut depth, mut norms) = (0, Vec::new());
    for link in network.links() {
        // A norm after every layer, or after none; after the last there may be one or not.
        let norm = match &link.layer {
            Layer::Linear(layer)
                if !layer.weight_norm
                    && !layer.bias
                    && layer.outputs == dim
                    && (norms.is_empty() || norms.len() == depth) =>
            {
                depth += 1;
                continue;
            }
            Layer::Norm(NormLayer { spec }) if !spec.relu && spec.noise.is_none() && spec.renorm.is_none() => {
                match (spec.axes, spec.divisor) {
                    (Axes::Batch, Divisor::Std) => ChainNorm::Batch { eps: spec.eps },
                    (Axes::Batch, Divisor::PowerMean(p)) => ChainNorm::Lp { p, eps: spec.eps },
                    (Axes::Groups(_), _) => return None,
                }
            }
            _ => return None,
        };
        if norms.len() + 1 != depth || norms.first().is_some_and(|first| *first != norm) {
            return None;
        }
        norms.push(norm);
    }
    let norm = norms.first().copied().unwrap_or(ChainNorm::None);
    let chain = Chain { depth, dim, samples, norm, norm_last: norms.len() == depth, scale: loss.scale(samples) };
    let whole = depth > 0 && norms.len() == chain.norms() && chain.parameters() == network.slots().len();
    (h * w == 1 && whole).then_some(chain)
}
