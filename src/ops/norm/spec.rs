//! Which norm: what its statistics are taken over, and what it divides by.

use super::renorm::RenormLimits;
use crate::ops::noise::NoiseOptions;
use crate::runtime::tensor::Shape;
use crate::{Error, Result};
use std::fmt;

/// A norm, and what its passes do beside it. Named norms are made by [`NormSpec::batch`] and its siblings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormSpec {
    /// Which values share their statistics.
    pub axes: Axes,
    /// Whether the mean is taken off. If not, μ is 0 and σ² the mean square; only norms over groups may do without.
    pub centre: bool,
    /// What is divided by.
    pub divisor: Divisor,
    /// ε: under the root with σ², added to a power mean.
    pub eps: f64,
    /// Algorithm 1's noise, laid over the norm's output before the ReLU; only BatchNorm's passes draw it.
    pub noise: Option<NoiseOptions>,
    /// Batch renormalisation: BatchNorm's output is corrected towards the running statistics, r and d clipped to these.
    pub renorm: Option<RenormLimits>,
    /// The ReLU follows.
    pub relu: bool,
    /// A 2×2 max-pool follows, and is part of the pass: y and its gradient have its shape, and the output before the pool is not stored. Only
    /// backends whose [`super::Norm::norm_pools`] says so take it, on maps of even height and width.
    pub pool: bool,
}

/// The values that share their statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axes {
    /// A channel's, over all samples and pixels of the batch.
    Batch,
    /// A sample's, over all pixels of a group of its channels.
    Groups(Grouping),
}

/// How a sample's channels are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// All together, as LayerNorm and RMSNorm have them.
    Layer,
    /// In so many groups.
    Groups(usize),
    /// Each by itself: InstanceNorm.
    Instance,
}

/// What a norm divides by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Divisor {
    /// S = √(σ² + ε); what is kept is σ².
    Std,
    /// D = s + ε with the power mean s = (mean |x|ᵖ)^(1/p), p ≥ 1 or infinity; what is kept is s.
    PowerMean(f64),
}

impl Divisor {
    /// S or D, of the spread that is kept.
    pub fn of(self, spread: f64, eps: f64) -> f64 {
        match self {
            Divisor::Std => (spread + eps).sqrt(),
            Divisor::PowerMean(_) => spread + eps,
        }
    }

    /// The factor of a batch's spread over `samples` when it enters the running one: the running variance is unbiased.
    pub fn running_factor(self, samples: usize) -> f64 {
        match self {
            Divisor::Std if samples > 1 => samples as f64 / (samples as f64 - 1.0),
            _ => 1.0,
        }
    }
}

impl Grouping {
    /// The number of groups that it makes of `channels` channels.
    pub fn count(self, channels: usize) -> usize {
        match self {
            Grouping::Layer => 1,
            Grouping::Groups(groups) => groups,
            Grouping::Instance => channels,
        }
    }

    /// What is wrong with these groups of `channels` channels on a map of `pixels`, and what would be right; `None` where nothing is.
    pub fn unfit(self, pixels: usize, channels: usize) -> Option<(String, &'static str)> {
        let groups = self.count(channels);
        if groups == 0 || !channels.is_multiple_of(groups) {
            let problem = format!("{channels} channels do not make {groups} groups of one size");
            return Some((problem, "the number of groups must divide that of the channels"));
        }
        if pixels * (channels / groups) < 2 {
            let problem = "a group would have one value, and be mapped to 0".to_owned();
            let remedy = "a group needs two values or more: fewer groups have them, and so has batch normalisation";
            return Some((problem, remedy));
        }
        None
    }
}

impl NormSpec {
    /// BatchNorm with ε = 1e-5 and nothing after it.
    pub fn batch() -> Self {
        NormSpec {
            axes: Axes::Batch,
            centre: true,
            divisor: Divisor::Std,
            eps: 1e-5,
            noise: None,
            renorm: None,
            relu: false,
            pool: false,
        }
    }

    /// The ℓp norm of section 3.3.
    pub fn lp(p: f64) -> Self {
        NormSpec { divisor: Divisor::PowerMean(p), ..Self::batch() }
    }

    /// BatchNorm with Algorithm 1's noise.
    pub fn noisy(noise: NoiseOptions) -> Self {
        NormSpec { noise: Some(noise), ..Self::batch() }
    }

    /// Batch renormalisation.
    pub fn renorm(limits: RenormLimits) -> Self {
        NormSpec { renorm: Some(limits), ..Self::batch() }
    }

    /// LayerNorm, GroupNorm or InstanceNorm.
    pub fn grouped(grouping: Grouping) -> Self {
        NormSpec { axes: Axes::Groups(grouping), ..Self::batch() }
    }

    /// RMSNorm.
    pub fn rms() -> Self {
        NormSpec { centre: false, ..Self::grouped(Grouping::Layer) }
    }

    /// Its name, as `normscape op` and errors have it.
    pub fn name(&self) -> &'static str {
        match (self.axes, self.divisor) {
            (Axes::Batch, Divisor::PowerMean(_)) => "lp_norm",
            (Axes::Batch, Divisor::Std) if self.noise.is_some() => "noisy_batch_norm",
            (Axes::Batch, Divisor::Std) if self.renorm.is_some() => "batch_renorm",
            (Axes::Batch, Divisor::Std) => "batch_norm",
            (Axes::Groups(Grouping::Layer), _) if !self.centre => "rms_norm",
            (Axes::Groups(Grouping::Layer), _) => "layer_norm",
            (Axes::Groups(Grouping::Groups(_)), _) => "group_norm",
            (Axes::Groups(Grouping::Instance), _) => "instance_norm",
        }
    }

    /// Whether it is BatchNorm, with noise or without: the norm of the paper's theorems.
    pub fn is_batch_norm(&self) -> bool {
        self.axes == Axes::Batch && self.divisor == Divisor::Std && self.renorm.is_none()
    }

    /// S or D, of the spread that is kept.
    pub fn divisor_of(&self, spread: f64) -> f64 {
        self.divisor.of(spread, self.eps)
    }

    /// The shape of the mean and of the spread that a pass over `x` keeps: `[C]`; over groups `[N, G]`, of all
    /// channels together `[N]`.
    pub fn saved_shape(&self, x: Shape) -> Shape {
        let [.., samples, channels] = x.hwnc();
        match self.axes {
            Axes::Batch => Shape::new([channels]),
            Axes::Groups(Grouping::Layer) => Shape::new([samples]),
            Axes::Groups(grouping) => Shape::new([samples, grouping.count(channels)]),
        }
    }

    /// Errors: a combination that no backend computes.
    pub fn check(&self) -> Result<()> {
        let refuse = |expected: &str, found: String| Err(Error::operator(self.name(), expected, found));
        match (self.axes, self.divisor) {
            (_, Divisor::PowerMean(p)) if p.is_nan() || p < 1.0 => refuse("p of at least 1, or inf", p.to_string()),
            (Axes::Groups(_), Divisor::PowerMean(p)) => refuse("√(σ² + ε) over groups", format!("a power mean of {p}")),
            (Axes::Groups(_), _) if self.noise.is_some() => refuse("no noise over groups", "some".into()),
            (Axes::Groups(_), _) if self.pool => refuse("a norm whose passes pool", "one over groups".into()),
            (_, Divisor::PowerMean(_)) if self.noise.is_some() => refuse("no noise over a power mean", "some".into()),
            (_, _) if self.renorm.is_some() => {
                refuse("batch renormalisation by way of a layer", "a pass of the norm alone".into())
            }
            (Axes::Batch, _) if !self.centre => refuse("the mean taken off", "a norm over the batch without".into()),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Grouping {
    /// As `--norm` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grouping::Layer => f.write_str("layer"),
            Grouping::Groups(groups) => write!(f, "group:{groups}"),
            Grouping::Instance => f.write_str("instance"),
        }
    }
}

impl fmt::Display for NormSpec {
    /// With its settings, as a network's description has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name())?;
        match (self.axes, self.divisor) {
            (Axes::Groups(Grouping::Groups(groups)), _) => write!(f, "groups {groups}, ")?,
            (_, Divisor::PowerMean(p)) => write!(f, "p {p}, ")?,
            _ => {}
        }
        write!(f, "eps {}", self.eps)?;
        if let Some(noise) = &self.noise {
            write!(f, ", {}", noise.describe())?;
        }
        if let Some(limits) = &self.renorm {
            write!(f, ", {limits}")?;
        }
        f.write_str(if self.relu { ", relu)" } else { ")" })
    }
}
