//! normscape: the networks of "How Does Batch Normalization Help Optimization?", trained and measured.

pub mod error;

pub use error::{Error, Result};
