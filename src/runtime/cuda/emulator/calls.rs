//! The functions that kernels call in the emulator while they run: shared memory, barriers, exchanges within a warp, and the check of every memory
//! access.
//!
//! Each is called on a coroutine's stack. A function that finds a mistake leaves the error with the cluster and suspends for good; the scheduler then
//! ends the launch.

use super::abi::{Calls, Thread};
use super::cluster::{Array, Cluster, Copy, GAP, ThreadState, WORDS, Window};
use super::global::Acquired;
use super::shadow::{Who, Wrong};
use std::ffi::{CStr, c_char, c_int, c_void};

/// What kernels are given that are not counted: see [`super::counted`].
pub const CALLS: Calls = Calls {
    shared,
    dynamic,
    barrier,
    exchange,
    warp_sync,
    cluster_sync,
    cluster_map,
    copy_async,
    copy_commit,
    copy_wait,
    access,
    count,
    within,
    fence,
    atomic,
    misaligned,
    wait_for_predecessor,
};

/// The running thread and its cluster.
///
/// # Safety
/// `thread` is the first field of a thread of a running cluster; the caller holds the result only until it suspends.
pub unsafe fn parts<'a>(thread: *mut Thread) -> (&'a mut ThreadState, &'a mut Cluster) {
    let thread_state: *mut ThreadState = thread.cast();
    // SAFETY: by the caller's promise. The thread lies in the cluster's vector: no call touches it through both at once.
    unsafe { (&mut *thread_state, &mut *(*thread_state).cluster) }
}

/// Suspends this thread, so that others run.
///
/// # Safety
/// `thread` is a running thread's; no reference into the cluster is alive.
pub unsafe fn suspend(thread: *mut Thread) {
    // SAFETY: the yielder lives as long as the coroutine, which is running.
    unsafe { (*(*thread.cast::<ThreadState>()).yielder).suspend(()) }
}

/// Leaves an error, and never returns.
///
/// # Safety
/// As [`suspend`].
pub unsafe fn fail(thread: *mut Thread, problem: String) -> ! {
    // SAFETY: as [`suspend`].
    unsafe {
        let (thread_state, cluster) = parts(thread);
        let error = cluster.fault(thread_state.number, problem);
        cluster.error.get_or_insert(error);
        loop {
            suspend(thread);
        }
    }
}

/// Refuses what touches global memory in a thread that has not waited for the launch before its own.
///
/// # Safety
/// As [`suspend`].
pub unsafe fn must_have_waited(thread: *mut Thread, what: std::fmt::Arguments<'_>) {
    // SAFETY: as [`suspend`].
    unsafe {
        if !parts(thread).0.waited {
            fail(thread, format!("{what} before it has waited for the launch before its own"));
        }
    }
}

unsafe extern "C-unwind" fn wait_for_predecessor(thread: *mut Thread) {
    // SAFETY: kernels pass their own thread.
    unsafe { parts(thread).0.waited = true }
}

unsafe extern "C-unwind" fn shared(thread: *mut Thread, key: *const c_void, bytes: u32) -> *mut c_void {
    // SAFETY: kernels pass their own thread.
    unsafe {
        let (thread_state, cluster) = parts(thread);
        let limit = (*cluster.launch).shared;
        let block = &mut cluster.blocks[thread_state.rank as usize];
        let found = block.arrays.iter().find(|array| array.key == key).copied();
        let array = found.unwrap_or_else(|| {
            let array = Array { key, offset: block.used.next_multiple_of(128), bytes: bytes as usize };
            block.used = array.offset + array.bytes + GAP;
            block.arrays.push(array);
            array
        });
        let taken: usize = block.arrays.iter().map(|array| array.bytes).sum();
        let dynamic = (*cluster.launch).grid.shared as usize;
        if taken + dynamic > limit || array.offset + array.bytes > block.room() {
            fail(thread, format!("takes {} bytes of shared memory; a block has {limit}", taken + dynamic));
        }
        (block.base() + array.offset) as *mut c_void
    }
}

unsafe extern "C-unwind" fn dynamic(thread: *mut Thread) -> *mut c_void {
    // SAFETY: kernels pass their own thread.
    unsafe {
        let (thread_state, cluster) = parts(thread);
        cluster.blocks[thread_state.rank as usize].base() as *mut c_void
    }
}

unsafe extern "C-unwind" fn barrier(thread: *mut Thread, line: c_int) {
    // SAFETY: kernels pass their own thread.
    unsafe {
        let (thread_state, cluster) = parts(thread);
        let (number, rank) = (thread_state.number, thread_state.rank);
        let threads = thread_state.abi.threads.x;
        let block = &mut cluster.blocks[rank as usize];
        if block.left < threads {
            let gone = threads - block.left;
            fail(
                thread,
                format!("waits at the barrier of line {line}; {gone} threads of its block have left the kernel"),
            );
        }
        if block.arrived > 0 && block.line != line {
            let other = block.line;
            fail(thread, format!("waits at the barrier of line {line}, others of its block at that of line {other}"));
        }
        block.line = line;
        block.arrived += 1;
        if block.arrived < threads {
            suspend(thread);
            return;
        }
        block.arrived = 0;
        cluster.clock += 1;
        cluster.blocks[rank as usize].moment = cluster.clock;
        let first = rank * threads;
        cluster.met(first..first + threads);
        cluster.ready.extend((first..first + threads).filter(|&other| other != number));
    }
}

/// Waits for the lanes in `mask`; the last one to arrive releases the others. Returns the round whose words are to be read.
///
/// # Safety
/// `thread` is a running thread's, `words` points to `count` words.
unsafe fn meet(thread: *mut Thread, mask: u32, words: *const u64, count: u32) -> usize {
    // SAFETY: by the caller's promise.
    unsafe {
        let (thread_state, cluster) = parts(thread);
        let number = thread_state.number;
        let lane = thread_state.abi.thread.x % 32;
        let (at, first) = (cluster.warp_of(number), number - lane);
        let warp = &mut cluster.warps[at];
        if mask >> lane & 1 == 0 {
            fail(thread, format!("is not in the mask {mask:08x} that it gives to its warp"));
        }
        if warp.arrived > 0 && (warp.mask, warp.count) != (mask, count) {
            let problem = format!(
                "is at another operation of its warp than others: mask {mask:08x} for {:08x}, or another kind",
                warp.mask
            );
            fail(thread, problem);
        }
        let wanted = mask & warp.present;
        let gone = (0..32).find(|l| wanted >> l & 1 == 1 && cluster.thread_states[(first + l) as usize].done);
        if let Some(lane) = gone {
            fail(thread, format!("waits for lane {lane} of its warp, which has left the kernel"));
        }
        (warp.mask, warp.count) = (mask, count);
        warp.arrived |= 1 << lane;
        let round = warp.round;
        for i in 0..count as usize {
            warp.words[round][lane as usize * count as usize + i] = *words.add(i);
        }
        if warp.arrived != wanted {
            suspend(thread);
            return round;
        }
        warp.arrived = 0;
        warp.round = 1 - round;
        warp.words[1 - round].fill(u64::MAX);
        if count == 0 && wanted == warp.present {
            cluster.clock += 1;
            warp.synced = cluster.clock;
            let end = (thread_state.rank + 1) * thread_state.abi.threads.x;
            cluster.met(first..(first + 32).min(end));
        }
        let others = (0..32).filter(|&l| wanted >> l & 1 == 1 && l != lane);
        cluster.ready.extend(others.map(|l| first + l));
        round
    }
}

unsafe extern "C-unwind" fn exchange(thread: *mut Thread, mask: u32, words: *const u64, count: u32, all: *mut u64) {
    debug_assert!(count as usize <= WORDS);
    // SAFETY: kernels pass their own thread, as many words as they say, and room for those of 32 lanes.
    unsafe {
        let round = meet(thread, mask, words, count);
        let (thread_state, cluster) = parts(thread);
        let from = cluster.warps[cluster.warp_of(thread_state.number)].words[round].as_ptr();
        std::ptr::copy_nonoverlapping(from, all, 32 * count as usize);
    }
}

unsafe extern "C-unwind" fn warp_sync(thread: *mut Thread, mask: u32, _line: c_int) {
    // SAFETY: kernels pass their own thread; no words are read.
    unsafe {
        meet(thread, mask, std::ptr::null(), 0);
    }
}

unsafe extern "C-unwind" fn cluster_sync(thread: *mut Thread, _line: c_int) {
    // SAFETY: kernels pass their own thread.
    unsafe {
        let (thread_state, cluster) = parts(thread);
        let number = thread_state.number;
        cluster.cluster_arrived += 1;
        if cluster.cluster_arrived < cluster.thread_states.len() as u32 {
            suspend(thread);
            return;
        }
        cluster.cluster_arrived = 0;
        cluster.clock += 1;
        cluster.cluster_moment = cluster.clock;
        for block in &mut cluster.blocks {
            block.moment = cluster.clock;
        }
        cluster.met(0..cluster.thread_states.len() as u32);
        cluster.ready.extend((0..cluster.thread_states.len() as u32).filter(|&other| other != number));
    }
}

unsafe extern "C-unwind" fn cluster_map(thread: *mut Thread, shared: *mut c_void, rank: u32) -> *mut c_void {
    // SAFETY: kernels pass their own thread.
    unsafe {
        let (thread_state, cluster) = parts(thread);
        let own = &cluster.blocks[thread_state.rank as usize];
        let offset = (shared as usize).wrapping_sub(own.base());
        if offset >= own.room() || rank >= thread_state.abi.cluster_blocks {
            fail(thread, format!("asks for block {rank}'s copy of what is not in its shared memory"));
        }
        (cluster.blocks[rank as usize].base() + offset) as *mut c_void
    }
}

unsafe extern "C-unwind" fn copy_async(
    thread: *mut Thread,
    to: *mut c_void,
    from: *const c_void,
    bytes: u32,
    valid: u32,
) {
    if !(to as usize | from as usize).is_multiple_of(bytes as usize) {
        // SAFETY: kernels pass their own thread.
        unsafe { fail(thread, format!("copies {bytes} bytes between addresses that are not multiples of it")) }
    }
    // SAFETY: as above. The source is checked now, where the kernel stands; the copy is made when it is waited for.
    unsafe {
        if valid > 0 {
            access(thread, from, valid, 0);
        }
        let (thread_state, _) = parts(thread);
        thread_state.copies.push(Copy { group: thread_state.group, to: to.cast(), from: from.cast(), bytes, valid });
    }
}

unsafe extern "C-unwind" fn copy_commit(thread: *mut Thread) {
    // SAFETY: kernels pass their own thread.
    unsafe {
        parts(thread).0.group += 1;
    }
}

unsafe extern "C-unwind" fn copy_wait(thread: *mut Thread, left: u32) {
    // SAFETY: kernels pass their own thread; sources and targets were and are checked.
    unsafe {
        let due = parts(thread).0.group.saturating_sub(left);
        let ready: Vec<Copy> = parts(thread).0.copies.extract_if(.., |copy| copy.group < due).collect();
        for copy in ready {
            access(thread, copy.to.cast(), copy.bytes, 1);
            std::ptr::copy_nonoverlapping(copy.from, copy.to, copy.valid as usize);
            std::ptr::write_bytes(copy.to.add(copy.valid as usize), 0, (copy.bytes - copy.valid) as usize);
        }
    }
}

unsafe extern "C-unwind" fn access(thread: *mut Thread, address: *const c_void, bytes: u32, written: c_int) {
    let (start, bytes, written) = (address as usize, bytes as usize, written != 0);
    // SAFETY: kernels pass their own thread; the launch outlives the cluster.
    unsafe {
        let (thread_state, cluster) = parts(thread);
        let launch = &*cluster.launch;
        // Tensors first: most accesses go there.
        for window in launch.windows {
            if start.wrapping_sub(window.start) < window.bytes && start + bytes <= window.start + window.bytes {
                if written && !window.written {
                    fail(thread, format!("writes to {}, which it may only read", window.name));
                }
                let verb = if written { "writes" } else { "reads" };
                must_have_waited(thread, format_args!("{verb} {bytes} bytes of {}", window.name));
                // What may be written is found first: what else is there nobody writes.
                if window.written && launch.global.watches() {
                    let who = cluster.place(thread_state.number);
                    if let Err(other) = launch.global.access(start, bytes, written, who, &cluster.acquired) {
                        let problem = cluster.unordered(window.name, bytes, written, other);
                        fail(thread, problem);
                    }
                }
                return;
            }
        }
        let verb = if written { "writes" } else { "reads" };
        let own = thread_state.rank as usize;
        for rank in std::iter::once(own).chain((0..cluster.blocks.len()).filter(|&rank| rank != own)) {
            let block = &mut cluster.blocks[rank];
            let offset = start.wrapping_sub(block.base());
            if offset >= block.room() {
                continue;
            }
            let dynamic = launch.grid.shared as usize;
            let inside = offset + bytes <= dynamic
                || block.arrays.iter().any(|a| offset >= a.offset && offset + bytes <= a.offset + a.bytes);
            if !inside {
                fail(thread, format!("{verb} {bytes} bytes outside all shared arrays, at byte {offset}"));
            }
            let (number, at) = (thread_state.number, cluster.moment(thread_state.number));
            let who = Who { thread: number, block: own as u32, warp: cluster.warp_of(number) as u32, at };
            let engine = cluster.engine.as_ref();
            let place = rank * cluster.blocks[rank].room() + offset;
            if let Some(Err(problem)) = engine.map(|engine| engine.touch(number, place, bytes, written)) {
                fail(thread, problem);
            }
            let known = |other: u32, at: u32| engine.is_some_and(|engine| engine.clocks.knows(number, other, at));
            let checked = cluster.blocks[rank].shadow.access(offset, bytes, written, who, known);
            let of = |thread: u32| {
                let other = &cluster.thread_states[thread as usize];
                match other.rank as usize == own {
                    true => format!("thread {}", other.abi.thread.x),
                    false => format!("thread {} of the cluster's block {}", other.abi.thread.x, other.rank),
                }
            };
            match checked {
                Ok(()) => return,
                Err(Wrong::Uninitialised) => {
                    fail(thread, format!("reads shared memory that nobody has written, at byte {offset}"))
                }
                Err(Wrong::AfterWrite(other)) => {
                    let other = of(other);
                    fail(
                        thread,
                        format!("{verb} shared memory, at byte {offset}, that {other} wrote: no barrier between"),
                    )
                }
                Err(Wrong::AfterRead(other)) => {
                    let other = of(other);
                    fail(
                        thread,
                        format!("writes shared memory, at byte {offset}, that {other} read: no barrier between"),
                    )
                }
            }
        }
        if (launch.constants.0..launch.constants.1).contains(&start) && !written {
            return;
        }
        // The tensor that lies next to the address tells most.
        let near =
            launch.windows.iter().min_by_key(|w| (w.start + w.bytes).abs_diff(start).min(w.start.abs_diff(start)));
        let place = near.map_or("where there is no tensor".to_owned(), |w| match start >= w.start {
            true => format!("{} bytes after the start of {}, which has {}", start - w.start, w.name, w.bytes),
            false => format!("{} bytes before the start of {}", w.start - start, w.name),
        });
        fail(thread, format!("{verb} {bytes} bytes out of bounds: {place}"))
    }
}

unsafe extern "C-unwind" fn fence(thread: *mut Thread) {
    // SAFETY: kernels pass their own thread.
    unsafe {
        let (thread_state, cluster) = parts(thread);
        cluster.clock += 1;
        let place = cluster.place(thread_state.number);
        thread_state.fence = Some(place);
        cluster.acquired.extend(thread_state.turns.drain(..).map(|(ticket, turn)| Acquired {
            ticket,
            turn,
            fence: place,
        }));
    }
}

unsafe extern "C-unwind" fn atomic(thread: *mut Thread, number: *mut c_void, operand: u32, wraps: u32) -> u32 {
    let address = number as usize;
    // SAFETY: kernels pass their own thread; the launch outlives the cluster, and the number lies in one of its tensors.
    unsafe {
        let (thread_state, cluster) = parts(thread);
        let launch = &*cluster.launch;
        let inside = |w: &&Window| address >= w.start && address + 4 <= w.start + w.bytes;
        match launch.windows.iter().find(inside) {
            Some(window) if window.written && address.is_multiple_of(4) => {}
            _ => fail(thread, "makes an atomic operation on what is no number of a tensor that it may write".into()),
        }
        must_have_waited(thread, format_args!("makes an atomic operation"));
        let next = |before: u32| match wraps {
            0 => before.wrapping_add(operand),
            _ => {
                if before >= operand {
                    0
                } else {
                    before + 1
                }
            }
        };
        let (before, turn) = launch.global.atomic(address, next, cluster.number, thread_state.fence);
        thread_state.turns.push((address, turn));
        before
    }
}

/// Only kernels that were built for counting call it.
unsafe extern "C-unwind" fn count(_: *mut Thread, _: *const c_void, _: u32, _: u32, _: u32, _: *const c_void) {}
/// As `count`.
unsafe extern "C-unwind" fn within(_: *mut Thread, _: u32, _: u64) {}

unsafe extern "C-unwind" fn misaligned(
    thread: *mut Thread,
    address: *const c_void,
    alignment: u32,
    file: *const c_char,
    line: u32,
) {
    let past = address as usize % alignment as usize;
    // SAFETY: kernels pass their own thread, and the compiler's own name of the file.
    unsafe {
        let file = CStr::from_ptr(file).to_string_lossy();
        fail(
            thread,
            format!("uses an address that is no multiple of {alignment} but {past} bytes past one, in {file}:{line}"),
        )
    }
}
