//! Tests that need something from outside: the CIFAR-10 data set, the browser and the TensorBoard that read this program's output, the
//! Python that the wheel is installed for, and the engines that spread jobs. It is one test program, because each program links everything.
//!
//! Each may be missing on a machine. Its tests are then reported as ignored, with the reason. Under `CI=true` that is a failure.

mod engines;
mod real_data;
mod report_page;
mod tensorboard;
mod wheel;

use libtest_mimic::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The browser first: its tests wait for one another, so that nothing that takes the whole machine runs beside it.
    let files = [report_page::trials, tensorboard::trials, wheel::trials, engines::trials, real_data::trials];
    let trials = files.into_iter().flat_map(|trials| trials()).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
