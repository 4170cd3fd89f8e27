//! The samples' values, computed from coordinates: the operands of the passes for a power mean's spread.

/// At p = ∞, values whose relative difference is less than this count as equal: rounding alone may set sums over the basis this far apart.
pub const APART: f64 = 1e-13;

/// The samples of some units, and the buffers for computing their power means.
#[derive(Clone, Copy)]
pub struct Spread {
    pub p: f64,
    pub samples: usize,
    pub padded: usize,
    pub dim: usize,
    pub stride: usize,
    /// The basis, `[dim + 1, padded]`, followed by what [`super::screen`] derived from it.
    pub basis: *const f64,
    /// A buffer for the samples' values, `[width, padded]`.
    pub values: *mut f64,
    /// A buffer for sums, `[dim + 1, width, 8]`.
    pub sums: *mut f64,
}
