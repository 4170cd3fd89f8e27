//! Networks, probes and runs, tested against what is known about them. It is one test program, because each program links everything.
//!
//! - passes: `convolution` (its algorithms), `network`, `hessian`, `exactness`, `agreement`, `arithmetic`, `range` (extreme numbers),
//!   `deep_linear`,
//!   `coordinates`, `noise_laws`
//! - probes: `lines`, `resolution` (where β is reported), `ics`, `activations`, `scale`, `curvature`, `theory_probe`, `purity` (probes change
//!   nothing), and `probed`, which holds the networks that they are tested on
//! - runs: `resume`, `protocol` · the paper's statements: `theory`

mod activations;
mod agreement;
mod arithmetic;
mod convolution;
mod coordinates;
mod curvature;
mod deep_linear;
mod exactness;
mod hessian;
mod ics;
mod lines;
mod network;
mod noise_laws;
mod probed;
mod protocol;
mod purity;
mod range;
mod resolution;
mod resume;
mod scale;
#[path = "../shared/mod.rs"]
mod shared;
mod theory;
mod theory_probe;
