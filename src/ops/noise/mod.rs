//! Algorithm 1's noise: time-varying, non-zero-mean, non-unit-variance, drawn anew at each step.
//!
//! At each step, per layer and unit j: `μ_j ~ U(−n_μ, n_μ)`, `σ_j ~ U(1, n_σ)`; then for every sample i (each n, h, w):
//! `m_ij ~ U(μ_j − r_μ, μ_j + r_μ)`, `s_ij ~ N(σ_j, r_σ)` (r_σ its standard deviation), and
//!
//! ```text
//! y = s_ij x + m_ij  (then max(y, 0) with relu)      dx = s_ij dy
//! ```
//!
//! The noise is a pure function of (seed, step, layer, unit, sample), drawn again in backward and never stored. A sample's
//! index is `(n·H + h)·W + w`: it does not depend on the batch size or on the memory order. Draws: [`crate::runtime::rng`],
//! counter `[sample, unit / 2, step, purpose and layer]`, the unit's parity choosing two of the four words.
//!
//! After BatchNorm it is [`crate::ops::norm::batch`]; alone, where a norm would be, it is what "prevents the network from
//! training entirely" (section 2.1).

pub mod cpu;
pub mod cuda;
mod layer;

pub use layer::NoiseLayer;

use crate::Result;
use crate::runtime::tensor::{In, Out};

/// Settings of the noise; the defaults are the paper's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseOptions {
    /// n_μ
    pub mean: f32,
    /// n_σ
    pub scale: f32,
    /// r_μ = r_σ
    pub spread: f32,
    /// Which layer's noise: part of the key.
    pub layer: u32,
}

impl Default for NoiseOptions {
    fn default() -> Self {
        NoiseOptions { mean: 0.5, scale: 1.25, spread: 0.1, layer: 1 }
    }
}

/// The noise alone, on `x [H, W, N, C]`.
pub trait Noise {
    /// Writes `y = s x + m`, then the ReLU if asked for. `state` is the step state: seed and step are the key.
    fn noise(&mut self, options: NoiseOptions, relu: bool, x: In, state: In, y: Out) -> Result<()>;
    /// Writes `dx = s dy`, where the ReLU let y through.
    fn noise_backward(
        &mut self,
        options: NoiseOptions,
        relu: bool,
        x: In,
        grad_y: In,
        state: In,
        grad_x: Out,
    ) -> Result<()>;
    /// Writes the draws themselves: `shift` m_ij and `scale` s_ij, `[H, W, N, C]`.
    fn noise_draws(&mut self, options: NoiseOptions, state: In, shift: Out, scale: Out) -> Result<()>;
}
