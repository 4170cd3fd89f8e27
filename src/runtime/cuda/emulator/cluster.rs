//! The blocks of one cluster (or the one block, without clusters) as coroutines on one thread of the operating system.
//!
//! A CUDA thread is a coroutine that runs until it must wait for others, at a barrier or at an operation of its warp. The last thread to arrive
//! releases the others. Ready threads run in order of their numbers, or in an order that a seed shuffles: a correct kernel gives the same bits in any
//! order.

mod standing;
mod state;

pub use state::{Array, Block, Cluster, Copy, Launch, ThreadState, WORDS, Warp, Window};

use super::abi::{AsyncCalls, Calls, Dim3, Thread};
use super::engine::Memory;
use super::shadow::Shadow;
use crate::runtime::cuda::driver::Kernel;
use crate::runtime::rng::{Purpose, word};
use crate::{Error, Result};
use corosensei::stack::{DefaultStack, Stack};
use corosensei::{Coroutine, CoroutineResult, Yielder};

/// The size of a thread's stack, in bytes; kernels keep large data in shared memory.
const STACK: usize = 64 << 10;
/// The gap between two shared arrays, in bytes, which nobody may touch.
pub const GAP: usize = 64;
/// The byte that shared memory is filled with before anyone writes: NaN.
const FILL: u8 = 0xFF;

/// What one thread of the operating system keeps from one cluster to the next: stacks and shared memory.
pub struct BlockRunner {
    stacks: Vec<DefaultStack>,
    cluster: Box<Cluster>,
}

impl BlockRunner {
    pub fn new(kernel: &'static Kernel) -> Self {
        let cluster = Cluster {
            kernel,
            launch: std::ptr::null(),
            number: 0,
            blocks: Vec::new(),
            thread_states: Vec::new(),
            warps: Vec::new(),
            ready: Vec::new(),
            clock: 0,
            born: 0,
            acquired: Vec::new(),
            cluster_moment: 0,
            cluster_arrived: 0,
            error: None,
            counting: None,
            engine: None,
        };
        BlockRunner { stacks: Vec::new(), cluster: Box::new(cluster) }
    }

    fn stack(&mut self) -> Result<DefaultStack> {
        match self.stacks.pop() {
            Some(stack) => Ok(stack),
            None => {
                DefaultStack::new(STACK).map_err(|e| Error::device("emulator", "make a thread's stack", e.to_string()))
            }
        }
    }

    /// Runs all blocks of cluster `number` to their end.
    pub fn run(&mut self, launch: &Launch<'_>, number: u64) -> Result<()> {
        self.begin(launch, number);
        let thread_states = self.cluster.thread_states.len();
        let mut routines: Vec<Coroutine<(), (), (), DefaultStack>> = Vec::with_capacity(thread_states);
        let (entry, values) = (launch.entry, launch.values.as_ptr());
        for i in 0..thread_states {
            let stack = self.stack()?;
            let thread_state: *mut ThreadState = &mut self.cluster.thread_states[i];
            // SAFETY: `threads` is not resized while coroutines run.
            unsafe {
                (*thread_state).abi.stack = stack.limit().get() as *const u8;
                (*thread_state).abi.stack_bytes = (stack.base().get() - stack.limit().get()) as u64;
            }
            routines.push(Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
                // SAFETY: the thread and the values outlive the coroutine; the entry takes exactly these values.
                unsafe {
                    (*thread_state).yielder = yielder;
                    entry(values);
                }
            }));
        }
        let error = self.schedule(launch, number, &mut routines);
        for mut routine in routines {
            if !routine.done() {
                // SAFETY: kernels own nothing: no destructor is passed over.
                unsafe { routine.force_reset() };
            }
            self.stacks.push(routine.into_stack());
        }
        if let (None, Some(tally), Some(counting)) = (&error, launch.tally, &mut self.cluster.counting) {
            counting.end(tally);
        }
        error.map_or(Ok(()), Err)
    }

    /// Runs threads until all are done or one has failed.
    fn schedule(
        &mut self,
        launch: &Launch<'_>,
        number: u64,
        routines: &mut [Coroutine<(), (), (), DefaultStack>],
    ) -> Option<Error> {
        let cluster: *mut Cluster = &mut *self.cluster;
        // SAFETY: the slot is of this thread of the operating system, on which all of this runs.
        let slot = unsafe { (launch.slot)() };
        let (mut now, mut pass) = (Vec::new(), 0u32);
        // SAFETY: between two resumes nothing else touches the cluster; during one only the thread's calls do, and no
        // reference into it is held here.
        unsafe {
            loop {
                std::mem::swap(&mut now, &mut (*cluster).ready);
                if now.is_empty() {
                    // Copies come when nobody can go on without them: nothing is there a moment before it has to be.
                    match deliver(&mut *cluster, launch.watched) {
                        Some(Ok(())) => continue,
                        Some(Err(error)) => return Some(error),
                        None if (*cluster).thread_states.iter().all(|s| s.done) => return None,
                        None => return Some(Cluster::stuck(&*cluster)),
                    }
                }
                if let Some(seed) = launch.order {
                    shuffle(&mut now, seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15), pass);
                    pass += 1;
                }
                for i in now.drain(..) {
                    let thread_state: *mut ThreadState = &mut (&mut (*cluster).thread_states)[i as usize];
                    *slot = thread_state.cast();
                    let result = routines[i as usize].resume(());
                    if (*cluster).error.is_some() {
                        return (*cluster).error.take();
                    }
                    if let CoroutineResult::Return(()) = result {
                        (*thread_state).done = true;
                        if let Some(error) = leave(&mut *cluster, i) {
                            return Some(error);
                        }
                    }
                }
            }
        }
    }

    fn begin(&mut self, launch: &Launch<'_>, number: u64) {
        let cluster = &mut *self.cluster;
        let size = launch.kernel.cluster;
        let threads = launch.grid.threads;
        let warps = threads.div_ceil(32);
        cluster.kernel = launch.kernel;
        cluster.launch = std::ptr::from_ref(launch).cast();
        // Moments only grow, so that nothing of an earlier block is mistaken for one of this.
        cluster.clock += 1;
        cluster.cluster_moment = cluster.clock;
        (cluster.number, cluster.born) = (number, cluster.clock);
        cluster.acquired.clear();
        cluster.cluster_arrived = 0;
        cluster.error = None;
        if launch.tally.is_some() {
            cluster.counting.get_or_insert_default().begin(size, threads);
        }
        let dynamic = launch.grid.shared as usize;
        let room = (launch.shared + 64 * GAP).next_multiple_of(128);
        while cluster.blocks.len() < size as usize {
            let shared = vec![u128::MAX; room / size_of::<u128>()];
            let shadow = Shadow::default();
            cluster.blocks.push(Block {
                shared,
                arrays: Vec::new(),
                used: 0,
                shadow,
                arrived: 0,
                line: 0,
                left: 0,
                moment: 0,
            });
        }
        for block in &mut cluster.blocks {
            // What the last block left would look like numbers.
            let used = block.used.min(room).div_ceil(size_of::<u128>());
            block.shared[..used].fill(u128::from_ne_bytes([FILL; 16]));
            block.arrays.clear();
            block.used = if dynamic > 0 { dynamic + GAP } else { 0 };
            (block.arrived, block.left, block.moment) = (0, threads, cluster.clock);
            block.shadow.begin(room, cluster.clock);
        }
        cluster.engine = None;
        cluster.warps.clear();
        cluster.thread_states.clear();
        cluster.ready.clear();
        let pointer: *mut Cluster = cluster;
        let [nx, ny, _] = launch.grid.blocks;
        let calls: *const Calls = launch.calls;
        let async_calls: *const AsyncCalls = launch.async_calls;
        for rank in 0..size {
            let at = number * u64::from(size) + u64::from(rank);
            let block = Dim3 {
                x: (at % u64::from(nx)) as u32,
                y: (at / u64::from(nx) % u64::from(ny)) as u32,
                z: (at / u64::from(nx) / u64::from(ny)) as u32,
            };
            for w in 0..warps {
                let lanes = (threads - 32 * w).min(32);
                cluster.warps.push(Warp {
                    present: if lanes == 32 { u32::MAX } else { (1 << lanes) - 1 },
                    arrived: 0,
                    mask: 0,
                    count: 0,
                    words: [[u64::MAX; 32 * WORDS]; 2],
                    round: 0,
                    synced: cluster.clock,
                });
            }
            for x in 0..threads {
                let [bx, by, bz] = launch.grid.blocks;
                cluster.ready.push(cluster.thread_states.len() as u32);
                cluster.thread_states.push(ThreadState {
                    abi: Thread {
                        thread: Dim3 { x, y: 0, z: 0 },
                        block,
                        threads: Dim3 { x: threads, y: 1, z: 1 },
                        blocks: Dim3 { x: bx, y: by, z: bz },
                        cluster_rank: rank,
                        cluster_blocks: size,
                        stack: std::ptr::null(),
                        stack_bytes: 0,
                        calls,
                        async_calls,
                    },
                    cluster: pointer,
                    yielder: std::ptr::null(),
                    number: rank * threads + x,
                    rank,
                    copies: Vec::new(),
                    group: 0,
                    fence: None,
                    turns: Vec::new(),
                    waited: !launch.kernel.waits,
                    done: false,
                });
            }
        }
    }
}

/// Handles a thread that has left the kernel; it is an error if others still wait for it.
fn leave(cluster: &mut Cluster, number: u32) -> Option<Error> {
    let thread_state = &cluster.thread_states[number as usize];
    if thread_state.copies.iter().any(|copy| copy.group < thread_state.group || copy.valid > 0) {
        return Some(cluster.fault(number, "leaves the kernel while its asynchronous copies are under way".into()));
    }
    if !thread_state.waited {
        return Some(
            cluster.fault(number, "leaves the kernel and has not waited for the launch before its own".into()),
        );
    }
    let block = &mut cluster.blocks[thread_state.rank as usize];
    block.left -= 1;
    let left = cluster.engine.as_mut().map(|engine| engine.leave(number, block.left == 0));
    if let Some(Err(problem)) = left {
        return Some(cluster.fault(number, problem));
    }
    let block = &mut cluster.blocks[thread_state.rank as usize];
    let waiting = block.arrived > 0;
    let line = block.line;
    if waiting {
        let problem = format!("leaves the kernel while others of its block wait at the barrier of line {line}");
        return Some(cluster.fault(number, problem));
    }
    let warp = &cluster.warps[cluster.warp_of(number)];
    let lane = 1 << (cluster.layout().own(number) % 32);
    if warp.arrived > 0 && warp.mask & lane != 0 {
        return Some(cluster.fault(number, "leaves the kernel while lanes of its warp wait for it".into()));
    }
    None
}

/// A bulk copy of some block comes; none if none is under way. Errors: what is wrong with it.
fn deliver(cluster: &mut Cluster, watched: bool) -> Option<Result<()>> {
    let engine = cluster.engine.as_mut()?;
    let landed = engine.deliver(&mut memory_of(&mut cluster.blocks, watched, cluster.cluster_moment))?;
    cluster.ready.append(&mut engine.woken);
    Some(landed.map_err(|(thread, problem)| cluster.fault(thread, problem)))
}

/// The blocks' shared memory, for what works beside their threads.
pub fn memory_of(blocks: &mut [Block], watched: bool, cluster_moment: u32) -> Vec<Memory<'_>> {
    blocks
        .iter_mut()
        .map(|Block { shared, shadow, moment, .. }| {
            let bytes = bytemuck::cast_slice_mut(&mut shared[..]);
            Memory { bytes, shadow, watched, moment: *moment, cluster_moment }
        })
        .collect()
}

/// Brings numbers into an order that the seed and the pass tell.
pub fn shuffle(order: &mut [u32], seed: u64, pass: u32) {
    for i in (1..order.len()).rev() {
        let j = word(seed, Purpose::Case, 0, pass, i as u64) as usize % (i + 1);
        order.swap(i, j);
    }
}
