//! The few system calls that the standard library lacks.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

pub const HUP: i32 = 1;
pub const INT: i32 = 2;
pub const KILL: i32 = 9;
pub const USR1: i32 = 10;
pub const USR2: i32 = 12;
pub const TERM: i32 = 15;
pub const XCPU: i32 = 24;

/// The names of the signals that are sent here.
pub fn name(signal: i32) -> &'static str {
    match signal {
        HUP => "HUP",
        INT => "INT",
        KILL => "KILL",
        USR1 => "USR1",
        USR2 => "USR2",
        TERM => "TERM",
        XCPU => "XCPU",
        _ => "another",
    }
}

unsafe extern "C" {
    fn kill(process: i32, signal: i32) -> i32;
    fn tgkill(process: i32, thread: i32, signal: i32) -> i32;
    fn signal(number: i32, action: usize) -> usize;
    fn alarm(seconds: u32) -> u32;
    fn __libc_current_sigrtmin() -> i32;
}

/// Sends a signal to a child that has not been waited for yet.
pub fn send(child: &Child, signal: i32) {
    // SAFETY: plain numbers; the child is ours and not reaped, so the number is no other process's.
    _ = unsafe { kill(child.id() as i32, signal) };
}

/// Asks every thread of a child where it is (see `faults.c`). Returns how many were asked.
pub fn ask_where(child: &Child) -> usize {
    let process = child.id() as i32;
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let numbers = threads.filter_map(|thread| thread.file_name().to_str()?.parse::<i32>().ok());
    // SAFETY: as in `send`; a thread that has ended meanwhile is an error that is passed over.
    numbers.filter(|&thread| unsafe { tgkill(process, thread, __libc_current_sigrtmin() + 7) } == 0).count()
}

/// Makes a command end after this many seconds, whatever it does, and handle every signal in the default way.
pub fn bounded(command: &mut Command, seconds: u32) {
    let prepare = move || -> io::Result<()> {
        for number in [HUP, INT, USR1, USR2, TERM, XCPU] {
            // SAFETY: the default action, between fork and exec; async-signal-safe.
            unsafe { signal(number, 0) };
        }
        // SAFETY: async-signal-safe.
        unsafe { alarm(seconds) };
        Ok(())
    };
    // SAFETY: what runs between fork and exec allocates nothing and takes no lock.
    unsafe { command.pre_exec(prepare) };
}
