//! Where the gradients of a convolution or a linear layer go.

use crate::runtime::tensor::Out;

/// Where the gradients of an operator go that is linear in x and in its weight; what is `None` is not computed.
#[derive(Debug, Clone, Copy)]
pub struct WeightGrads {
    /// Like x; the first layer of a network needs none.
    pub x: Option<Out>,
    /// Like the weight: `[9, C, K]` of a convolution, `[I, O]` of a linear layer.
    pub weight: Option<Out>,
    /// `[K]` or `[O]`
    pub bias: Option<Out>,
}
