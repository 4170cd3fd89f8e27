//! Signals that ask a command to save its work and end.
//!
//! INT, TERM, HUP, USR1, USR2 and XCPU all mean the same. HUP says that the terminal is gone; schedulers send the others before a time
//! limit. A HUP that was inherited as ignored (`nohup`, `disown`) stays ignored.
//!
//! Wrappers and schedulers send the same signal two or three times within a moment: GNU `timeout` signals its child and then the child's
//! group. So repeats are ignored for two seconds. A later INT comes from a person who will not wait: the command ends at once, with exit code
//! [`AT_ONCE`], since nothing was saved. Repeats of the other signals never end a command: a scheduler sends TERM a minute before a time limit
//! and again at the limit, when the command may still be saving, and the kernel sends XCPU every second.

use crate::files::machine;
use crate::{Error, Result};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;
use signal_hook::low_level;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The exit code after an interruption that saved the work done so far.
pub const CODE: u8 = 130;

/// The exit code of a command that ended at once. It is a killed process's code, because the run is left as if killed.
pub const AT_ONCE: i32 = 137;

/// How long repeats of a signal are ignored after it first came.
const GRACE: Duration = Duration::from_secs(2);

/// A flag that these signals set.
///
/// # Errors
/// [`Error::Missing`] where the system accepts no signal handlers.
pub fn flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let missing = |e: std::io::Error| Error::Missing { what: "signal handling".into(), looked: e.to_string() };
    let mut signals = Signals::new(asked_for()).map_err(missing)?;
    let raised = stop.clone();
    let watch = move || {
        let mut first = BTreeMap::new();
        for signal in signals.forever() {
            raised.store(true, Ordering::Relaxed);
            let came: Instant = *first.entry(signal).or_insert_with(Instant::now);
            if insists(signal, came.elapsed()) {
                low_level::exit(AT_ONCE);
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).map_err(missing)?;
    Ok(stop)
}

/// Whether a repeat of `signal`, `since` after the first, comes from a person who will not wait.
fn insists(signal: i32, since: Duration) -> bool {
    signal == SIGINT && since > GRACE
}

/// The signals that ask a command to save and end.
#[cfg(unix)]
fn asked_for() -> Vec<i32> {
    use signal_hook::consts::{SIGHUP, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
    let mut signals = vec![SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU];
    if !machine::ignores(SIGHUP) {
        signals.push(SIGHUP);
    }
    signals
}

#[cfg(not(unix))]
fn asked_for() -> Vec<i32> {
    vec![SIGINT, signal_hook::consts::SIGTERM]
}

/// Makes a write beyond the file size limit (`ulimit -f`) fail with an error (EFBIG); otherwise its signal would end the process.
pub fn take_file_size_limits_as_errors() {
    #[cfg(unix)]
    // A handler that does nothing is as good as ignoring it, and a program that this one starts finds the signal as it was. Where the system takes
    // none, the limit ends the process, as it does any other.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_late_repeat_of_int_ends_at_once() {
        let (soon, late) = (Duration::from_millis(1900), Duration::from_millis(2100));
        for signal in asked_for() {
            assert!(!insists(signal, Duration::ZERO) && !insists(signal, soon), "{signal}");
            assert_eq!(insists(signal, late), signal == SIGINT, "{signal}");
        }
    }
}
