//! What kernels call for Hopper's asynchronous instructions: mbarriers, bulk copies, products of warpgroups (`kernels/hopper.cuh`).
//!
//! As in `calls`, a function that finds a mistake leaves the error with the cluster and suspends for good.

use super::abi::{AsyncCalls, Thread};
use super::calls::{fail, must_have_waited, parts, suspend};
use super::cluster::{Block, Cluster, memory_of};
use super::engine::{Engine, Memory};
use super::lanes::Counting;
use super::matrix::Matrix;
use super::operand::{CHUNK, Product};
use super::warpgroup::THREADS;
use std::ffi::c_void;

/// What every thread's table has.
pub static CALLS: AsyncCalls = AsyncCalls {
    mbarrier_init,
    mbarrier_arrive,
    mbarrier_arrive_at,
    mbarrier_wait,
    fence,
    bulk_copy,
    named_barrier,
    shared_offset,
    wgmma_fence,
    wgmma,
    wgmma_commit,
    wgmma_wait,
};

/// How `hopper.cuh` names what it asks for.
mod named {
    pub const MAKING_ALONE: u32 = 1;
    pub const A_ACROSS: u32 = 1;
    pub const B_ACROSS: u32 = 2;
    pub const ONTO: u32 = 4;
    pub const TF32: u32 = 8;
}

/// What a call works on.
struct At<'a> {
    /// The thread's number in its cluster, and in its block.
    thread: u32,
    own: u32,
    /// The block's rank, and where its memory begins.
    rank: u32,
    base: usize,
    /// How many bytes of shared memory each block has; and the memory of all of them.
    room: usize,
    memory: Vec<Memory<'a>>,
    engine: &'a mut Engine,
    /// Whether bytes of the block's memory lie in its shared arrays.
    inside: &'a dyn Fn(usize, usize) -> bool,
    /// Where the launch is counted, the counters.
    counting: Option<&'a mut Counting>,
}

impl At<'_> {
    /// Where in the block's shared memory `bytes` bytes from `place` are.
    fn offset(&self, place: *const c_void, bytes: usize) -> Result<usize, String> {
        let offset = (place as usize).wrapping_sub(self.base);
        match offset < self.room && (self.inside)(offset, bytes) {
            true => Ok(offset),
            false => Err("gives an asynchronous instruction what is not in its block's shared arrays".into()),
        }
    }

    /// The same as a place in the cluster's memory.
    fn place(&self, place: *const c_void, bytes: usize) -> Result<usize, String> {
        Ok(self.offset(place, bytes)? + self.rank as usize * self.room)
    }
}

/// Does `work`, then lets those threads go on that it has woken. Ends the launch with what is wrong.
///
/// # Safety
/// As [`parts`].
unsafe fn at<R>(thread: *mut Thread, work: impl FnOnce(&mut At<'_>) -> Result<R, String>) -> R {
    // SAFETY: by the caller's promise. The launch outlives the cluster; the block's memory is nobody's while this thread runs.
    let result = unsafe {
        let (thread_state, cluster) = parts(thread);
        let launch = &*cluster.launch;
        let (number, rank, own) = (thread_state.number, thread_state.rank, thread_state.abi.thread.x);
        let layout = cluster.layout();
        let Cluster { engine, blocks, counting, ready, cluster_moment, .. } = cluster;
        let engine = engine.get_or_insert_with(|| Box::new(Engine::new(layout, launch.order)));
        let dynamic = launch.grid.shared as usize;
        let Block { arrays, .. } = &blocks[rank as usize];
        let (arrays, base) = (arrays.clone(), blocks[rank as usize].base());
        let inside = |offset: usize, bytes: usize| {
            offset + bytes <= dynamic
                || arrays.iter().any(|a| offset >= a.offset && offset + bytes <= a.offset + a.bytes)
        };
        let result = work(&mut At {
            thread: number,
            own,
            rank,
            base,
            room: layout.room,
            memory: memory_of(blocks, launch.watched, *cluster_moment),
            engine,
            inside: &inside,
            counting: counting.as_deref_mut().filter(|_| launch.tally.is_some()),
        });
        ready.append(&mut engine.woken);
        result
    };
    match result {
        Ok(result) => result,
        // SAFETY: as above.
        Err(problem) => unsafe { fail(thread, problem) },
    }
}

unsafe extern "C-unwind" fn mbarrier_init(thread: *mut Thread, barrier: *mut c_void, arrivals: u32) {
    // SAFETY: kernels pass their own thread, here and below.
    unsafe {
        at(thread, |at| {
            let place = at.place(barrier, 8)?;
            at.engine.make_barrier(at.thread, place, arrivals)
        });
    }
}

unsafe extern "C-unwind" fn mbarrier_arrive(thread: *mut Thread, barrier: *mut c_void, bytes: u32) {
    // SAFETY: as above.
    unsafe {
        at(thread, |at| {
            let place = at.place(barrier, 8)?;
            at.engine.arrive(at.thread, place, bytes)
        });
    }
}

unsafe extern "C-unwind" fn mbarrier_wait(thread: *mut Thread, barrier: *mut c_void, parity: u32) {
    // SAFETY: as above; nothing of the cluster is held when the thread suspends.
    unsafe {
        loop {
            let passes = at(thread, |at| {
                let place = at.place(barrier, 8)?;
                let passes = at.engine.passes(at.thread, place, parity)?;
                if let Some(counting) = at.counting.as_mut().filter(|_| passes) {
                    counting.waited(at.thread);
                }
                Ok(passes)
            });
            if passes {
                return;
            }
            suspend(thread);
        }
    }
}

unsafe extern "C-unwind" fn fence(thread: *mut Thread, kind: u32) {
    // SAFETY: as above.
    unsafe {
        at(thread, |at| {
            at.engine.fence(at.thread, kind == named::MAKING_ALONE);
            Ok(())
        });
    }
}

unsafe extern "C-unwind" fn mbarrier_arrive_at(thread: *mut Thread, barrier: u32) {
    let (rank, offset) = ((barrier >> 24) as usize, (barrier & 0xff_ffff) as usize);
    // SAFETY: as above.
    unsafe { at(thread, |at| at.engine.arrive(at.thread, rank * at.room + offset, 0)) }
}

unsafe extern "C-unwind" fn bulk_copy(
    thread: *mut Thread,
    to: *mut c_void,
    map: *const c_void,
    barrier: *mut c_void,
    x: i32,
    y: i32,
    blocks: u32,
) {
    // SAFETY: as above; the map is a parameter of the kernel.
    unsafe {
        let from = *map.cast::<Matrix>();
        must_have_waited(thread, format_args!("asks for a bulk copy"));
        at(thread, |at| {
            let bytes = from.box_bytes();
            let (to, place) = (at.place(to, bytes)?, at.place(barrier, 8)?);
            // Without a mask the copy is for the block itself.
            let blocks = if blocks == 0 { 1 << at.rank } else { blocks };
            let reached = at.engine.copy(at.thread, to, from, place, [x, y], blocks, &mut at.memory)?;
            if let Some(counting) = &mut at.counting {
                counting.copied(at.rank, from.rows(x, y), bytes, reached);
            }
            Ok(())
        });
    }
}

unsafe extern "C-unwind" fn named_barrier(thread: *mut Thread, which: u32, threads: u32) {
    // SAFETY: as above; nothing of the cluster is held when the thread suspends.
    unsafe {
        let last = at(thread, |at| {
            let last = at.engine.meet(at.thread, which, threads)?;
            if let Some(counting) = at.counting.as_mut().filter(|_| last) {
                counting.some_met(threads / 32);
            }
            Ok(last)
        });
        if !last {
            suspend(thread);
        }
    }
}

unsafe extern "C-unwind" fn shared_offset(thread: *mut Thread, place: *const c_void) -> u64 {
    // SAFETY: as above.
    unsafe { at(thread, |at| at.offset(place, 1)) as u64 }
}

unsafe extern "C-unwind" fn wgmma_fence(thread: *mut Thread) {
    // SAFETY: as above.
    unsafe { at(thread, |at| at.engine.fence_registers(at.thread)) }
}

unsafe extern "C-unwind" fn wgmma(thread: *mut Thread, d: *mut f32, a: u64, b: u64, columns: u32, flags: u32) {
    let flag = |which: u32| flags & which != 0;
    let of = Product {
        a,
        b,
        columns: columns as usize,
        a_across: flag(named::A_ACROSS),
        b_across: flag(named::B_ACROSS),
        onto: flag(named::ONTO),
        tf32: flag(named::TF32),
    };
    // SAFETY: as above; d is an array of the thread's, which it keeps until it has waited.
    unsafe {
        at(thread, |at| {
            at.engine.product(at.thread, d, of, &mut at.memory, |place| (at.inside)(place, CHUNK))?;
            // One of the warpgroup's threads tells.
            if let Some(counting) = at.counting.as_mut().filter(|_| at.own.is_multiple_of(THREADS as u32)) {
                counting.multiplied(at.rank, of.columns, of.bytes());
            }
            Ok(())
        });
    }
}

unsafe extern "C-unwind" fn wgmma_commit(thread: *mut Thread) {
    // SAFETY: as above.
    unsafe { at(thread, |at| at.engine.close_group(at.thread)) }
}

unsafe extern "C-unwind" fn wgmma_wait(thread: *mut Thread, left: u32) {
    // SAFETY: as above; nothing of the cluster is held when the thread suspends.
    unsafe {
        while !at(thread, |at| at.engine.wait_groups(at.thread, left, &at.memory)) {
            suspend(thread);
        }
    }
}
