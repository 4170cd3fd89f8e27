//! A distribution in a ridge plot, and the common height and width of several.

/// The measure of height is the highest peak, but at most this many times the median peak.
pub const OVER_MIDDLE: f64 = 1.6;
/// Densities below this share of the measure cannot be seen, and need no space at the sides.
const VISIBLE: f64 = 0.01;

/// One distribution of a ridge plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Ridge {
    /// The position of its foot on the vertical axis: the step at which it was taken.
    pub at: f64,
    /// The ends of the bins on the horizontal axis, rising; one more than `density` has entries.
    pub edges: Vec<f64>,
    /// For each bin, the share of samples divided by the bin's width. All NaN where nothing was measured; then nothing is drawn.
    pub density: Vec<f64>,
}

impl Ridge {
    /// The highest density; `None` where nothing was measured.
    pub(super) fn peak(&self) -> Option<f64> {
        if !self.at.is_finite() {
            return None;
        }
        self.density.iter().copied().filter(|d| d.is_finite() && *d >= 0.0).reduce(f64::max)
    }

    /// Mean and standard deviation, with the samples of a bin taken at its middle; `None` where nothing was measured.
    pub(super) fn moments(&self) -> Option<(f64, f64)> {
        self.peak()?;
        let sum = |value: &dyn Fn(f64) -> f64| -> f64 {
            let share = |(low, high, density): (f64, f64, f64)| (high - low) * density * value(0.5 * (low + high));
            self.bins().map(share).filter(|share| share.is_finite()).sum()
        };
        let all = sum(&|_| 1.0);
        let mean = sum(&|x| x) / all;
        let spread = (sum(&|x| (x - mean).powi(2)) / all).sqrt();
        (mean.is_finite() && spread.is_finite()).then_some((mean, spread))
    }

    /// Low end, high end and density of each bin.
    pub(super) fn bins(&self) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        self.edges.windows(2).zip(&self.density).map(|(ends, &density)| (ends[0], ends[1], density))
    }
}

/// The lowest and highest end of the visible parts of these ridges; empty where nothing is visible.
pub fn span(ridges: &[Ridge]) -> Vec<f64> {
    let Some(measure) = measure(ridges.iter()) else { return Vec::new() };
    let seen = |ridge: &Ridge| ridge.bins().filter(|bin| bin.2 >= VISIBLE * measure).collect::<Vec<_>>();
    let all: Vec<f64> = ridges.iter().flat_map(seen).flat_map(|(low, high, _)| [low, high]).collect();
    let low = all.iter().copied().reduce(f64::min);
    let high = all.iter().copied().reduce(f64::max);
    low.into_iter().chain(high).collect()
}

/// The density that is drawn as high as the scale allows. If the highest peak set the scale, one narrow distribution (a layer right after
/// initialisation) would flatten all others.
pub fn measure<'a>(ridges: impl Iterator<Item = &'a Ridge>) -> Option<f64> {
    let mut peaks: Vec<f64> = ridges.filter_map(Ridge::peak).filter(|peak| *peak > 0.0).collect();
    peaks.sort_unstable_by(f64::total_cmp);
    let (middle, highest) = (peaks.get(peaks.len() / 2)?, peaks.last()?);
    Some(highest.min(OVER_MIDDLE * middle))
}
