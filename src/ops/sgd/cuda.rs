//! SGD on a device: `kernels/sgd.cu`.

use super::Sgd;
use crate::runtime::cuda::driver::{Driver, Grid};
use crate::runtime::cuda::{Cuda, count, kernels};
use crate::runtime::state::StepState;
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

fn state_words(op: &'static str, words: usize) -> Result<()> {
    match words == StepState::shape().len() {
        true => Ok(()),
        false => Err(Error::operator(op, "4 words of step state", words.to_string())),
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
        let len = theta.0.shape.len();
        if grad.0.shape.len() != len || velocity.is_some_and(|v| v.0.shape.len() != len) {
            let found = format!("theta of {len}, gradient of {}", grad.0.shape.len());
            return Err(Error::operator("sgd", "vectors of one length", found));
        }
        state_words("sgd", state.0.shape.len())?;
        let (driver, mut views) = self.begin("sgd");
        let (mut theta, grad, state) =
            (views.write::<f32>(theta)?, views.read::<f32>(grad)?, views.read::<u64>(state)?);
        let (grid, decay, count) = (Grid::cover(len, 4, 256), weight_decay as f32, count("sgd", len)?);
        match views.write_some::<f32>(velocity)? {
            None => kernels::sgd_plain(driver, grid, &mut theta, &grad, &state, decay, count),
            Some(mut velocity) => {
                let momentum = momentum as f32;
                kernels::sgd_momentum(driver, grid, &mut theta, &grad, &mut velocity, &state, momentum, decay, count)
            }
        }
    }

    fn advance(&mut self, state: Out) -> Result<()> {
        state_words("advance", state.0.shape.len())?;
        let (driver, mut views) = self.begin("advance");
        let mut state = views.write::<u64>(state)?;
        kernels::advance(driver, Grid::new(1, 32), &mut state)
    }
}
