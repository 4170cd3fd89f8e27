//! The choices of `--norm`, `--noise` and `--activation`, and the layers that they add after a convolution or a linear layer.

use super::layer::Layer;
use crate::ops::activation::{Activation, ActivationLayer};
use crate::ops::noise::{NoiseLayer, NoiseOptions};
use crate::ops::norm::renorm::RenormLimits;
use crate::ops::norm::{Grouping, NormLayer, NormSpec};
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// A choice of normalisation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Norm {
    /// No norm: the standard network.
    None,
    /// BatchNorm.
    Batch,
    /// Batch renormalisation.
    Renorm(RenormLimits),
    /// An ℓp norm, with p ≥ 1 or infinity.
    Lp(f64),
    /// Weight normalisation. It adds no layer; weights are made of direction and gain instead.
    Weight,
    /// LayerNorm, GroupNorm or InstanceNorm: each sample on its own, over groups of its channels.
    Grouped(Grouping),
    /// RMSNorm: each sample on its own, without subtracting the mean.
    Rms,
}

impl FromStr for Norm {
    type Err = Error;

    /// Reads the word that `--norm` takes, except `noisy`, which is `batch` with noise.
    fn from_str(text: &str) -> Result<Norm> {
        let known = "none, batch, noisy, renorm, renorm:R:D, l1, l2, linf, lp:P with P at least 1, layer, group:G, instance, rms or weight";
        match text {
            "none" => Ok(Norm::None),
            "batch" => Ok(Norm::Batch),
            "renorm" => Ok(Norm::Renorm(RenormLimits::default())),
            "l1" => Ok(Norm::Lp(1.0)),
            "l2" => Ok(Norm::Lp(2.0)),
            "linf" => Ok(Norm::Lp(f64::INFINITY)),
            "weight" => Ok(Norm::Weight),
            "layer" => Ok(Norm::Grouped(Grouping::Layer)),
            "instance" => Ok(Norm::Grouped(Grouping::Instance)),
            "rms" => Ok(Norm::Rms),
            _ if text.starts_with("renorm:") => {
                let bounds = text["renorm:".len()..].split_once(':').map(|(r, d)| (r.parse(), d.parse()));
                match bounds {
                    Some((Ok(r_max), Ok(d_max))) if (RenormLimits { r_max, d_max }).are_valid() => {
                        Ok(Norm::Renorm(RenormLimits { r_max, d_max }))
                    }
                    _ => Err(Error::input(
                        format!("--norm {text}"),
                        "no bounds of r and d",
                        "R must be a number of at least 1 and D one of at least 0, as in renorm:3:5",
                    )),
                }
            }
            _ if text.starts_with("group:") => match text["group:".len()..].parse() {
                Ok(groups) if groups > 0 => Ok(Norm::Grouped(Grouping::Groups(groups))),
                _ => Err(Error::input(
                    format!("--norm {text}"),
                    "no number of groups",
                    "G must be a whole number of at least 1, as in group:8",
                )),
            },
            _ => match text.strip_prefix("lp:").map(str::parse::<f64>) {
                Some(Ok(p)) if p >= 1.0 => Ok(Norm::Lp(p)),
                Some(_) => Err(Error::input(
                    format!("--norm {text}"),
                    "no ℓp norm",
                    "P must be a number of at least 1, as in lp:3",
                )),
                None => Err(Error::input(format!("--norm {text}"), "unknown", format!("there are {known}"))),
            },
        }
    }
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Norm::None => f.write_str("none"),
            Norm::Batch => f.write_str("batch"),
            Norm::Renorm(limits) if *limits == RenormLimits::default() => f.write_str("renorm"),
            Norm::Renorm(RenormLimits { r_max, d_max }) => write!(f, "renorm:{r_max}:{d_max}"),
            Norm::Lp(p) if *p == 1.0 => f.write_str("l1"),
            Norm::Lp(p) if *p == 2.0 => f.write_str("l2"),
            Norm::Lp(p) if p.is_infinite() => f.write_str("linf"),
            Norm::Lp(p) => write!(f, "lp:{p}"),
            Norm::Weight => f.write_str("weight"),
            Norm::Grouped(grouping) => grouping.fmt(f),
            Norm::Rms => f.write_str("rms"),
        }
    }
}

/// The normalisation, noise and non-linearity of a network, which follow its convolutions and linear layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalisation {
    /// The norm.
    pub norm: Norm,
    /// ε
    pub eps: f64,
    /// Algorithm 1's noise, after the norm or in its place; `layer` is filled in for each layer.
    pub noise: Option<NoiseOptions>,
    /// The non-linearity after norm and noise; a deep linear network has none.
    pub activation: Activation,
}

impl Normalisation {
    /// This norm, with ε = 1e-5, no noise and the ReLU.
    pub fn new(norm: Norm) -> Self {
        Normalisation { norm, eps: 1e-5, noise: None, activation: Activation::Relu }
    }

    /// The layers that follow linear map number `index` (from 1), with the names of their parameters; with `activates`, the non-linearity too.
    pub(super) fn layers(&self, index: usize, activates: bool) -> Vec<(String, Layer)> {
        // A ReLU is part of the norm's pass, or the noise's; another is a layer of its own after them.
        let fused = self.activation == Activation::Relu;
        let mut layers = self.before(index, activates && fused);
        if activates && !fused {
            layers.push((String::new(), Layer::Activation(ActivationLayer { kind: self.activation })));
        }
        layers
    }

    /// The norm and the noise, and the ReLU if it is asked for.
    fn before(&self, index: usize, relu: bool) -> Vec<(String, Layer)> {
        let noise = self.noise.map(|n| NoiseOptions { layer: index as u32, ..n });
        let named =
            |spec| (format!("norm{index}"), Layer::Norm(NormLayer { spec: NormSpec { eps: self.eps, ..spec } }));
        let alone = |noise| (String::new(), Layer::Noise(NoiseLayer { noise, relu }));
        match (self.norm.spec(), noise) {
            (None, None) if relu => {
                vec![(String::new(), Layer::Activation(ActivationLayer { kind: self.activation }))]
            }
            (None, None) => Vec::new(),
            (None, Some(noise)) => vec![alone(noise)],
            (Some(spec), None) => vec![named(NormSpec { relu, ..spec })],
            // Of BatchNorm the noise is part of the same pass.
            (Some(spec), noise) if self.norm == Norm::Batch => vec![named(NormSpec { relu, noise, ..spec })],
            (Some(spec), Some(noise)) => vec![named(spec), alone(noise)],
        }
    }
}

impl Norm {
    /// The norm as a layer; `None` if it is not one.
    fn spec(self) -> Option<NormSpec> {
        match self {
            Norm::None | Norm::Weight => None,
            Norm::Batch => Some(NormSpec::batch()),
            Norm::Renorm(limits) => Some(NormSpec::renorm(limits)),
            Norm::Lp(p) => Some(NormSpec::lp(p)),
            Norm::Grouped(grouping) => Some(NormSpec::grouped(grouping)),
            Norm::Rms => Some(NormSpec::rms()),
        }
    }
}
