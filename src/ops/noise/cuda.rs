//! The noise on a device: `kernels/noise.cu`, and `kernels/noise_wide.cu` for rows of whole vectors.

use super::{Noise, NoiseOptions};
use crate::ops::implicit_gemm::aligned;
use crate::ops::launch_grid::{ColumnGrid, counted_in_32_bits};
use crate::runtime::cuda::driver::{Driver, Region, Stored};
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

/// The grid of a pass over `tensors` of this shape, and whether the pass is wide.
fn grid<T: Stored>(x: Shape, tensors: &[Region]) -> Result<(ColumnGrid, bool)> {
    let wide = aligned::<T>(tensors, &[x.matrix().1]) == 1 && counted_in_32_bits::<T>(x);
    let at = if wide { ColumnGrid::wide_each::<T>("noise", x) } else { ColumnGrid::pairs("noise", x) };
    Ok((at?, wide))
}

/// N.
fn batch(x: Shape) -> Result<u32> {
    count("noise", x.hwnc()[2])
}

impl From<NoiseOptions> for kernels::NoiseOptions {
    fn from(NoiseOptions { mean, scale, spread, layer }: NoiseOptions) -> Self {
        kernels::NoiseOptions { mean, scale, spread, layer }
    }
}

impl<D: Driver> Cuda<D> {
    fn noise_in<T: Stored>(&mut self, options: NoiseOptions, relu: bool, x: In, state: In, y: Out) -> Result<()> {
        let (shape, batch) = (x.0.shape, batch(x.0.shape)?);
        let (driver, mut views) = self.begin("noise");
        let (x, state, mut y) = (views.read::<T>(x)?, views.read::<u64>(state)?, views.write::<T>(y)?);
        let (ColumnGrid { grid, matrix, .. }, wide) = grid::<T>(shape, &[x.region, y.region])?;
        let (y, relu, noise) = (&mut y, u32::from(relu), options.into());
        if wide {
            kernels::NoiseWide { x, state, y, relu, batch, noise, matrix }.launch(driver, grid)
        } else {
            kernels::Noise { x, state, y, relu, batch, noise, matrix }.launch(driver, grid)
        }
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
        let (shape, batch) = (x.0.shape, batch(x.0.shape)?);
        let (driver, mut views) = self.begin("noise");
        let (x, grad_y, state) = (views.read::<T>(x)?, views.read::<T>(grad_y)?, views.read::<u64>(state)?);
        let mut grad_x = views.write::<T>(grad_x)?;
        let (ColumnGrid { grid, matrix, .. }, wide) = grid::<T>(shape, &[x.region, grad_y.region, grad_x.region])?;
        let (grad_x, relu, noise) = (&mut grad_x, u32::from(relu), options.into());
        if wide {
            kernels::NoiseGradientWide { x, grad_y, state, grad_x, relu, batch, noise, matrix }.launch(driver, grid)
        } else {
            kernels::NoiseGradient { x, grad_y, state, grad_x, relu, batch, noise, matrix }.launch(driver, grid)
        }
    }

    fn noise_draws_in<T: Stored>(&mut self, options: NoiseOptions, state: In, shift: Out, scale: Out) -> Result<()> {
        let (ColumnGrid { grid, matrix, .. }, batch) =
            (ColumnGrid::pairs("noise", shift.0.shape)?, batch(shift.0.shape)?);
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
