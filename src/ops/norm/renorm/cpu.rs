//! Batch renormalisation's corrections on the CPU.

use super::{Correction, OP, Renorm, RenormLimits, Uncorrected, channels};
use crate::Result;
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::tensor::{In, Out};

impl<T: Float> Renorm for Cpu<T> {
    fn renorm(&mut self, limits: RenormLimits, eps: f64, of: Uncorrected, to: Correction) -> Result<()> {
        let given = [of.mean, of.var, of.running_mean, of.running_var, of.weight, of.bias].map(|view| view.0.shape);
        let columns = channels(&given)?;
        channels(&[of.mean.0.shape, to.ratio.0.shape, to.shift.0.shape, to.weight.0.shape, to.bias.0.shape])?;
        let mut b = self.borrow(OP);
        let (mean, var) = (b.read::<T>(of.mean)?, b.read::<T>(of.var)?);
        let (running_mean, running_var) = (b.read::<T>(of.running_mean)?, b.read::<T>(of.running_var)?);
        let (weight, bias) = (b.read::<T>(of.weight)?, b.read::<T>(of.bias)?);
        let (ratio, shift) = (b.write::<T>(to.ratio)?, b.write::<T>(to.shift)?);
        let (new_weight, new_bias) = (b.write::<T>(to.weight)?, b.write::<T>(to.bias)?);
        for c in 0..columns {
            let (s, running) = ((var[c].f64() + eps).sqrt(), (running_var[c].f64() + eps).sqrt());
            // A NaN passes: a diverged run must show it.
            let clip = |v: f64, low: f64, high: f64| {
                if v < low {
                    low
                } else if v > high {
                    high
                } else {
                    v
                }
            };
            ratio[c] = T::of(clip(s / running, 1.0 / limits.r_max, limits.r_max));
            let off = (mean[c].f64() - running_mean[c].f64()) / running;
            shift[c] = T::of(clip(off, -limits.d_max, limits.d_max));
            new_weight[c] = T::of(weight[c].f64() * ratio[c].f64());
            new_bias[c] = T::of(weight[c].f64().mul_add(shift[c].f64(), bias[c].f64()));
        }
        Ok(())
    }

    fn renorm_tangent(&mut self, by: Correction, of: [Option<In>; 2], to: [Out; 2]) -> Result<()> {
        let columns = channels(&[by.ratio, by.shift, to[0], to[1]].map(|view| view.0.shape))?;
        let mut b = self.borrow(OP);
        let (ratio, shift) = (b.read::<T>(by.ratio.into())?, b.read::<T>(by.shift.into())?);
        let weight = of[0].map(|w| b.read::<T>(w)).transpose()?;
        let bias = of[1].map(|w| b.read::<T>(w)).transpose()?;
        let (to_weight, to_bias) = (b.write::<T>(to[0])?, b.write::<T>(to[1])?);
        for c in 0..columns {
            let [w, v] = [weight, bias].map(|of| of.map_or(0.0, |of| of[c].f64()));
            to_weight[c] = T::of(w * ratio[c].f64());
            to_bias[c] = T::of(w.mul_add(shift[c].f64(), v));
        }
        Ok(())
    }

    fn renorm_gradient(&mut self, by: Correction, raw: In, grad_bias: In, grad_weight: Out) -> Result<()> {
        let given = [by.ratio.into(), by.shift.into(), raw, grad_bias, grad_weight.into()];
        let columns = channels(&given.map(|view: In| view.0.shape))?;
        let mut b = self.borrow(OP);
        let (ratio, shift) = (b.read::<T>(by.ratio.into())?, b.read::<T>(by.shift.into())?);
        let (raw, grad_bias, to) = (b.read::<T>(raw)?, b.read::<T>(grad_bias)?, b.write::<T>(grad_weight)?);
        for c in 0..columns {
            to[c] = T::of(ratio[c].f64().mul_add(raw[c].f64(), shift[c].f64() * grad_bias[c].f64()));
        }
        Ok(())
    }
}
