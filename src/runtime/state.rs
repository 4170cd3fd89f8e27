//! What changes from step to step, in one small buffer on the device.
//!
//! A captured CUDA graph freezes every argument of every launch. So the step number, the noise key and the learning rate are
//! not arguments: operators read them from a [`StepState`] in device memory, and one operator advances it.

use super::tensor::{DType, Shape};
use bytemuck::{Pod, Zeroable};

/// The state of a step: 32 bytes, read by operators through a handle.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct StepState {
    /// The run's seed: with `step`, the noise key.
    pub seed: u64,
    /// The step t; batches, noise and metrics are functions of it.
    pub step: u64,
    /// The learning rate of the update at this step.
    pub learning_rate: f64,
    /// 1 once a loss was not finite: from then on no update changes anything, and the step stays. Else 0.
    pub halted: u64,
}

impl StepState {
    /// The state of step `step` of a run.
    pub fn new(seed: u64, step: u64, learning_rate: f64) -> Self {
        StepState { seed, step, learning_rate, halted: 0 }
    }

    /// The word that is `halted`.
    pub const HALTED: usize = 3;

    /// The shape of its buffer.
    pub fn shape() -> Shape {
        Shape::new([4])
    }

    /// The dtype of its buffer.
    pub const DTYPE: DType = DType::U64;
}
