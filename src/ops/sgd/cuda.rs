//! SGD on a device: `kernels/sgd.cu`.

use super::Sgd;
use crate::ops::vector::Vector;
use crate::runtime::cuda::driver::{Driver, Grid};
use crate::runtime::cuda::{Cuda, count, kernels};
use crate::runtime::state::StepState;
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};
use half::bf16;

fn state_words(op: &'static str, words: usize) -> Result<()> {
    match words == StepState::shape().len() {
        true => Ok(()),
        false => Err(Error::operator(op, "4 words of step state", words.to_string())),
    }
}

fn same_length(theta: Out, grad: In, others: [Option<Out>; 2]) -> Result<usize> {
    let len = theta.0.shape.len();
    match grad.0.shape.len() == len && others.iter().flatten().all(|of| of.0.shape.len() == len) {
        true => Ok(len),
        false => {
            let found = format!("theta of {len}, gradient of {}", grad.0.shape.len());
            Err(Error::operator("sgd", "vectors of one length", found))
        }
    }
}

impl<D: Driver> Cuda<D> {
    fn update(
        &mut self,
        (theta, grad, velocity): (Out, In, Option<Out>),
        operands: Option<Out>,
        momentum: f64,
        weight_decay: f64,
        state: In,
    ) -> Result<()> {
        let len = same_length(theta, grad, [velocity, operands])?;
        state_words("sgd", state.0.shape.len())?;
        let (driver, mut views) = self.begin("sgd");
        let (mut theta, grad, state) =
            (views.write::<f32>(theta)?, views.read::<f32>(grad)?, views.read::<u64>(state)?);
        let (velocity, mut operands) = (views.write_some::<f32>(velocity)?, views.write_some::<bf16>(operands)?);
        let (grid, decay, count) = (Grid::cover(len, 4, 256), weight_decay as f32, count("sgd", len)?);
        let operands = operands.as_mut();
        match velocity {
            None => {
                kernels::SgdPlain { theta: &mut theta, grad, operands, state, decay, len: count }.launch(driver, grid)
            }
            Some(mut v) => {
                let momentum = momentum as f32;
                kernels::SgdMomentum {
                    theta: &mut theta,
                    grad,
                    velocity: &mut v,
                    operands,
                    state,
                    momentum,
                    decay,
                    len: count,
                }
                .launch(driver, grid)
            }
        }
    }
}

impl<D: Driver> Sgd for Cuda<D> {
    fn sgd(
        &mut self,
        theta: Out,
        grad: In,
        velocity: Option<Out>,
        momentum: f64,
        weight_decay: f64,
        state: In,
    ) -> Result<()> {
        self.update((theta, grad, velocity), None, momentum, weight_decay, state)
    }

    fn sgd_recast(
        &mut self,
        theta: Out,
        grad: In,
        velocity: Option<Out>,
        operands: Out,
        momentum: f64,
        weight_decay: f64,
        state: In,
    ) -> Result<()> {
        if operands.0.dtype == theta.0.dtype {
            self.update((theta, grad, velocity), None, momentum, weight_decay, state)?;
            return self.copy(theta.into(), operands);
        }
        self.update((theta, grad, velocity), Some(operands), momentum, weight_decay, state)
    }

    fn sgd_pieces(
        &mut self,
        theta: Out,
        grad: In,
        velocity: Option<Out>,
        operands: Out,
        pieces: In,
        momentum: f64,
        weight_decay: f64,
        state: In,
    ) -> Result<()> {
        same_length(theta, grad, [velocity, Some(operands)])?;
        state_words("sgd", state.0.shape.len())?;
        let (driver, mut views) = self.begin("sgd");
        let (mut theta, grad) = (views.write::<f32>(theta)?, views.read::<f32>(grad)?);
        let (mut velocity, mut operands) = (views.write_some::<f32>(velocity)?, views.write::<bf16>(operands)?);
        let grid = Grid::new(pieces.0.shape.len() / 2, 256);
        let (pieces, state) = (views.read::<u32>(pieces)?, views.read::<u64>(state)?);
        let (momentum, decay) = (momentum as f32, weight_decay as f32);
        let (velocity, operands) = (velocity.as_mut(), Some(&mut operands));
        kernels::SgdPieces { theta: &mut theta, grad, velocity, operands, state, pieces, momentum, decay }
            .launch(driver, grid)
    }

    fn advance(&mut self, state: Out) -> Result<()> {
        state_words("advance", state.0.shape.len())?;
        let (driver, mut views) = self.begin("advance");
        let mut state = views.write::<u64>(state)?;
        kernels::Advance { state: &mut state }.launch(driver, Grid::new(1, 32))
    }
}
