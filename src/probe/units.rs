//! Which layers and units a probe looks at, and how finely: the layers that the user names, and random units of each.

use crate::network::Network;
use crate::ops::distribution::MOST_BINS;
use crate::runtime::rng::{Purpose, word};
use crate::{Error, Result};

/// What is probed, and how finely.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// Weighted layers, from 1, each with its units, from 0; the same number of units for each, as [`super::units::choose`] gives them.
    pub chosen: Vec<(usize, Vec<usize>)>,
    /// Measure the layer's output before the norm, instead of the input of the activation function.
    pub pre_norm: bool,
    /// The lower edge of the first bin and the upper edge of the last.
    pub range: [f64; 2],
    /// The number of bins.
    pub bins: usize,
}

impl Look {
    /// Refuses impossible histograms, in terms of `--probe-bins` and `--probe-bin-range`.
    pub fn check(&self) -> Result<()> {
        let ([low, high], bins) = (self.range, self.bins);
        if bins == 0 || bins > MOST_BINS {
            let right = format!("it lies between 1 and {MOST_BINS}");
            return Err(Error::input(format!("--probe-bins {bins}"), "not a number of bins", right));
        }
        let scale = bins as f64 / (high - low);
        if !(low < high && (high - low).is_finite() && scale.is_finite()) {
            let right = "LO:HI with LO below HI, both finite, is needed";
            return Err(Error::input(format!("--probe-bin-range {low:?}:{high:?}"), "not a range", right));
        }
        Ok(())
    }

    /// The `bins + 1` edges of the bins. A bin includes its lower edge, and the last bin also its upper. A value within rounding of an edge
    /// may be counted on its other side.
    pub fn edges(&self) -> Vec<f64> {
        let [low, high] = self.range;
        let edge = |i| if i == self.bins { high } else { low + (high - low) * i as f64 / self.bins as f64 };
        (0..=self.bins).map(edge).collect()
    }

    /// Units per layer.
    pub fn units(&self) -> usize {
        self.chosen.first().map_or(0, |(_, units)| units.len())
    }
}

/// The layers that are probed by default: all with weights except the last, whose output enters no activation function; the only layer, if
/// there is just one. Numbers count from 1.
pub fn default_layers(network: &Network) -> Vec<usize> {
    let count = network.weighted_layers().len();
    (1..=count.saturating_sub(1).max(1)).collect()
}

/// `count` random units (from 0) of each of `layers` (weighted ones, from 1), as a function of (seed, layer). A larger `count` adds units
/// to those of a smaller one.
///
/// Errors, in terms of `--probe-layers` and `--probe-units`: the network lacks a layer; no units are asked for, or more than a layer has.
pub fn choose(network: &Network, layers: &[usize], count: usize, seed: u64) -> Result<Vec<(usize, Vec<usize>)>> {
    let there = network.weighted_layers();
    let of = |&number: &usize| {
        let Some(layer) = number.checked_sub(1).and_then(|at| there.get(at)) else {
            let plural = if there.len() == 1 { "" } else { "s" };
            let problem = format!("the network has {} weighted layer{plural}", there.len());
            let right = format!("they are numbered from 1 to {}", there.len());
            return Err(Error::input(format!("--probe-layers {number}"), problem, right));
        };
        let weight = network.slots().iter().find(|slot| slot.start == layer.weight.start);
        let width = weight.map_or(0, |slot| slot.shape.matrix().1);
        if count == 0 || count > width {
            let problem = format!("layer {number} ({}) has {width} units", layer.name);
            let right = format!("a number from 1 to {width} fits it");
            return Err(Error::input(format!("--probe-units {count}"), problem, right));
        }
        Ok((number, at_random(seed, number, width, count)))
    };
    layers.iter().map(of).collect()
}

/// The first `count` numbers of a random order of `0..width`.
fn at_random(seed: u64, layer: usize, width: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..width).collect();
    for i in 0..count {
        let word = word(seed, Purpose::Unit, layer as u32, 0, i as u64);
        // The upper bits of a product: a number below the count of those that are left.
        let among = (u64::from(word) * (width - i) as u64) >> 32;
        order.swap(i, i + among as usize);
    }
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Dln, Norm, Normalisation, dln, vgg};
    use std::collections::BTreeSet;

    #[test]
    fn units_differ_and_are_the_same_each_time() {
        let network = vgg("vgg11", 0.25, Normalisation::new(Norm::Batch)).unwrap();
        let all = default_layers(&network);
        assert_eq!(all, [1, 2, 3, 4, 5, 6, 7, 8]);
        let chosen = choose(&network, &all, 16, 3).unwrap();
        for (_, units) in &chosen {
            assert_eq!(units.iter().collect::<BTreeSet<_>>().len(), 16);
        }
        // The first layer has no others.
        assert!(chosen[0].1.iter().all(|&unit| unit < 16));
        assert_eq!(chosen, choose(&network, &all, 16, 3).unwrap());
        assert_ne!(chosen, choose(&network, &all, 16, 4).unwrap());
        assert_ne!(chosen[4].1, chosen[5].1, "both have 64 units");
        let fewer = choose(&network, &all, 3, 3).unwrap();
        assert!(chosen.iter().zip(&fewer).all(|(more, less)| more.1.starts_with(&less.1)));
    }

    #[test]
    fn every_unit_is_as_likely() {
        // Of ten units three, over 10,000 seeds: each 3,000 times, within five standard deviations of a binomial number.
        let mut times = [0u32; 10];
        for seed in 0..10_000 {
            at_random(seed, 1, 10, 3).into_iter().for_each(|unit| times[unit] += 1);
        }
        let bound = 5.0 * (10_000.0f64 * 0.3 * 0.7).sqrt();
        assert!(times.iter().all(|&n| (f64::from(n) - 3_000.0).abs() < bound), "{times:?}");
    }

    #[test]
    fn what_the_network_does_not_have_is_told() {
        let network = dln(Dln { depth: 1, ..Dln::default() }, Normalisation::new(Norm::None)).unwrap();
        assert_eq!(default_layers(&network), [1]);
        for (layer, count, says) in [
            (2, 1, "--probe-layers 2: the network has 1 weighted layer; they are numbered from 1 to 1"),
            (0, 1, "--probe-layers 0"),
            (1, 0, "--probe-units 0: layer 1 (fc1) has 10 units; a number from 1 to 10"),
            (1, 11, "--probe-units 11: layer 1 (fc1) has 10 units; a number from 1 to 10"),
        ] {
            let error = choose(&network, &[layer], count, 0).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().starts_with(says), "{error}");
        }
    }

    #[test]
    fn edges_hold_both_ends_and_what_is_no_histogram_is_refused() {
        let look = Look { chosen: Vec::new(), pre_norm: false, range: [-1.0, 2.0], bins: 3 };
        look.check().unwrap();
        assert_eq!(look.edges(), [-1.0, 0.0, 1.0, 2.0]);
        for (range, bins, says) in [
            ([1.0, 1.0], 3, "--probe-bin-range 1.0:1.0"),
            ([f64::NAN, 1.0], 3, "--probe-bin-range NaN:1.0"),
            ([0.0, f64::INFINITY], 3, "--probe-bin-range 0.0:inf"),
            ([-f64::MAX, f64::MAX], 3, "--probe-bin-range"),
            ([0.0, f64::MIN_POSITIVE / 1e10], 3, "--probe-bin-range"),
            ([0.0, 1.0], 0, "--probe-bins 0"),
            ([0.0, 1.0], 513, "--probe-bins 513"),
        ] {
            let error = Look { range, bins, ..look.clone() }.check().unwrap_err().to_string();
            assert!(error.starts_with(says), "{error}");
        }
    }
}
