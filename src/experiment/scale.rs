//! The scale of a reproduction: how much of the paper's settings it takes.

use serde::Deserialize;
use std::fmt;

/// The scales of every experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Seconds: everything runs, nothing can be concluded.
    Smoke,
    /// Minutes on two cores: the effect is visible.
    Quick,
    /// Hours on a laptop: the paper's number of steps and depth, in networks a quarter as wide.
    Overnight,
    /// The paper's own settings.
    Paper,
}

impl Scale {
    /// All scales, smallest first.
    pub const ALL: [Scale; 4] = [Scale::Smoke, Scale::Quick, Scale::Overnight, Scale::Paper];

    /// The name: `smoke`, `quick`, `overnight`, `paper`.
    pub fn name(self) -> &'static str {
        match self {
            Scale::Smoke => "smoke",
            Scale::Quick => "quick",
            Scale::Overnight => "overnight",
            Scale::Paper => "paper",
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value for all scales, or one for each.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum ByScale<T> {
    /// The same at every scale.
    Same(T),
    /// A separate value for each scale. A missing value does not exist at its scale, but `overnight` falls back to the value of `paper`.
    Each(Each<T>),
}

/// See [`ByScale::Each`].
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Each<T> {
    /// At `smoke`.
    pub smoke: Option<T>,
    /// At `quick`.
    pub quick: Option<T>,
    /// At `overnight`.
    pub overnight: Option<T>,
    /// At `paper`.
    pub paper: Option<T>,
}

impl<T> ByScale<T> {
    /// All values that are present.
    pub fn all(&mut self) -> impl Iterator<Item = &mut T> {
        let (same, each) = match self {
            ByScale::Same(value) => (Some(value), None),
            ByScale::Each(Each { smoke, quick, overnight, paper }) => (None, Some([smoke, quick, overnight, paper])),
        };
        same.into_iter().chain(each.into_iter().flatten().flatten())
    }

    /// The value at a scale.
    pub fn at(&self, scale: Scale) -> Option<&T> {
        match (self, scale) {
            (ByScale::Same(value), _) => Some(value),
            (ByScale::Each(each), Scale::Smoke) => each.smoke.as_ref(),
            (ByScale::Each(each), Scale::Quick) => each.quick.as_ref(),
            (ByScale::Each(each), Scale::Overnight) => each.overnight.as_ref().or(each.paper.as_ref()),
            (ByScale::Each(each), Scale::Paper) => each.paper.as_ref(),
        }
    }
}
