//! Batch renormalisation's corrections on a device: `kernels/renorm.cu`.

use super::{Correction, OP, Renorm, RenormLimits, Uncorrected, channels};
use crate::Result;
use crate::runtime::cuda::driver::{Driver, Grid};
use crate::runtime::cuda::{Cuda, count, kernels};
use crate::runtime::tensor::{In, Out};

impl<D: Driver> Renorm for Cuda<D> {
    fn renorm(&mut self, limits: RenormLimits, eps: f64, of: Uncorrected, to: Correction) -> Result<()> {
        let given = [of.mean, of.var, of.running_mean, of.running_var, of.weight, of.bias].map(|view| view.0.shape);
        let columns = channels(&given)?;
        channels(&[of.mean.0.shape, to.ratio.0.shape, to.shift.0.shape, to.weight.0.shape, to.bias.0.shape])?;
        let (driver, mut views) = self.begin(OP);
        let (mean, var) = (views.read::<f32>(of.mean)?, views.read::<f32>(of.var)?);
        let (running_mean, running_var) = (views.read::<f32>(of.running_mean)?, views.read::<f32>(of.running_var)?);
        let (weight, bias) = (views.read::<f32>(of.weight)?, views.read::<f32>(of.bias)?);
        let (mut ratio, mut shift) = (views.write::<f32>(to.ratio)?, views.write::<f32>(to.shift)?);
        let (mut new_weight, mut new_bias) = (views.write::<f32>(to.weight)?, views.write::<f32>(to.bias)?);
        kernels::RenormCorrect {
            mean,
            var,
            running_mean,
            running_var,
            weight,
            bias,
            ratio: &mut ratio,
            shift: &mut shift,
            new_weight: &mut new_weight,
            new_bias: &mut new_bias,
            eps,
            r_max: limits.r_max,
            d_max: limits.d_max,
            columns: count(OP, columns)?,
        }
        .launch(driver, Grid::cover(columns, 1, 256))
    }

    fn renorm_tangent(&mut self, by: Correction, of: [Option<In>; 2], to: [Out; 2]) -> Result<()> {
        let columns = channels(&[by.ratio, by.shift, to[0], to[1]].map(|view| view.0.shape))?;
        let (driver, mut views) = self.begin(OP);
        let (ratio, shift) = (views.read::<f32>(by.ratio.into())?, views.read::<f32>(by.shift.into())?);
        let (weight, bias) = (views.read_some::<f32>(of[0])?, views.read_some::<f32>(of[1])?);
        let (mut to_weight, mut to_bias) = (views.write::<f32>(to[0])?, views.write::<f32>(to[1])?);
        kernels::RenormTangent {
            ratio,
            shift,
            weight,
            bias,
            weight_tangent: &mut to_weight,
            bias_tangent: &mut to_bias,
            columns: count(OP, columns)?,
        }
        .launch(driver, Grid::cover(columns, 1, 256))
    }

    fn renorm_gradient(&mut self, by: Correction, raw: In, grad_bias: In, grad_weight: Out) -> Result<()> {
        let given = [by.ratio.into(), by.shift.into(), raw, grad_bias, grad_weight.into()];
        let columns = channels(&given.map(|view: In| view.0.shape))?;
        let (driver, mut views) = self.begin(OP);
        let (ratio, shift) = (views.read::<f32>(by.ratio.into())?, views.read::<f32>(by.shift.into())?);
        let (raw, grad_bias) = (views.read::<f32>(raw)?, views.read::<f32>(grad_bias)?);
        let mut to = views.write::<f32>(grad_weight)?;
        kernels::RenormGradient { ratio, shift, raw, grad_bias, grad_weight: &mut to, columns: count(OP, columns)? }
            .launch(driver, Grid::cover(columns, 1, 256))
    }
}
