//! The extents of rows and samples on coordinates.

/// The widest layer that is taken on coordinates.
pub const WIDEST: usize = 32;
/// Fewer samples than this are taken one by one.
pub const FEWEST: usize = 16;
/// Samples are padded with zeros to a multiple of this.
pub const SAMPLES: usize = 32;
/// The widths that rows have.
pub const WIDTHS: [usize; 4] = [8, 10, 16, 32];

/// Elements of a row for layers of `dim` units, at most [`WIDEST`].
pub fn width(dim: usize) -> usize {
    WIDTHS.into_iter().find(|width| *width >= dim).unwrap_or(WIDEST)
}
