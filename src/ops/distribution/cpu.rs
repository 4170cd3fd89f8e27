//! The distribution of a unit's values on the CPU, in one pass over its column.

use super::{Bins, Distribution};
use crate::Result;
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::tensor::{In, Out};

impl<T: Float> Distribution for Cpu<T> {
    fn distribution(&mut self, x: In, bins: Bins, count: Out, moments: Out) -> Result<()> {
        let (rows, units, many, scale) = bins.check(x.0.shape, count.0.shape, moments.0.shape)?;
        let mut b = self.borrow("distribution");
        let (x, count, moments) = (b.read::<T>(x)?, b.write::<u32>(count)?, b.write::<f64>(moments)?);
        let values = || x.iter().skip(bins.unit).step_by(units).map(|v| v.f64());
        count.fill(0);
        for v in values().filter(|v| !v.is_nan()) {
            let place = match v {
                v if v < bins.low => 0,
                v if v > bins.high => many + 1,
                v => 1 + (((v - bins.low) * scale) as usize).min(many - 1),
            };
            count[place] += 1;
        }
        let mean = values().sum::<f64>() / rows as f64;
        let square = values().map(|v| (v - mean) * (v - mean)).sum::<f64>();
        moments.copy_from_slice(&[mean, square / rows as f64]);
        Ok(())
    }
}
