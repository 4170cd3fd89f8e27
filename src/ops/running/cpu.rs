//! Running statistics on the CPU.

use super::{Running, RunningStatistics, Spread};
use crate::Result;
use crate::ops::affine::Affine;
use crate::ops::norm::{NormOptions, NormParams, units};
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::tensor::{In, Out};

impl<T: Float> Running for Cpu<T> {
    fn move_running(
        &mut self,
        kind: Spread,
        momentum: f64,
        samples: usize,
        mean: In,
        spread: In,
        running: RunningStatistics,
    ) -> Result<()> {
        units("running", mean.0.shape, &[spread.0.shape, running.mean.0.shape, running.spread.0.shape])?;
        let mut b = self.borrow("running");
        let (mean, spread) = (b.read::<T>(mean)?, b.read::<T>(spread)?);
        let (to_mean, to_spread) = (b.write::<T>(running.mean)?, b.write::<T>(running.spread)?);
        let unbias = match kind {
            Spread::Variance if samples > 1 => samples as f64 / (samples as f64 - 1.0),
            _ => 1.0,
        };
        let moved = |old: T, new: f64| T::of((1.0 - momentum) * old.f64() + momentum * new);
        for (to, &v) in to_mean.iter_mut().zip(mean) {
            *to = moved(*to, v.f64());
        }
        for (to, &v) in to_spread.iter_mut().zip(spread) {
            *to = moved(*to, v.f64() * unbias);
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
