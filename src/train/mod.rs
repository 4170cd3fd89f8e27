//! Training runs: settings in, a run's folder out.
//!
//! - [`settings`]: everything that a run depends on · [`probe_entry`], [`schedule`]: when each probe runs · [`source`]: provides its batches
//! - [`trainer`]: the loop · [`checkpoint`]: makes an interrupted run equal an uninterrupted one
//! - [`helpers`]: devices that no run uses take points of a run's lines
//! - [`footprint`]: the memory of a run, estimated before it is allocated
//! - [`held_folder`]: a run's folder, held by one process · [`run_folder`], [`metrics`], [`probes`], [`probe_log`]: the files in it

pub mod checkpoint;
pub mod footprint;
pub mod held_folder;
pub mod helpers;
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
