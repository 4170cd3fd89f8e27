//! Squared error on the CPU.

use super::SquaredError;
use crate::ops::cross_entropy::LossOut;
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

impl<T: Float> SquaredError for Cpu<T> {
    fn squared_error(&mut self, scale: f64, x: In, target: In, out: LossOut) -> Result<()> {
        let (n, columns) = x.0.shape.matrix();
        let mut b = self.borrow("squared_error");
        let (x, t, samples) = (b.read::<T>(x)?, b.read::<T>(target)?, b.write::<f64>(out.sample)?);
        if x.len() != t.len() || samples.len() != n || x.is_empty() {
            let found = format!("x of {} and target of {} elements", x.len(), t.len());
            return Err(Error::operator("squared_error", "x and target of one shape, not empty", found));
        }
        let (loss, correct) = (b.write::<f64>(out.loss)?, b.write::<f64>(out.correct)?);
        for ((x, t), sample) in x.chunks_exact(columns).zip(t.chunks_exact(columns)).zip(&mut *samples) {
            *sample = scale * x.iter().zip(t).map(|(&x, &t)| (x.f64() - t.f64()).powi(2)).sum::<f64>();
        }
        loss[0] = samples.iter().sum();
        correct[0] = f64::NAN;
        if let Some(grad) = out.grad {
            let factor = T::of(2.0 * scale);
            for ((g, &x), &t) in b.write::<T>(grad)?.iter_mut().zip(x).zip(t) {
                *g = factor * (x - t);
            }
        }
        Ok(())
    }

    fn squared_error_tangent(&mut self, scale: f64, x_tangent: In, grad_tangent: Out) -> Result<()> {
        same(x_tangent, grad_tangent)?;
        let mut b = self.borrow("squared_error");
        let (xt, out, factor) = (b.read::<T>(x_tangent)?, b.write::<T>(grad_tangent)?, T::of(2.0 * scale));
        out.iter_mut().zip(xt).for_each(|(out, &xt)| *out = factor * xt);
        Ok(())
    }
}

/// Refuses tangents whose lengths differ.
pub(super) fn same(a: In, b: Out) -> Result<()> {
    match a.0.shape.len() == b.0.shape.len() {
        true => Ok(()),
        false => Err(Error::operator("squared_error", format!("a tangent like {}", a.0.shape), b.0.shape.to_string())),
    }
}
