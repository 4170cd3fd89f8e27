//! Tasks shared among threads, each thread with scratch memory of its own.

use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of scratch areas that a workspace is planned with: one for each thread.
pub fn rooms() -> usize {
    rayon::current_num_threads().max(1)
}

/// Runs tasks `0..count`, each once, with one of the areas of `each` elements that `rooms` is cut into. Whichever thread is free takes the next task,
/// so that no thread waits for a slower one. What a task writes must not depend on its area or on the order of tasks.
pub fn share(count: usize, rooms: &mut [f32], each: usize, task: impl Fn(usize, &mut [f32]) + Sync) {
    assert!(rooms.len() >= each, "a workspace of {} elements was not planned for this convolution", rooms.len());
    let next = AtomicUsize::new(0);
    // A workspace that was planned for a larger layer has more rooms than there are threads.
    let workers = rayon::current_num_threads().min(count);
    rooms.par_chunks_exact_mut(each).take(workers).with_max_len(1).for_each(|room| {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            task(index, room);
        }
    });
}

/// A buffer that several threads write to, no two of them to the same element.
#[derive(Clone, Copy)]
pub struct Shared(*mut f32);

// SAFETY: who writes through it vouches that no two threads touch the same element.
unsafe impl Send for Shared {}
// SAFETY: likewise.
unsafe impl Sync for Shared {}

impl Shared {
    /// The buffer that `values` occupies.
    pub fn new(values: &mut [f32]) -> Shared {
        Shared(values.as_mut_ptr())
    }

    /// A pointer to element `index`.
    pub fn at(&self, index: usize) -> *mut f32 {
        self.0.wrapping_add(index)
    }
}
