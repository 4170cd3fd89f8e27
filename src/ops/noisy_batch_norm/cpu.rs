//! Noisy BatchNorm on the CPU: BatchNorm's passes with the noise laid over them, piece by piece in the cache.

use super::NoisyBatchNorm;
use crate::Result;
use crate::ops::affine::{Affine, floor};
use crate::ops::batch_norm::cpu::{Upstream, backward, divisor};
use crate::ops::columns::{self, Shared, as_f64, for_pieces};
use crate::ops::noise::NoiseOptions;
use crate::ops::noise::cpu::{Draws, apply, apply_backward};
use crate::ops::norm::{NormGrads, NormOptions, NormParams, Statistics, units};
use crate::runtime::cpu::{Cpu, read_state};
use crate::runtime::float::Float;
use crate::runtime::tensor::{In, Out};

impl<T: Float> NoisyBatchNorm for Cpu<T> {
    fn noisy_batch_norm(
        &mut self,
        noise: NoiseOptions,
        x: In,
        params: NormParams,
        options: NormOptions,
        state: In,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()> {
        let shape = x.0.shape;
        let per_unit = [params.weight.0.shape, params.bias.0.shape, stats.mean.0.shape, stats.spread.0.shape];
        options.without_pool("noisy_batch_norm")?;
        let columns = units("noisy_batch_norm", shape, &per_unit)?;
        let mut b = self.borrow("noisy_batch_norm");
        let draws = Draws::new(noise, shape, &read_state(&mut b, state)?);
        let (x, weight, bias) = (b.read::<T>(x)?, b.read::<T>(params.weight)?, b.read::<T>(params.bias)?);
        let (mean, var) = (b.write::<T>(stats.mean)?, b.write::<T>(stats.spread)?);
        columns::moments(x, columns, mean, var, as_f64(b.write::<T>(workspace)?));
        let affine = Affine::new(mean, weight, bias, divisor(var, options.eps), false);
        let y = Shared::new(b.write::<T>(y)?);
        for_pieces(x.len(), columns, |range| {
            // SAFETY: pieces do not overlap.
            let y = unsafe { y.range(range.clone()) };
            affine.piece(&x[range.clone()], y);
            apply(&draws, range.start, floor(options.relu), y);
        });
        Ok(())
    }

    fn noisy_batch_norm_backward(
        &mut self,
        noise: NoiseOptions,
        x: In,
        params: NormParams,
        options: NormOptions,
        state: In,
        stats: Statistics,
        grad_y: In,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()> {
        let shape = x.0.shape;
        let per_unit =
            [params.weight.0.shape, params.bias.0.shape, stats.mean.0.shape, grads.weight.0.shape, grads.bias.0.shape];
        options.without_pool("noisy_batch_norm")?;
        let columns = units("noisy_batch_norm", shape, &per_unit)?;
        let mut b = self.borrow("noisy_batch_norm");
        let draws = Draws::new(noise, shape, &read_state(&mut b, state)?);
        let (x, weight, bias) = (b.read::<T>(x)?, b.read::<T>(params.weight)?, b.read::<T>(params.bias)?);
        let (mean, var) = (b.read::<T>(stats.mean.into())?, b.read::<T>(stats.spread.into())?);
        let per_unit = (b.write::<T>(grads.weight)?, b.write::<T>(grads.bias)?);
        let (dy, dx) = (b.read::<T>(grad_y)?, b.write::<T>(grads.x)?);
        let affine = Affine::new(mean, weight, bias, divisor(var, options.eps), false);
        // BatchNorm's upstream gradient, where dx will stand.
        let shared = Shared::new(&mut *dx);
        for_pieces(x.len(), columns, |range| {
            // SAFETY: pieces do not overlap.
            let dx = unsafe { shared.range(range.clone()) };
            affine.piece(&x[range.clone()], dx);
            apply_backward(&draws, range.start, floor(options.relu), &dy[range], dx);
        });
        let plain = NormOptions { relu: false, ..options };
        let workspace = as_f64(b.write::<T>(workspace)?);
        backward(x, (weight, bias), plain, (mean, var), Upstream::InPlace, dx, per_unit, workspace);
        Ok(())
    }
}
