//! Arenas on a device, and the borrow check of one operator's views.

use super::driver::{Driver, Region, Slice, SliceMut};
use crate::Result;
use crate::runtime::alias_check::AliasCheck;
use crate::runtime::memory::Element;
use crate::runtime::tensor::{ArenaId, ArenaPlan, In, Out};

/// The sizes of all arenas; the driver has the bytes themselves.
#[derive(Debug, Default)]
pub struct Arenas {
    bytes: Vec<usize>,
}

impl Arenas {
    /// A new, empty arena.
    pub fn reserve(&mut self) -> ArenaId {
        self.bytes.push(0);
        ArenaId(self.bytes.len() as u32 - 1)
    }

    /// Allocates the tensors that `plan` laid out.
    pub fn commit(&mut self, driver: &mut impl Driver, plan: &ArenaPlan) -> Result<()> {
        driver.allocate(plan.id(), plan.bytes())?;
        driver.guard(plan.id(), plan.guards())?;
        self.bytes[plan.id().0 as usize] = plan.bytes();
        Ok(())
    }

    /// The bytes of all arenas.
    pub fn bytes(&self) -> usize {
        self.bytes.iter().sum()
    }

    /// Starts resolving the views of one call of operator `op`.
    pub fn borrow(&mut self, op: &'static str) -> DeviceBorrow<'_> {
        DeviceBorrow { claims: AliasCheck::new(op), arenas: self }
    }
}

/// Resolves views to slices of device memory. Refuses a slice that overlaps another if either is written.
pub struct DeviceBorrow<'a> {
    claims: AliasCheck,
    arenas: &'a Arenas,
}

impl<'a> DeviceBorrow<'a> {
    /// Resolves a view that is read.
    pub fn read<T: Element>(&mut self, view: In) -> Result<Slice<'a, T>> {
        let bytes = &self.arenas.bytes;
        let offset = self.claims.take::<T>(view.0, false, |arena| bytes.get(arena).copied())?;
        Ok(Slice::new(Region { arena: view.0.arena, offset, bytes: view.0.bytes() }))
    }

    /// Resolves an optional view that is read.
    pub fn read_some<T: Element>(&mut self, view: Option<In>) -> Result<Option<Slice<'a, T>>> {
        view.map(|view| self.read(view)).transpose()
    }

    /// Resolves a view that is written.
    pub fn write<T: Element>(&mut self, view: Out) -> Result<SliceMut<'a, T>> {
        let bytes = &self.arenas.bytes;
        let offset = self.claims.take::<T>(view.0, true, |arena| bytes.get(arena).copied())?;
        Ok(SliceMut::new(Region { arena: view.0.arena, offset, bytes: view.0.bytes() }))
    }

    /// Resolves an optional view that is written.
    pub fn write_some<T: Element>(&mut self, view: Option<Out>) -> Result<Option<SliceMut<'a, T>>> {
        view.map(|view| self.write(view)).transpose()
    }
}
