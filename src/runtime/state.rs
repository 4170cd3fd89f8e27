//! The values that change from step to step, in one small buffer on the device.
//!
//! A captured CUDA graph freezes every argument of every launch. So the step number, the noise key and the learning rate are not arguments. Operators
//! read them from a [`StepState`] in device memory, and one operator advances it.

use super::tensor::{DType, Shape};
use bytemuck::{Pod, Zeroable};

/// The state of a step: 32 bytes, read by operators through a handle.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct StepState {
    /// The run's seed, which together with `step` is the noise key.
    pub seed: u64,
    /// The step t; batches, noise and metrics are functions of it.
    pub step: u64,
    /// The learning rate of the update at this step.
    pub learning_rate: f64,
    /// 0 until a loss is not finite, then 1: from that moment no update changes anything, and the step does not advance.
    pub halted: u64,
}

impl StepState {
    /// The state of step `step` of a run.
    pub fn new(seed: u64, step: u64, learning_rate: f64) -> Self {
        StepState { seed, step, learning_rate, halted: 0 }
    }

    /// The index of the word that holds `step`.
    pub const STEP: usize = 1;
    /// The index of the word that holds `halted`.
    pub const HALTED: usize = 3;

    /// The shape of its buffer.
    pub fn shape() -> Shape {
        Shape::new([4])
    }

    /// The dtype of its buffer.
    pub const DTYPE: DType = DType::U64;
}
