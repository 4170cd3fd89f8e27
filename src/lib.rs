//! normscape: the networks of "How Does Batch Normalization Help Optimization?", trained and measured.

pub mod data;
pub mod error;
pub mod files;
pub mod network;
pub mod ops;
pub mod runtime;

pub use error::{Error, Result};
