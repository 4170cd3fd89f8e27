//! One arena for one operator call: it plans tensors, uploads the inputs, and returns the outputs by name.

use super::inputs::{Floats, Tensor};
use super::layout::Layout;
use crate::files::{Array, Arrays, Values};
use crate::ops::backend::Backend;
use crate::runtime::state::StepState;
use crate::runtime::tensor::{ArenaPlan, DType, In, Out, Shape, View};
use crate::{Error, Result};

/// Most bytes that one call may plan; below this limit no sum of offsets overflows.
const MOST: usize = isize::MAX as usize / 2;

enum Upload<'t> {
    Tensor(&'t Tensor),
    Labels(&'t [u32]),
    State(StepState),
}

struct Output {
    name: String,
    shape: Vec<usize>,
    layout: Layout,
    view: View,
}

/// The memory of one operator call. First all tensors are planned; [`Scratch::commit`] then allocates and uploads; the operator computes on
/// [`Scratch::backend`]; [`Scratch::finish`] downloads the outputs.
pub struct Scratch<'b, 't, B> {
    /// Where the operator runs.
    pub backend: &'b mut B,
    plan: ArenaPlan,
    uploads: Vec<(View, Upload<'t>)>,
    outputs: Vec<Output>,
}

impl<'b, 't, B: Backend> Scratch<'b, 't, B> {
    /// A scratch with nothing planned yet.
    pub fn new(backend: &'b mut B) -> Self {
        let plan = backend.plan();
        Scratch { backend, plan, uploads: Vec::new(), outputs: Vec::new() }
    }

    fn view(&mut self, shape: Shape, dtype: DType) -> Result<View> {
        let bytes = shape.checked_len().and_then(|len| len.checked_mul(dtype.size()));
        // Room for alignment and guard bands.
        match bytes.and_then(|bytes| bytes.checked_add(self.plan.bytes() + 4 * ArenaPlan::ALIGN)) {
            Some(total) if total <= MOST => Ok(self.plan.view(shape, dtype)),
            _ => Err(Error::input("memory", format!("a tensor of {shape} has no room"), "smaller arrays need less")),
        }
    }

    /// Plans a tensor in the type in which the backend holds tensors of this layout. `operand` says whether it is an operand of a matrix product.
    fn inside(&mut self, shape: &[usize], layout: Layout, operand: bool) -> Result<View> {
        let dtype = match layout {
            Layout::Activations | Layout::Elements => self.backend.activation_dtype(),
            Layout::Parameter(_) if operand => self.backend.activation_dtype(),
            Layout::Parameter(_) | Layout::Plain => self.backend.dtype(),
        };
        match shape.iter().try_fold(1usize, |n, &e| n.checked_mul(e)) {
            Some(_) => self.view(layout.shape(shape), dtype),
            None => {
                Err(Error::input("memory", format!("a tensor of {shape:?} has no room"), "smaller arrays need less"))
            }
        }
    }

    /// Plans a tensor that the operator reads.
    pub fn input(&mut self, tensor: &'t Tensor) -> Result<In> {
        let view = self.inside(&tensor.shape, tensor.layout, true)?;
        self.uploads.push((view, Upload::Tensor(tensor)));
        Ok(In(view))
    }

    /// Plans a parameter that is not an operand of a matrix product, and is therefore held in the backend's own type.
    pub fn parameter(&mut self, tensor: &'t Tensor) -> Result<In> {
        let view = self.inside(&tensor.shape, tensor.layout, false)?;
        self.uploads.push((view, Upload::Tensor(tensor)));
        Ok(In(view))
    }

    /// Plans an optional input.
    pub fn optional(&mut self, tensor: Option<&'t Tensor>) -> Result<Option<In>> {
        tensor.map(|tensor| self.input(tensor)).transpose()
    }

    /// Plans labels that the operator reads.
    pub fn labels(&mut self, labels: &'t [u32]) -> Result<In> {
        let view = self.view(Shape::new([labels.len()]), DType::U32)?;
        self.uploads.push((view, Upload::Labels(labels)));
        Ok(In(view))
    }

    /// Plans the step state that the operator reads.
    pub fn state(&mut self, state: StepState) -> Result<In> {
        let view = self.view(StepState::shape(), StepState::DTYPE)?;
        self.uploads.push((view, Upload::State(state)));
        Ok(In(view))
    }

    /// Plans a tensor that the operator writes, with extents `shape` outside; it comes out as `name`.
    pub fn output(&mut self, name: impl Into<String>, shape: &[usize], layout: Layout) -> Result<Out> {
        let view = self.inside(shape, layout, false)?;
        self.outputs.push(Output { name: name.into(), shape: shape.to_vec(), layout, view });
        Ok(Out(view))
    }

    /// Plans an output with the shape and order of `tensor`.
    pub fn output_like(&mut self, name: impl Into<String>, tensor: &Tensor) -> Result<Out> {
        self.output(name, &tensor.shape, tensor.layout)
    }

    /// Plans a scalar slot that comes out as `name`.
    pub fn output_scalar(&mut self, name: &'static str) -> Result<Out> {
        let view = self.view(Shape::new([]), DType::F64)?;
        self.outputs.push(Output { name: name.to_owned(), shape: Vec::new(), layout: Layout::Plain, view });
        Ok(Out(view))
    }

    /// Plans a tensor of the backend's dtype that does not come out.
    pub fn workspace(&mut self, shape: Shape) -> Result<Out> {
        let dtype = self.backend.dtype();
        self.view(shape, dtype).map(Out)
    }

    /// Plans f64 scalar slots or per-sample values that do not come out.
    pub fn slots(&mut self, shape: Shape) -> Result<Out> {
        self.view(shape, DType::F64).map(Out)
    }

    /// Allocates the planned tensors and uploads the inputs.
    pub fn commit(&mut self) -> Result<()> {
        self.backend.commit(&self.plan)?;
        for (view, upload) in self.uploads.drain(..) {
            let to = Out(view);
            match upload {
                Upload::Labels(labels) => self.backend.upload(labels, to)?,
                Upload::State(state) => self.backend.set_state(&state, to)?,
                Upload::Tensor(t) => match &t.values {
                    Floats::F32(v) => self.backend.upload_f32(&t.layout.enter(&t.shape, v), to)?,
                    Floats::F64(v) => self.backend.upload_f64(&t.layout.enter(&t.shape, v), to)?,
                },
            }
        }
        Ok(())
    }

    /// Downloads the outputs: in float64 where the backend computes in f64, else in float32.
    pub fn finish(self) -> Result<Arrays> {
        let narrow = self.backend.dtype() != DType::F64;
        let mut arrays = Arrays::new();
        for Output { name, shape, layout, view } in self.outputs {
            let values = layout.leave(&shape, self.backend.download_f64(In(view))?);
            let values = match narrow {
                true => Values::F32(values.into_iter().map(|v| v as f32).collect()),
                false => Values::F64(values),
            };
            arrays.insert(name, Array { shape, values });
        }
        Ok(arrays)
    }
}
