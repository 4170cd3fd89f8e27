//! The arrays of weight normalisation: `direction[K,…] gain[K] grad_weight?`. If the file holds any of `tangent_direction`, `tangent_gain` and
//! `tangent_grad_weight`, the tangents of the results come out too.
//!
//! The gain may also have PyTorch's shape, with an axis of 1 for each further axis of the direction: `[K,1,1,1]` or `[K,1]`. Its gradient has the
//! same shape as the gain that was supplied.

use super::layered::check_tangents;
use super::{Cases, Extents, Inputs, Layout, Operator, Scratch, Tensor};
use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::weight_norm::{self, Parts, PartsOut};
use crate::runtime::slots::{FileOrder, gain_shape};

/// `op weight_norm`
pub struct WeightNorm;

/// Units are the outermost axis outside and the innermost inside; the order of the weights within a unit does not matter.
const LAYOUT: Layout = Layout::Parameter(FileOrder::Linear);

impl Operator for WeightNorm {
    const NAME: &'static str = "weight_norm";
    const CASES: Cases = weight_norm::cases::CASES;

    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
        let direction = inputs.tensor("direction", LAYOUT, Extents::Any)?;
        let like = Extents::Exact(&direction.shape);
        let pytorchs = gain_shape(direction.shape[0], direction.shape.len());
        let of_gain = Extents::Either(&pytorchs, &direction.shape[..1]);
        let gain = inputs.tensor("gain", Layout::Plain, of_gain)?;
        let grad_weight = inputs.optional("grad_weight", LAYOUT, like)?;
        let moving_direction = inputs.optional("tangent_direction", LAYOUT, like)?;
        let moving_gain = inputs.optional("tangent_gain", Layout::Plain, of_gain)?;
        let moving_grad = match &grad_weight {
            Some(_) => inputs.optional("tangent_grad_weight", LAYOUT, like)?,
            None => None,
        };
        inputs.finish(Self::NAME)?;
        let moves = moving_direction.is_some() || moving_gain.is_some() || moving_grad.is_some();
        if moves {
            check_tangents(backend)?;
        }
        let or_zero = |given: Option<Tensor>, of: &Tensor| given.unwrap_or_else(|| of.zero());
        let (moving_direction, moving_gain) = (or_zero(moving_direction, &direction), or_zero(moving_gain, &gain));
        let moving_grad = or_zero(moving_grad, &direction);

        let mut s = Scratch::new(backend);
        let of = Parts { direction: s.parameter(&direction)?, gain: s.parameter(&gain)? };
        let weight = s.output_like("weight", &direction)?;
        let backward = match &grad_weight {
            None => None,
            Some(grad_weight) => {
                let direction = s.output_like("grad_direction", &direction)?;
                let gain = s.output_like("grad_gain", &gain)?;
                Some((s.parameter(grad_weight)?, PartsOut { direction, gain }))
            }
        };
        let tangents = match moves {
            false => None,
            true => {
                let moving = Parts { direction: s.parameter(&moving_direction)?, gain: s.parameter(&moving_gain)? };
                let to = s.output_like("tangent_weight", &direction)?;
                let back = match backward {
                    None => None,
                    Some((grad_weight, _)) => {
                        let moved = s.parameter(&moving_grad)?;
                        let direction = s.output_like("tangent_grad_direction", &direction)?;
                        let gain = s.output_like("tangent_grad_gain", &gain)?;
                        Some(((grad_weight, moved), PartsOut { direction, gain }))
                    }
                };
                Some((moving, to, back))
            }
        };
        s.commit()?;
        s.backend.weight_norm(of, weight)?;
        if let Some((grad_weight, grads)) = backward {
            s.backend.weight_norm_backward(of, grad_weight, grads)?;
        }
        if let Some((moving, to, back)) = tangents {
            s.backend.weight_norm_tangent(of, moving, to)?;
            if let Some((grad_weight, grads)) = back {
                s.backend.weight_norm_tangent_backward(of, moving, grad_weight, grads)?;
            }
        }
        s.finish()
    }
}
