//! 2×2 max-pooling on a device: `kernels/pointwise.cu`.

use super::{MaxPool2d, pooled};
use crate::runtime::cuda::driver::{Driver, Grid, Stored};
use crate::runtime::cuda::{Cuda, Mode, count, kernels};
use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};
use half::bf16;

/// H, W and N·C of the input. Errors: `y` does not have the pooled shape.
fn extents(x: Shape, y: Shape) -> Result<[u32; 3]> {
    let expected = pooled(x)?;
    if expected.hwnc() != y.hwnc() {
        return Err(Error::operator("max_pool2d", format!("{expected}"), format!("{y}")));
    }
    count("max_pool2d", x.len())?;
    let [h, w, n, c] = x.hwnc();
    Ok([count("max_pool2d", h)?, count("max_pool2d", w)?, count("max_pool2d", n * c)?])
}

impl<D: Driver> Cuda<D> {
    fn max_pool_in<T: Stored>(&mut self, x: In, y: Out) -> Result<()> {
        let [_, width, pixel] = extents(x.0.shape, y.0.shape)?;
        let len = count("max_pool2d", y.0.shape.len())?;
        let (driver, mut views) = self.begin("max_pool2d");
        let (x, mut y) = (views.read::<T>(x)?, views.write::<T>(y)?);
        kernels::MaxPool { x, y: &mut y, width, pixel, len }.launch(driver, Grid::cover(len as usize, 4, 256))
    }

    fn max_pool_gradient_in<T: Stored>(&mut self, x: In, grad_y: In, grad_x: Out) -> Result<()> {
        let [height, width, pixel] = extents(x.0.shape, grad_y.0.shape)?;
        if grad_x.0.shape.len() != x.0.shape.len() {
            return Err(Error::operator("max_pool2d", format!("{}", x.0.shape), format!("{}", grad_x.0.shape)));
        }
        let grid = Grid::cover(grad_y.0.shape.len(), 4, 256);
        let (driver, mut views) = self.begin("max_pool2d");
        let (x, dy, mut dx) = (views.read::<T>(x)?, views.read::<T>(grad_y)?, views.write::<T>(grad_x)?);
        kernels::MaxPoolGradient { x, grad_y: dy, grad_x: &mut dx, height, width, pixel }.launch(driver, grid)
    }
}

impl<D: Driver> MaxPool2d for Cuda<D> {
    fn max_pool2d(&mut self, x: In, y: Out) -> Result<()> {
        match self.mode() {
            Mode::Bf16 => self.max_pool_in::<bf16>(x, y),
            _ => self.max_pool_in::<f32>(x, y),
        }
    }

    fn max_pool2d_backward(&mut self, x: In, grad_y: In, grad_x: Out) -> Result<()> {
        match self.mode() {
            Mode::Bf16 => self.max_pool_gradient_in::<bf16>(x, grad_y, grad_x),
            _ => self.max_pool_gradient_in::<f32>(x, grad_y, grad_x),
        }
    }

    fn max_pool2d_tangent(&mut self, x: In, x_tangent: In, y_tangent: Out) -> Result<()> {
        let [_, width, pixel] = extents(x.0.shape, y_tangent.0.shape)?;
        let len = count("max_pool2d", y_tangent.0.shape.len())?;
        let grid = Grid::cover(len as usize, 4, 256);
        let (driver, mut views) = self.begin("max_pool2d");
        let (x, xt, mut yt) = (views.read::<f32>(x)?, views.read::<f32>(x_tangent)?, views.write::<f32>(y_tangent)?);
        kernels::MaxPoolTangent { x, x_tangent: xt, y_tangent: &mut yt, width, pixel, len }.launch(driver, grid)
    }
}
