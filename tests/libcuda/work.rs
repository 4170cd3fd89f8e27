//! What streams queue and graphs record, and how it is done on the emulator.

use super::codes::{Done, ILLEGAL_ADDRESS, INVALID_VALUE, LAUNCH_FAILED, MISALIGNED_ADDRESS, UNKNOWN};
use super::contexts::Context;
use normscape::Error;
use normscape::runtime::cuda::driver::{Arg, Driver, Gemm, Grid, Kernel, Operand, Region, TensorMap, Words};
use normscape::runtime::cuda::order::Piece;
use normscape::runtime::tensor::DType;
use std::sync::Arc;

/// The kind of a kernel's parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A tensor.
    Tensor {
        /// Whether the kernel may write to it.
        written: bool,
        /// Whether it may be null.
        optional: bool,
    },
    /// A number or a struct of so many bytes.
    Value(usize),
    /// A tensor map.
    Map,
}

/// The value of a kernel's parameter.
#[derive(Debug, Clone, Copy)]
pub enum Given {
    /// A device address.
    Address {
        /// The address.
        address: u64,
        /// Whether the kernel may write there.
        written: bool,
        /// Whether it may be null.
        optional: bool,
    },
    /// A number or a struct.
    Value(Words),
    /// A matrix that the kernel reads.
    Map(Map),
}

/// What this library writes into a tensor map, whose 128 bytes are the driver's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Map {
    /// [`Map::MARK`].
    pub mark: u64,
    /// The address of the matrix.
    pub address: u64,
    /// 1 for bf16, 0 for f32.
    pub half: u64,
    /// Columns and rows.
    pub extents: [u64; 2],
    /// Columns and rows of a box.
    pub tile: [u64; 2],
    /// What is left of the 128 bytes.
    pub rest: [u64; 9],
}

impl Map {
    /// What tells a map that was encoded from other bytes.
    pub const MARK: u64 = u64::from_le_bytes(*b"encoded!");
}

/// A launch.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// The handle of the module that it is of.
    pub module: usize,
    /// The numbers of blocks and threads.
    pub grid: Grid,
    /// Its arguments.
    pub given: Vec<Given>,
    /// Whether it may begin before its predecessor has ended.
    pub overlaps: bool,
}

/// A dense product, row-major: see `normscape`'s own `Gemm`.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    /// Rows and columns of the result, and the terms of each sum.
    pub extents: [usize; 3],
    /// The addresses of both operands, and whether each is transposed.
    pub operands: [(u64, bool); 2],
    /// Where the result goes.
    pub out: u64,
    /// The types of operands and result.
    pub types: [DType; 2],
    /// Whether operands are rounded to tf32.
    pub tf32: bool,
}

/// One piece of work.
#[derive(Debug, Clone)]
pub enum Op {
    /// Runs a kernel.
    Launch(Arc<Launch>),
    /// Fills bytes.
    Fill { to: u64, value: u8, bytes: usize },
    /// Copies what was taken from the host when the copy was asked for.
    Upload { to: u64, bytes: Arc<[u8]> },
    /// Copies to the host, whose address this is.
    Download { to: usize, from: u64, bytes: usize },
    /// Copies within the device.
    Copy { to: u64, from: u64, bytes: usize },
    /// A product of cuBLAS.
    Product(Product),
    /// Notes the time for an event.
    Record(usize),
    /// Replays a graph, whose handle this is.
    Replay(usize, Arc<Vec<Node>>),
}

/// A piece of a graph.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// The nodes that must be done before it.
    pub after: Vec<usize>,
}

/// The pieces of a graph, with what each touches. A pointer that a kernel takes has no length: it reaches to the end of what is allocated there.
pub fn pieces(context: &Context, nodes: &[Node]) -> Vec<Piece> {
    let of = |Node { op, after }: &Node| {
        let bytes = |address: u64, bytes: usize, written: bool| Some((context.part(address, bytes)?, written));
        let touches: Vec<_> = match op {
            Op::Launch(launch) => {
                let reached = |given: &Given| match *given {
                    Given::Address { address, written, .. } => Some((context.region(address)?, written)),
                    Given::Map(map) => Some((context.region(map.address)?, false)),
                    Given::Value(_) => None,
                };
                launch.given.iter().map(reached).collect()
            }
            Op::Fill { to, bytes: count, .. } => vec![bytes(*to, *count, true)],
            Op::Copy { to, from, bytes: count } => vec![bytes(*to, *count, true), bytes(*from, *count, false)],
            Op::Product(product) => {
                let reach = |address: u64, written: bool| Some((context.region(address)?, written));
                let [(a, _), (b, _)] = product.operands;
                vec![reach(a, false), reach(b, false), reach(product.out, true)]
            }
            // A recording has none of these.
            Op::Upload { .. } | Op::Download { .. } | Op::Record(_) | Op::Replay(..) => Vec::new(),
        };
        Piece { name: op.name(), touches: touches.into_iter().flatten().collect(), after: after.clone() }
    };
    nodes.iter().map(of).collect()
}

impl Op {
    /// The device addresses that it reaches.
    pub fn addresses(&self) -> Vec<u64> {
        match self {
            Op::Launch(launch) => {
                let address = |given: &Given| match given {
                    Given::Address { address, .. } | Given::Map(Map { address, .. }) => *address,
                    Given::Value(_) => 0,
                };
                launch.given.iter().map(address).filter(|&address| address != 0).collect()
            }
            Op::Fill { to, .. } | Op::Upload { to, .. } => vec![*to],
            Op::Download { from, .. } => vec![*from],
            Op::Copy { to, from, .. } => vec![*to, *from],
            Op::Product(product) => product.operands.iter().map(|(address, _)| *address).chain([product.out]).collect(),
            Op::Record(_) => Vec::new(),
            Op::Replay(_, nodes) => nodes.iter().flat_map(|node| node.op.addresses()).collect(),
        }
    }

    /// Whether it runs a kernel of this module.
    pub fn is_of_module(&self, module: usize) -> bool {
        match self {
            Op::Launch(launch) => launch.module == module,
            Op::Replay(_, nodes) => nodes.iter().any(|node| node.op.is_of_module(module)),
            _ => false,
        }
    }

    /// Its name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Launch(launch) => launch.kernel.name,
            Op::Fill { .. } => "a fill",
            Op::Upload { .. } => "a copy from the host",
            Op::Download { .. } => "a copy to the host",
            Op::Copy { .. } => "a copy",
            Op::Product(_) => "a product",
            Op::Record(_) => "an event",
            Op::Replay(..) => "a graph",
        }
    }
}

/// What went wrong in doing a piece of work: CUDA's code, and what a developer wants to know.
pub type Wrong = (u32, String);

/// Memory that a piece of work reaches. Errors: it lies in no allocation.
fn reach(context: &Context, address: u64, bytes: Option<usize>, what: &str) -> Result<Region, Wrong> {
    let found = match bytes {
        Some(bytes) => context.part(address, bytes),
        None => context.region(address),
    };
    found.ok_or_else(|| {
        let freed = if context.was_allocated(address) && context.allocation(address).is_none() {
            ": it was freed, or lies between two allocations"
        } else {
            ""
        };
        (ILLEGAL_ADDRESS, format!("{what} reaches address {address:#x}, not all of which is allocated{freed}"))
    })
}

/// CUDA's code for an error of the emulator's.
fn code_of(error: &Error) -> u32 {
    match error {
        Error::Kernel { problem, .. } if problem.contains("out of bounds") => ILLEGAL_ADDRESS,
        Error::Kernel { problem, .. } if problem.contains("no multiple of") => MISALIGNED_ADDRESS,
        Error::Kernel { .. } => LAUNCH_FAILED,
        Error::Operator { .. } => INVALID_VALUE,
        _ => UNKNOWN,
    }
}

/// Does one piece of work that needs memory only. Errors: what a GPU would fail with, and why.
pub fn run(context: &mut Context, op: &Op) -> Result<(), Wrong> {
    let told = |error: Error| (code_of(&error), error.to_string());
    match op {
        Op::Launch(launch) => {
            let kernel = launch.kernel;
            let mut args = Vec::with_capacity(launch.given.len());
            for (given, parameter) in launch.given.iter().zip(kernel.parameters) {
                args.push(match *given {
                    Given::Value(words) => Arg::Value(words),
                    Given::Address { address: 0, optional: true, .. } => Arg::Null,
                    Given::Map(map) => {
                        let what = format!("{} of {}", parameter.name, kernel.name);
                        let [extents, tile] = [map.extents, map.tile].map(|of| of.map(|n| n as usize));
                        let region = reach(context, map.address, None, &what)?;
                        Arg::Map(TensorMap { region, half: map.half == 1, extents, tile })
                    }
                    Given::Address { address, written, .. } => {
                        let what = format!("{} of {}", parameter.name, kernel.name);
                        Arg::Tensor { region: reach(context, address, None, &what)?, written }
                    }
                });
            }
            context.emulator.launch(kernel, launch.grid, &args).map_err(told)
        }
        Op::Fill { to, value, bytes } => {
            let to = reach(context, *to, Some(*bytes), op.name())?;
            context.fill(to, *value).map_err(|code| (code, "it cannot be filled".into()))
        }
        Op::Upload { to, bytes } => {
            let to = reach(context, *to, Some(bytes.len()), op.name())?;
            context.emulator.upload(to, bytes).map_err(told)
        }
        Op::Download { to, from, bytes } => {
            let from = reach(context, *from, Some(*bytes), op.name())?;
            // SAFETY: whoever asked for the copy keeps so many bytes there until it is done, which is the driver's contract.
            let to = unsafe { std::slice::from_raw_parts_mut(*to as *mut u8, *bytes) };
            context.emulator.download(from, to).map_err(told)
        }
        Op::Copy { to, from, bytes } => {
            let regions = [*from, *to].map(|address| reach(context, address, Some(*bytes), op.name()));
            let [from, to] = regions;
            context.emulator.copy(from?, to?).map_err(told)
        }
        Op::Product(product) => {
            let [m, n, k] = product.extents;
            let [operands, result] = product.types;
            let size = |dtype: DType| if dtype == DType::Bf16 { 2 } else { 4 };
            let operand = |place: usize, elements: usize| {
                let (address, transposed) = product.operands[place];
                let region = reach(context, address, Some(elements * size(operands)), op.name())?;
                Ok::<_, Wrong>(Operand { region, transposed })
            };
            let (a, b) = (operand(0, m * k)?, operand(1, k * n)?);
            let out = reach(context, product.out, Some(m * n * size(result)), op.name())?;
            let gemm = Gemm { m, n, k, a, b, operands, tf32: product.tf32, out, result };
            context.emulator.gemm(gemm).map_err(told)
        }
        Op::Record(_) | Op::Replay(..) => Ok(()),
    }
}

/// The bytes of a parameter, read from where a launch's argument points.
///
/// # Safety
/// `from` points to a value of this kind.
pub unsafe fn take(taken: Taken, from: *const u8) -> Done<Given> {
    if from.is_null() {
        return Err(INVALID_VALUE);
    }
    if taken == Taken::Map {
        // SAFETY: by the caller's promise.
        let map = unsafe { from.cast::<Map>().read_unaligned() };
        let aligned = from.addr().is_multiple_of(64) && map.mark == Map::MARK;
        return if aligned { Ok(Given::Map(map)) } else { Err(INVALID_VALUE) };
    }
    let mut words = Words([0; 32]);
    let bytes = if let Taken::Value(bytes) = taken { bytes } else { 8 };
    // SAFETY: by the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(from, words.0.as_mut_ptr(), bytes) };
    Ok(match taken {
        Taken::Value(_) | Taken::Map => Given::Value(words),
        Taken::Tensor { written, optional } => {
            let mut address = [0; 8];
            address.copy_from_slice(&words.0[..8]);
            Given::Address { address: u64::from_le_bytes(address), written, optional }
        }
    })
}
