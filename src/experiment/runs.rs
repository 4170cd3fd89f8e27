//! Runs as an experiment's file describes them, and the resolved settings that they give at a scale.

use super::pick::Pick;
use super::scale::{ByScale, Scale};
use super::vary::{combinations, filled};
use crate::data::batch::check_batch;
use crate::data::image_set::check_limit;
use crate::data::images;
use crate::train::Settings;
use crate::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// The largest seed of a first run. Further seeds follow it, and TOML's integers end soon after.
pub const LARGEST_SEED: u64 = i64::MAX as u64 - MOST_SEEDS;
/// The most seeds of a group.
const MOST_SEEDS: u64 = 1000;

/// Numbers of training and test images of CIFAR-10.
const CIFAR10: (usize, usize) = (50_000, 10_000);

/// The value of `data` that means CIFAR-10 where it is found, and generated images otherwise.
const PICTURES: &str = "pictures";

/// The content of `runs.toml`, which the experiments share.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shared {
    /// Label and style of each variant, by name.
    pub look: BTreeMap<String, Look>,
    /// The settings that runs can start from, by name.
    pub base: BTreeMap<String, Base>,
    /// Numbers of a run that several experiments show, by name.
    #[serde(rename = "value")]
    pub values: BTreeMap<String, Pick>,
    /// Reasons why claims fail, by the names that claims use.
    #[serde(rename = "why")]
    pub reasons: BTreeMap<String, String>,
    /// Runs that several experiments use.
    #[serde(rename = "run")]
    pub runs: Vec<RunSpec>,
}

/// How a variant looks wherever it is shown.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// The label in legends and tables.
    pub label: String,
    /// The number of one of the report's styles.
    pub style: usize,
}

/// Options of `train` for each scale.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct AtScales {
    /// At `smoke`.
    #[serde(default)]
    pub smoke: Table,
    /// At `quick`.
    #[serde(default)]
    pub quick: Table,
    /// At `overnight`; they override those at `paper`.
    #[serde(default)]
    pub overnight: Table,
    /// At `paper`.
    #[serde(default)]
    pub paper: Table,
}

impl AtScales {
    fn lay(&self, onto: &mut Table, scale: Scale) {
        match scale {
            Scale::Smoke => lay(onto, &self.smoke),
            Scale::Quick => lay(onto, &self.quick),
            Scale::Overnight => [&self.paper, &self.overnight].into_iter().for_each(|over| lay(onto, over)),
            Scale::Paper => lay(onto, &self.paper),
        }
    }
}

/// Settings that runs can start from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Base {
    /// Overrides at one scale.
    #[serde(flatten)]
    pub at: AtScales,
    /// Options of `train`, with `_` for `-`.
    #[serde(flatten)]
    pub settings: Table,
}

/// A group of runs that differ only in the seed; with `vary`, several groups.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RunSpec {
    /// The name of the group and of its runs' folders; `{KEY}` is replaced by a varied value.
    pub id: String,
    /// The base that its settings start from.
    pub base: Option<String>,
    /// The look, by name; by default that of its norm, with noise and activation.
    pub look: Option<String>,
    /// The label, if not the look's.
    pub label: Option<String>,
    /// The number of seeds; one by default.
    pub seeds: Option<ByScale<u64>>,
    /// The scales at which it exists; all by default.
    pub scales: Option<Vec<Scale>>,
    /// Options to vary: one group is made for each combination.
    #[serde(default)]
    pub vary: BTreeMap<String, Vec<Value>>,
    /// Overrides of its settings at one scale.
    #[serde(flatten)]
    pub at: AtScales,
    /// Options of `train`, with `_` for `-`.
    #[serde(flatten)]
    pub settings: Table,
}

/// Runs that differ only in the seed, at one scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Its name.
    pub id: String,
    /// Its name in figures and tables.
    pub label: String,
    /// Its style in figures.
    pub style: usize,
    /// The resolved settings of each seed, with the names of the runs' folders.
    pub runs: Vec<(String, Settings)>,
}

impl Group {
    /// The settings of the first seed; the others differ only in the seed.
    pub fn settings(&self) -> &Settings {
        &self.runs[0].1
    }
}

/// What a reproduction is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The scale.
    pub scale: Scale,
    /// Where images come from: a path, or `images`.
    pub pictures: String,
    /// The seed of each group's first run.
    pub seed: u64,
    /// Replaces the number of seeds of groups that have several.
    pub seeds: Option<u64>,
    /// Restricts the runs to this kind of network.
    pub network: Option<Kind>,
    /// The precision of runs.
    pub precision: String,
    /// The precision of deep linear networks' runs.
    pub precision_of_dln: String,
}

#[cfg(test)]
impl Request {
    /// A request for everything at a scale, from seed 1, on generated images.
    pub fn at(scale: Scale) -> Request {
        Request {
            scale,
            pictures: "images".into(),
            seed: 1,
            seeds: None,
            network: None,
            precision: "f32".into(),
            precision_of_dln: "f64".into(),
        }
    }
}

/// The two kinds of network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Deep linear networks.
    Dln,
    /// VGG.
    Vgg,
}

impl Kind {
    /// The kind of a run's network.
    pub fn of(settings: &Settings) -> Kind {
        if settings.deep_linear() { Kind::Dln } else { Kind::Vgg }
    }
}

impl RunSpec {
    /// The groups at the requested scale; none where it does not exist at that scale or has another kind of network.
    ///
    /// Errors name `file` and the run: a missing base or look, an unknown option, a value that `train` would refuse.
    pub fn groups(&self, file: &str, shared: &Shared, request: &Request) -> Result<Vec<Group>> {
        let bad = |problem: String| {
            Error::input(file, format!("run {}: {problem}", self.id), "see the options of normscape train")
        };
        if self.scales.as_ref().is_some_and(|scales| !scales.contains(&request.scale)) {
            return Ok(Vec::new());
        }
        let mut base = Table::new();
        if let Some(name) = &self.base {
            let of = shared.base.get(name).ok_or_else(|| bad(format!("no base {name}")))?;
            lay(&mut base, &of.settings);
            of.at.lay(&mut base, request.scale);
        }
        lay(&mut base, &self.settings);
        self.at.lay(&mut base, request.scale);
        let mut groups = Vec::new();
        for varied in combinations(&self.vary) {
            let (mut id, mut label, mut table) = (self.id.clone(), self.label.clone(), base.clone());
            for (key, value) in varied {
                id = filled(&id, key, value);
                label = label.map(|label| filled(&label, key, value));
                table.insert(key.clone(), value.clone());
            }
            if let Some(key) = self.vary.keys().find(|key| !self.id.contains(&format!("{{{key}}}"))) {
                return Err(bad(format!("its id has no {{{key}}}, which is varied")));
            }
            let group = self.group(&id, label, table, shared, request).map_err(|e| bad(e.to_string()))?;
            groups.extend(group);
        }
        Ok(groups)
    }

    /// The number of seeds of each of its groups.
    fn seed_count(&self, request: &Request) -> u64 {
        match (&self.seeds, request.seeds) {
            (None, _) => 1,
            (Some(_), Some(asked)) => asked,
            (Some(seeds), None) => seeds.at(request.scale).copied().unwrap_or(1),
        }
    }

    /// How many runs it comes to, before any is made; varied options multiply. Errors: an option varies over no value.
    pub(super) fn count(&self, file: &str, request: &Request) -> Result<u64> {
        let none = self.vary.iter().find(|(_, values)| values.is_empty());
        if let Some((key, _)) = none {
            let problem = format!("run {}: vary.{key} has no value", self.id);
            return Err(Error::input(file, problem, "without values there is no run; give at least one"));
        }
        let groups = self.vary.values().fold(1, |product: u64, values| product.saturating_mul(values.len() as u64));
        Ok(groups.saturating_mul(self.seed_count(request)))
    }

    fn group(
        &self,
        id: &str,
        label: Option<String>,
        mut table: Table,
        shared: &Shared,
        request: &Request,
    ) -> Result<Option<Group>> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
        // A folder's name on any system.
        let mut folder = id.replace(':', "");
        if folder.is_empty() || folder.starts_with('.') || !id.chars().all(plain) {
            let right = "letters, digits, _, -, . and : are, with another than . at its head";
            return Err(Error::input(format!("id {id}"), "not a folder's name", right));
        }
        let several = self.seeds.is_some();
        let count = self.seed_count(request);
        if !(1..=MOST_SEEDS).contains(&count) {
            return Err(Error::input(format!("seeds = {count}"), "out of range", "1 to 1000 are taken"));
        }
        if several && table.contains_key("seed") {
            let problem = "a seed beside seeds: all of its runs would be the same";
            return Err(Error::input("seed", problem, "leave one of them out; seeds count from --seed on"));
        }
        if request.seed > LARGEST_SEED {
            let right = format!("at most {LARGEST_SEED}, so that those after it are whole numbers too");
            return Err(Error::input(format!("--seed {}", request.seed), "too large", right));
        }
        if table.get("data").and_then(Value::as_str) == Some(PICTURES) {
            // Runs on the one kind of picture are not runs on the other.
            folder += if request.pictures == "images" { "-images" } else { "-cifar10" };
            table.insert("data".into(), Value::String(request.pictures.clone()));
        }
        let mut runs = Vec::new();
        for seed in request.seed..request.seed + count {
            let mut settings = settings(&table, seed)?;
            let precision = if settings.deep_linear() { &request.precision_of_dln } else { &request.precision };
            settings.precision.clone_from(precision);
            let name = if several { format!("{folder}-{seed}") } else { folder.clone() };
            runs.push((name, settings));
        }
        if request.network.is_some_and(|kind| kind != Kind::of(&runs[0].1)) {
            return Ok(None);
        }
        let name = self.look.clone().unwrap_or_else(|| variant(&runs[0].1));
        let look = shared.look.get(&name).ok_or_else(|| {
            Error::input(format!("look {name}"), "is not in runs.toml", "[look.NAME] says label and style")
        })?;
        let label = label.unwrap_or_else(|| look.label.clone());
        Ok(Some(Group { id: id.into(), label, style: look.style, runs }))
    }
}

/// The name of a run's look: its norm, then noise and activation where there are any.
fn variant(settings: &Settings) -> String {
    let mut name = settings.norm.split(':').next().unwrap_or_default().to_owned();
    if settings.noise {
        name = if name == "batch" { "noisy".into() } else { format!("{name}-noise") };
    }
    if settings.activation != "relu" {
        name = if name == "none" { settings.activation.clone() } else { format!("{name}-{}", settings.activation) };
    }
    name
}

/// A model's default settings, overridden by a run's keys.
fn settings(table: &Table, seed: u64) -> Result<Settings> {
    let internal = |e: String| Error::input("settings", e, "a value of the option's own type is needed");
    let model = table.get("model").and_then(Value::as_str).ok_or_else(|| internal("no model".into()))?;
    let mut all =
        Table::try_from(Settings { seed, ..Settings::defaults(model) }).map_err(|e| internal(e.to_string()))?;
    lay(&mut all, table);
    // `Settings` refuses unknown keys.
    let mut settings: Settings = all.try_into().map_err(|e: toml::de::Error| internal(e.message().to_owned()))?;
    settings.resolve()?;
    if !settings.deep_linear() {
        // How many images there are is known before any is loaded.
        let (train, test) = if settings.data == "images" { (images::TRAIN, images::TEST) } else { CIFAR10 };
        check_limit(settings.limit_train.unwrap_or(train), train, "limit_train")?;
        check_limit(settings.limit_test.unwrap_or(test), test, "limit_test")?;
        check_batch(settings.batch, settings.limit_train.unwrap_or(train))?;
    }
    Ok(settings)
}

fn lay(onto: &mut Table, over: &Table) {
    onto.extend(over.iter().map(|(key, value)| (key.clone(), value.clone())));
}
