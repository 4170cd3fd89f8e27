//! The experiments that come with the program, and those of the user. Each is a TOML file; a target names one.

use super::file::Shown;
use super::runs::Shared;
use crate::files::disk;
use crate::{Error, Result};
use std::path::Path;

/// Runs, looks and bases that several experiments share.
const SHARED: (&str, &str) = ("experiments/runs.toml", include_str!("../../experiments/runs.toml"));

macro_rules! experiments {
    ($($name:literal),+ $(,)?) => {
        /// The name and text of every experiment, in the paper's order.
        const EXPERIMENTS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../experiments/", $name, ".toml")))),+];
    };
}

experiments! {
    "demo", "fig1", "fig2", "fig3", "fig4", "fig5", "fig6", "fig7", "fig8", "fig9", "fig10", "fig11", "fig12", "fig13", "fig14",
    "edge", "far", "accuracy", "theory", "learning_rates", "noise", "design_space", "sensitivity", "course",
}

/// The target for all experiments except `demo`, whose runs are among those of the figures.
pub const ALL: &str = "all";

/// The most bytes of an experiment's file.
const CAP: u64 = 1 << 20;

/// One experiment, as read from its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// The name of the target and of its figure's files.
    pub name: String,
    /// The experiment's file, for messages.
    pub file: String,
    /// The file's content.
    pub shown: Shown,
}

/// The names of the targets, in order.
pub fn names() -> Vec<&'static str> {
    EXPERIMENTS.iter().map(|(name, _)| *name).collect()
}

/// The experiments that `targets` name, each once, in the paper's order. A target that ends in `.toml` is a file of the user's.
///
/// Errors name the target, or the file and what is wrong in it.
pub fn find(targets: &[String]) -> Result<Vec<Experiment>> {
    let known = |target: &str| target == ALL || EXPERIMENTS.iter().any(|(name, _)| *name == target);
    let own: Vec<&String> = targets.iter().filter(|target| target.ends_with(".toml")).collect();
    if let Some(target) = targets.iter().find(|target| !known(target) && !target.ends_with(".toml")) {
        let short: String = target.chars().take(64).collect();
        let right = format!("there are {}, all, and files that end in .toml", names().join(", "));
        return Err(Error::input(format!("reproduce {short}"), "unknown", right));
    }
    let asked = |name: &str| targets.iter().any(|target| target == name || target == ALL && name != "demo");
    let mut found = Vec::new();
    for (name, text) in EXPERIMENTS.iter().filter(|(name, _)| asked(name)) {
        found.push(read(name, &format!("experiments/{name}.toml"), text)?);
    }
    for path in own {
        let name = Path::new(path).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(plain) {
            let right = "letters, digits, _ and - are, since figures and runs are named after it";
            return Err(Error::input(path.as_str(), "not a name for an experiment", right));
        }
        if found.iter().any(|other: &Experiment| other.name == name) {
            return Err(Error::input(path.as_str(), format!("a second experiment {name}"), "give it another name"));
        }
        let text = disk::read_text_capped(Path::new(path), CAP)?;
        found.push(read(&name, path, &text)?);
    }
    Ok(found)
}

/// Reads an experiment, using the values and reasons of `runs.toml`. Errors, with the line: it is not TOML, or it has an unknown key or an
/// impossible value.
pub fn read(name: &str, file: &str, text: &str) -> Result<Experiment> {
    let mut shown: Shown = toml(file, text)?;
    super::keys::check(file, text)?;
    let shared = shared()?;
    for (name, pick) in shared.values {
        shown.values.entry(name).or_insert(pick);
    }
    shown.claims = shown.claims.iter().flat_map(|claim| claim.expanded(&shared.reasons)).collect();
    shown.check_headlines(file)?;
    Ok(Experiment { name: name.into(), file: file.into(), shown })
}

/// What the experiments share. Errors: as [`read`].
pub fn shared() -> Result<Shared> {
    super::keys::check(SHARED.0, SHARED.1)?;
    toml(SHARED.0, SHARED.1)
}

fn toml<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|e: toml::de::Error| {
        let line = e.span().and_then(|span| text.get(..span.start)).map(|before| 1 + before.matches('\n').count());
        let line = line.map_or(String::new(), |line| format!(", line {line}"));
        let problem = e.message().lines().next().unwrap_or_default().to_owned();
        Error::input(format!("{file}{line}"), problem, "docs/experiments.md says what an experiment's file holds")
    })
}
