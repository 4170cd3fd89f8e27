//! The distribution of one unit's values: a histogram, the mean and the variance (figures 1, 2, 7, 8, 14).
//!
//! Bins have equal widths and include their lower edge; the last one includes its upper edge too. Counts are whole numbers, so a histogram is the
//! same on every device. A NaN is in no bin, and shows in the moments.

mod cpu;
mod cuda;

use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};

/// The most bins that a histogram has.
pub const MOST_BINS: usize = 512;

/// The unit whose values are counted, and the bins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bins {
    /// The unit: a column of x.
    pub unit: usize,
    /// The lower edge of the first bin.
    pub low: f64,
    /// The upper edge of the last bin; above `low`.
    pub high: f64,
}

impl Bins {
    /// The numbers of units, samples and bins of a call, and the factor that turns a distance from `low` into a number of bins.
    ///
    /// Errors: no such unit, no samples, an empty range, no bins, or too many bins.
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
    /// Counts the values of unit `bins.unit` of `x […, C]`. `count` (u32 `[2 + bins]`) gets the numbers of values below the range, in each bin, and
    /// above the range; `moments` (f64 `[2]`) gets the mean and the (biased) variance.
    fn distribution(&mut self, x: In, bins: Bins, count: Out, moments: Out) -> Result<()>;
}
