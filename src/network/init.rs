//! Starting values: Glorot uniform, drawn in the files' order, so that the memory order inside does not matter.

use super::chain::Network;
use crate::ops::layer::Init;
use crate::runtime::rng::{Purpose, uniform_in, word};

/// The parameters at the start of a run with this seed, in the inside order.
///
/// Slot number i draws from (seed, Init, i), so one layer's start does not depend on another's size. Gains draw nothing and are not counted, so
/// directions start as the weights of the standard network do.
pub fn initial_parameters(network: &Network, seed: u64) -> Vec<f32> {
    let mut theta = vec![0.0; network.slots().len()];
    // Slots that were counted, and the length of the last of them.
    let (mut number, mut direction) = (0u32, 0);
    for (slot, init) in network.slots().iter().zip(network.inits()) {
        let (before, rest) = theta.split_at_mut(slot.start);
        let part = &mut rest[..slot.shape.len()];
        match *init {
            Init::Length => {
                lengths(&before[before.len() - direction..], part);
                continue;
            }
            Init::Constant(value) => part.fill(value),
            Init::Glorot { fan_in, fan_out } => {
                let bound = (6.0 / (fan_in + fan_out) as f32).sqrt();
                for index in 0..part.len() {
                    let word = word(seed, Purpose::Init, number, 0, index as u64);
                    part[slot.order.inside(slot.shape, index)] = uniform_in(word, -bound, 2.0 * bound);
                }
            }
        }
        (number, direction) = (number + 1, slot.shape.len());
    }
    theta
}

/// The length of every column.
fn lengths(direction: &[f32], to: &mut [f32]) {
    let columns = to.len();
    for (c, to) in to.iter_mut().enumerate() {
        let squares = direction[c..].iter().step_by(columns).map(|&v| f64::from(v) * f64::from(v));
        *to = squares.sum::<f64>().sqrt() as f32;
    }
}
