//! The CPU backend: host arenas, and threads that never influence the order of operations.
//!
//! The shapes alone decide how work is cut into chunks; threads only pick up chunks. So 1, 2 and 4 threads give the same bits.

use super::float::Float;
use super::memory::{Borrow, Element, Memory};
use super::state::StepState;
use super::storage::{Movable, Storage, same_length};
use super::tensor::{ArenaId, ArenaPlan, DType, In, Out};
use crate::{Error, Result};
use std::marker::PhantomData;
use std::ops::Range;

/// The host as a backend that computes in `T`.
pub struct Cpu<T> {
    memory: Memory,
    /// For tests: the guard bands between the tensors of every arena.
    guards: Option<Vec<(ArenaId, Vec<Range<usize>>)>>,
    direct_convolution: bool,
    /// For a backend that takes no memory: whether the backends beside it are for planning too.
    plans_beside: bool,
    element: PhantomData<T>,
}

/// The byte that guarded memory is filled with: NaN, both as f32 and as f64.
const FILL: u8 = 0xFF;

impl<T: Float> Default for Cpu<T> {
    fn default() -> Self {
        Cpu {
            memory: Memory::default(),
            guards: None,
            direct_convolution: false,
            plans_beside: false,
            element: PhantomData,
        }
    }
}

impl<T: Float> Cpu<T> {
    /// A backend that takes no memory. It is for planning, and for [`Storage::bytes`] afterwards; uploads to it are discarded.
    pub fn planning() -> Self {
        Cpu { memory: Memory::planning(), ..Cpu::default() }
    }

    /// The same, and with backends beside it that also take no memory: see [`Storage::beside`].
    pub fn planning_beside() -> Self {
        Cpu { plans_beside: true, ..Cpu::planning() }
    }

    /// A backend for tests. Arenas start as NaN rather than 0, and [`Storage::plan`] leaves guard bands between tensors, so that [`Cpu::overruns`]
    /// can tell whether anything was written outside its tensor.
    pub fn guarded() -> Self {
        Cpu { guards: Some(Vec::new()), ..Cpu::default() }
    }

    /// For a guarded backend: every byte outside all tensors that was written, by arena and offset.
    pub fn overruns(&mut self) -> Vec<(ArenaId, usize)> {
        let mut written = Vec::new();
        for (arena, bands) in self.guards.iter().flatten() {
            let bytes = self.memory.raw(*arena);
            let band = |band: &Range<usize>| band.clone().filter(|&at| bytes[at] != FILL).collect::<Vec<_>>();
            written.extend(bands.iter().flat_map(band).map(|at| (*arena, at)));
        }
        written
    }

    /// See [`crate::ops::conv2d::Conv2d::convolve_directly`].
    pub fn set_direct_convolution(&mut self) {
        self.direct_convolution = true;
    }

    /// Whether direct convolution was set.
    pub fn convolves_directly(&self) -> bool {
        self.direct_convolution
    }

    /// Starts resolving the views of one call of operator `op`.
    pub fn borrow(&mut self, op: &'static str) -> Borrow<'_> {
        self.memory.borrow(op)
    }

    fn copy_of<E: Element>(&mut self, other: &mut Self, from: In, to: Out) -> Result<()> {
        same_length("copy_from", to.0, from.0.shape.len())?;
        let source = other.borrow("copy_from").read::<E>(from)?;
        self.borrow("copy_from").write::<E>(to)?.copy_from_slice(source);
        Ok(())
    }

    /// The raw bytes of an arena, for tests that fill it with NaN and inspect its guard bands.
    pub fn raw(&mut self, arena: ArenaId) -> &mut [u8] {
        self.memory.raw(arena)
    }
}

impl<T: Float> Storage for Cpu<T> {
    fn beside(&self) -> Option<Movable<Self>> {
        let guards = self.guards.as_ref().map(|_| Vec::new());
        let memory = if self.plans_beside { Memory::planning() } else { Memory::default() };
        let other = Cpu { memory, guards, direct_convolution: self.direct_convolution, ..Cpu::default() };
        (!self.memory.plans() || self.plans_beside).then(|| Movable::new(other))
    }
    fn copy_from(&mut self, other: &mut Self, from: In, to: Out) -> Result<()> {
        match to.0.dtype {
            DType::F32 => self.copy_of::<f32>(other, from, to),
            DType::F64 => self.copy_of::<f64>(other, from, to),
            DType::U32 => self.copy_of::<u32>(other, from, to),
            DType::U64 => self.copy_of::<u64>(other, from, to),
            DType::U8 => self.copy_of::<u8>(other, from, to),
            DType::Bf16 => self.copy_of::<half::bf16>(other, from, to),
        }
    }
    fn dtype(&self) -> DType {
        T::DTYPE
    }
    fn reserve(&mut self) -> ArenaId {
        self.memory.reserve()
    }
    fn plan(&mut self) -> ArenaPlan {
        let id = self.reserve();
        if self.guards.is_some() { ArenaPlan::with_guards(id) } else { ArenaPlan::new(id) }
    }
    fn commit(&mut self, plan: &ArenaPlan) -> Result<()> {
        self.memory.commit(plan)?;
        if let Some(guards) = &mut self.guards {
            self.memory.raw(plan.id()).fill(FILL);
            guards.push((plan.id(), plan.guards().to_vec()));
        }
        Ok(())
    }
    fn bytes(&self) -> usize {
        self.memory.bytes()
    }
    fn upload<E: Element>(&mut self, values: &[E], to: Out) -> Result<()> {
        same_length("upload", to.0, values.len())?;
        if self.memory.plans() {
            return Ok(());
        }
        self.borrow("upload").write::<E>(to)?.copy_from_slice(values);
        Ok(())
    }
    fn upload_f32(&mut self, values: &[f32], to: Out) -> Result<()> {
        same_length("upload", to.0, values.len())?;
        if self.memory.plans() {
            return Ok(());
        }
        self.borrow("upload").write::<T>(to)?.iter_mut().zip(values).for_each(|(to, &v)| *to = T::widen(v));
        Ok(())
    }
    fn download<E: Element>(&mut self, from: In, values: &mut [E]) -> Result<()> {
        same_length("download", from.0, values.len())?;
        values.copy_from_slice(self.borrow("download").read::<E>(from)?);
        Ok(())
    }
}

/// Reads the step state behind a handle.
pub fn read_state(borrow: &mut Borrow<'_>, state: In) -> Result<StepState> {
    let words = borrow.read::<u64>(state)?;
    let words: [u64; 4] =
        words.try_into().map_err(|_| Error::operator("step state", "4 words", format!("{}", words.len())))?;
    Ok(bytemuck::cast(words))
}
