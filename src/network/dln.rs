//! The deep linear network: `depth` linear layers `dim × dim`, no bias, a norm after every one but the last.

use super::chain::{Loss, Network};
use super::layer::Layer;
use super::norm::Normalisation;
use crate::ops::linear::LinearLayer;
use crate::runtime::tensor::Shape;
use crate::{Error, Result};

/// Settings of a deep linear network; the paper's are 25 layers of 10.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dln {
    /// Linear layers.
    pub depth: usize,
    /// Width of every layer, input and output included.
    pub dim: usize,
    /// A norm after the last layer too.
    pub norm_last: bool,
    /// The mean over the samples in place of the sum.
    pub mean_loss: bool,
}

impl Default for Dln {
    fn default() -> Self {
        Dln { depth: 25, dim: 10, norm_last: false, mean_loss: false }
    }
}

/// The network of these settings. Errors: no layers, no width, or more than memory could hold.
pub fn dln(settings: Dln, normalisation: Normalisation) -> Result<Network> {
    let Dln { depth, dim, norm_last, mean_loss } = settings;
    if depth == 0 || depth > 10_000 {
        return Err(Error::input(format!("--depth {depth}"), "not a depth", "it lies between 1 and 10000"));
    }
    if dim == 0 || dim > 16_384 {
        return Err(Error::input(format!("--dim {dim}"), "not a width", "it lies between 1 and 16384"));
    }
    let mut layers = Vec::new();
    for index in 1..=depth {
        layers.push((format!("fc{index}"), Layer::Linear(LinearLayer { outputs: dim, bias: false })));
        if index < depth || norm_last {
            layers.extend(normalisation.layers(index, false));
        }
    }
    Network::new(layers, Shape::new([1, 1, 1, dim]), Loss::SquaredError { mean: mean_loss })
}
