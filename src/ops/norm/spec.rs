//! The description of a norm: what its statistics are taken over, and what it divides by.

use super::renorm::RenormLimits;
use crate::ops::noise::NoiseOptions;
use crate::runtime::tensor::Shape;
use crate::{Error, Result};
use std::fmt;

/// A norm, and what its passes do besides. [`NormSpec::batch`] and its siblings make the named norms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormSpec {
    /// Which values share their statistics.
    pub axes: Axes,
    /// Whether the mean is subtracted. If not, μ is 0 and σ² is the mean square; only norms over groups may do without.
    pub centre: bool,
    /// What the norm divides by.
    pub divisor: Divisor,
    /// ε: added to σ² under the root, or to a power mean.
    pub eps: f64,
    /// Algorithm 1's noise, applied to the norm's output before the ReLU; only BatchNorm's passes draw it.
    pub noise: Option<NoiseOptions>,
    /// Batch renormalisation: BatchNorm's output is corrected towards the running statistics, with r and d clipped to these bounds.
    pub renorm: Option<RenormLimits>,
    /// Whether the ReLU follows.
    pub relu: bool,
    /// Whether a 2×2 max-pool follows as part of the pass. y and its gradient then have the pool's output shape, and the output before the pool is
    /// not stored. Only backends that return true from [`super::Norm::norm_pools`] take it, on maps of even height and width.
    pub pool: bool,
}

/// The values that share their statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axes {
    /// A channel's values over all samples and pixels of the batch.
    Batch,
    /// A sample's values over all pixels of a group of its channels.
    Groups(Grouping),
}

/// How a sample's channels are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// All channels together, as in LayerNorm and RMSNorm.
    Layer,
    /// This many groups.
    Groups(usize),
    /// Each channel by itself, as in InstanceNorm.
    Instance,
}

/// What a norm divides by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Divisor {
    /// S = √(σ² + ε); the pass saves σ².
    Std,
    /// D = s + ε with the power mean s = (mean |x|ᵖ)^(1/p), where p is at least 1 or infinity; the pass saves s.
    PowerMean(f64),
}

impl Divisor {
    /// The kernels' code: 0 for S, from σ²; 1 for D, from s.
    pub fn kind(self) -> u32 {
        match self {
            Divisor::Std => 0,
            Divisor::PowerMean(_) => 1,
        }
    }

    /// S or D, from the saved spread.
    pub fn of(self, spread: f64, eps: f64) -> f64 {
        match self {
            Divisor::Std => (spread + eps).sqrt(),
            Divisor::PowerMean(_) => spread + eps,
        }
    }

    /// The factor by which a batch's spread over `samples` is multiplied before it enters the running spread: the running variance is unbiased.
    pub fn running_factor(self, samples: usize) -> f64 {
        match self {
            Divisor::Std if samples > 1 => samples as f64 / (samples as f64 - 1.0),
            _ => 1.0,
        }
    }
}

impl Grouping {
    /// The number of groups that this grouping makes of `channels` channels.
    pub fn count(self, channels: usize) -> usize {
        match self {
            Grouping::Layer => 1,
            Grouping::Groups(groups) => groups,
            Grouping::Instance => channels,
        }
    }

    /// What is wrong with these groups for `channels` channels on a map of `pixels`, and what would be right; `None` if they are fine.
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

    /// Its name, as `normscape op` and errors use it.
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

    /// Whether it is BatchNorm, with or without noise: the norm of the paper's theorems.
    pub fn is_batch_norm(&self) -> bool {
        self.axes == Axes::Batch && self.divisor == Divisor::Std && self.renorm.is_none()
    }

    /// S or D, from the saved spread.
    pub fn divisor_of(&self, spread: f64) -> f64 {
        self.divisor.of(spread, self.eps)
    }

    /// The shape of the mean and of the spread that a pass over `x` saves: `[C]` for a norm over the batch, `[N, G]` over groups, and `[N]` if all
    /// channels are one group.
    pub fn saved_shape(&self, x: Shape) -> Shape {
        let [.., samples, channels] = x.hwnc();
        match self.axes {
            Axes::Batch => Shape::new([channels]),
            Axes::Groups(Grouping::Layer) => Shape::new([samples]),
            Axes::Groups(grouping) => Shape::new([samples, grouping.count(channels)]),
        }
    }

    /// Checks the combination of settings. Errors: one that no backend computes.
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
    /// Written as `--norm` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grouping::Layer => f.write_str("layer"),
            Grouping::Groups(groups) => write!(f, "group:{groups}"),
            Grouping::Instance => f.write_str("instance"),
        }
    }
}

impl fmt::Display for NormSpec {
    /// Written with its settings, as in a network's description.
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
