//! Softmax cross-entropy on a device: `kernels/loss.cu`. A label that is not a class makes the loss NaN, since a device cannot return an error.

use super::{CrossEntropy, LossOut};
use crate::runtime::cuda::backend::PARTIALS;
use crate::runtime::cuda::driver::{Driver, Grid, Stored};
use crate::runtime::cuda::{Cuda, Mode, count, kernels};
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};
use half::bf16;

/// The number of warps in a block; each warp takes one sample at a time.
const WARPS: usize = 4;

impl<D: Driver> Cuda<D> {
    fn cross_entropy_in<T: Stored>(&mut self, logits: In, labels: In, out: LossOut) -> Result<()> {
        let (n, k) = logits.0.shape.matrix();
        let fits = labels.0.shape.len() == n && out.sample.0.shape.len() == n && n > 0 && k > 0;
        if !fits || out.grad.is_some_and(|g| g.0.shape.len() != n * k) {
            let found = format!("{} labels for logits {}", labels.0.shape.len(), logits.0.shape);
            return Err(Error::operator("cross_entropy", "logits N×K and N labels", found));
        }
        let (partials, tickets) = (self.partials(), self.tickets());
        let (driver, mut views) = self.begin("cross_entropy");
        let (z, labels, mut samples) =
            (views.read::<T>(logits)?, views.read::<u32>(labels)?, views.write::<f64>(out.sample)?);
        let (mut loss, mut correct) = (views.write::<f64>(out.loss)?, views.write::<f64>(out.correct)?);
        let (mut grad, mut right) = (views.write_some::<T>(out.grad)?, views.write::<f64>(partials)?);
        let mut tickets = views.write::<u32>(tickets)?;
        let blocks = n.div_ceil(WARPS).min(PARTIALS);
        let (count_n, count_k) = (count("cross_entropy", n)?, count("cross_entropy", k)?);
        let grid = Grid::new(blocks, 32 * WARPS as u32);
        kernels::CrossEntropy {
            logits: z,
            labels,
            sample: &mut samples,
            right: &mut right,
            loss: &mut loss,
            correct: &mut correct,
            grad: grad.as_mut(),
            tickets: &mut tickets.first(1),
            samples: count_n,
            classes: count_k,
        }
        .launch(driver, grid)
    }
}

impl<D: Driver> CrossEntropy for Cuda<D> {
    fn cross_entropy(&mut self, logits: In, labels: In, out: LossOut) -> Result<()> {
        match self.mode() {
            Mode::Bf16 => self.cross_entropy_in::<bf16>(logits, labels, out),
            _ => self.cross_entropy_in::<f32>(logits, labels, out),
        }
    }

    fn cross_entropy_tangent(&mut self, logits: In, logits_tangent: In, grad_tangent: Out) -> Result<()> {
        let (n, k) = logits.0.shape.matrix();
        if n == 0 || k == 0 || [logits_tangent, grad_tangent.into()].iter().any(|v| v.0.shape.len() != n * k) {
            let found = format!("{} for logits {}", logits_tangent.0.shape, logits.0.shape);
            return Err(Error::operator("cross_entropy", "tangents like the logits", found));
        }
        let grid = Grid::new(n.div_ceil(WARPS), 32 * WARPS as u32);
        let (n, k) = (count("cross_entropy", n)?, count("cross_entropy", k)?);
        let (driver, mut views) = self.begin("cross_entropy");
        let (z, zt) = (views.read::<f32>(logits)?, views.read::<f32>(logits_tangent)?);
        let mut out = views.write::<f32>(grad_tangent)?;
        kernels::CrossEntropyTangent { logits: z, logits_tangent: zt, grad_tangent: &mut out, samples: n, classes: k }
            .launch(driver, grid)
    }
}
