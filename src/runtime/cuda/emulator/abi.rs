//! The layouts that the emulator shares with kernels compiled as host C++; `host.h` declares the same ones.

use std::ffi::{c_char, c_int, c_void};

/// `dim3`
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Dim3 {
    pub x: u32,
    pub y: u32,
    pub z: u32,
}

/// What a running thread knows about itself. It is the beginning of a [`super::cluster::ThreadState`].
#[derive(Debug)]
#[repr(C)]
pub struct Thread {
    pub thread: Dim3,
    pub block: Dim3,
    pub threads: Dim3,
    pub blocks: Dim3,
    pub cluster_rank: u32,
    pub cluster_blocks: u32,
    pub stack: *const u8,
    pub stack_bytes: u64,
    pub calls: *const Calls,
    pub async_calls: *const AsyncCalls,
}

/// The functions that a running thread can call in the emulator. They are `C-unwind`; a coroutine is left by a switch, never by unwinding.
#[repr(C)]
pub struct Calls {
    pub shared: unsafe extern "C-unwind" fn(*mut Thread, *const c_void, u32) -> *mut c_void,
    pub dynamic: unsafe extern "C-unwind" fn(*mut Thread) -> *mut c_void,
    pub barrier: unsafe extern "C-unwind" fn(*mut Thread, c_int),
    pub exchange: unsafe extern "C-unwind" fn(*mut Thread, u32, *const u64, u32, *mut u64),
    pub warp_sync: unsafe extern "C-unwind" fn(*mut Thread, u32, c_int),
    pub cluster_sync: unsafe extern "C-unwind" fn(*mut Thread, c_int),
    pub cluster_map: unsafe extern "C-unwind" fn(*mut Thread, *mut c_void, u32) -> *mut c_void,
    pub copy_async: unsafe extern "C-unwind" fn(*mut Thread, *mut c_void, *const c_void, u32, u32),
    pub copy_commit: unsafe extern "C-unwind" fn(*mut Thread),
    pub copy_wait: unsafe extern "C-unwind" fn(*mut Thread, u32),
    pub access: unsafe extern "C-unwind" fn(*mut Thread, *const c_void, u32, c_int),
    /// For builds that count: an access, of which no piece is wider than the fourth number; and where in the kernel it is.
    pub count: unsafe extern "C-unwind" fn(*mut Thread, *const c_void, u32, u32, u32, *const c_void),
    /// For builds that count: what the next exchange stands for.
    pub within: unsafe extern "C-unwind" fn(*mut Thread, u32, u64),
    pub fence: unsafe extern "C-unwind" fn(*mut Thread),
    /// An atomic operation on a number: adds the third, or counts up to it and then from 0 where the fourth is not 0. Returns what was there.
    pub atomic: unsafe extern "C-unwind" fn(*mut Thread, *mut c_void, u32, u32) -> u32,
    pub misaligned: unsafe extern "C-unwind" fn(*mut Thread, *const c_void, u32, *const c_char, u32),
    pub wait_for_predecessor: unsafe extern "C-unwind" fn(*mut Thread),
}

/// The functions for Hopper's asynchronous instructions, as `hopper.cuh` calls them.
#[repr(C)]
pub struct AsyncCalls {
    pub mbarrier_init: unsafe extern "C-unwind" fn(*mut Thread, *mut c_void, u32),
    /// The number is that of bytes that the phase is to have besides.
    pub mbarrier_arrive: unsafe extern "C-unwind" fn(*mut Thread, *mut c_void, u32),
    /// The barrier's place in its block's shared memory, and from the 24th bit on the block's rank.
    pub mbarrier_arrive_at: unsafe extern "C-unwind" fn(*mut Thread, u32),
    pub mbarrier_wait: unsafe extern "C-unwind" fn(*mut Thread, *mut c_void, u32),
    pub fence: unsafe extern "C-unwind" fn(*mut Thread, u32),
    /// The last number is a bit for each block of the cluster that it goes to; 0 is the block itself.
    pub bulk_copy: unsafe extern "C-unwind" fn(*mut Thread, *mut c_void, *const c_void, *mut c_void, c_int, c_int, u32),
    pub named_barrier: unsafe extern "C-unwind" fn(*mut Thread, u32, u32),
    pub shared_offset: unsafe extern "C-unwind" fn(*mut Thread, *const c_void) -> u64,
    pub wgmma_fence: unsafe extern "C-unwind" fn(*mut Thread),
    /// d, both descriptors, b's columns, and flags.
    pub wgmma: unsafe extern "C-unwind" fn(*mut Thread, *mut f32, u64, u64, u32, u32),
    pub wgmma_commit: unsafe extern "C-unwind" fn(*mut Thread),
    pub wgmma_wait: unsafe extern "C-unwind" fn(*mut Thread, u32),
}

/// A kernel's entry point as compiled by the host's compiler; it takes pointers to the values of the parameters.
pub type Entry = unsafe extern "C-unwind" fn(*const *const c_void);
/// Returns the place where the running thread is stored; there is one for each thread of the operating system.
pub type Slot = unsafe extern "C" fn() -> *mut *mut Thread;
