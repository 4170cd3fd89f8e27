//! The program from outside, as users and their machines run it, and what comes with it. It is one test program, because each program links
//! everything.
//!
//! - `cli`: the command line · `reproduce`: reproducing the paper, also after interruptions · `cluster`: the same in shares, as on several
//!   machines · `driver`: any CUDA driver, and every command on a GPU's own code · `libcuda`: the stand-in that `driver` gives to the program
//! - `experiments`: the experiments that come with the program · `structure`: the project's own rules for the source

mod cli;
#[cfg(target_os = "linux")]
mod cluster;
#[cfg(target_os = "linux")]
mod driver;
mod experiments;
#[cfg(target_os = "linux")]
#[path = "../libcuda/mod.rs"]
mod libcuda;
mod reproduce;
mod structure;
