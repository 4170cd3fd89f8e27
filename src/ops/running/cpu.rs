//! Running statistics on the CPU.

use super::{Running, RunningStatistics, Spread, same_length};
use crate::Result;
use crate::ops::affine::Affine;
use crate::ops::norm::{NormOptions, NormParams, units};
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::tensor::{In, Out};

impl<T: Float> Running for Cpu<T> {
    fn move_running(&mut self, momentum: f64, batch: In, factors: In, running: Out) -> Result<()> {
        same_length(batch, factors, running)?;
        let mut b = self.borrow("running");
        let (batch, factors, running) = (b.read::<T>(batch)?, b.read::<f64>(factors)?, b.write::<T>(running)?);
        for ((to, &v), &factor) in running.iter_mut().zip(batch).zip(factors) {
            *to = T::of((1.0 - momentum) * to.f64() + momentum * (v.f64() * factor));
        }
        Ok(())
    }

    fn norm_eval(
        &mut self,
        kind: Spread,
        x: In,
        params: NormParams,
        options: NormOptions,
        running: RunningStatistics,
        y: Out,
    ) -> Result<()> {
        let per_unit = [params.weight.0.shape, params.bias.0.shape, running.mean.0.shape, running.spread.0.shape];
        options.without_pool("norm_eval")?;
        let columns = units("norm_eval", x.0.shape, &per_unit)?;
        let mut b = self.borrow("norm_eval");
        let (x, weight, bias) = (b.read::<T>(x)?, b.read::<T>(params.weight)?, b.read::<T>(params.bias)?);
        let (mean, spread) = (b.read::<T>(running.mean.into())?, b.read::<T>(running.spread.into())?);
        let divisor = |c: usize| match kind {
            Spread::Variance => (spread[c].f64() + options.eps).sqrt(),
            Spread::Scale => spread[c].f64() + options.eps,
        };
        Affine::new(mean, weight, bias, divisor, options.relu).apply(x, columns, b.write(y)?);
        Ok(())
    }
}
