//! Tests that measure through the allocator itself: how often a step allocates (`allocation`), and how much memory a run holds at once
//! (`footprint`).
//!
//! Anything that runs at the same time would be counted too. So these tests have a program of their own, which runs them one after another
//! on one thread.

mod allocation;
mod footprint;

use libtest_mimic::{Arguments, Trial};
use std::alloc::{GlobalAlloc, Layout, System};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts what passes through it.
struct Counting {
    /// Blocks that were asked for since the process began.
    asked: AtomicU64,
    /// Bytes that are taken now.
    now: AtomicUsize,
    /// The most of them at once, since somebody set it.
    most: AtomicUsize,
}

impl Counting {
    fn taken(&self, bytes: usize) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.most.fetch_max(self.now.fetch_add(bytes, Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }

    fn given_back(&self, bytes: usize) {
        self.now.fetch_sub(bytes, Ordering::Relaxed);
    }
}

// SAFETY: every call is the system allocator's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.taken(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.taken(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        self.given_back(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(p, layout) }
    }
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Large blocks are moved by their pages, not copied.
        self.given_back(layout.size());
        self.taken(size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(p, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting { asked: AtomicU64::new(0), now: AtomicUsize::new(0), most: AtomicUsize::new(0) };

fn main() -> ExitCode {
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let tests: [(&str, fn()); 2] = [
        ("allocation::a_training_step_allocates_nothing", allocation::a_training_step_allocates_nothing),
        ("footprint::a_run_takes_what_it_was_judged_by", footprint::a_run_takes_what_it_was_judged_by),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    libtest_mimic::run(&arguments, tests.map(trial).into()).exit_code()
}
