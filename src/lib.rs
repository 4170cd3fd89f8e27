//! normscape: the networks of "How Does Batch Normalization Help Optimization?", trained and measured.

pub mod data;
pub mod error;
pub mod files;
pub mod network;
pub mod ops;
pub mod probe;
pub mod runtime;
pub mod train;

pub use error::{Error, Result};
