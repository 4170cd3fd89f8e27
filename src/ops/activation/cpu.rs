//! Activations on the CPU.

use super::{Activate, Activation, TangentOperands, same};
use crate::Result;
use crate::ops::channel_reduce::{Shared, for_pieces};
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::tensor::{In, Out};

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
