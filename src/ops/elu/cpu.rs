//! ELU and SELU on the CPU.

use super::{Constants, Elu};
use crate::ops::columns::{Shared, for_pieces};
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::simd::vectorize;
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

/// λ and λ α in the type of the tensors.
#[derive(Clone, Copy)]
struct Law<T> {
    scale: T,
    slope: T,
}

impl<T: Float> Law<T> {
    fn of(of: Constants) -> Self {
        Law { scale: T::of(of.scale), slope: T::of(of.slope()) }
    }

    /// 2ᵏ and eʳ − 1 of eˣ; of 1 where x > 0, so that nothing overflows.
    #[inline(always)]
    fn parts(x: T) -> (T, T) {
        (if x > T::ZERO { T::ZERO } else { x }).exp_parts()
    }

    #[inline(always)]
    fn value(self, x: T) -> T {
        let (power, part) = Self::parts(x);
        if x > T::ZERO { self.scale * x } else { self.slope * power.fma(part, power - T::ONE) }
    }

    /// y' and y''.
    #[inline(always)]
    fn derivatives(self, x: T) -> (T, T) {
        let (power, part) = Self::parts(x);
        let below = self.slope * power.fma(part, power);
        if x > T::ZERO { (self.scale, T::ZERO) } else { (below, if x == T::ZERO { T::ZERO } else { below }) }
    }
}

vectorize! {
    fn forward<T>(law: Law<T>, x: &[T], y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = law.value(x);
        }
    }

    fn backward<T>(law: Law<T>, x: &[T], dy: &[T], dx: &mut [T]) {
        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
            *dx = law.derivatives(x).0 * dy;
        }
    }

    fn tangent_backward<T>(law: Law<T>, x: &[T], xt: &[T], dy: &[T], dyt: &[T], out: &mut [T]) {
        for ((out, (&x, &xt)), (&dy, &dyt)) in out.iter_mut().zip(x.iter().zip(xt)).zip(dy.iter().zip(dyt)) {
            let (slope, curve) = law.derivatives(x);
            *out = slope.fma(dyt, curve * xt * dy);
        }
    }
}

/// Refuses tensors of another length than x's.
pub(super) fn same(x: In, others: &[In]) -> Result<()> {
    match others.iter().find(|other| other.0.shape.len() != x.0.shape.len()) {
        None => Ok(()),
        Some(other) => Err(Error::operator("elu", format!("{} like x", x.0.shape), format!("{}", other.0.shape))),
    }
}

impl<T: Float> Elu for Cpu<T> {
    fn elu(&mut self, of: Constants, x: In, y: Out) -> Result<()> {
        same(x, &[y.into()])?;
        let law = Law::of(of);
        let mut b = self.borrow("elu");
        let (x, y) = (b.read::<T>(x)?, Shared::new(b.write::<T>(y)?));
        // SAFETY: pieces do not overlap.
        for_pieces(x.len(), 1, |r| forward(law, &x[r.clone()], unsafe { y.range(r) }));
        Ok(())
    }

    fn elu_backward(&mut self, of: Constants, x: In, grad_y: In, grad_x: Out) -> Result<()> {
        same(x, &[grad_y, grad_x.into()])?;
        let law = Law::of(of);
        let mut b = self.borrow("elu");
        let (x, dy, dx) = (b.read::<T>(x)?, b.read::<T>(grad_y)?, Shared::new(b.write::<T>(grad_x)?));
        // SAFETY: pieces do not overlap.
        for_pieces(x.len(), 1, |r| backward(law, &x[r.clone()], &dy[r.clone()], unsafe { dx.range(r) }));
        Ok(())
    }

    fn elu_tangent_backward(
        &mut self,
        of: Constants,
        x: In,
        x_tangent: In,
        grad_y: In,
        grad_y_tangent: In,
        grad_x_tangent: Out,
    ) -> Result<()> {
        same(x, &[x_tangent, grad_y, grad_y_tangent, grad_x_tangent.into()])?;
        let law = Law::of(of);
        let mut b = self.borrow("elu");
        let (x, xt) = (b.read::<T>(x)?, b.read::<T>(x_tangent)?);
        let (dy, dyt) = (b.read::<T>(grad_y)?, b.read::<T>(grad_y_tangent)?);
        let out = Shared::new(b.write::<T>(grad_x_tangent)?);
        for_pieces(x.len(), 1, |r| {
            // SAFETY: pieces do not overlap.
            let out = unsafe { out.range(r.clone()) };
            tangent_backward(law, &x[r.clone()], &xt[r.clone()], &dy[r.clone()], &dyt[r], out);
        });
        Ok(())
    }
}
