//! The dense product that convolution and linear layers are made of.
//!
//! A [`Block`] is `out[r, j] (+)= Σ_s Σ_k a_s[r, k] · b_s[k, j]` for one panel of columns: a list of segments (the valid taps of
//! a convolution; one for a linear layer) of equal depth, summed in the order of the list. Each output element is one chain
//! of fused multiply-adds in that order, whatever the tile, the register width or the thread.

pub mod few;
mod panel;
mod tile;

pub use panel::{pack, pack_transposed, panel_len, panel_width, panels};
pub use tile::{Block, Segment};
