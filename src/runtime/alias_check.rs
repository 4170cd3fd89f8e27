//! The borrow check of one operator's views. On any device, a tensor that is written must not overlap another tensor of the same call.

use super::element::Element;
use super::tensor::View;
use crate::{Error, Result};

/// The views that one operator call has taken so far.
pub struct AliasCheck {
    op: &'static str,
    taken: [Taken; AliasCheck::MOST],
    count: usize,
}

#[derive(Clone, Copy)]
struct Taken {
    arena: u32,
    start: usize,
    end: usize,
    written: bool,
}

impl AliasCheck {
    /// The most views that one operator may take.
    const MOST: usize = 24;

    /// A check for operator `op`, with no views taken yet.
    pub fn new(op: &'static str) -> Self {
        AliasCheck { op, taken: [Taken { arena: u32::MAX, start: 0, end: 0, written: false }; Self::MOST], count: 0 }
    }

    /// Takes a view, and returns the byte at which it starts in its arena. `room` gives the size of an arena in bytes.
    ///
    /// Errors: the view has another dtype than T, lies outside its arena, or is misaligned; or it overlaps a view taken before, and either is
    /// written.
    pub fn take<T: Element>(
        &mut self,
        view: View,
        written: bool,
        room: impl Fn(usize) -> Option<usize>,
    ) -> Result<usize> {
        if view.dtype != T::DTYPE {
            return Err(Error::operator(self.op, format!("a tensor of {}", T::DTYPE.name()), view.dtype.name()));
        }
        let Some(room) = room(view.arena.0 as usize) else {
            let found = format!("arena {}", view.arena.0);
            return Err(Error::operator(self.op, "a view into an arena of this backend", found));
        };
        let start = view.offset;
        let bytes = view.shape.checked_len().and_then(|len| len.checked_mul(size_of::<T>()));
        let end = bytes.and_then(|bytes| start.checked_add(bytes)).filter(|&end| end <= room);
        let Some(end) = end.filter(|_| start.is_multiple_of(size_of::<T>())) else {
            let found = format!("{} at byte {start} of {room}", view.shape);
            return Err(Error::operator(self.op, "an aligned view inside its arena", found));
        };
        for other in &self.taken[..self.count] {
            let overlap = other.arena == view.arena.0 && start < other.end && other.start < end;
            if overlap && (written || other.written) {
                let found = format!("{} at byte {start} over another at byte {}", view.shape, other.start);
                return Err(Error::operator(self.op, "outputs that overlap nothing else", found));
            }
        }
        if self.count == Self::MOST {
            return Err(Error::operator(self.op, format!("at most {} views", Self::MOST), "more"));
        }
        self.taken[self.count] = Taken { arena: view.arena.0, start, end, written };
        self.count += 1;
        Ok(start)
    }
}
