//! Samples that are made of coordinates: what the passes of a power mean's spread take.

/// Values that differ by less, relatively, are equal at p = ∞: what sums of the basis may differ by.
pub const APART: f64 = 1e-13;

/// The samples of some units, and what their power means are found with.
#[derive(Clone, Copy)]
pub struct Spread {
    pub p: f64,
    pub samples: usize,
    pub padded: usize,
    pub dim: usize,
    pub stride: usize,
    /// `[dim + 1, padded]`, and what [`super::screen`] has made of it.
    pub basis: *const f64,
    /// `[width, padded]`, written.
    pub values: *mut f64,
    /// `[dim + 1, width, 8]`, written.
    pub sums: *mut f64,
}
