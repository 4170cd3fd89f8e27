//! The layout of a chain on coordinates: the places of all its numbers in one block of doubles.

use super::widths::{FEWEST, SAMPLES, WIDEST, width};
use super::{Chain, ChainNorm, screen};

/// Whether a chain can be computed on coordinates.
pub fn fits(chain: &Chain) -> bool {
    let Chain { depth, dim, samples, .. } = *chain;
    (1..=WIDEST).contains(&dim) && samples >= FEWEST && samples > dim + 1 && depth >= 1
}

/// Offsets and sizes, in doubles. Where rows hold pairs (`parts` is 2), the second half of each row holds the tangent of the first.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The length of a row.
    pub stride: usize,
    /// The distance from one layer's parameters to the next layer's, and the length of all parameters.
    pub layer: usize,
    pub parameters: usize,
    /// The number of samples, padded.
    pub padded: usize,
    /// The length of one layer's tape: what the forward pass saves of the layer.
    pub tape_layer: usize,
    /// The part of the loss that lies outside the inputs' span; after it, a mark that a batch is there.
    pub outside: usize,
    /// The coordinates of the inputs and of the targets, one row for each vector of the basis; the last row is that of the constant.
    pub x: usize,
    pub target: usize,
    /// The basis, `[dim + 1, padded]`, followed by what a norm that needs samples derives from it.
    pub basis: usize,
    /// Parameters and gradients in rows, where the caller's are not laid out so already; and the parameters of the next step.
    pub theta: usize,
    pub grad: usize,
    pub next: usize,
    /// The transposed weights, `[depth, dim, stride]`.
    pub turned: usize,
    /// The tapes of all layers, and of two more.
    pub tape: usize,
    /// The last layer's γ, if it has a norm.
    pub gain: usize,
    /// The weights times γ; and the gradients of two neighbouring layers.
    pub scaled: usize,
    pub errors: [usize; 2],
    /// The samples' values for a norm that needs them, `[width, padded]`. Any chain has one column of this, for preparing a batch.
    pub values: usize,
    /// Sums over these values, for each row of the basis and each unit; each sum is kept as eight chains.
    pub sums: usize,
    /// The length of everything.
    pub total: usize,
}

impl Layout {
    /// The layout of a chain. `parts` is 2 where every number is held with its tangent.
    pub fn of(chain: &Chain, parts: usize) -> Layout {
        let Chain { depth, dim, samples, .. } = *chain;
        let stride = width(dim) * parts;
        let rows = (dim + 1) * stride;
        let layer = (dim + if chain.norms() > 0 { 2 } else { 0 }) * stride;
        // Before this the last layer's norm may be missing.
        let parameters = layer * depth;
        let padded = samples.next_multiple_of(SAMPLES);
        let by_samples = needs_samples(chain.norm) && chain.norms() > 0;
        // y and its constant; a's constant, 1/D, and the norm's spread; how a spread by samples moves with each coordinate.
        let tape_layer = rows + 3 * stride + if by_samples { rows } else { 0 };
        let mut total = 8;
        let mut take = |len: usize| {
            let at = total;
            total += len.next_multiple_of(8);
            at
        };
        Layout {
            stride,
            layer,
            parameters,
            padded,
            tape_layer,
            outside: 0,
            x: take(rows),
            target: take(rows),
            basis: take(if by_samples { screen::room(chain.norm, dim, padded) } else { (dim + 1) * padded }),
            theta: take(parameters),
            grad: take(parameters),
            next: take(parameters),
            turned: take(depth * dim * stride),
            tape: take((depth + 2) * tape_layer),
            gain: take(stride),
            scaled: take(dim * stride),
            errors: [take(rows), take(rows)],
            values: take(if by_samples { width(dim) * padded } else { padded }),
            sums: take(if by_samples { (dim + 1) * width(dim) * 8 } else { 0 }),
            total,
        }
    }
}

/// Whether the norm's spread is not a sum of squares, and so has to be computed from the samples.
pub fn needs_samples(norm: ChainNorm) -> bool {
    matches!(norm, ChainNorm::Lp { p, .. } if p != 2.0)
}
