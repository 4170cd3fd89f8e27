//! The dense product on the CPU that convolution and linear layers are built on.
//!
//! A [`Block`] is `out[r, j] (+)= Σ_s Σ_k a_s[r, k] · b_s[k, j]` for one panel of columns. The segments s, all of equal depth, are the valid taps of
//! a convolution, or a single one for a linear layer; they are summed in the order of their list. Each output element is one chain of fused
//! multiply-adds in that order, whatever the tile, the register width or the thread.

pub mod few;
mod panel;
mod tile;

pub use panel::{pack, pack_transposed, panel_len, panel_width, panels};
pub use tile::{Block, Segment};
