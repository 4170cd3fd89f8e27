//! Shape, dtype and place: the handles by which operators name their tensors.
//!
//! A [`View`] is a value, not a borrow. Gradients are slices of one flat vector and activations share arenas, so the compiler cannot check that
//! borrows of them are disjoint. Instead, a backend resolves all views of one operator call together, and refuses an overlap with a view that is
//! written.

use std::fmt;
use std::ops::Range;

/// The type of a tensor's elements: a run-time tag, so that one network serves every precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE single precision.
    F32,
    /// IEEE double precision: the reference, and every scalar slot.
    F64,
    /// bfloat16: activations and matrix operands in that precision.
    Bf16,
    /// Bytes: images as files hold them.
    U8,
    /// Labels.
    U32,
    /// Step state.
    U64,
}

impl DType {
    /// The number of bytes per element.
    pub fn size(self) -> usize {
        match self {
            DType::U8 => 1,
            DType::Bf16 => 2,
            DType::F32 | DType::U32 => 4,
            DType::F64 | DType::U64 => 8,
        }
    }

    /// The largest relative error of rounding a number to this type: half the distance from 1 to the next number. 0 for whole numbers.
    pub fn roundoff(self) -> f64 {
        match self {
            DType::F32 => 0.5 * f64::from(f32::EPSILON),
            DType::F64 => 0.5 * f64::EPSILON,
            DType::Bf16 => 2f64.powi(-8),
            DType::U8 | DType::U32 | DType::U64 => 0.0,
        }
    }

    /// Its name for users.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::Bf16 => "bf16",
            DType::U8 => "u8",
            DType::U32 => "u32",
            DType::U64 => "u64",
        }
    }
}

/// The extents of up to four axes, outermost first. Activations are `[H, W, N, C]`, convolution weights `[3·3, C, K]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    rank: u8,
    extents: [usize; 4],
}

impl Shape {
    /// A shape with these extents; at most four axes.
    pub fn new<const R: usize>(extents: [usize; R]) -> Self {
        const { assert!(R <= 4) };
        let mut all = [1; 4];
        all[..R].copy_from_slice(&extents);
        Shape { rank: R as u8, extents: all }
    }

    /// The extents, outermost first.
    pub fn extents(&self) -> &[usize] {
        &self.extents[..self.rank as usize]
    }

    /// The number of elements.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.extents().iter().product()
    }

    /// The number of elements, or `None` where it overflows.
    pub fn checked_len(&self) -> Option<usize> {
        self.extents().iter().try_fold(1usize, |n, &e| n.checked_mul(e))
    }

    /// `(rows, columns)` of the tensor as a matrix. For activations `[H, W, N, C]` these are (samples per unit, units).
    pub fn matrix(&self) -> (usize, usize) {
        let columns = self.extents().last().copied().unwrap_or(1);
        (self.extents().iter().rev().skip(1).product(), columns)
    }

    /// The extents `[H, W, N, C]` of activations; a shorter shape is preceded by ones.
    pub fn hwnc(&self) -> [usize; 4] {
        let mut all = [1; 4];
        all[4 - self.rank as usize..].copy_from_slice(self.extents());
        all
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Shape {
    /// Written as in `128×64`; a scalar is `1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rank == 0 {
            return f.write_str("1");
        }
        for (i, e) in self.extents().iter().enumerate() {
            if i > 0 {
                f.write_str("×")?;
            }
            write!(f, "{e}")?;
        }
        Ok(())
    }
}

/// One planned block of a backend's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArenaId(pub(crate) u32);

impl ArenaId {
    /// The arena with this number, for callers that use a device without a backend.
    pub fn numbered(number: u32) -> Self {
        ArenaId(number)
    }
}

/// Where a tensor lies: arena, byte offset, shape and dtype. It is dense and row-major.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The arena that holds it.
    pub arena: ArenaId,
    /// The byte offset of its first element.
    pub offset: usize,
    /// Its extents.
    pub shape: Shape,
    /// Its element type.
    pub dtype: DType,
}

impl View {
    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        self.shape.len() * self.dtype.size()
    }

    /// The elements `start..start + shape.len()` of a flat vector, as a tensor of their own.
    pub fn slice(&self, start: usize, shape: Shape) -> View {
        debug_assert!(start + shape.len() <= self.shape.len());
        View { offset: self.offset + start * self.dtype.size(), shape, ..*self }
    }

    /// The same elements under another shape of the same length.
    pub fn reshape(&self, shape: Shape) -> View {
        debug_assert_eq!(shape.len(), self.shape.len());
        View { shape, ..*self }
    }
}

/// A tensor that an operator reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct In(pub View);

/// A tensor that an operator writes as a whole, without reading it first unless its contract says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Out(pub View);

impl From<Out> for In {
    fn from(out: Out) -> In {
        In(out.0)
    }
}

/// Lays out tensors in an arena before it is allocated.
#[derive(Debug)]
pub struct ArenaPlan {
    id: ArenaId,
    bytes: usize,
    gap: usize,
    guards: Vec<Range<usize>>,
}

impl ArenaPlan {
    /// Every tensor starts on a multiple of this: a cache line on the host, a memory transaction on a GPU.
    pub const ALIGN: usize = 256;

    /// A plan for arena `id`.
    pub fn new(id: ArenaId) -> Self {
        ArenaPlan { id, bytes: 0, gap: 0, guards: Vec::new() }
    }

    /// A plan that leaves an unused band of 256 bytes after every tensor, for tests that look for overruns.
    pub fn with_guards(id: ArenaId) -> Self {
        let mut plan = ArenaPlan { gap: Self::ALIGN, bytes: Self::ALIGN, ..ArenaPlan::new(id) };
        plan.guards.push(0..Self::ALIGN);
        plan
    }

    /// Lays out one more tensor.
    pub fn view(&mut self, shape: Shape, dtype: DType) -> View {
        let view = View { arena: self.id, offset: self.bytes, shape, dtype };
        self.bytes += view.bytes().next_multiple_of(Self::ALIGN) + self.gap;
        if self.gap > 0 {
            self.guards.push(view.offset + view.bytes()..self.bytes);
        }
        view
    }

    /// The arena's id.
    pub fn id(&self) -> ArenaId {
        self.id
    }

    /// The number of bytes laid out so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The ranges of bytes that belong to no tensor, alignment included; empty without guard bands.
    pub fn guards(&self) -> &[Range<usize>] {
        &self.guards
    }
}
