//! How the values of one unit are distributed: a histogram, and mean and variance (figures 1, 2, 7, 8, 14).
//!
//! Bins are equal and closed below, the last one on both sides. Counts are whole numbers, so that a histogram is the same on every
//! device; a NaN is in no bin, and shows in the moments.

mod cpu;
mod cuda;

use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};

/// The most bins that a histogram has.
pub const MOST_BINS: usize = 512;

/// What is looked at, and how finely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bins {
    /// The column of x.
    pub unit: usize,
    /// The lower edge of the first bin.
    pub low: f64,
    /// The upper edge of the last bin; above `low`.
    pub high: f64,
}

impl Bins {
    /// Units, samples and bins of a call, and what a distance from `low` is multiplied by to count bins.
    ///
    /// Errors: no such unit or no samples, an empty range, no bins or too many.
    fn check(&self, x: Shape, count: Shape, moments: Shape) -> Result<(usize, usize, usize, f64)> {
        let refuse = |expected: &str, found: String| Err(Error::operator("distribution", expected, found));
        let ((rows, units), bins) = (x.matrix(), count.len().saturating_sub(2));
        if self.unit >= units || rows == 0 {
            return refuse("a unit of x, with samples", format!("unit {} of x {x}", self.unit));
        }
        if bins == 0 || bins > MOST_BINS || moments.len() != 2 {
            return refuse("1 to 512 bins with a count on either side, and 2 moments", format!("{count}, {moments}"));
        }
        let scale = bins as f64 / (self.high - self.low);
        if !(self.low < self.high && scale.is_finite() && scale > 0.0) {
            return refuse("a range from low to a larger high", format!("{} to {}", self.low, self.high));
        }
        Ok((rows, units, bins, scale))
    }
}

/// Distribution of a unit's values.
pub trait Distribution {
    /// Counts the values of unit `bins.unit` of `x […, C]`: into `count` (u32 `[2 + bins]`) those below the range, in each bin, and above
    /// it; into `moments` (f64 `[2]`) their mean and (biased) variance.
    fn distribution(&mut self, x: In, bins: Bins, count: Out, moments: Out) -> Result<()>;
}
