//! An entry of `--probe`. It is a probe's name, which then follows `--probe-every` and `--probe-at`; or `NAME:STEPS`, with an interval of
//! its own, so that a cheap probe can run at every step while an expensive one does not.

use crate::probe::table::check_name;
use crate::{Error, Result};

/// The name and the interval of an entry of [`Settings::probe`](super::Settings::probe).
pub fn parts(entry: &str) -> (&str, Option<&str>) {
    match entry.split_once(':') {
        Some((name, every)) => (name, Some(every)),
        None => (entry, None),
    }
}

/// Refuses an entry that names no probe, or whose interval is invalid.
pub fn check(entry: &str) -> Result<()> {
    let (name, every) = parts(entry);
    check_name(name)?;
    match every.map(str::parse::<u64>) {
        None | Some(Ok(1..)) => Ok(()),
        Some(_) => {
            let right = "an interval in steps is a whole number of at least 1, as in landscape:50";
            Err(Error::input(format!("--probe {entry}"), "not an interval", right))
        }
    }
}

/// Whether an entry has an interval of its own.
pub fn has_own(entry: &str) -> bool {
    parts(entry).1.is_some()
}
