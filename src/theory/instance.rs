//! Random instances: one unit on one batch, with a loss. Each is a pure function of a seed and an index.

use super::dense::{Square, moments};
use super::loss::{Family, Loss};
use crate::runtime::rng::{Purpose, draw, normal, uniform};

/// The farthest that the mean may be from 0, in standard deviations; residuals grow with it as `1e-16 |μ|/σ`.
pub const FARTHEST: f64 = 100.0;

/// The purpose of a draw; draws of different streams are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// y, γ, β and the loss.
    Instance,
    /// A layer's inputs and targets.
    Layer,
    /// The parameters of Lemma 4.5.
    Weights,
    /// The matrices X of Theorem 4.4.
    Inputs,
    /// The steps of the search for the worst instance.
    Search,
}

/// A sequence of random numbers at (seed, stream, index).
#[derive(Debug, Clone)]
pub struct Draws {
    seed: u64,
    stream: Stream,
    index: u64,
    at: u32,
}

impl Draws {
    /// The sequence, from its beginning.
    pub fn new(seed: u64, stream: Stream, index: u64) -> Draws {
        Draws { seed, stream, index, at: 0 }
    }

    /// The next random word.
    pub fn word(&mut self) -> u32 {
        let (low, high) = (self.index as u32, (self.index >> 32) as u32);
        let block = draw(self.seed, Purpose::Theory, self.stream as u32, low, self.at / 4, high);
        self.at += 1;
        block[((self.at - 1) % 4) as usize]
    }

    /// A number uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        f64::from(uniform(self.word()))
    }

    /// A standard normal number.
    pub fn normal(&mut self) -> f64 {
        f64::from(normal(self.word()))
    }

    /// `len` standard normal numbers.
    pub fn normals(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| self.normal()).collect()
    }

    /// A number from 1/`most` to `most`, uniform in its logarithm.
    pub fn magnitude(&mut self, most: f64) -> f64 {
        most.powf(2.0 * self.uniform() - 1.0)
    }
}

/// One unit on one batch of m samples: `L̂(y) = L(γ ŷ + β)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// The norm's input, `[m]`.
    pub y: Vec<f64>,
    /// γ
    pub gamma: f64,
    /// β
    pub beta: f64,
    /// L
    pub loss: Loss,
    /// The ratio ε/σ² for the statements with ε > 0.
    pub floor: f64,
    /// The seed that the instance was drawn from; its layers and weights are drawn from it too.
    pub seed: u64,
    /// Its index.
    pub index: u64,
}

impl Instance {
    /// Instance number `index` of `seed`, with m samples (m ≥ 2), and a loss of one family or of all families in turn.
    ///
    /// σ and γ lie in [1/10, 10], |μ| ≤ 100 σ, β is a few γ, and targets are scattered around z. At m = 2, where every v is 0 and residuals are
    /// absolute, all quantities are of order 1: σ and γ lie in [1/2, 2], and |μ| ≤ σ.
    pub fn draw(seed: u64, index: u64, m: usize, family: Option<Family>) -> Instance {
        let mut draws = Draws::new(seed, Stream::Instance, index);
        let family = family.unwrap_or(Family::ALL[(index % 5) as usize]);
        let (range, farthest) = if m == 2 { (2.0, 1.0) } else { (10.0, FARTHEST) };
        let sigma = draws.magnitude(range);
        let gamma = draws.magnitude(range);
        let beta = gamma * draws.normal();
        // Means near 0 are the common ones.
        let mean = farthest * (2.0 * draws.uniform() - 1.0).powi(5);
        let floor = draws.magnitude(10.0);
        let raw = draws.normals(m);
        let (centre, variance) = moments(&raw);
        let y = raw.iter().map(|y| sigma * ((y - centre) / variance.sqrt() + mean)).collect();
        let loss = loss(&mut draws, family, m, gamma, beta);
        Instance { y, gamma, beta, loss, floor, seed, index }
    }

    /// An instance with the given numbers; ε/σ² is 1 where it is needed.
    pub fn given(y: &[f64], gamma: f64, beta: f64, loss: Loss) -> Instance {
        Instance { y: y.to_vec(), gamma, beta, loss, floor: 1.0, seed: 0, index: 0 }
    }

    /// A neighbouring instance: each number changes by about the fraction `size`. None if the neighbour is outside the range of drawn instances.
    pub fn neighbour(&self, draws: &mut Draws, size: f64) -> Option<Instance> {
        let mut moved = self.clone();
        let (mean, variance) = moments(&self.y);
        let shift = 1.0 + size * draws.normal();
        for y in &mut moved.y {
            *y = (*y - mean) + mean * shift + size * variance.sqrt() * draws.normal();
        }
        moved.gamma *= (size * draws.normal()).exp();
        moved.beta += size * self.gamma * draws.normal();
        moved.floor *= (size * draws.normal()).exp();
        let (mean, variance) = moments(&moved.y);
        let near = if self.y.len() == 2 { 1.0 } else { FARTHEST };
        let within = |x: f64, most: f64| (1.0 / most..=most).contains(&x);
        let range = if self.y.len() == 2 { 2.0 } else { 10.0 };
        let inside = mean.abs() <= near * variance.sqrt()
            && within(variance.sqrt(), range)
            && within(moved.gamma, range)
            && within(moved.floor, 10.0)
            && (moved.beta / moved.gamma).abs() <= 10.0;
        inside.then_some(moved)
    }
}

fn loss(draws: &mut Draws, family: Family, m: usize, gamma: f64, beta: f64) -> Loss {
    let spread = draws.magnitude(2.0);
    let mut target = || draws.normals(m).into_iter().map(|n| beta + gamma * spread * n).collect::<Vec<_>>();
    match family {
        Family::Quadratic => {
            let target = target();
            if draws.word().is_multiple_of(8) {
                let size = draws.magnitude(4.0);
                return Loss::Quadratic { matrix: Square::new(m, |i, k| if i == k { size } else { 0.0 }), target };
            }
            // Of any rank.
            let rank = 1 + draws.word() as usize % m;
            let root = draws.normals(m * rank);
            let entry = |i: usize, k: usize| (0..rank).map(|r| root[i * rank + r] * root[k * rank + r]).sum::<f64>();
            Loss::Quadratic { matrix: Square::new(m, |i, k| entry(i, k) / rank as f64), target }
        }
        Family::Indefinite => {
            let target = target();
            let entries = draws.normals(m * m);
            let matrix = Square::new(m, |i, k| 0.5 * (entries[i * m + k] + entries[k * m + i]));
            Loss::Quadratic { matrix, target }
        }
        Family::Linear => Loss::Linear { slope: draws.normals(m) },
        Family::LogSumExp => {
            let target = target();
            let slope = draws.normals(m).iter().map(|n| n.abs() / m as f64).collect();
            Loss::LogSumExp { sharpness: draws.magnitude(4.0) / gamma, target, slope }
        }
        Family::Quartic => {
            let target = target();
            Loss::Quartic { target, weights: draws.normals(m) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_a_function_of_seed_and_index() {
        let of = |seed, index| Instance::draw(seed, index, 6, None);
        assert_eq!(of(1, 1 << 40), of(1, 1 << 40));
        assert_ne!(of(1, 7).y, of(2, 7).y);
        assert_ne!(of(1, 7).y, of(1, 7 + (1 << 32)).y);
        for index in 0..500 {
            let (mean, variance) = moments(&of(4, index).y);
            assert!(mean.abs() <= FARTHEST * variance.sqrt() * (1.0 + 1e-9), "{index}");
        }
    }
}
