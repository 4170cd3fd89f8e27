//! The deep linear network as one operator: all layers, the squared error, and the gradient of all parameters.
//!
//! Its layers are so small that a device spends its time between them: fifty reductions over a thousand samples, each waiting for the one before.
//! This operator is for a backend that can keep all samples and layers close together. Any other backend, and any network that does not fit, runs the
//! layers one by one and gets the same results but for rounding. Several runs (points of a probe, seeds) are computed side by side.
//!
//! Each layer is `z = x w`, followed by a norm over the batch ([`crate::ops::norm::batch`]). The last layer has the norm only with `norm_last`. The
//! loss is `L = scale Σ (y − target)²` as in [`crate::ops::squared_error`].

mod backward;
mod coordinates;
mod cpu;
mod cuda;
mod cuda_coordinates;
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

/// The norm after every layer; the last layer may go without.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ChainNorm {
    /// None.
    None,
    /// BatchNorm.
    Batch {
        /// ε, added to the variance under the root.
        eps: f64,
    },
    /// An ℓp norm.
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
    /// The number of layers.
    pub depth: usize,
    /// The number of inputs and of outputs of every layer.
    pub dim: usize,
    /// The number of samples in the batch.
    pub samples: usize,
    /// The norm between layers.
    pub norm: ChainNorm,
    /// Whether the last layer has a norm too.
    pub norm_last: bool,
    /// The factor of the sum of squared errors.
    pub scale: f64,
}

impl Chain {
    /// The number of norms in the chain.
    pub fn norms(&self) -> usize {
        match self.norm {
            ChainNorm::None => 0,
            _ if self.norm_last => self.depth,
            _ => self.depth - 1,
        }
    }

    /// The number of parameters: for each layer the weight `[I, O]`, and for its norm γ and β.
    pub fn parameters(&self) -> usize {
        self.depth * self.dim * self.dim + 2 * self.norms() * self.dim
    }

    /// The shape of the statistics that the norms save of a batch: a mean and a spread for each norm.
    pub fn statistics(&self) -> Shape {
        Shape::new([self.norms(), 2, self.dim])
    }
}

/// Where the results of a pass go.
#[derive(Debug, Clone, Copy)]
pub struct ChainOut {
    /// f64 `[runs]`
    pub loss: Out,
    /// f64 `[runs]`: NaN, since no answer is right or wrong.
    pub correct: Out,
    /// Gradients, laid out like `theta`; not computed if this is `None`.
    pub grad: Option<Out>,
    /// Further results, saved only if there is a single run.
    pub saved: Option<ChainSaved>,
}

/// What a single run saves besides loss and gradient.
#[derive(Debug, Clone, Copy)]
pub struct ChainSaved {
    /// The prediction `[N, D]`. A backend that makes the prediction and the sample losses only on request ([`DeepLinear::deep_linear_kept`]) leaves
    /// these two untouched.
    pub y: Out,
    /// The loss of each sample, f64 `[N]`.
    pub sample: Out,
    /// The norms' statistics, of shape [`Chain::statistics`]; empty without norms.
    pub statistics: Out,
}

/// What a training step does after its pass, with a single run's θ.
#[derive(Debug, Clone, Copy)]
pub struct ChainStep {
    /// The running statistics and the factors of the batch's, like [`Chain::statistics`]: see [`crate::ops::running::Running`].
    pub running: Out,
    /// f64, likewise.
    pub factors: In,
    /// The momentum of the running statistics.
    pub running_momentum: f64,
    /// λ of the update without a velocity: see [`crate::ops::sgd::Sgd`].
    pub weight_decay: f64,
    /// The step state.
    pub state: In,
}

/// A chain's batch: the tensors that the backend was given, and the workspace that it asked for.
#[derive(Debug, Clone, Copy)]
pub struct ChainBatch {
    /// Inputs `[N, D]`.
    pub x: In,
    /// Targets `[N, D]`.
    pub target: In,
    /// The workspace: f64, of [`DeepLinear::deep_linear_room`]'s length. It holds what [`DeepLinear::deep_linear_prepare`] computed from the batch,
    /// and what the last pass left.
    pub room: Out,
}

/// The deep linear network as one operator.
///
/// A pass returns `false` where the numbers do not fit its arithmetic, for example where the loss is not finite. Its results are then meaningless,
/// and running the layers one by one gives the right ones.
pub trait DeepLinear {
    /// Whether this backend has the operator for such a chain.
    fn has_deep_linear(&mut self, chain: &Chain) -> bool;

    /// The workspace, in doubles, that it needs besides the chain's tensors.
    fn deep_linear_room(&self, chain: &Chain) -> usize {
        let _ = chain;
        0
    }

    /// Computes what all passes over a batch share. Call it whenever another batch is set.
    fn deep_linear_prepare(&mut self, chain: &Chain, batch: ChainBatch) -> Result<()> {
        let _ = (chain, batch);
        Ok(())
    }

    /// Computes the loss and gradient of every run: each row of `theta [runs, stride]` begins with one run's parameters.
    ///
    /// Errors: the backend does not have the operator; shapes that do not fit.
    fn deep_linear(&mut self, chain: &Chain, theta: In, batch: ChainBatch, out: ChainOut) -> Result<bool>;

    /// [`DeepLinear::deep_linear`] of a single run with its gradient, then the update of the running statistics and of `theta`, to the same bits as one by
    /// one. If the step has halted or the loss is not finite, `theta` stays as it is. `false`, with nothing done, where the backend does not do all of it
    /// at once.
    fn deep_linear_step(
        &mut self,
        chain: &Chain,
        theta: Out,
        batch: ChainBatch,
        out: ChainOut,
        step: ChainStep,
    ) -> Result<bool> {
        let _ = (chain, theta, batch, out, step);
        Ok(false)
    }

    /// Writes the prediction and the sample losses of the last single run, if the pass has not written them itself.
    fn deep_linear_kept(&mut self, chain: &Chain, batch: ChainBatch, y: Out, sample: Out) -> Result<()> {
        let _ = (chain, batch, y, sample);
        Ok(())
    }

    /// Whether the backend has [`DeepLinear::deep_linear_shift`] too.
    fn has_deep_linear_shift(&self) -> bool {
        false
    }

    /// Computes, for every layer, the gradient of its weight when the layers before it (norms included) have the parameters `next` and all others
    /// have `theta`. The gradient goes into the weight's place in `moved`, a vector like `theta`. The first layer's is the gradient at `theta` alone.
    /// The rest of `moved` has no meaning.
    fn deep_linear_shift(&mut self, chain: &Chain, theta: In, next: In, batch: ChainBatch, moved: Out) -> Result<bool> {
        let _ = (chain, theta, next, batch, moved);
        Ok(false)
    }

    /// The workspace, in doubles, that [`DeepLinear::deep_linear_hessian`] needs besides the batch's own; `None` if the backend has no such products
    /// for this chain.
    fn deep_linear_hessian_room(&self, chain: &Chain) -> Option<usize> {
        let _ = chain;
        None
    }

    /// `out ← ∇²L(theta) v`, exactly; all three are vectors like `theta`. `batch` must be prepared, and `room` is separate from its workspace.
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
