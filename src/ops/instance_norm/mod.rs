//! Instance normalisation: [`crate::ops::group_norm`] with a group for each channel, so that statistics are over H and W of a sample's channel.

pub mod cases;
pub mod door;
