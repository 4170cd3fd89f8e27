//! Where the gradients of a convolution or a linear layer go.

use crate::runtime::tensor::Out;

/// Where the gradients of an operator go that is linear in x and in its weight. A gradient that is `None` is not computed.
#[derive(Debug, Clone, Copy)]
pub struct WeightGrads {
    /// Shaped like x; the first layer of a network needs none.
    pub x: Option<Out>,
    /// Shaped like the weight: `[9, C, K]` for a convolution, `[I, O]` for a linear layer.
    pub weight: Option<Out>,
    /// Shaped like the bias: `[K]` or `[O]`.
    pub bias: Option<Out>,
}
