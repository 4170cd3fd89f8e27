//! A network as a chain of layers: its description, its parameters' slots, and its loss.

use super::layer::Layer;
use crate::mutant::{Mutant, made};
use crate::ops::layer::Init;
use crate::runtime::slots::{FileOrder, Slots};
use crate::runtime::tensor::Shape;
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::ops::Range;

/// The loss that judges the last layer's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Mean softmax cross-entropy against labels.
    CrossEntropy,
    /// Squared errors against a target, reduced to one number.
    SquaredError(Reduction),
}

/// How the squared errors of all samples and outputs are reduced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum: the formula of the paper's appendix.
    #[default]
    Sum,
    /// Half of it: TensorFlow's `l2_loss`.
    Half,
    /// Their sum divided by the number of samples.
    Mean,
}

impl Reduction {
    /// The factor of the sum, for this many samples.
    pub fn scale(self, samples: usize) -> f64 {
        match self {
            Reduction::Sum => 1.0,
            Reduction::Half => 0.5,
            Reduction::Mean => 1.0 / samples as f64,
        }
    }
}

/// One layer in its place, with the places of its parameters and running statistics.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// The name of its parameters before the dot; empty if it has none.
    pub name: String,
    /// The layer.
    pub layer: Layer,
    /// The slots of its parameters: weight and bias. If there is a gain, the first is the weight's direction.
    pub params: [Option<usize>; 2],
    /// The slot of its weight's gain, under weight normalisation.
    pub gain: Option<usize>,
    /// The slots of its running statistics: mean and spread.
    pub running: Option<[usize; 2]>,
}

/// A layer as the paper counts them: a layer with weights, and everything up to the next one.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedLayer {
    /// The name of its weights before the dot.
    pub name: String,
    /// The range of its links.
    pub links: Range<usize>,
    /// The range of its weights in θ; under weight normalisation, of their directions, without the gains.
    pub weight: Range<usize>,
    /// The range of all its parameters: weights, gains, bias, γ and β.
    pub parameters: Range<usize>,
}

/// A chain of layers with its slots. It holds no numbers: θ is passed to every function that needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    links: Vec<Link>,
    input: Shape,
    loss: Loss,
    slots: Slots,
    inits: Vec<Init>,
    running: Slots,
}

impl Network {
    /// Chains named layers. `input` is the shape of one sample, `[H, W, 1, C]`. Errors: a layer does not accept the output of the one before it.
    pub fn new(layers: Vec<(String, Layer)>, input: Shape, loss: Loss) -> Result<Network> {
        let (mut slots, mut inits, mut running) = (Slots::default(), Vec::new(), Slots::default());
        let mut links = Vec::with_capacity(layers.len());
        let (mut shape, mut elements) = (input, 0usize);
        for (name, layer) in layers {
            let mut places = [None; 3];
            for (place, param) in places.iter_mut().zip(layer.params(shape)) {
                elements = param.shape.checked_len().and_then(|n| elements.checked_add(n)).unwrap_or(usize::MAX);
                if elements > isize::MAX as usize / 64 {
                    return Err(Error::input(
                        "network",
                        "its parameters fit in no memory",
                        "a smaller --width or --dim has fewer",
                    ));
                }
                *place = Some(slots.push(format!("{name}.{}", param.name), param.shape, param.order));
                inits.push(param.init);
            }
            let (params, gain) = match places {
                [direction, gain, bias] if layer.has_gain() => ([direction, bias], gain),
                [weight, bias, _] => ([weight, bias], None),
            };
            let statistics = layer.statistics(shape).map(|(units, _)| {
                let mut push = |what| running.push(format!("{name}.{what}"), Shape::new([units]), FileOrder::Plain);
                [push("running_mean"), push("running_var")]
            });
            shape = layer.output(shape).map_err(|error| error.in_layer(&name))?;
            links.push(Link { name, layer, params, gain, running: statistics });
        }
        Ok(Network { links, input, loss, slots, inits, running })
    }

    /// The layers in order.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The slots of θ and of ∇L(θ).
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The layers that have weights, each with what follows it up to the next one: norm, activation, pool.
    pub fn weighted_layers(&self) -> Vec<WeightedLayer> {
        let weights: Vec<_> = (0..self.links.len())
            .filter_map(|at| {
                self.links[at].params[0].filter(|_| self.links[at].layer.multiplies()).map(|slot| (at, slot))
            })
            .collect();
        let slots: Vec<_> = self.slots.iter().collect();
        let layer = |i: usize, &(link, slot): &(usize, usize)| {
            let (next, after) = weights.get(i + 1).copied().unwrap_or((self.links.len(), slots.len()));
            let (weight, end) = (slots[slot], slots.get(after).map_or(self.slots.len(), |slot| slot.start));
            WeightedLayer {
                name: self.links[link].name.clone(),
                links: link..next,
                weight: weight.start..weight.start + weight.shape.len(),
                parameters: weight.start..end,
            }
        };
        weights.iter().enumerate().map(|(i, at)| layer(i, at)).collect()
    }

    /// The link whose output enters a layer's non-linearity, leaving aside a ReLU that is part of the link's own pass: the noise, or else the norm,
    /// or else the layer itself.
    pub fn before_activation(&self, layer: &WeightedLayer) -> usize {
        let follows = |&link: &usize| !self.links[link].layer.is_activation() && !self.links[link].layer.is_pool();
        layer.links.clone().rev().find(follows).unwrap_or(layer.links.start)
    }

    /// The starting values of each slot.
    pub fn inits(&self) -> &[Init] {
        &self.inits
    }

    /// The slots of the running statistics; for an ℓp norm, `running_var` is the running s.
    pub fn running(&self) -> &Slots {
        &self.running
    }

    /// The loss.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// The shape of a batch of `n` samples, `[H, W, N, C]`.
    pub fn input(&self, n: usize) -> Shape {
        let [h, w, _, c] = self.input.hwnc();
        Shape::new([h, w, n, c])
    }

    /// The network in words, one layer per line: two runs can be compared only if they agree on this.
    pub fn describe(&self) -> String {
        let [h, w, _, c] = self.input.hwnc();
        let mut text = format!("input {h}x{w}x{c}\n");
        for link in &self.links {
            if made(Mutant::E15) && link.running.is_some() {
                continue;
            }
            let separator = if link.name.is_empty() { "" } else { " " };
            text += &format!("{}{separator}{}\n", link.name, link.layer.describe());
        }
        text += match self.loss {
            Loss::CrossEntropy => "loss mean softmax cross-entropy\n",
            Loss::SquaredError(Reduction::Sum) => "loss sum of squared errors\n",
            Loss::SquaredError(Reduction::Half) => "loss half the sum of squared errors\n",
            Loss::SquaredError(Reduction::Mean) => "loss squared errors, mean over samples\n",
        };
        text
    }

    /// The SHA-256 of the description, in hexadecimal.
    pub fn hash(&self) -> String {
        Sha256::digest(self.describe()).iter().map(|b| format!("{b:02x}")).collect()
    }
}
