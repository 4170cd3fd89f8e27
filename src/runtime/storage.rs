//! What every backend can do with memory: plan it, fill it and read it back.

use super::memory::Element;
use super::rounding::bf16_of;
use super::state::StepState;
use super::tensor::{ArenaId, ArenaPlan, DType, In, Out, View};
use crate::{Error, Result};

/// What the caller has to do between [`Storage::begin_graph`] and [`Storage::end_graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Graph {
    /// Do the work; then call [`Storage::end_graph`].
    Make,
    /// The work was recorded under this key and has just been replayed as a whole: do nothing, and do not call [`Storage::end_graph`].
    Replayed,
}

/// A pass of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// Computes y from x.
    Forward,
    /// Computes all gradients together.
    Backward,
    /// Computes the gradient of x alone.
    InputGradient,
    /// Computes the gradients of weight and bias alone.
    WeightGradient,
}

/// The part of a network that a piece of work belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The layer: its place in the chain.
    pub link: usize,
    /// The layer's pass.
    pub pass: Pass,
}

/// A device's card, as a run's record names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    /// Its name, as in `NVIDIA H200`.
    pub card: String,
    /// The architecture that its code is compiled for, as in `sm_90`.
    pub architecture: String,
}

/// A backend that may move to another thread; the compiler has checked this.
pub struct Movable<B>(B);

impl<B: Send> Movable<B> {
    /// Wraps `backend`.
    pub fn new(backend: B) -> Self {
        Movable(backend)
    }
}

impl<B> Movable<B> {
    /// The backend.
    pub fn into_inner(self) -> B {
        self.0
    }
}

/// What every backend can do with memory.
pub trait Storage: Sized {
    /// A backend like this one, with memory of its own, whose work may run at the same time on another thread. None if the device itself runs work in
    /// parallel, or if nothing is computed.
    fn beside(&self) -> Option<Movable<Self>> {
        None
    }
    /// `to ← from`, where `from` is a tensor of `other`, a backend made by [`Storage::beside`]. Errors: there is no such backend; another length or
    /// dtype.
    fn copy_from(&mut self, other: &mut Self, from: In, to: Out) -> Result<()> {
        let _ = (other, from);
        Err(Error::operator("copy_from", "backends whose work goes on side by side", to.0.shape.to_string()))
    }
    /// The card that computes, if there is one. Results are the same on every card of one kind.
    fn hardware(&self) -> Option<Hardware> {
        None
    }
    /// The type in which this backend holds activations, parameters and gradients.
    fn dtype(&self) -> DType;
    /// The type in which it holds activations and the operands of matrix products: lower precision than the rest, or the same.
    fn activation_dtype(&self) -> DType {
        self.dtype()
    }
    /// The largest relative error of rounding a number to an operand of a matrix product.
    fn operand_roundoff(&self) -> f64 {
        self.activation_dtype().roundoff()
    }
    /// A new, empty arena.
    fn reserve(&mut self) -> ArenaId;
    /// A plan for a new arena.
    fn plan(&mut self) -> ArenaPlan {
        ArenaPlan::new(self.reserve())
    }
    /// Allocates the tensors that `plan` laid out, zeroed. Errors: not enough memory.
    fn commit(&mut self, plan: &ArenaPlan) -> Result<()>;
    /// The bytes allocated in all arenas.
    fn bytes(&self) -> usize;
    /// Copies `values` into a tensor of the same length and dtype.
    fn upload<E: Element>(&mut self, values: &[E], to: Out) -> Result<()>;
    /// Copies a tensor into `values`, of the same length and dtype.
    fn download<E: Element>(&mut self, from: In, values: &mut [E]) -> Result<()>;
    /// Copies f32 values into a tensor of floats, widening or rounding them to its dtype.
    fn upload_f32(&mut self, values: &[f32], to: Out) -> Result<()>;
    /// Uploads f64 values to a tensor of floats, rounded to its dtype.
    fn upload_f64(&mut self, values: &[f64], to: Out) -> Result<()> {
        match to.0.dtype {
            DType::F64 => self.upload(values, to),
            DType::Bf16 => self.upload(&values.iter().map(|&v| bf16_of(v)).collect::<Vec<_>>(), to),
            _ => self.upload(&values.iter().map(|&v| v as f32).collect::<Vec<_>>(), to),
        }
    }
    /// Downloads a tensor of floats, widened to f64.
    fn download_f64(&mut self, from: In) -> Result<Vec<f64>> {
        let len = from.0.shape.len();
        match from.0.dtype {
            DType::F64 => {
                let mut values = vec![0.0; len];
                self.download(from, &mut values)?;
                Ok(values)
            }
            DType::Bf16 => {
                let mut values = vec![half::bf16::ZERO; len];
                self.download(from, &mut values)?;
                Ok(values.into_iter().map(f64::from).collect())
            }
            _ => {
                let mut values = vec![0.0f32; len];
                self.download(from, &mut values)?;
                Ok(values.into_iter().map(f64::from).collect())
            }
        }
    }
    /// Whether the device works asynchronously. Data then stay on it, and the host looks at results only once in several steps.
    fn is_async(&self) -> bool {
        false
    }
    /// Begins a piece of work, known by `key`, that is repeated with the same operands; a device may record it and replay it as a whole. Nothing may
    /// be uploaded, downloaded or allocated until [`Storage::end_graph`].
    fn begin_graph(&mut self, key: u64) -> Result<Graph> {
        let _ = key;
        Ok(Graph::Make)
    }
    /// Ends the work; `good` is false if something failed on the way.
    fn end_graph(&mut self, key: u64, good: bool) -> Result<()> {
        let _ = (key, good);
        Ok(())
    }
    /// Says which part of a network the following work belongs to, for backends that keep account of it; `None` if it belongs to no layer.
    fn enter(&mut self, part: Option<Part>) {
        let _ = part;
    }
    /// Writes the step state.
    fn set_state(&mut self, state: &StepState, to: Out) -> Result<()> {
        self.upload(bytemuck::cast_slice::<StepState, u64>(std::slice::from_ref(state)), to)
    }
    /// Reads a scalar slot.
    fn scalar(&mut self, slot: In) -> Result<f64> {
        let mut value = [0.0f64];
        self.download(slot, &mut value)?;
        Ok(value[0])
    }
}

/// Refuses a host slice whose length differs from its tensor's.
pub fn same_length(op: &'static str, view: View, len: usize) -> Result<()> {
    if view.shape.len() == len {
        return Ok(());
    }
    Err(Error::operator(op, format!("{} elements", view.shape.len()), format!("{len}")))
}
