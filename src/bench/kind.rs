//! Kinds of training step, by name: `MODEL-WIDTH-NORM`, or `dln-NORM`.

use crate::network::{Dln, Network, Norm, Normalisation, dln, vgg};
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// The step kinds that are measured when none is named.
const USUAL: [&str; 6] =
    ["vgg16-0.25-batch", "vgg16-1-batch", "dln-batch", "vgg16-0.25-none", "vgg16-1-none", "dln-none"];

/// A network whose training step is timed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepKind {
    /// Depth and width of a VGG; `None` is the deep linear network.
    vgg: Option<(&'static str, f64)>,
    norm: Norm,
}

/// The names of VGG's depths.
const DEPTHS: [&str; 4] = ["vgg11", "vgg13", "vgg16", "vgg19"];

impl StepKind {
    /// The kinds that `normscape bench` measures by default; VGG-16 at full width is among them only with `full`.
    pub fn usual(full: bool) -> impl Iterator<Item = StepKind> {
        USUAL.iter().filter_map(|name| name.parse().ok()).filter(move |kind: &StepKind| full || !kind.is_full())
    }

    /// The names of the usual kinds, and how to form others.
    pub fn names() -> String {
        format!(
            "{}; others are made alike of {} or dln, a width (VGG only), and what --norm takes, as in vgg11-0.125-lp:3 and dln-group:2",
            USUAL.join(", "),
            DEPTHS.join(", "),
        )
    }

    /// Whether the step is the deep linear network's.
    pub fn is_deep_linear(&self) -> bool {
        self.vgg.is_none()
    }

    /// Whether one step takes seconds.
    fn is_full(&self) -> bool {
        self.vgg.is_some_and(|(_, width)| width >= 1.0)
    }

    /// The network. Errors: its settings are refused.
    pub fn network(&self) -> Result<Network> {
        let normalisation = Normalisation::new(self.norm);
        match self.vgg {
            Some((name, width)) => vgg(name, width, normalisation),
            None => dln(Dln::default(), normalisation),
        }
    }

    /// Samples in a batch, as in the paper.
    pub fn samples(&self) -> usize {
        if self.vgg.is_some() { 128 } else { 1000 }
    }

    /// A learning rate at which the loss stays finite for some thousand steps.
    pub fn rate(&self) -> f64 {
        if self.vgg.is_some() { 0.01 } else { 1e-9 }
    }
}

impl FromStr for StepKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<StepKind> {
        let unknown = |problem: String| {
            let place = format!("--step {}", text.escape_debug());
            Error::input(place, problem, format!("there are {}", StepKind::names()))
        };
        let (model, rest) = text.split_once('-').ok_or_else(|| unknown("unknown".into()))?;
        let norm = |name: &str| name.parse::<Norm>().map_err(|_| unknown(format!("{name:?} is no norm")));
        if model == "dln" {
            return Ok(StepKind { vgg: None, norm: norm(rest)? });
        }
        let depth = DEPTHS.into_iter().find(|depth| *depth == model);
        let depth = depth.ok_or_else(|| unknown(format!("{model:?} is no network")))?;
        let (width, name) = rest.split_once('-').ok_or_else(|| unknown("no norm is named".into()))?;
        let width = width.parse().map_err(|_| unknown(format!("{width:?} is no width")))?;
        Ok(StepKind { vgg: Some((depth, width)), norm: norm(name)? })
    }
}

impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.vgg {
            Some((name, width)) => write!(f, "{name}-{width}-{}", self.norm),
            None => write!(f, "dln-{}", self.norm),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let names = USUAL.into_iter().chain(["vgg11-0.125-lp:3", "dln-group:2", "dln-layer", "vgg19-2-l1"]);
        for name in names {
            let kind: StepKind = name.parse().unwrap();
            assert_eq!(kind.to_string(), name);
            assert!(kind.network().is_ok(), "{name}");
        }
        assert_eq!(StepKind::usual(true).count(), USUAL.len());
        assert!(StepKind::usual(false).all(|kind| kind.to_string() != "vgg16-1-batch"));
    }

    #[test]
    fn other_names_are_refused_with_those_that_there_are() {
        for (name, problem) in [
            ("vgg16", "unknown"),
            ("vgg12-1-batch", "\"vgg12\" is no network"),
            ("vgg16-batch", "no norm is named"),
            ("vgg16-x-batch", "\"x\" is no width"),
            ("dln-lp:0", "\"lp:0\" is no norm"),
            ("dln-1-batch", "\"1-batch\" is no norm"),
        ] {
            let error = name.parse::<StepKind>().unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(problem), "{error}");
            assert!(error.to_string().contains("vgg16-0.25-batch"), "{error}");
        }
        let wide: StepKind = "vgg16-0-batch".parse().unwrap();
        assert!(wide.network().is_err());
    }
}
