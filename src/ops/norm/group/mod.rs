//! Norms over groups: each sample is normalised on its own, over groups of its channels.
//!
//! There are G groups of C/G channels each: LayerNorm has one group, InstanceNorm a group for each channel. A sample's group has `M = H·W·C/G`
//! values, σ² is the biased variance, and `S = √(σ² + ε)`. γ and β belong to each channel c, as in PyTorch's GroupNorm, and also for one group:
//! PyTorch's LayerNorm has a γ for each element, but the one here is its `GroupNorm(1, C)`:
//!
//! ```text
//! x̂ = (x − μ)/S      y = γ x̂ + β      (then max(y, 0) with relu)
//! dx = (γ dy − mean(γ dy) − x̂ mean(γ dy·x̂))/S      dγ = Σ dy·x̂      dβ = Σ dy
//! ```
//!
//! The means are over a sample's group, the sums over samples and pixels. With relu, dy counts only where y > 0. A group of one value is refused,
//! since the value is its own mean. RMSNorm also has one group, with 0 in place of μ and the mean square in place of σ²; then neither `mean(γ dy)`
//! nor μ̇ is subtracted. The statistics do not involve the batch, so there are no running statistics, and evaluation is the same pass.
//!
//! Where ẋ, γ̇, β̇ and ḋy are the tangents of x, γ, β and dy, and with q = γ dy, a = mean q and b = mean(q x̂),
//!
//! ```text
//! μ̇ = mean ẋ      Ṡ = mean(x̂ ẋ)      x̂˙ = (ẋ − μ̇ − x̂ Ṡ)/S      ẏ = γ̇ x̂ + γ x̂˙ + β̇
//! q̇ = γ̇ dy + γ ḋy      ȧ = mean q̇      ḃ = mean(q̇ x̂ + q x̂˙)      ḋγ = Σ(ḋy x̂ + dy x̂˙)      ḋβ = Σ ḋy
//! ḋx = (q̇ − ȧ − x̂˙ b − x̂ ḃ)/S − Ṡ/S² (q − a − x̂ b)
//! ```
//!
//! Source: Wu and He 2018; Ba, Kiros and Hinton 2016; Ulyanov, Vedaldi and Lempitsky 2016; Zhang and Sennrich 2019 (RMSNorm, with their bias).

mod chunks;
pub(super) mod cpu;
pub(super) mod cpu_tangent;
pub(super) mod cuda;
pub(super) mod cuda_tangent;
mod rows;
mod transpose;

use super::{Axes, NormPass, NormSpec};
use crate::runtime::float::Float;
use crate::runtime::tensor::Shape;
use crate::{Error, Result};

/// The extents of a norm over groups.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grouped {
    /// H·W
    pub pixels: usize,
    /// N
    pub samples: usize,
    /// C
    pub channels: usize,
    /// G
    pub groups: usize,
    /// See [`NormSpec::centre`].
    pub centre: bool,
}

impl Grouped {
    /// The extents of a pass: x is `[…, N, C]`, γ and the like are `[C]`, statistics `[N·G]`. Errors: other lengths; groups that do not fit.
    pub fn of(spec: &NormSpec, pass: &NormPass, per_channel: &[Shape], per_group: &[Shape]) -> Result<Self> {
        let x = pass.x.0.shape;
        let [h, w, samples, channels] = x.hwnc();
        let Axes::Groups(grouping) = spec.axes else {
            return Err(Error::operator(spec.name(), "groups of channels", "the whole batch"));
        };
        if x.len() == 0 {
            return Err(Error::operator(spec.name(), "x …×N×C with at least one sample", format!("x {x}")));
        }
        if let Some((problem, remedy)) = grouping.unfit(h * w, channels) {
            return Err(Error::operator(spec.name(), remedy, problem));
        }
        let groups = grouping.count(channels);
        let own = [[pass.weight.0.shape, pass.bias.0.shape], [pass.mean.0.shape, pass.spread.0.shape]];
        let fits = |own: &[Shape], others: &[Shape], len: usize| own.iter().chain(others).all(|s| s.len() == len);
        if fits(&own[0], per_channel, channels) && fits(&own[1], per_group, samples * groups) {
            return Ok(Grouped { pixels: h * w, samples, channels, groups, centre: spec.centre });
        }
        let found = format!("x {x}, {groups} groups, {own:?} {per_channel:?} {per_group:?}");
        Err(Error::operator(spec.name(), "x …×N×C, C values per channel, N·G statistics", found))
    }

    /// C/G
    pub fn channels_each(&self) -> usize {
        self.channels / self.groups
    }

    /// M, the number of values in a sample's group.
    pub fn size(&self) -> f64 {
        (self.pixels * self.channels_each()) as f64
    }

    /// The norm's μ and σ², for a group with this mean and variance.
    pub fn statistics<T: Float>(&self, mean: T, var: T) -> (T, T) {
        if self.centre { (mean, var) } else { (T::ZERO, T::of(mean.f64().mul_add(mean.f64(), var.f64()))) }
    }

    /// A mean that centring subtracts, or the tangent of μ; 0 for a norm without centring.
    pub fn mean<T: Float>(&self, mean: T) -> T {
        if self.centre { mean } else { T::ZERO }
    }
}
