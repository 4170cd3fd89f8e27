//! Which neighbouring operations are fused into a layer's pass.

/// The neighbouring operations that are fused into a layer's pass, where the backend can: each saves reading a tensor again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fusion {
    /// The ReLU that follows is applied to y.
    pub relu: bool,
    /// The 2×2 max-pool that follows is applied to y, which is of its shape; the gradient of y is too.
    pub pool: bool,
    /// The sums that the norm which follows needs of y are left in the workspace.
    pub leave_sums: bool,
    /// The layer before has left them there.
    pub take_sums: bool,
}
