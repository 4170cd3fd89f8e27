//! Normalisation of each sample by itself, over groups of its channels, and the ReLU that may follow.
//!
//! G groups of C/G channels each: LayerNorm is one group, InstanceNorm a group for each channel. With the `M = H·W·C/G` values of a
//! sample and group, biased variance, `S = √(σ² + ε)`, and γ and β of each channel c, as in PyTorch's GroupNorm (for one group too:
//! PyTorch's LayerNorm has a γ for each element, this one is its `GroupNorm(1, C)`):
//!
//! ```text
//! x̂ = (x − μ)/S      y = γ x̂ + β      (then max(y, 0) with relu)
//! dx = (γ dy − mean(γ dy) − x̂ mean(γ dy·x̂))/S      dγ = Σ dy·x̂      dβ = Σ dy
//! ```
//!
//! the means over a sample and group, the sums over samples and pixels. With relu, dy counts only where y > 0. A group of one value is
//! refused: it is its own mean. RMSNorm is one group, too, with 0 in place of μ and the mean square in place of σ²; then neither `mean(γ dy)` nor
//! μ̇ is taken off. No batch is looked at, so there are no running statistics, and evaluation is the same pass.
//!
//! Where x moves by ẋ, γ by γ̇, β by β̇ and dy by ḋy, with q = γ dy, a = mean q and b = mean(q x̂),
//!
//! ```text
//! μ̇ = mean ẋ      Ṡ = mean(x̂ ẋ)      x̂˙ = (ẋ − μ̇ − x̂ Ṡ)/S      ẏ = γ̇ x̂ + γ x̂˙ + β̇
//! q̇ = γ̇ dy + γ ḋy      ȧ = mean q̇      ḃ = mean(q̇ x̂ + q x̂˙)      ḋγ = Σ(ḋy x̂ + dy x̂˙)      ḋβ = Σ ḋy
//! ḋx = (q̇ − ȧ − x̂˙ b − x̂ ḃ)/S − Ṡ/S² (q − a − x̂ b)
//! ```
//!
//! Source: Wu and He 2018; Ba, Kiros and Hinton 2016; Ulyanov, Vedaldi and Lempitsky 2016; Zhang and Sennrich 2019 (RMSNorm, with their bias).

pub mod cases;
mod chunks;
pub mod cpu;
mod cpu_tangent;
mod cuda;
mod cuda_tangent;
pub mod door;
mod layer;
mod rows;
mod transpose;

pub use layer::GroupNormLayer;

use crate::ops::norm::{NormGrads, NormOptions, NormParams, Statistics};
use crate::ops::norm_tangent::{Moving, Normed, Upstream};
use crate::runtime::float::Float;
use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};
use std::fmt;

/// How a sample's channels are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// All together: LayerNorm.
    Layer,
    /// In so many groups.
    Groups(usize),
    /// Each by itself: InstanceNorm.
    Instance,
    /// All together, the mean left in: RMSNorm.
    Rms,
}

impl Grouping {
    /// The groups that it makes of `channels` channels.
    pub fn of(self, channels: usize) -> GroupSpec {
        let count = match self {
            Grouping::Layer | Grouping::Rms => 1,
            Grouping::Groups(groups) => groups,
            Grouping::Instance => channels,
        };
        GroupSpec { count, centre: self != Grouping::Rms }
    }
}

impl fmt::Display for Grouping {
    /// As `--norm` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grouping::Layer => f.write_str("layer"),
            Grouping::Groups(groups) => write!(f, "group:{groups}"),
            Grouping::Instance => f.write_str("instance"),
            Grouping::Rms => f.write_str("rms"),
        }
    }
}

/// What is wrong with `groups` groups of `channels` channels on a map of `pixels`, and what would be right; `None` where nothing is.
pub fn unfit(pixels: usize, channels: usize, groups: usize) -> Option<(String, &'static str)> {
    if groups == 0 || !channels.is_multiple_of(groups) {
        let problem = format!("{channels} channels do not make {groups} groups of one size");
        return Some((problem, "the number of groups must divide that of the channels"));
    }
    if pixels * (channels / groups) < 2 {
        let problem = "a group would have one value, and be mapped to 0".to_owned();
        return Some((
            problem,
            "a group needs two values or more: fewer groups have them, and so has batch normalisation",
        ));
    }
    None
}

/// Which of a sample's values are normalised together, and about what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupSpec {
    /// G, which divides C.
    pub count: usize,
    /// Whether the mean is taken off. Else μ is 0, and σ² the mean square.
    pub centre: bool,
}

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
    /// See [`GroupSpec::centre`].
    pub centre: bool,
}

impl Grouped {
    /// Of `x […, N, C]`, γ and the like being `[C]`, statistics `[N·G]`. Errors: lengths that differ from that; groups that do not fit.
    pub fn of(x: Shape, spec: GroupSpec, per_channel: &[Shape], per_group: &[Shape]) -> Result<Self> {
        let [h, w, samples, channels] = x.hwnc();
        let GroupSpec { count: groups, centre } = spec;
        let of = Grouped { pixels: h * w, samples, channels, groups, centre };
        let expected = "x …×N×C, C values per channel, N·G statistics";
        if x.len() == 0 {
            return Err(Error::operator(OP, expected, format!("x {x}")));
        }
        if let Some((problem, remedy)) = unfit(of.pixels, channels, groups) {
            return Err(Error::operator(OP, remedy, problem));
        }
        let fits = per_channel.iter().all(|s| s.len() == channels);
        if fits && per_group.iter().all(|s| s.len() == samples * groups) {
            return Ok(of);
        }
        Err(Error::operator(OP, expected, format!("x {x}, {groups} groups, {per_channel:?}, {per_group:?}")))
    }

    /// C/G
    pub fn channels_each(&self) -> usize {
        self.channels / self.groups
    }

    /// M, values of a sample and group.
    pub fn size(&self) -> f64 {
        (self.pixels * self.channels_each()) as f64
    }

    /// The norm's μ and σ² of a group that has this mean and variance.
    pub fn statistics<T: Float>(&self, mean: T, var: T) -> (T, T) {
        if self.centre { (mean, var) } else { (T::ZERO, T::of(mean.f64().mul_add(mean.f64(), var.f64()))) }
    }

    /// A mean that centring takes off a gradient, and how μ moves: nothing where the mean stays in.
    pub fn mean<T: Float>(&self, mean: T) -> T {
        if self.centre { mean } else { T::ZERO }
    }
}

/// What its errors call it.
const OP: &str = "group_norm";

/// Normalisation over groups of channels of `x […, N, C]`; statistics are `[N·G]`.
pub trait GroupNorm {
    /// The shape of the workspace that all passes need, in the backend's dtype.
    fn group_norm_workspace(&self, x: Shape) -> Shape;
    /// Writes y and the statistics μ and σ².
    fn group_norm(
        &mut self,
        groups: GroupSpec,
        x: In,
        params: NormParams,
        options: NormOptions,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()>;
    /// Writes the gradients, from the forward's operands, the statistics it wrote, and `grad_y`.
    fn group_norm_backward(
        &mut self,
        groups: GroupSpec,
        x: In,
        params: NormParams,
        options: NormOptions,
        stats: Statistics,
        grad_y: In,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()>;
    /// Writes ẏ, and to `stats` μ̇ and Ṡ; in f32 and f64. `norm`'s law is not looked at.
    fn group_norm_tangent(
        &mut self,
        groups: GroupSpec,
        norm: Normed,
        moving: Moving,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()>;
    /// Writes ḋx, ḋγ and ḋβ, from the statistics' tangents that [`GroupNorm::group_norm_tangent`] wrote.
    fn group_norm_tangent_backward(
        &mut self,
        groups: GroupSpec,
        norm: Normed,
        moving: Moving,
        stats: Statistics,
        upstream: Upstream,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()>;
}
