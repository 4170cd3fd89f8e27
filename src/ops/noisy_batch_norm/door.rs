//! Noisy BatchNorm's arrays: those of BatchNorm, with `seed`, `step` and `layer`, which are the key of the noise.

use super::NoisyBatchNormLayer;
use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::door::norm::NormInputs;
use crate::ops::door::{Case, Inputs, Operator, Scratch};
use crate::ops::noise::NoiseOptions;
use crate::runtime::state::StepState;

/// The counter of a draw has 24 bits for the layer and 32 for the step.
const LAYERS: u64 = (1 << 24) - 1;

/// `op noisy_batch_norm`, with the paper's noise.
pub struct Entry;

impl Operator for Entry {
    const NAME: &'static str = "noisy_batch_norm";

    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
        let given = NormInputs::take(inputs)?;
        let seed = inputs.integer("seed", i64::MAX as u64, 0)?;
        let step = inputs.integer("step", u64::from(u32::MAX), 0)?;
        let layer = inputs.integer("layer", LAYERS, 1)? as u32;
        inputs.finish(Self::NAME)?;

        let noise = NoiseOptions { layer, ..NoiseOptions::default() };
        let mut s = Scratch::new(backend);
        let state = s.state(StepState::new(seed, step, 0.0))?;
        let v = given.plan(&mut s, "var")?;
        let (shift, scale) = (s.output_like("shift", &given.x)?, s.output_like("scale", &given.x)?);
        s.commit()?;
        let (options, workspace) = (given.options, v.workspace);
        s.backend.noisy_batch_norm(noise, v.x, v.params, options, state, v.y, v.stats, workspace)?;
        s.backend.noise_draws(noise, state, shift, scale)?;
        if let Some((grad_y, grads)) = v.backward {
            let (x, params, stats) = (v.x, v.params, v.stats);
            s.backend.noisy_batch_norm_backward(noise, x, params, options, state, stats, grad_y, grads, workspace)?;
        }
        v.move_on(&NoisyBatchNormLayer { options: given.options, noise }, s.backend, Some(state))?;
        s.finish()
    }

    fn cases() -> Vec<Case> {
        super::cases::cases()
    }
}
