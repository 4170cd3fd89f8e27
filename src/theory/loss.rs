//! Losses of one unit's outputs: value, gradient and Hessian, written out by hand.

use super::dense::{Square, dot};

/// A kind of loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `½ (z − t)ᵀA(z − t)` with A positive semidefinite; in one case out of eight, A is a multiple of I.
    Quadratic,
    /// The same, with A any symmetric matrix.
    Indefinite,
    /// `⟨c, z⟩`
    Linear,
    /// `log Σ exp(s (z − t)) / s − ⟨c, z⟩`
    LogSumExp,
    /// `¼ ‖z − t‖⁴ + ¼ Σ k (z − t)⁴`, with k of either sign.
    Quartic,
}

impl Family {
    /// All families.
    pub const ALL: [Family; 5] =
        [Family::Quadratic, Family::Indefinite, Family::Linear, Family::LogSumExp, Family::Quartic];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Family::Quadratic => "quadratic",
            Family::Indefinite => "indefinite",
            Family::Linear => "linear",
            Family::LogSumExp => "logsumexp",
            Family::Quartic => "quartic",
        }
    }
}

/// A loss L of z. Every vector is as long as z.
#[derive(Debug, Clone, PartialEq)]
pub enum Loss {
    /// `½ (z − t)ᵀA(z − t)`
    Quadratic {
        /// A, a symmetric matrix.
        matrix: Square,
        /// t
        target: Vec<f64>,
    },
    /// `⟨c, z⟩`
    Linear {
        /// c
        slope: Vec<f64>,
    },
    /// `log Σ exp(s (z − t)) / s − ⟨c, z⟩`
    LogSumExp {
        /// s > 0
        sharpness: f64,
        /// t
        target: Vec<f64>,
        /// c
        slope: Vec<f64>,
    },
    /// `¼ ‖z − t‖⁴ + ¼ Σ k (z − t)⁴`
    Quartic {
        /// t
        target: Vec<f64>,
        /// k
        weights: Vec<f64>,
    },
}

fn minus(z: &[f64], t: &[f64]) -> Vec<f64> {
    z.iter().zip(t).map(|(z, t)| z - t).collect()
}

/// The shares `exp(s (z − t)) / Σ`, and `log Σ exp(s (z − t))`.
fn shares(z: &[f64], target: &[f64], sharpness: f64) -> (Vec<f64>, f64) {
    let powers: Vec<f64> = z.iter().zip(target).map(|(z, t)| sharpness * (z - t)).collect();
    let top = powers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let parts: Vec<f64> = powers.iter().map(|p| (p - top).exp()).collect();
    let sum: f64 = parts.iter().sum();
    (parts.iter().map(|p| p / sum).collect(), top + sum.ln())
}

impl Loss {
    /// L(z)
    pub fn value(&self, z: &[f64]) -> f64 {
        match self {
            Loss::Quadratic { matrix, target } => 0.5 * matrix.form(&minus(z, target)),
            Loss::Linear { slope } => dot(slope, z),
            Loss::LogSumExp { sharpness, target, slope } => shares(z, target, *sharpness).1 / sharpness - dot(slope, z),
            Loss::Quartic { target, weights } => {
                let d = minus(z, target);
                0.25 * dot(&d, &d).powi(2) + 0.25 * d.iter().zip(weights).map(|(d, k)| k * d.powi(4)).sum::<f64>()
            }
        }
    }

    /// ∂L/∂z
    pub fn gradient(&self, z: &[f64]) -> Vec<f64> {
        match self {
            Loss::Quadratic { matrix, target } => matrix.apply(&minus(z, target)),
            Loss::Linear { slope } => slope.clone(),
            Loss::LogSumExp { sharpness, target, slope } => minus(&shares(z, target, *sharpness).0, slope),
            Loss::Quartic { target, weights } => {
                let d = minus(z, target);
                let square = dot(&d, &d);
                d.iter().zip(weights).map(|(d, k)| d * (square + k * d * d)).collect()
            }
        }
    }

    /// ∂²L/∂z²
    pub fn hessian(&self, z: &[f64]) -> Square {
        let n = z.len();
        match self {
            Loss::Quadratic { matrix, .. } => matrix.clone(),
            Loss::Linear { .. } => Square::new(n, |_, _| 0.0),
            Loss::LogSumExp { sharpness, target, .. } => {
                let p = shares(z, target, *sharpness).0;
                Square::new(n, |i, k| sharpness * (if i == k { p[i] } else { 0.0 } - p[i] * p[k]))
            }
            Loss::Quartic { target, weights } => {
                let d = minus(z, target);
                let square = dot(&d, &d);
                let own = |i: usize| square + 3.0 * weights[i] * d[i] * d[i];
                Square::new(n, |i, k| if i == k { own(i) } else { 0.0 } + 2.0 * d[i] * d[k])
            }
        }
    }

    /// The same loss multiplied by `factor`.
    pub fn times(&self, factor: f64) -> Option<Loss> {
        match self {
            Loss::Quadratic { matrix, target } => Some(Loss::Quadratic {
                matrix: Square::new(matrix.rows(), |i, k| factor * matrix.at(i, k)),
                target: target.clone(),
            }),
            Loss::Linear { slope } => Some(Loss::Linear { slope: slope.iter().map(|c| factor * c).collect() }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::instance::Instance;
    use super::*;

    #[test]
    fn gradients_and_hessians_are_the_values_slopes() {
        for (at, family) in Family::ALL.into_iter().enumerate() {
            let of = Instance::draw(3, at as u64, 5, Some(family));
            let z: Vec<f64> = (0..5).map(|i| of.beta + of.gamma * (f64::from(i) - 2.2)).collect();
            let (g, h) = (of.loss.gradient(&z), of.loss.hessian(&z));
            let step = 1e-5 * of.gamma;
            for k in 0..5 {
                let moved = |by: f64| {
                    let mut z = z.clone();
                    z[k] += by;
                    z
                };
                let (up, down) = (moved(step), moved(-step));
                let slope = (of.loss.value(&up) - of.loss.value(&down)) / (2.0 * step);
                let size = 1e-6 * (g.iter().map(|g| g.abs()).sum::<f64>() + of.loss.value(&z).abs() / of.gamma);
                assert!((slope - g[k]).abs() <= size, "{family:?} {k}: {slope} for {}", g[k]);
                let (up, down) = (of.loss.gradient(&up), of.loss.gradient(&down));
                for i in 0..5 {
                    let slope = (up[i] - down[i]) / (2.0 * step);
                    let size = 1e-6 * (h.norm() + g[i].abs() / of.gamma);
                    assert!((slope - h.at(i, k)).abs() <= size, "{family:?} {i} {k}: {slope} for {}", h.at(i, k));
                }
            }
        }
    }
}
