//! Softmax cross-entropy on the CPU. There are only a few thousand numbers, so it runs on one thread, and in f64 throughout.

use super::{CrossEntropy, LossOut};
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

/// One sample's loss, whether its label is the first of the largest logits, the largest logit, and the sum of the exponentials.
fn sample<T: Float>(z: &[T], label: usize) -> (f64, bool, f64, f64) {
    let most = z.iter().map(|v| v.f64()).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = z.iter().map(|v| (v.f64() - most).exp()).sum();
    let right = z.iter().position(|v| v.f64() == most) == Some(label);
    (sum.ln() + most - z[label].f64(), right, most, sum)
}

impl<T: Float> CrossEntropy for Cpu<T> {
    fn cross_entropy(&mut self, logits: In, labels: In, out: LossOut) -> Result<()> {
        let (n, k) = logits.0.shape.matrix();
        let mut b = self.borrow("cross_entropy");
        let (z, labels) = (b.read::<T>(logits)?, b.read::<u32>(labels)?);
        let samples = b.write::<f64>(out.sample)?;
        if labels.len() != n || samples.len() != n || n == 0 || k == 0 {
            let found = format!("{} labels for logits {}", labels.len(), logits.0.shape);
            return Err(Error::operator("cross_entropy", "logits N×K and N labels", found));
        }
        if let Some((i, label)) = labels.iter().enumerate().find(|&(_, &l)| l as usize >= k) {
            return Err(Error::operator(
                "cross_entropy",
                format!("labels below {k}"),
                format!("{label} at sample {i}"),
            ));
        }
        let (loss, correct) = (b.write::<f64>(out.loss)?, b.write::<f64>(out.correct)?);
        let mut grad = out.grad.map(|g: Out| b.write::<T>(g)).transpose()?;
        let mut right_answers = 0u32;
        for (i, z) in z.chunks_exact(k).enumerate() {
            let label = labels[i] as usize;
            let (own, right, most, sum) = sample(z, label);
            samples[i] = own;
            right_answers += u32::from(right);
            if let Some(grad) = &mut grad {
                for (j, (g, z)) in grad[i * k..][..k].iter_mut().zip(z).enumerate() {
                    let p = (z.f64() - most).exp() / sum;
                    *g = T::of((p - f64::from(u8::from(j == label))) / n as f64);
                }
            }
        }
        loss[0] = samples.iter().sum::<f64>() / n as f64;
        correct[0] = f64::from(right_answers);
        Ok(())
    }

    fn cross_entropy_tangent(&mut self, logits: In, logits_tangent: In, grad_tangent: Out) -> Result<()> {
        let (n, k) = logits.0.shape.matrix();
        let mut b = self.borrow("cross_entropy");
        let (z, zt, out) = (b.read::<T>(logits)?, b.read::<T>(logits_tangent)?, b.write::<T>(grad_tangent)?);
        if n == 0 || k == 0 || zt.len() != n * k || out.len() != n * k {
            let found = format!("{} and {} for logits {}", zt.len(), out.len(), logits.0.shape);
            return Err(Error::operator("cross_entropy", "tangents like the logits", found));
        }
        for ((z, zt), out) in z.chunks_exact(k).zip(zt.chunks_exact(k)).zip(out.chunks_exact_mut(k)) {
            let (_, _, most, sum) = sample(z, 0);
            let p = |z: T| (z.f64() - most).exp() / sum;
            let along: f64 = z.iter().zip(zt).map(|(&z, &zt)| p(z) * zt.f64()).sum();
            for ((out, &z), &zt) in out.iter_mut().zip(z).zip(zt) {
                *out = T::of(p(z) * (zt.f64() - along) / n as f64);
            }
        }
        Ok(())
    }
}
