//! Starting values: Glorot uniform, drawn in the files' order so that the memory order inside plays no part.

use super::chain::Network;
use crate::ops::layer::Init;
use crate::runtime::rng::{Purpose, uniform_in, word};

/// The parameters at the start of a run with this seed, in the inside order.
///
/// Slot number i draws from (seed, Init, i): one layer's start does not depend on another's size.
pub fn initial_parameters(network: &Network, seed: u64) -> Vec<f32> {
    let mut theta = vec![0.0; network.slots().len()];
    for (number, (slot, init)) in network.slots().iter().zip(network.inits()).enumerate() {
        let part = &mut theta[slot.start..slot.start + slot.shape.len()];
        match *init {
            Init::Constant(value) => part.fill(value),
            Init::Glorot { fan_in, fan_out } => {
                let bound = (6.0 / (fan_in + fan_out) as f32).sqrt();
                for index in 0..part.len() {
                    let word = word(seed, Purpose::Init, number as u32, 0, index as u64);
                    part[slot.door.inside(slot.shape, index)] = uniform_in(word, -bound, 2.0 * bound);
                }
            }
        }
    }
    theta
}
