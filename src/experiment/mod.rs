//! Experiments: runs described as data, made once, resumed after an interruption, and turned into tables and figures.
//!
//! - [`plan`]: an `experiments/*.toml` read into runs · [`runner`]: makes the runs that are not finished
//! - [`series`]: a finished run's logs as numbers · [`demo`]: the table and the figure of the main job
//! - [`course`]: a band over runs trained apart, which is not the paper's, beside the paper's

pub mod course;
pub mod demo;
pub mod plan;
pub mod runner;
pub mod series;
