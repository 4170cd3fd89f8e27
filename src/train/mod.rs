//! Training runs: settings in, a run's folder out.
//!
//! - [`settings`]: everything a run depends on · [`probe_entry`], [`schedule`]: when each probe runs · [`source`]: where its batches come from
//! - [`trainer`]: the loop · [`checkpoint`]: what makes an interrupted run equal an uninterrupted one
//! - [`footprint`]: the memory that a run takes, before it is taken
//! - [`held_folder`]: its folder, worked in by one process · [`run_folder`], [`metrics`], [`probes`], [`probe_log`]: its files

pub mod checkpoint;
pub mod footprint;
pub mod held_folder;
pub mod metrics;
pub mod probe_entry;
pub mod probe_log;
pub mod probes;
pub mod run_folder;
pub mod schedule;
pub mod settings;
pub mod source;
pub mod step_work;
pub mod trainer;

pub use held_folder::Start;
pub use settings::Settings;
pub use source::Source;
pub use trainer::{Finished, Observer, Place, Silent, Trainer};
