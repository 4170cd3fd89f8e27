//! ELU and SELU on a device: `kernels/elu.cu`.

use super::cpu::same;
use super::{Constants, Elu};
use crate::Result;
use crate::runtime::cuda::driver::{Driver, Grid, Stored};
use crate::runtime::cuda::{Cuda, Mode, count, kernels};
use crate::runtime::tensor::{In, Out};
use half::bf16;

const OP: &str = "elu";

/// Eight elements a thread.
fn grid(len: u32) -> Grid {
    Grid::cover(len as usize, 8, 256)
}

impl<D: Driver> Cuda<D> {
    fn elu_in<T: Stored>(&mut self, of: Constants, x: In, y: Out) -> Result<()> {
        let len = count(OP, x.0.shape.len())?;
        let (driver, mut views) = self.begin(OP);
        let (x, mut y) = (views.read::<T>(x)?, views.write::<T>(y)?);
        kernels::elu(driver, grid(len), &x, &mut y, of.scale as f32, of.slope() as f32, len)
    }

    fn elu_gradient_in<T: Stored>(&mut self, of: Constants, x: In, grad_y: In, grad_x: Out) -> Result<()> {
        let len = count(OP, x.0.shape.len())?;
        let (driver, mut views) = self.begin(OP);
        let (x, dy, mut dx) = (views.read::<T>(x)?, views.read::<T>(grad_y)?, views.write::<T>(grad_x)?);
        kernels::elu_gradient(driver, grid(len), &x, &dy, &mut dx, of.scale as f32, of.slope() as f32, len)
    }
}

impl<D: Driver> Elu for Cuda<D> {
    fn elu(&mut self, of: Constants, x: In, y: Out) -> Result<()> {
        same(x, &[y.into()])?;
        match self.mode() {
            Mode::Bf16 => self.elu_in::<bf16>(of, x, y),
            _ => self.elu_in::<f32>(of, x, y),
        }
    }

    fn elu_backward(&mut self, of: Constants, x: In, grad_y: In, grad_x: Out) -> Result<()> {
        same(x, &[grad_y, grad_x.into()])?;
        match self.mode() {
            Mode::Bf16 => self.elu_gradient_in::<bf16>(of, x, grad_y, grad_x),
            _ => self.elu_gradient_in::<f32>(of, x, grad_y, grad_x),
        }
    }

    fn elu_tangent_backward(
        &mut self,
        of: Constants,
        x: In,
        x_tangent: In,
        grad_y: In,
        grad_y_tangent: In,
        grad_x_tangent: Out,
    ) -> Result<()> {
        same(x, &[x_tangent, grad_y, grad_y_tangent, grad_x_tangent.into()])?;
        let len = count(OP, x.0.shape.len())?;
        let (driver, mut views) = self.begin(OP);
        let (x, xt) = (views.read::<f32>(x)?, views.read::<f32>(x_tangent)?);
        let (dy, dyt) = (views.read::<f32>(grad_y)?, views.read::<f32>(grad_y_tangent)?);
        let mut out = views.write::<f32>(grad_x_tangent)?;
        let (scale, slope) = (of.scale as f32, of.slope() as f32);
        kernels::elu_gradient_tangent(driver, grid(len), &x, &xt, &dy, &dyt, &mut out, scale, slope, len)
    }
}
