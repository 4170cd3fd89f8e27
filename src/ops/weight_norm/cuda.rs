//! Weight normalisation on a device: `kernels/weightnorm.cu`, one launch for each weight.

use super::{Parts, PartsOut, WeightNorm, extents};
use crate::Result;
use crate::runtime::cuda::driver::{Driver, Grid, Stored};
use crate::runtime::cuda::{Cuda, count, kernels};
use crate::runtime::tensor::{DType, In, Out};
use half::bf16;

const OP: &str = "weight_norm";

/// The most columns that a block takes: a row of them is one sector of memory, and there are still many blocks.
const WIDEST: usize = 8;

/// How a direction is shared out: its rows, its columns, and the number of columns that a block takes.
struct Share {
    grid: Grid,
    rows: u32,
    columns: u32,
    width: u32,
}

impl Share {
    fn of((rows, columns): (usize, usize)) -> Result<Share> {
        count(OP, rows * columns)?;
        let width = columns.next_power_of_two().min(WIDEST);
        let grid = Grid::new(columns.div_ceil(width), 256);
        Ok(Share { grid, rows: count(OP, rows)?, columns: count(OP, columns)?, width: width as u32 })
    }
}

impl<D: Driver> Cuda<D> {
    fn weight_norm_in<T: Stored>(&mut self, of: Parts, weight: Out) -> Result<()> {
        let Share { grid, rows, columns, width } = Share::of(extents(of, &[weight.into()], &[])?)?;
        let (driver, mut views) = self.begin(OP);
        let (v, g) = (views.read::<f32>(of.direction)?, views.read::<f32>(of.gain)?);
        let mut weight = views.write::<T>(weight)?;
        kernels::WeightNorm { direction: v, gain: g, weight: &mut weight, rows, columns, width }.launch(driver, grid)
    }
}

impl<D: Driver> WeightNorm for Cuda<D> {
    fn weight_norm(&mut self, of: Parts, weight: Out) -> Result<()> {
        match weight.0.dtype {
            DType::Bf16 => self.weight_norm_in::<bf16>(of, weight),
            _ => self.weight_norm_in::<f32>(of, weight),
        }
    }

    fn weight_norm_backward(&mut self, of: Parts, grad_weight: In, grads: PartsOut) -> Result<()> {
        let extents = extents(of, &[grad_weight, grads.direction.into()], &[grads.gain.into()])?;
        let Share { grid, rows, columns, width } = Share::of(extents)?;
        let (driver, mut views) = self.begin(OP);
        let (v, g) = (views.read::<f32>(of.direction)?, views.read::<f32>(of.gain)?);
        let dw = views.read::<f32>(grad_weight)?;
        let (mut dv, mut dg) = (views.write::<f32>(grads.direction)?, views.write::<f32>(grads.gain)?);
        kernels::WeightNormGradient {
            direction: v,
            gain: g,
            grad_weight: dw,
            grad_direction: &mut dv,
            grad_gain: &mut dg,
            rows,
            columns,
            width,
        }
        .launch(driver, grid)
    }

    fn weight_norm_tangent(&mut self, of: Parts, moving: Parts, weight_tangent: Out) -> Result<()> {
        let extents = extents(of, &[moving.direction, weight_tangent.into()], &[moving.gain])?;
        let Share { grid, rows, columns, width } = Share::of(extents)?;
        let (driver, mut views) = self.begin(OP);
        let (v, g) = (views.read::<f32>(of.direction)?, views.read::<f32>(of.gain)?);
        let (vt, gt) = (views.read::<f32>(moving.direction)?, views.read::<f32>(moving.gain)?);
        let mut wt = views.write::<f32>(weight_tangent)?;
        kernels::WeightNormTangent {
            direction: v,
            gain: g,
            direction_tangent: vt,
            gain_tangent: gt,
            weight_tangent: &mut wt,
            rows,
            columns,
            width,
        }
        .launch(driver, grid)
    }

    fn weight_norm_tangent_backward(
        &mut self,
        of: Parts,
        moving: Parts,
        (grad_weight, grad_weight_tangent): (In, In),
        grads_tangent: PartsOut,
    ) -> Result<()> {
        let like = [moving.direction, grad_weight, grad_weight_tangent, grads_tangent.direction.into()];
        let extents = extents(of, &like, &[moving.gain, grads_tangent.gain.into()])?;
        let Share { grid, rows, columns, width } = Share::of(extents)?;
        let (driver, mut views) = self.begin(OP);
        let (v, g) = (views.read::<f32>(of.direction)?, views.read::<f32>(of.gain)?);
        let (vt, gt) = (views.read::<f32>(moving.direction)?, views.read::<f32>(moving.gain)?);
        let (dw, dwt) = (views.read::<f32>(grad_weight)?, views.read::<f32>(grad_weight_tangent)?);
        let mut dvt = views.write::<f32>(grads_tangent.direction)?;
        let mut dgt = views.write::<f32>(grads_tangent.gain)?;
        kernels::WeightNormGradientTangent {
            direction: v,
            gain: g,
            direction_tangent: vt,
            gain_tangent: gt,
            grad_weight: dw,
            grad_weight_tangent: dwt,
            grad_direction_tangent: &mut dvt,
            grad_gain_tangent: &mut dgt,
            rows,
            columns,
            width,
        }
        .launch(driver, grid)
    }
}
