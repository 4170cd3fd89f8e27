//! Activations on the CPU: loops that the compiler makes vectors of, one set for each activation.

use super::{Activate, Activation, Rule, TangentOperands, same};
use crate::Result;
use crate::ops::channel_reduce::{Shared, for_pieces};
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::simd::vectorize;
use crate::runtime::tensor::{In, Out};

/// x, ẋ, dy and ḋy to ḋx.
type TangentBackward<T> = fn(&[T], &[T], &[T], &[T], &mut [T]);

/// The loops of one activation.
#[derive(Clone, Copy)]
pub(super) struct Passes<T> {
    forward: fn(&[T], &mut [T]),
    backward: fn(&[T], &[T], &mut [T]),
    tangent_backward: TangentBackward<T>,
}

/// Those of `R`.
pub(super) fn passes<T: Float, R: Rule>() -> Passes<T> {
    Passes { forward: forward::<T, R>, backward: backward::<T, R>, tangent_backward: tangent_backward::<T, R> }
}

/// slope · dy; nothing passes where the slope is 0.
#[inline(always)]
fn times<T: Float>(slope: T, dy: T) -> T {
    if slope == T::ZERO { T::ZERO } else { slope * dy }
}

vectorize! {
    fn forward<T, R: Rule>(x: &[T], y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = R::value(x);
        }
    }

    fn backward<T, R: Rule>(x: &[T], dy: &[T], dx: &mut [T]) {
        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
            *dx = times(R::derivatives(x).0, dy);
        }
    }

    fn tangent_backward<T, R: Rule>(x: &[T], xt: &[T], dy: &[T], dyt: &[T], out: &mut [T]) {
        for ((out, (&x, &xt)), (&dy, &dyt)) in out.iter_mut().zip(x.iter().zip(xt)).zip(dy.iter().zip(dyt)) {
            let (slope, curve) = R::derivatives(x);
            *out = if curve == T::ZERO { times(slope, dyt) } else { slope.fma(dyt, curve * xt * dy) };
        }
    }
}

impl<T: Float> Activate for Cpu<T> {
    fn activation(&mut self, kind: Activation, x: In, y: Out) -> Result<()> {
        same(kind, x, &[y.into()])?;
        let pass = kind.passes::<T>().forward;
        let mut b = self.borrow(kind.name());
        let (x, y) = (b.read::<T>(x)?, Shared::new(b.write::<T>(y)?));
        // SAFETY: pieces do not overlap.
        for_pieces(x.len(), 1, |r| pass(&x[r.clone()], unsafe { y.range(r) }));
        Ok(())
    }

    fn activation_backward(&mut self, kind: Activation, x: In, grad_y: In, grad_x: Out) -> Result<()> {
        same(kind, x, &[grad_y, grad_x.into()])?;
        let pass = kind.passes::<T>().backward;
        let mut b = self.borrow(kind.name());
        let (x, dy, dx) = (b.read::<T>(x)?, b.read::<T>(grad_y)?, Shared::new(b.write::<T>(grad_x)?));
        // SAFETY: pieces do not overlap.
        for_pieces(x.len(), 1, |r| pass(&x[r.clone()], &dy[r.clone()], unsafe { dx.range(r) }));
        Ok(())
    }

    fn activation_tangent_backward(
        &mut self,
        kind: Activation,
        of: TangentOperands,
        grad_x_tangent: Out,
    ) -> Result<()> {
        let TangentOperands { x, x_tangent, grad_y, grad_y_tangent } = of;
        same(kind, x, &[x_tangent, grad_y, grad_y_tangent, grad_x_tangent.into()])?;
        let pass = kind.passes::<T>().tangent_backward;
        let mut b = self.borrow(kind.name());
        let (x, xt) = (b.read::<T>(x)?, b.read::<T>(x_tangent)?);
        let (dy, dyt) = (b.read::<T>(grad_y)?, b.read::<T>(grad_y_tangent)?);
        let out = Shared::new(b.write::<T>(grad_x_tangent)?);
        for_pieces(x.len(), 1, |r| {
            // SAFETY: pieces do not overlap.
            let out = unsafe { out.range(r.clone()) };
            pass(&x[r.clone()], &xt[r.clone()], &dy[r.clone()], &dyt[r], out);
        });
        Ok(())
    }
}
