//! SIGINT and SIGTERM: the first asks to stop, the second stops at once.

use crate::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The exit code after an interruption.
pub const CODE: u8 = 130;

/// A flag that the signals set.
pub fn flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag down, passes the exit by, and then raises the flag.
        let armed = flag::register_conditional_shutdown(signal, i32::from(CODE), stop.clone())
            .and_then(|_| flag::register(signal, stop.clone()));
        armed.map_err(|e| Error::Missing { what: "signal handling".into(), looked: e.to_string() })?;
    }
    Ok(stop)
}
