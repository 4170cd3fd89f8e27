//! Experiments as data, and what is made of them: the paper's figures, its claims with verdicts, a report.
//!
//! An experiment is a TOML file: the runs that it uses, the values that it takes from them, panels, claims. A new one needs no code.
//!
//! - what is to be done: [`catalogue`] (the files), [`mod@file`], [`pick`] and [`claim_spec`] (what they hold), [`runs`] (runs and groups of seeds), [`scale`],
//!   `keys`, `vary`, [`plan`] (each run once), `validate` (whether runs have what is shown and tested of them)
//! - doing it: [`cost`] (work, counted), [`estimate`] (how long it will take), [`memory`], [`runner`], `images` (sets that runs share), [`eta`] (how
//!   long the rest will take)
//! - what came of it: [`series`] and [`results`] (runs as numbers), [`evidence`] (all of them), [`claims`] (verdicts), [`best`] (of several learning
//!   rates), [`figures`], [`networks`], [`explore`], [`deviations`], [`headline`] and `answer`
//!   (what a report says first); [`assemble`]: everything that is written

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
mod images;
mod keys;
pub mod memory;
pub mod networks;
pub mod pick;
pub mod plan;
pub mod results;
pub mod runner;
pub mod runs;
pub mod scale;
pub mod series;
mod validate;
mod vary;

pub use scale::Scale;
