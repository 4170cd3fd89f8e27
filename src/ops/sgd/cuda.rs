//! SGD on a device: `kernels/sgd.cu`.

use super::{Descent, Sgd};
use crate::ops::vector::Vector;
use crate::runtime::cuda::driver::{Driver, Grid, Slice, SliceMut};
use crate::runtime::cuda::{Cuda, DeviceBorrow, count, kernels};
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

/// A [`Descent`] as kernels take it.
pub struct Descending<'s> {
    /// θ
    pub theta: SliceMut<'s, f32>,
    /// v
    pub velocity: Option<SliceMut<'s, f32>>,
    /// θ rounded.
    pub operands: Option<SliceMut<'s, bf16>>,
    /// The step state.
    pub state: Slice<'s, u64>,
    /// μ and λ.
    pub by: kernels::Descending,
}

impl<'s> Descending<'s> {
    /// Resolves the vectors. Errors: they are not as long as their gradient, or the step state is none.
    pub fn of(views: &mut DeviceBorrow<'s>, grad: In, of: Descent) -> Result<Self> {
        of.check(grad)?;
        state_words("sgd", of.state.0.shape.len())?;
        Ok(Descending {
            theta: views.write::<f32>(of.theta)?,
            velocity: views.write_some::<f32>(of.velocity)?,
            operands: views.write_some::<bf16>(of.operands)?,
            state: views.read::<u64>(of.state)?,
            by: kernels::Descending { momentum: of.momentum as f32, decay: of.weight_decay as f32 },
        })
    }

    /// The update in a launch of its own.
    pub fn launch<D: Driver>(&mut self, driver: &mut D, grad: Slice<'_, f32>) -> Result<()> {
        let Descending { theta, velocity, operands, state, by } = self;
        let (grid, len) = (Grid::cover(theta.len(), 4, 256), count("sgd", theta.len())?);
        let (operands, state, kernels::Descending { momentum, decay }) = (operands.as_mut(), *state, *by);
        match velocity {
            None => kernels::SgdPlain { theta, grad, operands, state, decay, len }.launch(driver, grid),
            Some(velocity) => kernels::SgdMomentum { theta, grad, velocity, operands, state, momentum, decay, len }
                .launch(driver, grid),
        }
    }
}

impl<D: Driver> Sgd for Cuda<D> {
    fn sgd(&mut self, grad: In, of: Descent) -> Result<()> {
        // Of one type they are a copy.
        let copied = of.operands.filter(|operands| operands.0.dtype == of.theta.0.dtype);
        let of = if copied.is_some() { Descent { operands: None, ..of } } else { of };
        let (driver, mut views) = self.begin("sgd");
        let mut descending = Descending::of(&mut views, grad, of)?;
        descending.launch(driver, views.read::<f32>(grad)?)?;
        copied.map_or(Ok(()), |operands| self.copy(of.theta.into(), operands))
    }

    fn sgd_pieces(&mut self, grad: In, of: Descent, pieces: In) -> Result<()> {
        let grid = Grid::new(pieces.0.shape.len() / 2, 256);
        let (driver, mut views) = self.begin("sgd");
        let Descending { mut theta, mut velocity, mut operands, state, by } = Descending::of(&mut views, grad, of)?;
        let (grad, pieces) = (views.read::<f32>(grad)?, views.read::<u32>(pieces)?);
        let (theta, velocity, operands) = (&mut theta, velocity.as_mut(), operands.as_mut());
        kernels::SgdPieces { theta, grad, velocity, operands, state, pieces, descending: by }.launch(driver, grid)
    }

    fn advance(&mut self, state: Out) -> Result<()> {
        state_words("advance", state.0.shape.len())?;
        let (driver, mut views) = self.begin("advance");
        let mut state = views.write::<u64>(state)?;
        kernels::Advance { state: &mut state }.launch(driver, Grid::new(1, 32))
    }
}
