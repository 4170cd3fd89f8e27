//! Squared error on a device: `kernels/loss.cu`.

use super::SquaredError;
use super::cpu::same;
use crate::ops::cross_entropy::LossOut;
use crate::runtime::cuda::driver::{Driver, Grid, Stored};
use crate::runtime::cuda::{Cuda, Mode, count, kernels};
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};
use half::bf16;

const OP: &str = "squared_error";

impl<D: Driver> Cuda<D> {
    fn squared_error_in<T: Stored>(&mut self, scale: f64, x: In, target: In, out: LossOut) -> Result<()> {
        let (n, columns) = x.0.shape.matrix();
        let len = x.0.shape.len();
        let fits = target.0.shape.len() == len && out.sample.0.shape.len() == n && len > 0;
        if !fits || out.grad.is_some_and(|g| g.0.shape.len() != len) {
            let found = format!("x of {len} and target of {} elements", target.0.shape.len());
            return Err(Error::operator(OP, "x and target of one shape, not empty", found));
        }
        let tickets = self.tickets();
        let (driver, mut views) = self.begin(OP);
        let (x, target, mut samples) = (views.read::<T>(x)?, views.read::<T>(target)?, views.write::<f64>(out.sample)?);
        let (mut loss, mut correct) = (views.write::<f64>(out.loss)?, views.write::<f64>(out.correct)?);
        let (mut grad, mut tickets) = (views.write_some::<T>(out.grad)?, views.write::<u32>(tickets)?);
        let (n, columns) = (count(OP, n)?, count(OP, columns)?);
        let grid = Grid::new((n as usize).div_ceil(4), 128);
        kernels::SquaredError {
            x,
            target,
            sample: &mut samples,
            loss: &mut loss,
            correct: &mut correct,
            grad: grad.as_mut(),
            tickets: &mut tickets.first(1),
            scale,
            samples: n,
            columns,
        }
        .launch(driver, grid)
    }
}

impl<D: Driver> SquaredError for Cuda<D> {
    fn squared_error(&mut self, scale: f64, x: In, target: In, out: LossOut) -> Result<()> {
        match self.mode() {
            Mode::Bf16 => self.squared_error_in::<bf16>(scale, x, target, out),
            _ => self.squared_error_in::<f32>(scale, x, target, out),
        }
    }

    fn squared_error_tangent(&mut self, scale: f64, x_tangent: In, grad_tangent: Out) -> Result<()> {
        same(x_tangent, grad_tangent)?;
        let len = count(OP, x_tangent.0.shape.len())?;
        let grid = Grid::cover(len as usize, 8, 256);
        let (driver, mut views) = self.begin(OP);
        let (xt, mut out) = (views.read::<f32>(x_tangent)?, views.write::<f32>(grad_tangent)?);
        kernels::SquaredErrorTangent { x_tangent: xt, grad_tangent: &mut out, scale, len }.launch(driver, grid)
    }
}
