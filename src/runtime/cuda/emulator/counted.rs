//! The calls of kernels that were built for counting: each does what [`super::calls`] does, and tells the cluster's counters.
//!
//! The counters hear of a meeting when its last lane comes, before anyone goes on.

use super::abi::{Calls, Thread};
use super::calls::{self, parts};
use super::cluster::{Cluster, ThreadState};
use super::lanes::{Counting, Kind, Operation, Site, Space};
use std::ffi::{c_int, c_void};

/// The table that every thread points to whose launch is counted.
pub static CALLS: Calls = Calls { barrier, exchange, warp_sync, cluster_sync, count, within, ..calls::CALLS };

/// The numbers by which `host.h` names what an operation of a warp is.
mod named {
    pub const SHUFFLE: u32 = 1;
    pub const VOTE: u32 = 2;
    pub const MMA: u32 = 3;
    pub const LDMATRIX: u32 = 4;
}

/// And kinds of access.
const KINDS: [Kind; 4] = [Kind::Load, Kind::Store, Kind::CopyLoad, Kind::CopyStore];

/// Runs `work` with the thread, its warp and the counters.
///
/// # Safety
/// As [`parts`].
unsafe fn counting(thread: *mut Thread, work: impl FnOnce(&ThreadState, &Cluster, usize, &mut Counting)) {
    // SAFETY: by the caller's promise. The counters leave the cluster while they are used, so that nothing has two names.
    unsafe {
        let (thread_state, cluster) = parts(thread);
        let Some(mut counting) = cluster.counting.take() else { return };
        let warp = cluster.warp_of(thread_state.number);
        work(thread_state, cluster, warp, &mut counting);
        cluster.counting = Some(counting);
    }
}

unsafe extern "C-unwind" fn barrier(thread: *mut Thread, line: c_int) {
    // SAFETY: kernels pass their own thread.
    unsafe {
        counting(thread, |thread_state, cluster, _, counting| {
            let rank = thread_state.rank;
            if cluster.blocks[rank as usize].arrived + 1 == thread_state.abi.threads.x {
                counting.block_met(rank);
            }
        });
        (calls::CALLS.barrier)(thread, line);
    }
}

unsafe extern "C-unwind" fn cluster_sync(thread: *mut Thread, line: c_int) {
    // SAFETY: kernels pass their own thread.
    unsafe {
        counting(thread, |_, cluster, _, counting| {
            if cluster.cluster_arrived as usize + 1 == cluster.thread_states.len() {
                counting.cluster_met();
            }
        });
        (calls::CALLS.cluster_sync)(thread, line);
    }
}

/// Tells the counters where the lanes in `mask` have met with this thread. With `exchanged` its lanes hand one another words.
///
/// # Safety
/// `thread` is a running thread's.
unsafe fn meet(thread: *mut Thread, mask: u32, exchanged: bool) {
    // SAFETY: by the caller's promise.
    unsafe {
        counting(thread, |thread_state, cluster, at, counting| {
            let warp = &cluster.warps[at];
            let wanted = mask & warp.present;
            if warp.arrived | 1 << (thread_state.abi.thread.x % 32) == wanted {
                let operation = exchanged.then(|| counting.within(thread_state.number));
                counting.warp_met(at, wanted, operation);
            }
        });
    }
}

unsafe extern "C-unwind" fn exchange(thread: *mut Thread, mask: u32, words: *const u64, count: u32, all: *mut u64) {
    // SAFETY: kernels pass their own thread, and what the emulator's exchange takes.
    unsafe {
        meet(thread, mask, true);
        (calls::CALLS.exchange)(thread, mask, words, count, all);
    }
}

unsafe extern "C-unwind" fn warp_sync(thread: *mut Thread, mask: u32, line: c_int) {
    // SAFETY: kernels pass their own thread.
    unsafe {
        meet(thread, mask, false);
        (calls::CALLS.warp_sync)(thread, mask, line);
    }
}

unsafe extern "C-unwind" fn within(thread: *mut Thread, operation: u32, amount: u64) {
    let named = match operation {
        named::SHUFFLE => Operation::Shuffle(amount as u32),
        named::VOTE => Operation::Vote,
        named::MMA => Operation::Mma,
        named::LDMATRIX => Operation::Ldmatrix,
        _ => Operation::Plain,
    };
    // SAFETY: kernels pass their own thread.
    unsafe {
        counting(thread, |thread_state, cluster, warp, counting| {
            if named == Operation::Ldmatrix {
                // Each lane gives the address of a row of 16 bytes.
                tell(
                    thread_state,
                    cluster,
                    warp,
                    counting,
                    Place { at: 0, address: amount as usize },
                    Kind::Ldmatrix,
                    16,
                    0,
                );
            }
            counting.set_within(thread_state.number, named);
        });
    }
}

unsafe extern "C-unwind" fn count(
    thread: *mut Thread,
    address: *const c_void,
    bytes: u32,
    kind: u32,
    widest: u32,
    site: *const c_void,
) {
    let kind = KINDS[kind as usize % KINDS.len()];
    // SAFETY: kernels pass their own thread.
    unsafe {
        counting(thread, |thread_state, cluster, warp, counting| {
            if counting.within(thread_state.number) != Operation::Plain {
                return;
            }
            // In pieces that a GPU can take at once.
            let (mut done, mut piece) = (0, 0);
            while done < bytes {
                let address = address as usize + done as usize;
                let mut width = 1 << widest.clamp(1, 16).ilog2();
                while !address.is_multiple_of(width as usize) || done + width > bytes {
                    width /= 2;
                }
                tell(thread_state, cluster, warp, counting, Place { at: site as usize, address }, kind, width, piece);
                (done, piece) = (done + width, piece + 1);
            }
        });
    }
}

/// An instruction and an address that it uses.
struct Place {
    at: usize,
    address: usize,
}

fn tell(
    thread_state: &ThreadState,
    cluster: &Cluster,
    warp: usize,
    counting: &mut Counting,
    Place { at, address }: Place,
    kind: Kind,
    bytes: u32,
    piece: u32,
) {
    // SAFETY: the launch outlives the cluster.
    let launch = unsafe { &*cluster.launch };
    let own = thread_state.rank as usize;
    let (space, place) = if launch.windows.iter().any(|w| address.wrapping_sub(w.start) < w.bytes) {
        (Space::Global, address)
    } else {
        let inside = |block: &super::cluster::Block| address.wrapping_sub(block.base()) < block.room();
        // What lies nowhere is a constant.
        let Some(rank) = cluster.blocks.iter().position(inside) else { return };
        (if rank == own { Space::Shared } else { Space::Remote }, address - cluster.blocks[rank].base())
    };
    counting.access(warp, thread_state.abi.thread.x % 32, Site { at, piece, kind, space, bytes }, place);
}
