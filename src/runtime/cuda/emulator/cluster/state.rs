//! What a running cluster is made of: its launch, blocks, warps and threads.

use super::super::abi::{AsyncCalls, Calls, Entry, Slot, Thread};
use super::super::engine::Engine;
use super::super::global::{Acquired, Global, Place};
use super::super::lanes::Counting;
use super::super::layout::Layout;
use super::super::shadow::Shadow;
use super::super::tally::Tally;
use crate::Error;
use crate::runtime::cuda::driver::{Grid, Kernel};
use corosensei::Yielder;
use std::ffi::c_void;

/// The number of words that one lane hands to its warp at a time.
pub const WORDS: usize = 4;

/// A tensor that the kernel was given, as a range of addresses.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub start: usize,
    pub bytes: usize,
    pub written: bool,
    /// The name of its parameter.
    pub name: &'static str,
}

/// One launch; all of its blocks share it.
pub struct Launch<'a> {
    pub kernel: &'static Kernel,
    pub grid: Grid,
    pub entry: Entry,
    pub slot: Slot,
    /// The functions that its threads may call.
    pub calls: &'static Calls,
    pub async_calls: &'static AsyncCalls,
    /// The addresses of the parameters' values.
    pub values: &'a [*const c_void],
    pub windows: &'a [Window],
    /// The range of addresses of the kernels' library, where constants are read.
    pub constants: (usize, usize),
    /// Bytes of shared memory that a block may have.
    pub shared: usize,
    /// A seed that shuffles the order in which threads run.
    pub order: Option<u64>,
    /// Whether threads' accesses to memory are seen.
    pub watched: bool,
    /// Where what is counted goes.
    pub tally: Option<&'a Tally>,
    /// Who touched global memory, and what orders it.
    pub global: &'a Global,
}

// SAFETY: the addresses point to values and tensors that outlive the launch; workers only read the values, and blocks of a
// right kernel write disjoint parts of the tensors.
unsafe impl Sync for Launch<'_> {}

/// A copy to shared memory that has been requested but not yet made.
#[derive(Debug, Clone, Copy)]
pub struct Copy {
    pub group: u32,
    pub to: *mut u8,
    pub from: *const u8,
    pub bytes: u32,
    pub valid: u32,
}

/// One CUDA thread.
#[repr(C)]
pub struct ThreadState {
    /// The part that the kernel sees. It comes first, so that a pointer to it is a pointer to the thread.
    pub abi: Thread,
    pub cluster: *mut Cluster,
    pub yielder: *const Yielder<(), ()>,
    /// The thread's number in the cluster, and its block's rank.
    pub number: u32,
    pub rank: u32,
    pub copies: Vec<Copy>,
    pub group: u32,
    /// Its last `__threadfence()`; and its atomic operations since, as addresses and turns.
    pub fence: Option<Place>,
    pub turns: Vec<(usize, u32)>,
    /// Whether it has waited for the launch before its own; where it need not, it is as good as that.
    pub waited: bool,
    pub done: bool,
}

/// What the lanes of a warp are waiting for.
pub struct Warp {
    /// The lanes that exist.
    pub present: u32,
    pub arrived: u32,
    pub mask: u32,
    /// The number of words for each lane; 0 for a `__syncwarp`.
    pub count: u32,
    /// Two rounds of words: a lane may already be at the next exchange while another still reads this one.
    pub words: [[u64; 32 * WORDS]; 2],
    pub round: usize,
    pub synced: u32,
}

/// A shared array that a kernel declared.
#[derive(Debug, Clone, Copy)]
pub struct Array {
    pub key: *const c_void,
    pub offset: usize,
    pub bytes: usize,
}

/// One block.
pub struct Block {
    pub shared: Vec<u128>,
    pub arrays: Vec<Array>,
    /// The end of the shared memory in use.
    pub used: usize,
    pub shadow: Shadow,
    pub arrived: u32,
    pub line: i32,
    pub left: u32,
    pub moment: u32,
}

impl Block {
    pub fn base(&self) -> usize {
        self.shared.as_ptr() as usize
    }
    pub fn room(&self) -> usize {
        self.shared.len() * size_of::<u128>()
    }
}

/// The state of a running cluster. While a thread runs, the state is accessed only through pointers, one at a time.
pub struct Cluster {
    pub kernel: &'static Kernel,
    pub launch: *const Launch<'static>,
    /// Its number in the launch.
    pub number: u64,
    pub blocks: Vec<Block>,
    pub thread_states: Vec<ThreadState>,
    pub warps: Vec<Warp>,
    /// The threads to run next.
    pub ready: Vec<u32>,
    pub clock: u32,
    /// The time at which it began.
    pub born: u32,
    /// Atomic operations of its threads that a fence has followed.
    pub acquired: Vec<Acquired>,
    pub cluster_moment: u32,
    pub cluster_arrived: u32,
    pub error: Option<Error>,
    /// Where the launch is counted.
    pub counting: Option<Box<Counting>>,
    /// What works beside its threads, once one of them has asked for such.
    pub engine: Option<Box<Engine>>,
}

impl Cluster {
    /// The number of the warp that thread `number` belongs to.
    pub fn warp_of(&self, number: u32) -> usize {
        let per_block =
            (self.thread_states.len() / self.thread_states.last().map_or(1, |s| s.rank as usize + 1)) as u32;
        let warps = per_block.div_ceil(32);
        (number / per_block * warps + number % per_block / 32) as usize
    }

    /// How its blocks' memory and threads are numbered.
    pub fn layout(&self) -> Layout {
        // Of an earlier launch there may be more blocks than this has.
        let blocks = self.kernel.cluster;
        let threads = self.thread_states.len() as u32 / blocks;
        Layout { blocks, threads, room: self.blocks.first().map_or(1, Block::room) }
    }

    /// Threads of the cluster have met, at a barrier that orders their work.
    pub fn met(&mut self, threads: std::ops::Range<u32>) {
        if let Some(engine) = &mut self.engine {
            engine.clocks.meet(threads);
        }
    }
}
