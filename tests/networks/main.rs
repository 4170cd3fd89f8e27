//! Networks, probes and runs, by what is known of them: one program, since each that there is links everything.
//!
//! - passes: `convolution` (its algorithms), `network`, `hessian`, `exactness`, `agreement`, `arithmetic`, `range` (the ends of the numbers'
//!   range), `deep_linear`, `coordinates`, `noise_laws`
//! - probes: `lines`, `resolution` (where β is told), `ics`, `activations`, `scale`, `curvature`, `theory_probe`, `purity` (that they move
//!   nothing), and `probed`, the networks that they are tried on
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
