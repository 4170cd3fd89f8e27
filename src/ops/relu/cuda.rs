//! ReLU on a device: `kernels/pointwise.cu`.

use super::Relu;
use crate::runtime::cuda::driver::{Driver, Grid, Stored};
use crate::runtime::cuda::{Cuda, Mode, count, kernels};
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};
use half::bf16;

fn same(a: In, b: In) -> Result<u32> {
    if a.0.shape.len() == b.0.shape.len() {
        return count("relu", a.0.shape.len());
    }
    Err(Error::operator("relu", format!("{} like x", a.0.shape), format!("{}", b.0.shape)))
}

impl<D: Driver> Cuda<D> {
    fn relu_in<T: Stored>(&mut self, x: In, y: Out) -> Result<()> {
        let len = same(x, y.into())?;
        let (driver, mut views) = self.begin("relu");
        let (x, mut y) = (views.read::<T>(x)?, views.write::<T>(y)?);
        kernels::relu(driver, Grid::cover(len as usize, 8, 256), &x, &mut y, len)
    }

    fn relu_gradient_in<T: Stored>(&mut self, x: In, grad_y: In, grad_x: Out) -> Result<()> {
        let len = same(x, grad_y)?.min(same(x, grad_x.into())?);
        let (driver, mut views) = self.begin("relu");
        let (x, dy, mut dx) = (views.read::<T>(x)?, views.read::<T>(grad_y)?, views.write::<T>(grad_x)?);
        kernels::relu_gradient(driver, Grid::cover(len as usize, 8, 256), &x, &dy, &mut dx, len)
    }
}

impl<D: Driver> Relu for Cuda<D> {
    fn relu(&mut self, x: In, y: Out) -> Result<()> {
        match self.mode() {
            Mode::Bf16 => self.relu_in::<bf16>(x, y),
            _ => self.relu_in::<f32>(x, y),
        }
    }

    fn relu_backward(&mut self, x: In, grad_y: In, grad_x: Out) -> Result<()> {
        match self.mode() {
            Mode::Bf16 => self.relu_gradient_in::<bf16>(x, grad_y, grad_x),
            _ => self.relu_gradient_in::<f32>(x, grad_y, grad_x),
        }
    }
}
