//! SELU at the door: the operator of [`crate::ops::elu`] with its own constants.

pub mod cases;
pub mod door;
