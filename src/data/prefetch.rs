//! Prepares batches on a separate thread: while one is used, the next is made.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::data::batch::Batches;
use crate::data::image_set::IMAGE;
use crate::{Error, Result};

/// The batch of one step, in buffers that are reused.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// The step that the batch is for.
    pub step: u64,
    /// The images, as [`Batches::fill`] lays them out.
    pub x: Vec<f32>,
    /// Their classes.
    pub labels: Vec<u32>,
}

/// The state that the two threads share. It uses a lock and a condition variable, not a channel, because these never allocate.
#[derive(Debug, Default)]
struct Shared {
    buffers: Mutex<Buffers>,
    changed: Condvar,
}

/// The two buffers: one is used while the other is filled.
#[derive(Debug, Default)]
struct Buffers {
    empty: Option<Batch>,
    ready: Option<Batch>,
    stop: bool,
    failed: Option<String>,
}

impl Shared {
    /// Ignores poisoning: the other thread never panics while it holds the lock, so the buffers are always in order.
    fn lock(&self) -> MutexGuard<'_, Buffers> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while<'a>(
        &self,
        buffers: MutexGuard<'a, Buffers>,
        busy: impl Fn(&Buffers) -> bool,
    ) -> MutexGuard<'a, Buffers> {
        self.changed.wait_while(buffers, |buffers| busy(buffers)).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The batches of successive steps, prepared ahead. After the start, neither thread allocates.
#[derive(Debug)]
pub struct Prefetch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    current: Batch,
}

impl Prefetch {
    /// Starts the thread, which prepares the batches of `first_step` and of the steps after it.
    pub fn start(batches: Arc<Batches>, first_step: u64) -> Result<Self> {
        let batch = batches.batch();
        let buffer = || Batch { step: 0, x: vec![0.0; batch * IMAGE], labels: vec![0; batch] };
        Prefetch::with(first_step, [buffer(), buffer()], move |b| batches.fill(b.step, &mut b.x, &mut b.labels))
    }

    /// The same with given buffers and a given function that fills one for its step.
    fn with(first_step: u64, buffers: [Batch; 2], fill: impl FnMut(&mut Batch) + Send + 'static) -> Result<Self> {
        let [current, empty] = buffers;
        let shared = Arc::new(Shared::default());
        shared.lock().empty = Some(empty);
        let (theirs, name) = (shared.clone(), "batches".to_string());
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || prepare(&theirs, first_step, fill))
            .map_err(|e| Error::input("--threads", format!("no thread can be started ({e})"), "end other programs"))?;
        Ok(Prefetch { shared, thread: Some(thread), current })
    }

    /// The next step's batch. It is lent until the next call, which returns its buffer to be filled again.
    pub fn next_batch(&mut self) -> Result<&Batch> {
        let mut buffers = self.shared.wait_while(self.shared.lock(), |d| d.ready.is_none() && d.failed.is_none());
        match buffers.ready.take() {
            Some(ready) => buffers.empty = Some(std::mem::replace(&mut self.current, ready)),
            None => {
                let problem = buffers.failed.clone().unwrap_or_default();
                return Err(Error::input("--data", problem, "this is a defect of the program: please report it"));
            }
        }
        drop(buffers);
        self.shared.changed.notify_all();
        Ok(&self.current)
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // Its panics were caught; there is nothing more to learn from it.
            let _ = thread.join();
        }
    }
}

/// The thread's loop: fills the empty buffer and marks it ready, until it is told to stop.
fn prepare(shared: &Shared, first_step: u64, mut fill: impl FnMut(&mut Batch)) {
    let mut step = first_step;
    loop {
        let mut buffers = shared.wait_while(shared.lock(), |d| (d.empty.is_none() || d.ready.is_some()) && !d.stop);
        if buffers.stop {
            return;
        }
        let Some(mut buffer) = buffers.empty.take() else { continue };
        drop(buffers);
        buffer.step = step;
        let filled = catch_unwind(AssertUnwindSafe(|| fill(&mut buffer)));
        let mut buffers = shared.lock();
        match filled {
            Ok(()) => buffers.ready = Some(buffer),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
                buffers.failed = Some(format!("the batch of step {step} could not be made ({text})"));
            }
        }
        let failed = buffers.failed.is_some();
        drop(buffers);
        shared.changed.notify_all();
        if failed {
            return;
        }
        step = step.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::image_set::{CLASSES, ImageSet, Images};
    use std::sync::atomic::{AtomicU64, Ordering};

    fn batches() -> Arc<Batches> {
        let images = |n: usize| Images {
            pixels: (0..n * IMAGE).map(|i| (i * 31 % 253) as u8).collect(),
            labels: (0..n).map(|i| (i % CLASSES) as u8).collect(),
        };
        let (train, test) = (images(23), images(2));
        let set = ImageSet { name: "t", description: String::new(), classes: ["c"; CLASSES], train, test };
        Arc::new(Batches::new(Arc::new(set), 3, 5, true).unwrap())
    }

    #[test]
    fn prefetched_batches_equal_those_filled_directly_from_any_step() {
        let batches = batches();
        for first in [0, 17, u64::from(u32::MAX)] {
            let mut prefetch = Prefetch::start(batches.clone(), first).unwrap();
            for step in first..first + 20 {
                let (mut x, mut labels) = (vec![0.0; 5 * IMAGE], vec![0; 5]);
                batches.fill(step, &mut x, &mut labels);
                assert_eq!(prefetch.next_batch().unwrap(), &Batch { step, x, labels });
            }
        }
    }

    #[test]
    fn two_buffers_serve_for_ever() {
        let mut prefetch = Prefetch::start(batches(), 0).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let batch = prefetch.next_batch().unwrap();
            seen.insert((batch.x.as_ptr() as usize, batch.labels.as_ptr() as usize));
        }
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn a_panic_in_the_thread_is_an_error_once_and_again() {
        let fill = |batch: &mut Batch| assert!(batch.step < 2, "no step {}", batch.step);
        let mut prefetch = Prefetch::with(0, [Batch::default(), Batch::default()], fill).unwrap();
        assert_eq!(prefetch.next_batch().unwrap().step, 0);
        assert_eq!(prefetch.next_batch().unwrap().step, 1);
        for _ in 0..2 {
            let message = prefetch.next_batch().unwrap_err().to_string();
            assert!(message.contains("step 2") && message.contains("no step 2"), "{message}");
        }
    }

    #[test]
    fn dropping_ends_the_thread_at_any_moment() {
        let alive = Arc::new(AtomicU64::new(0));
        for used in 0..4 {
            let count = alive.clone();
            let fill = move |_: &mut Batch| {
                count.fetch_add(1, Ordering::Relaxed);
            };
            let mut prefetch = Prefetch::with(0, [Batch::default(), Batch::default()], fill).unwrap();
            for _ in 0..used {
                prefetch.next_batch().unwrap();
            }
            drop(prefetch);
            // The thread is gone, and the closure with it: this is the only owner left.
            assert_eq!(Arc::strong_count(&alive), 1);
        }
    }
}
