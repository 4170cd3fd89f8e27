//! The cross-entropy's arrays: `logits[N,K] labels[N]`. The gradient is always given.

use super::LossOut;
use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::door::tangent::supported;
use crate::ops::door::{Case, Extents, Inputs, Layout, Operator, Scratch};
use crate::runtime::tensor::Shape;

/// `op cross_entropy`
pub struct Entry;

impl Operator for Entry {
    const NAME: &'static str = "cross_entropy";

    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
        let logits = inputs.tensor("logits", Layout::Elements, Extents::Axes(2, "N×K"))?;
        let (n, k) = (logits.shape[0], logits.shape[1]);
        let labels = inputs.labels("labels", n, k)?;
        let moving = inputs.optional("tangent_logits", Layout::Elements, Extents::Exact(&logits.shape))?;
        inputs.finish(Self::NAME)?;

        let mut s = Scratch::new(backend);
        let (logits_in, labels_in) = (s.input(&logits)?, s.labels(&labels)?);
        let out = LossOut {
            loss: s.output_scalar("loss")?,
            correct: s.slots(Shape::new([]))?,
            sample: s.slots(Shape::new([n]))?,
            grad: Some(s.output_like("grad_logits", &logits)?),
        };
        if moving.is_some() {
            supported(s.backend)?;
        }
        let moving = match s.optional(moving.as_ref())? {
            Some(moving) => Some((moving, s.output_like("tangent_grad_logits", &logits)?)),
            None => None,
        };
        s.commit()?;
        s.backend.cross_entropy(logits_in, labels_in, out)?;
        if let Some((moving, to)) = moving {
            s.backend.cross_entropy_tangent(logits_in, moving, to)?;
        }
        s.finish()
    }

    fn cases() -> Vec<Case> {
        super::cases::cases()
    }
}
