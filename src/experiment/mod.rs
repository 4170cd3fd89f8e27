//! Experiments as data, and what is made of them: the paper's figures, its claims with verdicts, a report.
//!
//! An experiment is a TOML file: the runs that it uses, the values that it takes from them, panels, claims. A new one needs no code.
//!
//! - what is to be done: [`catalogue`] (the files), [`mod@file`] (what they hold), [`runs`] (runs and groups of seeds), [`scale`], `check`,
//!   `keys`, [`plan`] (each run once), `fits` (whether runs have what is read of them)
//! - doing it: [`cost`], `stand_in` and [`calibrate`] (how long it will take), [`runner`], `images` (sets that runs share), [`pace`] (how long the rest will)
//! - what came of it: [`series`] and [`results`] (runs as numbers), [`evidence`] (all of them), [`claims`] (verdicts), [`figures`],
//!   [`networks`], [`explore`], [`deviations`], [`course`] (a course's shortcut, labelled), [`headline`] and `answer` (what a report says first); [`assemble`]: everything
//!   that is written

mod answer;
pub mod assemble;
pub mod calibrate;
pub mod catalogue;
mod check;
pub mod claims;
pub mod cost;
pub mod course;
pub mod deviations;
pub mod evidence;
pub mod explore;
pub mod figures;
pub mod file;
mod fits;
pub mod headline;
mod images;
mod keys;
pub mod networks;
pub mod pace;
pub mod plan;
pub mod results;
pub mod runner;
pub mod runs;
pub mod scale;
pub mod series;
mod stand_in;

pub use scale::Scale;
