//! A run's folder. `run.toml` comes first; then come the logs, the probes' arrays and the checkpoints.

use super::settings::Settings;
use super::source::Description;
use crate::files::{atomic, disk};
use crate::network::Network;
use crate::runtime::storage::Hardware;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The largest `run.toml` that is read, in bytes.
const RECORD_CAP: u64 = 1 << 20;

/// The content of `run.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The program that made the run.
    pub program: Program,
    /// Every setting, resolved.
    pub settings: Settings,
    /// The data that was trained on.
    pub data: Data,
    /// The network.
    pub network: NetworkRecord,
}

/// Version, commit and device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The version of normscape.
    pub version: String,
    /// The commit that it was built from.
    pub commit: String,
    /// The device that computed.
    pub device: String,
    /// The graphics card, if one computed, by its driver's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// The architecture of the card's code, such as `sm_90`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Other cards that computed earlier parts of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_cards: Vec<String>,
}

impl Program {
    /// The card and its architecture, for people.
    fn shown(&self) -> Option<String> {
        let card = self.card.as_ref()?;
        Some(self.architecture.as_ref().map_or_else(|| card.clone(), |architecture| format!("{card} ({architecture})")))
    }
}

/// The data of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// A description in words.
    pub description: String,
    /// SHA-256 of every sample and label that is used.
    pub sha256: String,
    /// Number of training samples.
    pub train: usize,
    /// Number of test samples.
    pub test: usize,
}

/// The network of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRecord {
    /// SHA-256 of the description.
    pub sha256: String,
    /// The description, one layer per line.
    pub description: String,
    /// Number of trained parameters.
    pub parameters: usize,
}

impl Record {
    /// The record of a run that is about to begin.
    pub fn new(settings: &Settings, network: &Network, data: Description, device: &str) -> Record {
        Record {
            program: Program {
                version: env!("CARGO_PKG_VERSION").into(),
                commit: env!("NORMSCAPE_COMMIT").into(),
                device: device.into(),
                card: None,
                architecture: None,
                earlier_cards: Vec::new(),
            },
            settings: settings.clone(),
            data: Data { description: data.text, sha256: data.hash, train: data.train, test: data.test },
            network: NetworkRecord {
                sha256: network.hash(),
                description: network.describe(),
                parameters: network.slots().len(),
            },
        }
    }
}

impl Record {
    /// Refuses to continue the run in `root`, whose record is `old`, if it differs from this one. What may differ (steps, checkpoints, the
    /// data's place) is not compared.
    pub fn check_same(&self, old: &Record, root: &Path) -> Result<()> {
        let same = [
            ("network", &old.network.sha256, &self.network.sha256),
            ("data", &old.data.sha256, &self.data.sha256),
            ("device", &old.program.device, &self.program.device),
        ];
        match same.into_iter().find(|(_, was, is)| was != is) {
            None => Ok(()),
            Some((what, was, is)) => Err(Error::file(
                &RunFolder::at(root).record(),
                format!("the run's {what} is {was}"),
                format!("it cannot go on with {is}"),
            )),
        }
    }

    /// The same record, with the card that computes.
    pub fn on(mut self, hardware: Option<Hardware>) -> Record {
        (self.program.card, self.program.architecture) = hardware.map(|of| (of.card, of.architecture)).unzip();
        self
    }

    /// Notes that the run continues a part whose record is `old`. Returns a warning if another card computes from here on, because equal
    /// bits are promised only on one kind of card.
    pub fn continues(&mut self, old: &Record) -> Option<String> {
        self.program.earlier_cards.clone_from(&old.program.earlier_cards);
        let (was, is) = (old.program.shown()?, self.program.shown()?);
        if was == is {
            return None;
        }
        if !self.program.earlier_cards.contains(&was) {
            self.program.earlier_cards.push(was.clone());
        }
        Some(format!(
            "this run was computed on {was} and goes on on {is}: from here on its bits may differ from those of one card alone"
        ))
    }
}

/// The paths of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    /// The paths below `root`, without looking at what is there.
    pub fn at(root: &Path) -> RunFolder {
        RunFolder { root: root.to_owned() }
    }

    /// Opens an existing run for reading, with its record. To write there, take a [`HeldFolder`](super::held_folder::HeldFolder).
    ///
    /// # Errors
    /// There is no run, or the folder is not a run's.
    pub fn open(root: &Path) -> Result<(RunFolder, Record)> {
        let folder = RunFolder::at(root);
        let record = folder.read_record()?;
        Ok((folder, record))
    }

    /// Reads the record. Errors: there is none, or it is invalid.
    pub fn read_record(&self) -> Result<Record> {
        let path = self.record();
        let text = disk::read_text_capped(&path, RECORD_CAP)?;
        toml::from_str(&text).map_err(|e| {
            let place = e.span().map_or(String::new(), |s| format!(" at byte {}", s.start));
            let problem = format!("{}{place}", e.message().lines().next().unwrap_or_default());
            Error::file(&path, problem, "a run's own run.toml is needed")
        })
    }

    /// Removes what a killed part left half-written. Use it only while holding the folder's lock.
    pub fn remove_partials(&self) -> Result<()> {
        disk::remove_stale_partials(&self.root)?;
        disk::remove_stale_partials(&self.checkpoints())
    }

    /// Replaces the record.
    pub fn write_record(&self, record: &Record) -> Result<()> {
        let path = self.record();
        let text = toml::to_string(record)
            .map_err(|e| Error::file(&path, e.to_string(), "a record that TOML can hold is needed"))?;
        atomic::write_bytes(&path, text.as_bytes())
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of `run.toml`.
    pub fn record(&self) -> PathBuf {
        self.root.join("run.toml")
    }

    /// The path of `metrics.csv`.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.csv")
    }

    /// The path of a probe's file, such as `landscape.npz`.
    pub fn probe(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.npz"))
    }

    /// The path of `checkpoints/`.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(card: Option<&str>) -> Record {
        let mut settings = Settings { depth: 1, dim: 3, samples: 5, ..Settings::defaults("dln") };
        settings.resolve().unwrap();
        let data = Description { text: "none".into(), hash: "0".into(), train: 5, test: 0 };
        let hardware = card.map(|card| Hardware { card: card.into(), architecture: "sm_90".into() });
        Record::new(&settings, &settings.network().unwrap(), data, "cuda").on(hardware)
    }

    #[test]
    fn a_record_names_the_card_and_one_without_is_read() {
        let text = toml::to_string(&record(Some("NVIDIA H200"))).unwrap();
        assert!(text.contains("card = \"NVIDIA H200\"\narchitecture = \"sm_90\"\n"), "{text}");
        assert_eq!(toml::from_str::<Record>(&text).unwrap(), record(Some("NVIDIA H200")));
        let text = toml::to_string(&record(None)).unwrap();
        assert!(!text.contains("card") && !text.contains("architecture"), "{text}");
        assert_eq!(toml::from_str::<Record>(&text).unwrap(), record(None));
    }

    #[test]
    fn another_card_is_told_and_noted() {
        let [unknown, a, b] = [None, Some("A"), Some("B")].map(record);
        for (old, new) in [(&unknown, &a), (&a, &a), (&a, &unknown), (&unknown, &unknown)] {
            assert_eq!(new.clone().continues(old), None);
        }
        let mut second = b.clone();
        let said = second.continues(&a).unwrap();
        assert!(said.contains("A (sm_90) and goes on on B (sm_90)"), "{said}");
        assert_eq!(second.program.earlier_cards, ["A (sm_90)"]);
        let mut third = a.clone();
        assert!(third.continues(&second).is_some());
        assert_eq!(third.program.earlier_cards, ["A (sm_90)", "B (sm_90)"]);
        let mut fourth = b;
        assert!(fourth.continues(&third).is_some());
        assert_eq!(fourth.program.earlier_cards, ["A (sm_90)", "B (sm_90)"]);
    }
}
