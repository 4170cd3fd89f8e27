//! Every operator in all its cases, with every test for operators. It is one test program, because each program links everything.
//!
//! - outputs: `golden` (float64 PyTorch's numbers), `gradients` and `tangents` (differences), `parity` (the kernels against the CPU)
//! - side effects: `memory` (nothing but outputs is written) · bit-equality: `threads`, which also covers instruction sets
//! - shared code: `cases`, and `kinks` (inputs away from jumps of the derivatives)
//!
//! A test is named after its file, its operator and its case: `parity::conv2d::odd_channels::bf16`.

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
