//! The limits on rows and samples for computing on coordinates.

/// The widest layer that is computed on coordinates.
pub const WIDEST: usize = 32;
/// The fewest samples that are worth computing on coordinates; fewer are handled layer by layer.
pub const FEWEST: usize = 16;
/// Samples are padded with zeros to a multiple of this.
pub const SAMPLES: usize = 32;
/// The widths of rows that there are.
pub const WIDTHS: [usize; 4] = [8, 10, 16, 32];

/// The number of elements in a row for layers of `dim` units, which is at most [`WIDEST`].
pub fn width(dim: usize) -> usize {
    WIDTHS.into_iter().find(|width| *width >= dim).unwrap_or(WIDEST)
}
