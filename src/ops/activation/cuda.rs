//! Activations on a device: `kernels/activation.cu`.

use super::{Activate, Activation, TangentOperands, same};
use crate::Result;
use crate::runtime::cuda::driver::{Driver, Grid, Stored};
use crate::runtime::cuda::{Cuda, Mode, count, kernels};
use crate::runtime::tensor::{In, Out};
use half::bf16;

/// The launch grid: each thread takes eight elements.
fn grid(len: u32) -> Grid {
    Grid::cover(len as usize, 8, 256)
}

impl<D: Driver> Cuda<D> {
    fn activation_in<T: Stored>(&mut self, kind: Activation, x: In, y: Out) -> Result<()> {
        let len = count(kind.name(), x.0.shape.len())?;
        let (driver, mut views) = self.begin(kind.name());
        let (x, mut y) = (views.read::<T>(x)?, views.write::<T>(y)?);
        kernels::Activation { x, y: &mut y, kind: kind as u32, len }.launch(driver, grid(len))
    }

    fn activation_gradient_in<T: Stored>(&mut self, kind: Activation, x: In, grad_y: In, grad_x: Out) -> Result<()> {
        let len = count(kind.name(), x.0.shape.len())?;
        let (driver, mut views) = self.begin(kind.name());
        let (x, grad_y, mut grad_x) = (views.read::<T>(x)?, views.read::<T>(grad_y)?, views.write::<T>(grad_x)?);
        kernels::ActivationGradient { x, grad_y, grad_x: &mut grad_x, kind: kind as u32, len }.launch(driver, grid(len))
    }
}

impl<D: Driver> Activate for Cuda<D> {
    fn activation(&mut self, kind: Activation, x: In, y: Out) -> Result<()> {
        same(kind, x, &[y.into()])?;
        match self.mode() {
            Mode::Bf16 => self.activation_in::<bf16>(kind, x, y),
            _ => self.activation_in::<f32>(kind, x, y),
        }
    }

    fn activation_backward(&mut self, kind: Activation, x: In, grad_y: In, grad_x: Out) -> Result<()> {
        same(kind, x, &[grad_y, grad_x.into()])?;
        match self.mode() {
            Mode::Bf16 => self.activation_gradient_in::<bf16>(kind, x, grad_y, grad_x),
            _ => self.activation_gradient_in::<f32>(kind, x, grad_y, grad_x),
        }
    }

    fn activation_tangent_backward(
        &mut self,
        kind: Activation,
        of: TangentOperands,
        grad_x_tangent: Out,
    ) -> Result<()> {
        let TangentOperands { x, x_tangent, grad_y, grad_y_tangent } = of;
        same(kind, x, &[x_tangent, grad_y, grad_y_tangent, grad_x_tangent.into()])?;
        let len = count(kind.name(), x.0.shape.len())?;
        let (driver, mut views) = self.begin(kind.name());
        let (x, x_tangent) = (views.read::<f32>(x)?, views.read::<f32>(x_tangent)?);
        let (grad_y, grad_y_tangent) = (views.read::<f32>(grad_y)?, views.read::<f32>(grad_y_tangent)?);
        let grad_x_tangent = &mut views.write::<f32>(grad_x_tangent)?;
        let kind = kind as u32;
        kernels::ActivationGradientTangent { x, x_tangent, grad_y, grad_y_tangent, grad_x_tangent, kind, len }
            .launch(driver, grid(len))
    }
}
