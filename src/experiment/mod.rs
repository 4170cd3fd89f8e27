//! Experiments as data, and what is made from them: the paper's figures, its claims with verdicts, a report.
//!
//! An experiment is a TOML file: the runs that it uses, the values that it takes from them, panels, and claims. A new experiment needs no code.
//!
//! - what is to be done: [`catalogue`] (the files), [`mod@file`], [`pick`] and [`claim_spec`] (their content), [`runs`] (runs and groups of
//!   seeds),
//!   [`scale`], `keys`, `vary`, [`plan`] (each run once), `validate` (whether the runs have everything that is shown and tested)
//! - doing it: [`cost`] (the work, counted), [`estimate`] (how long it will take), [`memory`], [`share`] (the runs of one of several machines),
//!   [`runner`], [`stage`] (how far a run has come), [`hold`] (a run's folder, waited for), `images` (sets that runs share), [`eta`] (how
//!   long the rest will take), [`origin`] (device, program and data of runs that were made elsewhere)
//! - the results: [`series`] and [`results`] (runs as numbers), [`evidence`] (all of them), [`claims`] (verdicts), [`best`] (variants at
//!   the best
//!   of several learning rates), [`figures`], [`networks`], [`explore`], [`deviations`], [`headline`] and `answer` (what a report says first);
//!   [`assemble`]: writes everything

mod answer;
pub mod assemble;
pub mod best;
pub mod catalogue;
pub mod claim_spec;
pub mod claims;
pub mod cost;
pub mod deviations;
pub mod estimate;
pub mod eta;
pub mod evidence;
pub mod explore;
pub mod figures;
pub mod file;
pub mod headline;
pub mod hold;
mod images;
mod keys;
pub mod memory;
pub mod networks;
pub mod origin;
pub mod pick;
pub mod plan;
pub mod results;
pub mod runner;
pub mod runs;
pub mod scale;
pub mod series;
pub mod share;
pub mod stage;
mod validate;
mod vary;

pub use scale::Scale;
