//! The deep linear network's whole pass as one operator: all layers, the squared error, and the gradient of all parameters.
//!
//! Its layers are so small that a device spends its time between them: fifty reductions of a thousand samples, each waiting for the one
//! before. A backend that can keep all samples and layers close together has this operator; any other, and any network that does not
//! fit, takes the layers one by one, and finds the same but for rounding. Several runs (points of a probe, seeds) go side by side.
//!
//! Per layer `z = x w`, then a norm over the batch ([`crate::ops::norm::batch`]) but for the last layer (with
//! `norm_last` there too), then `L = scale Σ (y − target)²` as in [`crate::ops::squared_error`].

mod backward;
mod coordinates;
mod cpu;
mod cuda;
mod judge;
mod layout;
mod pass;
mod rows;
mod samples;
mod screen;
mod spread;
mod widths;

pub use widths::{FEWEST, WIDEST};

use crate::Result;
use crate::runtime::tensor::{In, Out, Shape};

/// The norm after every layer but perhaps the last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ChainNorm {
    /// None.
    None,
    /// BatchNorm.
    Batch {
        /// ε, under the root.
        eps: f64,
    },
    /// The ℓp norm.
    Lp {
        /// At least 1; infinity is allowed.
        p: f64,
        /// ε, added to s.
        eps: f64,
    },
}

/// A chain of square linear layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chain {
    /// Layers.
    pub depth: usize,
    /// Inputs and outputs of every layer.
    pub dim: usize,
    /// Samples of the batch.
    pub samples: usize,
    /// The norm between layers.
    pub norm: ChainNorm,
    /// A norm after the last layer too.
    pub norm_last: bool,
    /// What the sum of squared errors is multiplied by.
    pub scale: f64,
}

impl Chain {
    /// Norms of the chain.
    pub fn norms(&self) -> usize {
        match self.norm {
            ChainNorm::None => 0,
            _ if self.norm_last => self.depth,
            _ => self.depth - 1,
        }
    }

    /// Parameters: of each layer the weight `[I, O]`, and of its norm γ and β.
    pub fn parameters(&self) -> usize {
        self.depth * self.dim * self.dim + 2 * self.norms() * self.dim
    }

    /// The shape of what the norms keep of a batch: of each, mean and spread.
    pub fn statistics(&self) -> Shape {
        Shape::new([self.norms(), 2, self.dim])
    }
}

/// Where the results of a pass go.
#[derive(Debug, Clone, Copy)]
pub struct ChainOut {
    /// f64 `[runs]`
    pub loss: Out,
    /// f64 `[runs]`: NaN, since nothing is right or wrong.
    pub correct: Out,
    /// Gradients like `theta`; not computed where there is no place for them.
    pub grad: Option<Out>,
    /// What else one run leaves; of several none is kept.
    pub saved: Option<ChainSaved>,
}

/// What a single run leaves beside loss and gradient.
#[derive(Debug, Clone, Copy)]
pub struct ChainSaved {
    /// The prediction `[N, D]`; here and below, of a backend that makes it when asked ([`DeepLinear::deep_linear_kept`]), untouched.
    pub y: Out,
    /// The loss of each sample, f64 `[N]`.
    pub sample: Out,
    /// [`Chain::statistics`]; empty without norms.
    pub statistics: Out,
}

/// A chain's batch: what a backend was given, and the room that it asked for.
#[derive(Debug, Clone, Copy)]
pub struct ChainBatch {
    /// Inputs `[N, D]`.
    pub x: In,
    /// Targets `[N, D]`.
    pub target: In,
    /// f64, of [`DeepLinear::deep_linear_room`]'s length. What [`DeepLinear::deep_linear_prepare`] made of the batch, and what the last pass left.
    pub room: Out,
}

/// The deep linear network as one operator.
///
/// Passes say `false` where what they met does not fit their arithmetic, a loss that is not finite for one: their results mean nothing then, and
/// the layers one by one say what is right.
pub trait DeepLinear {
    /// Whether this backend has it for such a chain.
    fn has_deep_linear(&mut self, chain: &Chain) -> bool;

    /// Doubles of room that it needs beside a chain's tensors.
    fn deep_linear_room(&self, chain: &Chain) -> usize {
        let _ = chain;
        0
    }

    /// Makes what all passes over a batch share: to be called when another one is set.
    fn deep_linear_prepare(&mut self, chain: &Chain, batch: ChainBatch) -> Result<()> {
        let _ = (chain, batch);
        Ok(())
    }

    /// Loss and gradient of every run: `theta [runs, stride]` holds a run's parameters at the beginning of each row.
    ///
    /// Errors: the backend does not have it; shapes that do not fit.
    fn deep_linear(&mut self, chain: &Chain, theta: In, batch: ChainBatch, out: ChainOut) -> Result<bool>;

    /// The prediction and the losses of the samples of the last single run, where the pass has not made them.
    fn deep_linear_kept(&mut self, chain: &Chain, batch: ChainBatch, y: Out, sample: Out) -> Result<()> {
        let _ = (chain, batch, y, sample);
        Ok(())
    }

    /// Whether it has [`DeepLinear::deep_linear_shift`] too.
    fn has_deep_linear_shift(&self) -> bool {
        false
    }

    /// Of every layer the gradient of its weight with the layers before it, norms included, at `next` and all others at `theta`, into the weight's
    /// place in `moved`, a vector like `theta`; the first layer's is that of `theta` alone. What else is in `moved` has no meaning.
    fn deep_linear_shift(&mut self, chain: &Chain, theta: In, next: In, batch: ChainBatch, moved: Out) -> Result<bool> {
        let _ = (chain, theta, next, batch, moved);
        Ok(false)
    }

    /// Doubles of room for [`DeepLinear::deep_linear_hessian`], whatever was asked for beside; `None` where it has none of such a chain.
    fn deep_linear_hessian_room(&self, chain: &Chain) -> Option<usize> {
        let _ = chain;
        None
    }

    /// `out ← ∇²L(theta) v`, exactly; all are vectors like `theta`. `batch` is prepared, and `room` is beside its room.
    fn deep_linear_hessian(
        &mut self,
        chain: &Chain,
        theta: In,
        v: In,
        batch: ChainBatch,
        room: Out,
        out: Out,
    ) -> Result<bool> {
        let _ = (chain, theta, v, batch, room, out);
        Ok(false)
    }
}
