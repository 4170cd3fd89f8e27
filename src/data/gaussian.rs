//! The deep linear network's data: Gaussian inputs, and their products with a Gaussian matrix.

use crate::runtime::rng::{self, Purpose};
use crate::{Error, Result};

/// The most values in a set: 1 GiB of f32.
const LARGEST: usize = 1 << 28;

/// Inputs `x`, a matrix `A`, and targets `A x`.
///
/// The network outputs exactly the targets when the product of its layers is `A`; so the least loss is 0.
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianSet {
    /// Number of inputs.
    pub samples: usize,
    /// Length of an input and of a target.
    pub dim: usize,
    /// `samples` × `dim`, row-major, i.i.d. N(0,1).
    pub x: Vec<f32>,
    /// `samples` × `dim`, row-major: row s is A times row s of `x`.
    pub target: Vec<f32>,
    /// `dim` × `dim`, row-major, i.i.d. N(0,1).
    pub a: Vec<f32>,
}

impl GaussianSet {
    /// The set for `seed`. `x` and `A` are drawn as f32. Each target is their product, summed in f64 in the order of the inputs and rounded
    /// once.
    ///
    /// It is an error if `samples` or `dim` is 0, or if the set has more than 2²⁸ values.
    pub fn generate(seed: u64, samples: usize, dim: usize) -> Result<Self> {
        for (option, value) in [("--samples", samples), ("--dim", dim)] {
            if value == 0 {
                return Err(Error::input(option, "is 0", "give at least 1"));
            }
        }
        let fits = |rows: usize| rows.checked_mul(dim).filter(|&n| n <= LARGEST);
        let too_large = |option, value| {
            let remedy = format!("keep samples × dim and dim × dim at most {LARGEST}");
            Error::input(option, format!("{value} makes a data set too large for memory"), remedy)
        };
        let of_a = fits(dim).ok_or_else(|| too_large("--dim", dim))?;
        let of_x = fits(samples).ok_or_else(|| too_large("--samples", samples))?;
        let x = normals(seed, 0, of_x);
        let a = normals(seed, 1, of_a);
        let mut target = Vec::with_capacity(of_x);
        for row in x.chunks_exact(dim) {
            for weights in a.chunks_exact(dim) {
                let sum: f64 = weights.iter().zip(row).fold(0.0, |sum, (&w, &v)| sum + f64::from(w) * f64::from(v));
                target.push(sum as f32);
            }
        }
        Ok(GaussianSet { samples, dim, x, target, a })
    }
}

/// The first `n` standard normal draws of data stream `stream`.
fn normals(seed: u64, stream: u32, n: usize) -> Vec<f32> {
    let blocks = n.div_ceil(4) as u64;
    let words = (0..blocks).flat_map(|b| rng::draw(seed, Purpose::Data, stream, 0, b as u32, (b >> 32) as u32));
    words.take(n).map(rng::normal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_a_times_x() {
        let set = GaussianSet::generate(3, 50, 7).unwrap();
        assert_eq!((set.x.len(), set.target.len(), set.a.len()), (350, 350, 49));
        for s in 0..50 {
            for o in 0..7 {
                let exact: f64 = (0..7).map(|i| f64::from(set.a[o * 7 + i]) * f64::from(set.x[s * 7 + i])).sum();
                assert_eq!(set.target[s * 7 + o], exact as f32);
            }
        }
    }

    #[test]
    fn draws_are_the_words_of_their_streams_and_grow_without_changing() {
        let set = GaussianSet::generate(9, 1000, 10).unwrap();
        for index in [0, 1, 4, 9_999] {
            assert_eq!(set.x[index], rng::normal(rng::word(9, Purpose::Data, 0, 0, index as u64)));
        }
        assert_eq!(set.a[99], rng::normal(rng::word(9, Purpose::Data, 1, 0, 99)));
        let smaller = GaussianSet::generate(9, 10, 10).unwrap();
        assert_eq!(smaller.x, set.x[..100]);
        assert_eq!(smaller.target, set.target[..100]);
        assert_ne!(GaussianSet::generate(10, 10, 10).unwrap().x, smaller.x);
        // Unit variance: five standard errors.
        let var = set.x.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() / 1e4;
        assert!((var - 1.0).abs() < 5.0 * (2.0f64 / 1e4).sqrt());
    }

    #[test]
    fn sizes_out_of_range_are_refused_by_name() {
        let message = |samples, dim| GaussianSet::generate(0, samples, dim).unwrap_err().to_string();
        assert!(message(0, 10).starts_with("--samples: is 0"));
        assert!(message(10, 0).starts_with("--dim: is 0"));
        assert!(message(usize::MAX, 10).starts_with("--samples: "));
        assert!(message(1, usize::MAX).starts_with("--dim: "));
        assert!(message(1, 1 << 15).starts_with("--dim: "));
    }
}
