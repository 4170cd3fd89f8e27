//! The program from outside, as users and their machines run it, and what it comes with: one test program, since each that there is links
//! everything.
//!
//! - `cli`: the command line · `reproduce`: the paper again, and again after interruptions · `driver`: with any CUDA driver that there is
//! - `experiments`: the plans that come along · `structure`: the house's own rules for the source

mod cli;
#[cfg(target_os = "linux")]
mod driver;
mod experiments;
mod reproduce;
mod structure;
