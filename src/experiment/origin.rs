//! Where the runs of a plan come from, by their records: device, program, precision, images. Runs that are shown together must agree on it.

use super::images::image_key;
use super::plan::Plan;
use super::runs::Kind;
use crate::files::disk;
use crate::train::Settings;
use crate::train::run_folder::{Record, RunFolder};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// What a plan's runs have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// The device's name.
    pub device: String,
    /// The program's version and commit.
    pub version: String,
    /// The precision of VGG's runs, where there are some.
    pub precision: Option<String>,
    /// The precision of the deep linear networks' runs, where there are some.
    pub precision_of_dln: Option<String>,
    /// The plan's images, where a run was trained on them: `images`, or a path.
    pub pictures: Option<String>,
    /// The cards that computed, by name.
    pub cards: Vec<String>,
}

/// A run of a plan that is there.
struct Found<'a> {
    name: &'a str,
    settings: &'a Settings,
    record: Record,
}

impl Origin {
    /// What the runs in `folder` that are of this plan have in common, whatever precision and images the plan itself asks for; `None` where
    /// none is there.
    ///
    /// Errors: two runs differ in device, program, precision or images, named with both runs; a record is invalid.
    pub fn of(plan: &Plan, folder: &Path) -> Result<Option<Origin>> {
        let mut found = Vec::new();
        for (_, name, settings) in plan.runs() {
            if there(folder, name) {
                let (_, record) = RunFolder::open(&folder.join(name))?;
                found.push(Found { name, settings, record });
            }
        }
        let Some(first) = found.first() else { return Ok(None) };
        let vgg = found.iter().find(|run| !run.settings.deep_linear());
        let dln = found.iter().find(|run| run.settings.deep_linear());
        let precision = |of: Option<&Found>| of.map(|run| run.record.settings.precision.clone());
        let of_plan = |run: &&Found| !run.settings.deep_linear() && run.settings.data == plan.request.pictures;
        let mut images: BTreeMap<String, &Found> = BTreeMap::new();
        let mut cards = Vec::new();
        for run in &found {
            let same = |what: &str, of: &dyn Fn(&Found) -> String, other: &Found| {
                let (is, was) = (of(run), of(other));
                if is == was { Ok(()) } else { Err(mixed(folder, what, [run.name, other.name], [&is, &was])) }
            };
            same("device", &|run| run.record.program.device.clone(), first)?;
            same("program", &|run| version(&run.record), first)?;
            let of_kind = if run.settings.deep_linear() { dln } else { vgg };
            same("precision", &|run| run.record.settings.precision.clone(), of_kind.unwrap_or(first))?;
            if Kind::of(run.settings) == Kind::Vgg {
                // Runs that the plan gives the same images have them, wherever each found them.
                let other = *images.entry(image_key(run.settings)).or_insert(run);
                same("data", &|run| run.record.data.sha256.clone(), other)?;
            }
            let program = &run.record.program;
            for card in program.card.iter().chain(&program.earlier_cards) {
                if !cards.contains(card) {
                    cards.push(card.clone());
                }
            }
        }
        Ok(Some(Origin {
            device: first.record.program.device.clone(),
            version: version(&first.record),
            precision: precision(vgg),
            precision_of_dln: precision(dln),
            pictures: found.iter().find(of_plan).map(|run| run.record.settings.data.clone()),
            cards,
        }))
    }
}

/// The first run in `folder` that `plan` has and `other` has not, by name.
pub fn only_of<'a>(plan: &'a Plan, other: &Plan, folder: &Path) -> Option<&'a str> {
    let others: Vec<&str> = other.runs().map(|(_, name, _)| name).collect();
    plan.runs().map(|(_, name, _)| name).find(|name| !others.contains(name) && there(folder, name))
}

fn there(folder: &Path, name: &str) -> bool {
    disk::exists(&RunFolder::at(&folder.join(name)).record())
}

fn version(record: &Record) -> String {
    format!("{} ({})", record.program.version, record.program.commit)
}

fn mixed(folder: &Path, what: &str, [run, other]: [&str; 2], [is, was]: [&str; 2]) -> Error {
    let problem = format!("is a run whose {what} is {is}, and that of {other} is {was}");
    Error::file(&folder.join(run), problem, format!("runs of one {what} go together; give each their own --out"))
}
