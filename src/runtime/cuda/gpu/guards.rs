//! The initial contents of a device's memory, and the guard bands between tensors, which nothing may write. For tests and sanitizers.

use crate::runtime::tensor::ArenaId;
use crate::{Error, Result};
use std::ops::Range;

/// The byte that guarded memory is filled with: NaN, as f32, bf16 and f64.
pub const FILL: u8 = 0xFF;

/// The initial contents of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// Memory starts as 0.
    #[default]
    Zero,
    /// Memory starts as NaN, with bands between tensors that every download checks. This finds elements that a kernel fails to write, and elements
    /// that it writes outside its tensors.
    Guarded,
    /// Memory is left as it is, so that a sanitizer can tell what was never written.
    Bare,
}

impl Start {
    /// What `NORMSCAPE_GPU_MEMORY` asks for, or else `usual`. Errors: the variable has another value.
    pub fn from_environment(usual: Start) -> Result<Start> {
        match std::env::var("NORMSCAPE_GPU_MEMORY").as_deref() {
            Err(_) | Ok("") => Ok(usual),
            Ok("zero") => Ok(Start::Zero),
            Ok("guarded") => Ok(Start::Guarded),
            Ok("bare") => Ok(Start::Bare),
            Ok(other) => {
                let place = format!("NORMSCAPE_GPU_MEMORY={}", other.escape_debug());
                Err(Error::input(place, "unknown", "there are zero, guarded and bare"))
            }
        }
    }
}

/// The guard bands of all arenas.
#[derive(Debug, Default)]
pub struct Bands(Vec<Vec<Range<usize>>>);

impl Bands {
    /// Sets the bands of an arena.
    pub fn set(&mut self, arena: ArenaId, bands: &[Range<usize>]) {
        let place = arena.0 as usize;
        if self.0.len() <= place {
            self.0.resize(place + 1, Vec::new());
        }
        self.0[place] = bands.to_vec();
    }

    /// Every band, with its arena.
    pub fn all(&self) -> Vec<(usize, Range<usize>)> {
        let of = |(arena, bands): (usize, &Vec<Range<usize>>)| bands.iter().map(move |b| (arena, b.clone())).collect();
        self.0.iter().enumerate().flat_map(|pair| -> Vec<_> { of(pair) }).collect()
    }

    /// The length of the longest band, in bytes.
    pub fn longest(&self) -> usize {
        self.0.iter().flatten().map(Range::len).max().unwrap_or(0)
    }
}
