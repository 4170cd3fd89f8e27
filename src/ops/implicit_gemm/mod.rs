//! The dense products of convolution and linear layers on a device: which kernel they use, which tiles, and how many splits.
//!
//! f32 is exact, in whole tiles (`kernels/conv_exact.cu`) or any others (`kernels/conv.cu`); tf32 and bf16 run on tensor cores, in whole tiles
//! (`kernels/conv_wgmma.cu` for bf16 on sm_90, `kernels/conv_shared.cu` for tf32 there, `kernels/conv_tile.cu` elsewhere) or any others
//! (`kernels/conv_mma.cu`); a first layer of at most three
//! channels has kernels of its own (`kernels/stem.cu`, `stem_gradient.cu`). Tiles and splits depend on the shapes alone, so the order of every sum does too.
//!
//! - `extents`: tiles, splits and workspace · `exact`: what whole tiles in f32 need · `norm_below`: the norm whose dy an input's gradient is ·
//!   `product`: outputs, and the gradients of inputs · `weight`: the gradients of weights and biases · `both`: those of inputs and weights in one launch
//!   (`kernels/both_tile.cu`, `kernels/both_wgmma.cu`)

mod both;
mod exact;
mod extents;
mod norm_below;
mod product;
#[cfg(test)]
mod tests;
mod weight;

pub use both::gradients;
pub use extents::{Direction, Extents, aligned, tile_rows};
pub use norm_below::{Below, Shares};
pub use product::{Epilogue, Moments, product};
pub use weight::{bias_gradient, weight_gradient};
