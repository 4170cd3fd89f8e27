//! Algorithm 1's noise: time-varying, with non-zero mean and non-unit variance, drawn anew at each step.
//!
//! At each step, per layer and unit j: `μ_j ~ U(−n_μ, n_μ)`, `σ_j ~ U(1, n_σ)`; then for every sample i (each n, h, w):
//! `m_ij ~ U(μ_j − r_μ, μ_j + r_μ)`, `s_ij ~ N(σ_j, r_σ)` (r_σ its standard deviation), and
//!
//! ```text
//! y = s_ij x + m_ij  (then max(y, 0) with relu)      dx = s_ij dy
//! ```
//!
//! The noise is a pure function of (seed, step, layer, unit, sample). It is drawn again in the backward pass and never stored. A sample's index is
//! `(n·H + h)·W + w`, which depends neither on the batch size nor on the memory order. The draws come from [`crate::runtime::rng`] with the counter
//! `[sample, unit / 2, step, purpose and layer]`; the unit's parity chooses two of the four words.
//!
//! [`crate::ops::norm::batch`] has the noise after BatchNorm. The noise alone, in the place of a norm, is what "prevents the network from training
//! entirely" (section 2.1).

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
    /// The number of the layer whose noise this is; part of the key.
    pub layer: u32,
}

impl Default for NoiseOptions {
    fn default() -> Self {
        NoiseOptions { mean: 0.5, scale: 1.25, spread: 0.1, layer: 1 }
    }
}

/// The noise alone, on `x [H, W, N, C]`.
pub trait Noise {
    /// Writes `y = s x + m`, followed by the ReLU if `relu` is set. `state` is the step state, whose seed and step are the key.
    fn noise(&mut self, options: NoiseOptions, relu: bool, x: In, state: In, y: Out) -> Result<()>;
    /// Writes `dx = s dy` where the ReLU let y through, and 0 elsewhere.
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
