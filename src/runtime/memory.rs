//! Host arenas, and the borrow check of one operator's views.

use super::alias_check::AliasCheck;
use super::tensor::{ArenaId, ArenaPlan, In, Out, View};
use crate::files::limits;
use crate::{Error, Result};
use bytemuck::{Pod, Zeroable};
use std::marker::PhantomData;

pub use super::element::Element;

/// One cache line: arenas are allocated in this unit, which aligns them.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Allocations above this number of bytes first ask the system whether it has the memory.
pub const LARGE: usize = 64 << 20;

/// All host memory of a CPU backend.
#[derive(Default)]
pub struct Memory {
    arenas: Vec<Vec<Line>>,
    /// The bytes that plans were made for without taking memory; `None` if memory is taken.
    planned: Option<usize>,
}

impl Memory {
    /// A memory that takes nothing, and only counts what would be taken.
    pub fn planning() -> Self {
        Memory { planned: Some(0), ..Memory::default() }
    }

    /// Whether it only counts.
    pub fn plans(&self) -> bool {
        self.planned.is_some()
    }

    /// A new, empty arena.
    pub fn reserve(&mut self) -> ArenaId {
        self.arenas.push(Vec::new());
        ArenaId(self.arenas.len() as u32 - 1)
    }

    /// Allocates the tensors that `plan` laid out, zeroed.
    pub fn commit(&mut self, plan: &ArenaPlan) -> Result<()> {
        if let Some(planned) = &mut self.planned {
            *planned = planned.saturating_add(plan.bytes());
            return Ok(());
        }
        let lines = plan.bytes().div_ceil(size_of::<Line>());
        let mut arena: Vec<Line> = Vec::new();
        // A batch or width that does not fit in memory is the user's to mend, not a reason to abort. The system may promise
        // memory that it does not have, and kill whoever uses it: so it is asked what it has.
        let missing = |bound: Option<limits::Bound>| {
            let there = bound.map_or(String::new(), |bound| format!(", {}", bound.words()));
            let problem = format!("{} MiB more are needed{there}", plan.bytes() >> 20);
            Error::input("memory", problem, "a smaller --batch, --width or --dim needs less")
        };
        if plan.bytes() > LARGE {
            let bound = limits::memory();
            if bound.as_ref().is_some_and(|bound| plan.bytes() as u64 > bound.left) {
                return Err(missing(bound));
            }
        }
        arena.try_reserve_exact(lines).map_err(|_| missing(None))?;
        arena.resize(lines, Line::zeroed());
        self.arenas[plan.id().0 as usize] = arena;
        Ok(())
    }

    /// The bytes of all arenas, or the bytes that were planned.
    pub fn bytes(&self) -> usize {
        self.planned.unwrap_or(0) + self.arenas.iter().map(|a| a.len() * size_of::<Line>()).sum::<usize>()
    }

    /// The raw bytes of an arena, guard bands included.
    pub fn raw(&mut self, arena: ArenaId) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.arenas[arena.0 as usize])
    }

    /// Starts resolving the views of one call of operator `op`.
    pub fn borrow(&mut self, op: &'static str) -> Borrow<'_> {
        Borrow { claims: AliasCheck::new(op), arenas: &mut self.arenas, life: PhantomData }
    }
}

/// Resolves views to slices. Refuses a slice that overlaps another if either is written.
pub struct Borrow<'a> {
    claims: AliasCheck,
    arenas: *mut Vec<Vec<Line>>,
    life: PhantomData<&'a mut Memory>,
}

impl<'a> Borrow<'a> {
    /// The elements of a view that is read.
    pub fn read<T: Element>(&mut self, view: In) -> Result<&'a [T]> {
        let start = self.take::<T>(view.0, false)?;
        // SAFETY: `take` checked that the range lies in its arena, is aligned for T and overlaps nothing written; `Memory` is
        // mutably borrowed for 'a, so nobody else touches it.
        Ok(unsafe { std::slice::from_raw_parts(start.cast(), view.0.shape.len()) })
    }

    /// The elements of a view that is written.
    pub fn write<T: Element>(&mut self, view: Out) -> Result<&'a mut [T]> {
        let start = self.take::<T>(view.0, true)?;
        // SAFETY: as in `read`, and `take` checked that the range overlaps nothing else at all.
        Ok(unsafe { std::slice::from_raw_parts_mut(start.cast(), view.0.shape.len()) })
    }

    fn take<T: Element>(&mut self, view: View, written: bool) -> Result<*mut u8> {
        // SAFETY: the pointer comes from the `&'a mut Memory` that this borrow holds; only the vector's header is read here.
        let arenas = unsafe { &mut *self.arenas };
        let room = |arena: usize| arenas.get(arena).map(|lines| lines.len() * size_of::<Line>());
        let start = self.claims.take::<T>(view, written, room)?;
        // SAFETY: `start` lies inside the arena's allocation.
        Ok(unsafe { arenas[view.arena.0 as usize].as_mut_ptr().cast::<u8>().add(start) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tensor::{DType, Shape};

    #[test]
    fn a_borrow_refuses_overlap_with_anything_written() {
        let mut memory = Memory::default();
        let mut plan = ArenaPlan::new(memory.reserve());
        let whole = plan.view(Shape::new([100]), DType::F32);
        memory.commit(&plan).unwrap();
        let (low, high, middle) =
            (whole.slice(0, Shape::new([50])), whole.slice(50, Shape::new([50])), whole.slice(40, Shape::new([20])));
        let mut both = memory.borrow("test");
        assert!(both.write::<f32>(Out(low)).is_ok() && both.read::<f32>(In(high)).is_ok());
        assert!(both.read::<f32>(In(high)).is_ok(), "two readers may share");
        assert!(both.read::<f32>(In(middle)).is_err() && both.write::<f32>(Out(high)).is_err());
        let mut bad = memory.borrow("test");
        assert!(bad.read::<f64>(In(low)).is_err(), "another dtype");
        assert!(bad.read::<f32>(In(View { offset: 1 << 20, ..low })).is_err(), "outside");
        let endless = View { shape: Shape::new([usize::MAX, 2]), offset: 8, ..low };
        assert!(bad.read::<f32>(In(endless)).is_err(), "a size that overflows");
    }
}
