//! Every operator in every one of its cases, by all that is asked of an operator: one program, since each that there is links everything.
//!
//! - what comes out: `golden` (float64 PyTorch's numbers), `gradients` and `tangents` (differences), `parity` (the kernels beside the CPU)
//! - what it leaves alone: `memory` (nothing beside its outputs) · what changes no bit: `threads`, and instruction sets
//! - what they share: `cases`, and `kinks` (inputs away from where derivatives jump)
//!
//! A test is called after its file, its operator and its case: `parity::conv2d::odd_channels::bf16`.

mod cases;
mod golden;
mod gradients;
mod kinks;
mod memory;
mod parity;
#[path = "../shared/mod.rs"]
mod shared;
mod tangents;
mod threads;

use libtest_mimic::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(bits) = threads::asked() {
        print!("{bits}");
        return ExitCode::SUCCESS;
    }
    let files = [golden::trials, gradients::trials, tangents::trials, parity::trials, memory::trials, threads::trials];
    let trials = files.into_iter().flat_map(|trials| trials()).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
