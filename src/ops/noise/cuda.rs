//! The noise on a device: `kernels/noise.cu`.

use super::{Noise, NoiseOptions};
use crate::ops::launch_grid::ColumnGrid;
use crate::runtime::cuda::driver::{Driver, Stored};
use crate::runtime::cuda::{Cuda, Mode, count, kernels};
use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};
use half::bf16;

fn same(shapes: &[Shape]) -> Result<()> {
    match shapes.windows(2).find(|pair| pair[0] != pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Error::operator("noise", "tensors of one shape", format!("{} and {}", pair[0], pair[1]))),
    }
}

/// The grid of a pass that draws noise, and N.
pub fn grid(op: &'static str, x: Shape) -> Result<(ColumnGrid, u32)> {
    Ok((ColumnGrid::pairs(op, x)?, count(op, x.hwnc()[2])?))
}

impl From<NoiseOptions> for kernels::NoiseOptions {
    fn from(NoiseOptions { mean, scale, spread, layer }: NoiseOptions) -> Self {
        kernels::NoiseOptions { mean, scale, spread, layer }
    }
}

impl<D: Driver> Cuda<D> {
    fn noise_in<T: Stored>(&mut self, options: NoiseOptions, relu: bool, x: In, state: In, y: Out) -> Result<()> {
        let (at, batch) = grid("noise", x.0.shape)?;
        let ColumnGrid { grid, matrix, .. } = at;
        let (driver, mut views) = self.begin("noise");
        let (x, state, mut y) = (views.read::<T>(x)?, views.read::<u64>(state)?, views.write::<T>(y)?);
        let relu = u32::from(relu);
        kernels::Noise { x, state, y: &mut y, relu, batch, noise: options.into(), matrix }.launch(driver, grid)
    }

    fn noise_gradient_in<T: Stored>(
        &mut self,
        options: NoiseOptions,
        relu: bool,
        x: In,
        grad_y: In,
        state: In,
        grad_x: Out,
    ) -> Result<()> {
        let (at, batch) = grid("noise", x.0.shape)?;
        let ColumnGrid { grid, matrix, .. } = at;
        let (driver, mut views) = self.begin("noise");
        let (x, dy, state) = (views.read::<T>(x)?, views.read::<T>(grad_y)?, views.read::<u64>(state)?);
        let (mut dx, relu) = (views.write::<T>(grad_x)?, u32::from(relu));
        kernels::NoiseGradient { x, grad_y: dy, state, grad_x: &mut dx, relu, batch, noise: options.into(), matrix }
            .launch(driver, grid)
    }

    fn noise_draws_in<T: Stored>(&mut self, options: NoiseOptions, state: In, shift: Out, scale: Out) -> Result<()> {
        let (at, batch) = grid("noise", shift.0.shape)?;
        let ColumnGrid { grid, matrix, .. } = at;
        let (driver, mut views) = self.begin("noise");
        let (state, mut shift, mut scale) =
            (views.read::<u64>(state)?, views.write::<T>(shift)?, views.write::<T>(scale)?);
        kernels::NoiseDraws { state, shift: &mut shift, drawn_scale: &mut scale, batch, noise: options.into(), matrix }
            .launch(driver, grid)
    }
}

impl<D: Driver> Noise for Cuda<D> {
    fn noise(&mut self, options: NoiseOptions, relu: bool, x: In, state: In, y: Out) -> Result<()> {
        same(&[x.0.shape, y.0.shape])?;
        match self.mode() {
            Mode::Bf16 => self.noise_in::<bf16>(options, relu, x, state, y),
            _ => self.noise_in::<f32>(options, relu, x, state, y),
        }
    }

    fn noise_backward(
        &mut self,
        options: NoiseOptions,
        relu: bool,
        x: In,
        grad_y: In,
        state: In,
        grad_x: Out,
    ) -> Result<()> {
        same(&[x.0.shape, grad_y.0.shape, grad_x.0.shape])?;
        match self.mode() {
            Mode::Bf16 => self.noise_gradient_in::<bf16>(options, relu, x, grad_y, state, grad_x),
            _ => self.noise_gradient_in::<f32>(options, relu, x, grad_y, state, grad_x),
        }
    }

    fn noise_draws(&mut self, options: NoiseOptions, state: In, shift: Out, scale: Out) -> Result<()> {
        same(&[shift.0.shape, scale.0.shape])?;
        match self.mode() {
            Mode::Bf16 => self.noise_draws_in::<bf16>(options, state, shift, scale),
            _ => self.noise_draws_in::<f32>(options, state, shift, scale),
        }
    }
}
