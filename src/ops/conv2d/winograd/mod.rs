//! 3×3 convolution in f32 by minimal filtering (`filtering`), which takes fewer multiplications than there are taps.
//!
//! - `filtering`: the algorithms along one axis · `tile`: both axes, in registers · `product`: dense products of transformed tensors
//! - `tiling`: maps cut into tiles and blocks · `convolve`: output and input gradient · `weights`: weight gradient
//! - `sharing`: tasks for threads
//!
//! A tile of 4×4 outputs at 512 channels takes 36 multiplications for each pair of channels in place of 144, and a few more for the transforms. The
//! relative error (L2) is at most 3e-6 at VGG-16's shapes; the largest observed was 1.6e-6, where direct sums had 1.1e-6. The price: an infinity or
//! NaN makes its whole tile NaN, and inputs beyond 1e37 may overflow.

mod convolve;
mod filtering;
mod product;
mod sharing;
mod tile;
mod tiling;
mod weights;

use super::Map;
pub use convolve::Convolution;
use convolve::convolve;
pub use filtering::{Filtering, FourByThree, TwoByTwo};
pub use weights::grad_weight;

/// The workspace of the three passes, in elements: the largest of the three.
pub fn workspace<A: Filtering>(map: &Map) -> usize {
    let [output, gradient] = [false, true].map(|gradient| convolve::workspace::<A>(map, gradient));
    output.max(gradient).max(weights::workspace::<A>(map))
}

/// `y = x ∗ w (+ bias)`
pub fn forward<A: Filtering>(
    map: &Map,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    room: &mut [f32],
) {
    convolve::<A>(Convolution { map, input: x, weight, bias, gradient: false }, y, room);
}

/// `dx`, from dy.
pub fn grad_input<A: Filtering>(map: &Map, weight: &[f32], dy: &[f32], dx: &mut [f32], room: &mut [f32]) {
    convolve::<A>(Convolution { map, input: dy, weight, bias: None, gradient: true }, dx, room);
}
