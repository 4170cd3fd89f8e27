//! `normscape bench`

use super::{Answer, Globals};
use crate::bench::{Choice, run as measure};
use crate::{Error, Result};
use clap::Args;

/// Options of `bench`.
#[derive(Debug, Args)]
pub struct Options {
    /// VGG-16 at full width too
    #[arg(long)]
    pub full: bool,
    /// Each pass of each convolution too
    #[arg(long)]
    pub layers: bool,
}

/// Measures, then shows.
pub fn run(options: &Options, globals: &Globals) -> Result<Answer> {
    let choice = Choice { full: options.full, layers: options.layers };
    let results = measure(choice, |what| {
        if !globals.quiet {
            super::terminal::line(&format!("measuring {what}"));
        }
    })?;
    if !globals.json {
        return Ok(Answer::text(results.tables()));
    }
    let value = serde_json::to_value(&results)
        .map_err(|e| Error::input("bench", e.to_string(), "results that JSON can hold are needed"))?;
    Ok(Answer::json(&value))
}
