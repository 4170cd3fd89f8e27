//! A run's folder: `run.toml` first, then the logs, the probes' arrays and the checkpoints.

use super::settings::Settings;
use super::source::Description;
use crate::files::lookup::{self, Kind};
use crate::files::{atomic, disk};
use crate::network::Network;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The largest `run.toml` that is read.
const RECORD_CAP: u64 = 1 << 20;

/// What `run.toml` holds.
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
    /// Of normscape.
    pub version: String,
    /// Of its source.
    pub commit: String,
    /// What computed.
    pub device: String,
}

/// What the data are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// In words.
    pub description: String,
    /// SHA-256 over every sample and label used.
    pub sha256: String,
    /// Training samples.
    pub train: usize,
    /// Test samples.
    pub test: usize,
}

/// What the network is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRecord {
    /// SHA-256 of the description.
    pub sha256: String,
    /// One layer a line.
    pub description: String,
    /// Trained numbers.
    pub parameters: usize,
}

impl Record {
    /// The record of a run about to begin.
    pub fn new(settings: &Settings, network: &Network, data: Description, device: &str) -> Record {
        Record {
            program: Program {
                version: env!("CARGO_PKG_VERSION").into(),
                commit: env!("NORMSCAPE_COMMIT").into(),
                device: device.into(),
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

/// The paths of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    /// Creates the folder with its record. Errors: it is there already and not empty.
    pub fn create(root: &Path, record: &Record) -> Result<RunFolder> {
        let there = match lookup::kind(root)? {
            None => false,
            Some(Kind::Folder) if disk::list_dir(root)?.is_empty() => true,
            Some(_) => {
                return Err(Error::file(root, "exists", "choose another --out, or continue that run with --resume"));
            }
        };
        disk::create_dir_all(root)?;
        let folder = RunFolder { root: root.to_owned() };
        if let Err(error) = folder.write_record(record) {
            // A folder without a record is no run; one that was there before is the user's.
            if !there {
                disk::remove_empty_dir(root);
            }
            return Err(error);
        }
        disk::create_dir_all(&folder.checkpoints())?;
        Ok(folder)
    }

    /// The folder of an earlier part, with its record. Errors: there is none, or it is not a run's.
    pub fn open(root: &Path) -> Result<(RunFolder, Record)> {
        // What may not be looked at is an error of its own, not a folder that is not there.
        if lookup::kind(root)? != Some(Kind::Folder) {
            return Err(Error::file(root, "no such folder", "--resume needs --out to name the folder of a run"));
        }
        let folder = RunFolder { root: root.to_owned() };
        let path = folder.record();
        let text = disk::read_text_capped(&path, RECORD_CAP)?;
        let record = toml::from_str(&text).map_err(|e| {
            let place = e.span().map_or(String::new(), |s| format!(" at byte {}", s.start));
            Error::file(
                &path,
                format!("{}{place}", e.message().lines().next().unwrap_or_default()),
                "a run's own run.toml is needed",
            )
        })?;
        // A kill may have come between the record and this folder.
        disk::create_dir_all(&folder.checkpoints())?;
        Ok((folder, record))
    }

    /// Removes what a part that was killed left half-written. Only while the folder's lock is held.
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

    /// `run.toml`
    pub fn record(&self) -> PathBuf {
        self.root.join("run.toml")
    }

    /// `metrics.csv`
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.csv")
    }

    /// A probe's file, as `landscape.npz`.
    pub fn probe(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.npz"))
    }

    /// `checkpoints/`
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }
}
