//! Noisy BatchNorm: Algorithm 1's noise on the (affine) BatchNorm output, before the ReLU.
//!
//! `y = s_ij (γ ŷ + β) + m_ij`, then max(y, 0) with relu; backward: `s_ij · dy` (where y > 0) is BatchNorm's dy. The noise is
//! drawn inside both directions, see [`crate::ops::noise`]. Source: the paper's section 2.1 and Algorithm 1.

pub mod cases;
pub mod cpu;
mod cuda;
pub mod door;
mod layer;

pub use layer::NoisyBatchNormLayer;

use crate::Result;
use crate::ops::noise::NoiseOptions;
use crate::ops::norm::{NormGrads, NormOptions, NormParams, Statistics};
use crate::runtime::tensor::{In, Out};

/// BatchNorm and noise in one. The workspace is that of BatchNorm.
pub trait NoisyBatchNorm {
    /// Writes y and the batch's statistics. `state` is the step state: seed and step are the key of the noise.
    fn noisy_batch_norm(
        &mut self,
        noise: NoiseOptions,
        x: In,
        params: NormParams,
        options: NormOptions,
        state: In,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()>;
    /// As [`NoisyBatchNorm::noisy_batch_norm`], where the convolution before has left x's sums in the workspace.
    fn noisy_batch_norm_from_sums(
        &mut self,
        noise: NoiseOptions,
        x: In,
        params: NormParams,
        options: NormOptions,
        state: In,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()> {
        self.noisy_batch_norm(noise, x, params, options, state, y, stats, workspace)
    }
    /// Writes the gradients, from the forward's operands, the statistics it wrote, and `grad_y`.
    fn noisy_batch_norm_backward(
        &mut self,
        noise: NoiseOptions,
        x: In,
        params: NormParams,
        options: NormOptions,
        state: In,
        stats: Statistics,
        grad_y: In,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()>;
}
