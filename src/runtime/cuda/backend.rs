//! The CUDA backend: memory on a device, and the precision of a run.

use super::driver::{Driver, Properties, Region};
use super::memory::{Arenas, DeviceBorrow};
use crate::runtime::memory::Element;
use crate::runtime::storage::{Graph, Hardware, Part, Storage, same_length};
use crate::runtime::tensor::{ArenaId, ArenaPlan, DType, In, Out, Shape, View};
use crate::{Error, Result};
use half::bf16;

/// The precision of matrix products and of stored activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// f32 throughout, exact products.
    F32,
    /// f32 storage; the operands of matrix products are rounded to tf32.
    Tf32,
    /// bf16 activations and operands; parameters, statistics, reductions and probe vectors in f32.
    Bf16,
}

/// `in_storage_type!(cuda, T => call)` makes the call with `T` as the type in which this backend stores activations.
macro_rules! in_storage_type {
    ($cuda:expr, $T:ident => $call:expr) => {
        match $cuda.mode() {
            $crate::runtime::cuda::Mode::Bf16 => {
                type $T = half::bf16;
                $call
            }
            _ => {
                type $T = f32;
                $call
            }
        }
    };
}
pub(crate) use in_storage_type;

/// The number of tickets: of the counts by which the blocks of a launch find out which of them comes last (`kernels/tickets.cuh`).
pub const TICKETS: usize = 1 << 16;

/// A device with memory planned in arenas, which computes in one [`Mode`].
pub struct Cuda<D = Box<dyn Driver>> {
    driver: D,
    arenas: Arenas,
    mode: Mode,
    partials: View,
    tickets: View,
}

/// The number of partial results (of 64 bits) that the first stage of a reduction may leave for the last stage to merge.
pub const PARTIALS: usize = 8 * 3 * 256;

impl<D: Driver> Cuda<D> {
    /// A backend on `driver`. Errors: there is not even enough memory for partial sums.
    pub fn new(mut driver: D, mode: Mode) -> Result<Self> {
        let mut arenas = Arenas::default();
        let mut plan = ArenaPlan::new(arenas.reserve());
        let partials = plan.view(Shape::new([PARTIALS]), DType::F64);
        let tickets = plan.view(Shape::new([TICKETS]), DType::U32);
        arenas.commit(&mut driver, &plan)?;
        let mut cuda = Cuda { driver, arenas, mode, partials, tickets };
        // Every launch leaves them at 0. One that fails on the way does not: a GPU runs nothing more after it, the emulator puts them back.
        cuda.upload(&vec![0u32; TICKETS], Out(tickets))?;
        Ok(cuda)
    }

    /// A buffer of [`PARTIALS`] numbers (f64) for the first stage of a reduction; no two operators use it at once.
    pub fn partials(&self) -> Out {
        Out(self.partials)
    }

    /// The tickets ([`TICKETS`] of them, all 0) of a launch whose blocks merge what they leave one another. All launches share them: the work of a device
    /// is one stream, in which none touches memory before the last has ended.
    pub fn tickets(&self) -> Out {
        Out(self.tickets)
    }

    /// The backend's precision.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The device's properties.
    pub fn properties(&self) -> &Properties {
        self.driver.properties()
    }

    /// The driver.
    pub fn driver(&mut self) -> &mut D {
        &mut self.driver
    }

    /// The driver, and a borrow for the views of one call of operator `op`.
    pub fn begin(&mut self, op: &'static str) -> (&mut D, DeviceBorrow<'_>) {
        (&mut self.driver, self.arenas.borrow(op))
    }
}

/// Converts a number of elements or of blocks to 32 bits, as kernels take it. Errors: it does not fit.
pub fn count(op: &'static str, n: usize) -> Result<u32> {
    u32::try_from(n).map_err(|_| Error::operator(op, "fewer than 2^32 elements in a tensor", n.to_string()))
}

impl<D: Driver> Storage for Cuda<D> {
    fn hardware(&self) -> Option<Hardware> {
        self.driver.hardware()
    }
    fn dtype(&self) -> DType {
        DType::F32
    }
    fn activation_dtype(&self) -> DType {
        match self.mode {
            Mode::Bf16 => DType::Bf16,
            Mode::F32 | Mode::Tf32 => DType::F32,
        }
    }
    fn operand_roundoff(&self) -> f64 {
        match self.mode {
            // Ten bits behind the point.
            Mode::Tf32 => 2f64.powi(-11),
            Mode::F32 | Mode::Bf16 => self.activation_dtype().roundoff(),
        }
    }
    fn reserve(&mut self) -> ArenaId {
        self.arenas.reserve()
    }
    fn plan(&mut self) -> ArenaPlan {
        let id = self.reserve();
        if self.driver.guarded() { ArenaPlan::with_guards(id) } else { ArenaPlan::new(id) }
    }
    fn commit(&mut self, plan: &ArenaPlan) -> Result<()> {
        self.arenas.commit(&mut self.driver, plan)
    }
    fn bytes(&self) -> usize {
        self.arenas.bytes()
    }
    fn is_async(&self) -> bool {
        true
    }
    fn begin_graph(&mut self, key: u64) -> Result<Graph> {
        self.driver.begin_graph(key)
    }
    fn end_graph(&mut self, key: u64, good: bool) -> Result<()> {
        self.driver.end_graph(key, good)
    }
    fn enter(&mut self, part: Option<Part>) {
        self.driver.enter(part);
    }
    fn upload<E: Element>(&mut self, values: &[E], to: Out) -> Result<()> {
        same_length("upload", to.0, values.len())?;
        let (driver, mut views) = self.begin("upload");
        let to = views.write::<E>(to)?;
        driver.upload(to.region, bytemuck::cast_slice(values))
    }
    fn upload_f32(&mut self, values: &[f32], to: Out) -> Result<()> {
        match to.0.dtype {
            DType::F32 => self.upload(values, to),
            DType::Bf16 => self.upload(&values.iter().map(|&v| bf16::from_f32(v)).collect::<Vec<_>>(), to),
            _ => self.upload(&values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>(), to),
        }
    }
    fn download<E: Element>(&mut self, from: In, values: &mut [E]) -> Result<()> {
        same_length("download", from.0, values.len())?;
        let (driver, mut views) = self.begin("download");
        let from: Region = views.read::<E>(from)?.region;
        driver.download(from, bytemuck::cast_slice_mut(values))
    }
}
