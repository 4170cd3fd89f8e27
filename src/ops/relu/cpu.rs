//! ReLU on the CPU.

use super::Relu;
use crate::ops::columns::{Shared, for_pieces};
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::simd::vectorize;
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

vectorize! {
    fn forward<T>(x: &[T], y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = if x <= T::ZERO { T::ZERO } else { x };
        }
    }

    fn backward<T>(x: &[T], dy: &[T], dx: &mut [T]) {
        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
            *dx = if x <= T::ZERO { T::ZERO } else { dy };
        }
    }
}

fn same(a: In, b: In) -> Result<()> {
    if a.0.shape.len() == b.0.shape.len() {
        return Ok(());
    }
    Err(Error::operator("relu", format!("{} like x", a.0.shape), format!("{}", b.0.shape)))
}

impl<T: Float> Relu for Cpu<T> {
    fn relu(&mut self, x: In, y: Out) -> Result<()> {
        same(x, y.into())?;
        let mut b = self.borrow("relu");
        let (x, y) = (b.read::<T>(x)?, Shared::new(b.write::<T>(y)?));
        // SAFETY: pieces do not overlap.
        for_pieces(x.len(), 1, |r| forward(&x[r.clone()], unsafe { y.range(r) }));
        Ok(())
    }

    fn relu_backward(&mut self, x: In, grad_y: In, grad_x: Out) -> Result<()> {
        same(x, grad_y)?;
        same(x, grad_x.into())?;
        let mut b = self.borrow("relu");
        let (x, dy, dx) = (b.read::<T>(x)?, b.read::<T>(grad_y)?, Shared::new(b.write::<T>(grad_x)?));
        // SAFETY: pieces do not overlap.
        for_pieces(x.len(), 1, |r| backward(&x[r.clone()], &dy[r.clone()], unsafe { dx.range(r) }));
        Ok(())
    }
}
