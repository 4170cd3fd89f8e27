//! Running statistics on the CPU.

use super::{Running, same_length};
use crate::Result;
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
}
