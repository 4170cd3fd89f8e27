//! What kernels call for Hopper's asynchronous instructions: mbarriers, bulk copies, products of warpgroups (`kernels/hopper.cuh`).
//!
//! As in `calls`, a function that finds a mistake leaves the error with the cluster and suspends for good.

use super::abi::{AsyncCalls, Thread};
use super::calls::{fail, must_have_waited, parts, suspend};
use super::cluster::Block;
use super::engine::{Engine, Matrix, Memory};
use super::lanes::Counting;
use super::operand::{CHUNK, Product};
use super::warpgroup::THREADS;
use std::ffi::c_void;

/// What every thread's table has.
pub static CALLS: AsyncCalls = AsyncCalls {
    mbarrier_init,
    mbarrier_arrive,
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

/// What a call works on: the thread's number in its block, the block's units, its memory, and whether bytes lie in shared arrays.
struct At<'a> {
    thread: u32,
    base: usize,
    engine: &'a mut Engine,
    memory: Memory<'a>,
    inside: &'a dyn Fn(usize, usize) -> bool,
    /// The block's rank; and where its work is counted, the counters.
    rank: u32,
    counting: Option<&'a mut Counting>,
}

impl At<'_> {
    /// Where in the block's shared memory `bytes` bytes from `place` are.
    fn offset(&self, place: *const c_void, bytes: usize) -> Result<usize, String> {
        let offset = (place as usize).wrapping_sub(self.base);
        match offset < self.memory.bytes.len() && (self.inside)(offset, bytes) {
            true => Ok(offset),
            false => Err("gives an asynchronous instruction what is not in its block's shared arrays".into()),
        }
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
        if thread_state.abi.cluster_blocks > 1 {
            fail(thread, "uses an asynchronous instruction in a cluster, which is not emulated".into());
        }
        let (dynamic, watched) = (launch.grid.shared as usize, launch.watched);
        let (threads, rank) = (thread_state.abi.threads.x, thread_state.rank);
        let block = &mut cluster.blocks[rank as usize];
        let (base, room) = (block.base(), block.room());
        let Block { engine, shadow, arrays, moment, .. } = block;
        let engine = engine.get_or_insert_with(|| Box::new(Engine::new(threads, room, launch.order)));
        let inside = |offset: usize, bytes: usize| {
            offset + bytes <= dynamic
                || arrays.iter().any(|a| offset >= a.offset && offset + bytes <= a.offset + a.bytes)
        };
        let bytes = std::slice::from_raw_parts_mut(base as *mut u8, room);
        let memory = Memory { bytes, shadow, watched, moment: *moment };
        let own = thread_state.number - rank * threads;
        let counting = cluster.counting.as_deref_mut().filter(|_| launch.tally.is_some());
        let result = work(&mut At { thread: own, base, engine, memory, inside: &inside, rank, counting });
        let woken = std::mem::take(&mut engine.woken);
        cluster.ready.extend(woken.into_iter().map(|other| other + rank * threads));
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
            let place = at.offset(barrier, 8)?;
            at.engine.make_barrier(at.thread, place, arrivals)
        });
    }
}

unsafe extern "C-unwind" fn mbarrier_arrive(thread: *mut Thread, barrier: *mut c_void, bytes: u32) {
    // SAFETY: as above.
    unsafe {
        at(thread, |at| {
            let place = at.offset(barrier, 8)?;
            at.engine.arrive(at.thread, place, bytes)
        });
    }
}

unsafe extern "C-unwind" fn mbarrier_wait(thread: *mut Thread, barrier: *mut c_void, parity: u32) {
    // SAFETY: as above; nothing of the cluster is held when the thread suspends.
    unsafe {
        let number = parts(thread).0.number;
        loop {
            let passes = at(thread, |at| {
                let place = at.offset(barrier, 8)?;
                let passes = at.engine.passes(at.thread, place, parity)?;
                if let Some(counting) = at.counting.as_mut().filter(|_| passes) {
                    counting.waited(number);
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

unsafe extern "C-unwind" fn bulk_copy(
    thread: *mut Thread,
    to: *mut c_void,
    map: *const c_void,
    barrier: *mut c_void,
    x: i32,
    y: i32,
) {
    // SAFETY: as above; the map is a parameter of the kernel.
    unsafe {
        let from = *map.cast::<Matrix>();
        must_have_waited(thread, format_args!("asks for a bulk copy"));
        at(thread, |at| {
            let bytes = from.box_bytes();
            let (to, place) = (at.offset(to, bytes)?, at.offset(barrier, 8)?);
            at.engine.copy(at.thread, to, from, place, [x, y], &mut at.memory)?;
            if let Some(counting) = &mut at.counting {
                counting.copied(at.rank, from.rows(x, y), bytes);
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
            if let Some(counting) = at.counting.as_mut().filter(|_| at.thread.is_multiple_of(THREADS as u32)) {
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
