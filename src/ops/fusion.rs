//! The neighbouring operations that are fused into a layer's passes.

/// The neighbouring operations that are fused into a layer's passes, where the backend can do so. Each saves reading a tensor again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fusion {
    /// The pass applies the ReLU that follows to y.
    pub relu: bool,
    /// The pass applies the 2×2 max-pool that follows to y. y and its gradient then have the pool's output shape.
    pub pool: bool,
    /// The pass leaves the mean and the variance of every channel of y, which the following norm needs, where that norm saves them.
    pub leave_moments: bool,
    /// The layer before has left the mean and the variance of every channel of x.
    pub take_moments: bool,
    /// The backward pass of the layer after this norm leaves dγ and dβ ([`crate::ops::weight_grads::NormBelow`]). If the norm's pass pools, it keeps for
    /// that layer what the pool chose.
    pub take_norm_grads: bool,
}
