//! Takes a run's folder, and waits for a while where another process has it.
//!
//! A scheduler may start a task again while the process that it took for lost still works, or while a network file system still keeps the
//! lock of a machine that is gone.

use crate::train::Start;
use crate::train::held_folder::HeldFolder;
use crate::{Error, Result};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a folder that another process has is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// Takes the folder of a run that is to begin or to go on. Where another process has it, `waits` is told once, and it is tried again until
/// `patience` is over.
///
/// Errors: [`Error::Busy`] where another process still has it; [`Error::Interrupted`] where `stop` is set meanwhile; others as in
/// [`HeldFolder::take`].
pub fn hold(out: &Path, patience: Duration, stop: &AtomicBool, waits: impl Fn()) -> Result<HeldFolder> {
    let began = Instant::now();
    let mut told = false;
    loop {
        match HeldFolder::take(out, Start::Either) {
            Err(Error::Busy { .. }) if began.elapsed() < patience => {}
            other => return other,
        }
        if !told {
            waits();
            told = true;
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        std::thread::sleep(AGAIN.min(patience));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn a_folder_is_waited_for_until_its_holder_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (held, told) = (HeldFolder::take(dir.path(), Start::Either).unwrap(), Cell::new(0));
        let (send, receive) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            // Let go only after the other has begun to wait.
            scope.spawn(move || {
                receive.recv().unwrap();
                drop(held);
            });
            let waits = || {
                told.set(told.get() + 1);
                send.send(()).unwrap();
            };
            hold(dir.path(), LONG, &AtomicBool::new(false), waits).unwrap();
        });
        assert_eq!(told.get(), 1);
    }

    #[test]
    fn patience_ends_and_so_does_waiting_when_asked_to_stop() {
        let dir = tempfile::tempdir().unwrap();
        let _held = HeldFolder::take(dir.path(), Start::Either).unwrap();
        let told = Cell::new(0);
        let hold = |patience, stop| hold(dir.path(), patience, &AtomicBool::new(stop), || told.set(told.get() + 1));
        assert!(matches!(hold(Duration::ZERO, false), Err(Error::Busy { .. })));
        assert_eq!(told.get(), 0, "nobody waits");
        assert!(matches!(hold(Duration::from_millis(600), false), Err(Error::Busy { .. })));
        assert!(matches!(hold(LONG, true), Err(Error::Interrupted)));
        assert_eq!(told.get(), 2);
    }
}
