//! Where the numbers of a chain on coordinates lie, in one block of doubles.

use super::widths::{FEWEST, SAMPLES, WIDEST, width};
use super::{Chain, ChainNorm, screen};

/// Whether a chain can be taken on coordinates.
pub fn fits(chain: &Chain) -> bool {
    let Chain { depth, dim, samples, .. } = *chain;
    (1..=WIDEST).contains(&dim) && samples >= FEWEST && samples > dim + 1 && depth >= 1
}

/// Offsets in doubles. Where rows hold pairs (`parts` 2), each row is followed by how it moves.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Doubles of a row.
    pub stride: usize,
    /// Doubles from one layer's parameters to the next one's, and of all.
    pub layer: usize,
    pub parameters: usize,
    /// Samples, padded.
    pub padded: usize,
    /// Doubles of what the forward pass leaves of a layer.
    pub tape_layer: usize,
    /// What of the loss lies outside the inputs' span; then whether the batch is there.
    pub outside: usize,
    /// Coordinates of inputs and of targets, a row for each of the basis; the last row is that of the constant.
    pub x: usize,
    pub target: usize,
    /// The basis, `[dim + 1, padded]`; and what a norm that needs samples has beside it.
    pub basis: usize,
    /// Parameters and gradients in rows, where they do not lie so already; and the parameters of the next step.
    pub theta: usize,
    pub grad: usize,
    pub next: usize,
    /// Weights turned, `[depth, dim, stride]`.
    pub turned: usize,
    /// What the forward pass leaves of every layer, and of two more.
    pub tape: usize,
    /// The last layer's γ, where it has a norm.
    pub gain: usize,
    /// Weights times γ; gradients, twice.
    pub scaled: usize,
    pub errors: [usize; 2],
    /// The values of samples, of a norm that needs them: `[width, padded]`, and a column of targets.
    pub values: usize,
    /// Sums over such values, eight chains of each: a row of the basis by a unit.
    pub sums: usize,
    /// All doubles.
    pub total: usize,
}

impl Layout {
    /// For a chain; `parts` is 2 where all is held with how it moves.
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

/// Whether the norm's spread is no sum of squares, so that the samples must be looked at.
pub fn needs_samples(norm: ChainNorm) -> bool {
    matches!(norm, ChainNorm::Lp { p, .. } if p != 2.0)
}
