//! What `--activation` asks for.

use super::layer::Layer;
use crate::ops::elu::EluLayer;
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// A choice of non-linearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// max(x, 0): the paper's.
    #[default]
    Relu,
    /// With α = 1.
    Elu,
    /// With the constants of self-normalising networks.
    Selu,
}

impl Activation {
    /// As a layer of its own, which it always is but for the ReLU: that one norms and noise take into their own passes.
    pub(super) fn alone(self) -> Option<Layer> {
        match self {
            Activation::Relu => None,
            Activation::Elu => Some(Layer::Elu(EluLayer::Elu)),
            Activation::Selu => Some(Layer::Elu(EluLayer::Selu)),
        }
    }
}

impl FromStr for Activation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Activation> {
        match text {
            "relu" => Ok(Activation::Relu),
            "elu" => Ok(Activation::Elu),
            "selu" => Ok(Activation::Selu),
            _ => Err(Error::input(format!("--activation {text}"), "unknown", "there are relu, elu and selu")),
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Activation::Relu => "relu",
            Activation::Elu => "elu",
            Activation::Selu => "selu",
        })
    }
}
