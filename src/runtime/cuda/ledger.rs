//! A driver that writes down what is asked of it: each launch with its bytes, its operations and, where wanted, its time.
//!
//! And [`Dry`], a device that does nothing: with it a whole step at full size is counted in milliseconds on any machine.

use super::driver::{Arg, Driver, Gemm, Graph, Grid, Kernel, Properties, Region, check_grid};
use super::signature::Type;
use crate::Result;
use crate::runtime::tensor::ArenaId;
use std::ops::Range;

/// One launch.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The kernel's name; `gemm` for a dense product, `copy` for a copy.
    pub kernel: &'static str,
    /// Blocks and threads; one block of one thread for what is not a kernel of ours.
    pub grid: Grid,
    /// Bytes of the tensors that it reads and of those that it writes, each counted once.
    pub bytes: [u64; 2],
    /// Multiplications and additions of a product over taps: nominal (every tap everywhere), and effective (valid taps only).
    pub flops: [f64; 2],
    /// Seconds on the device, where they were asked for.
    pub seconds: Option<f64>,
}

/// Another driver, and what was asked of it.
pub struct Ledger<D> {
    inner: D,
    /// In order.
    pub entries: Vec<Entry>,
    /// Where the last piece of work that was asked for as a graph begins among them.
    began: usize,
    timed: bool,
}

/// The number that parameter `name` of a launch has.
fn number(kernel: &Kernel, args: &[Arg], name: &str) -> Option<f64> {
    let place = kernel.parameters.iter().position(|(known, ty)| *known == name && *ty == Type::U32)?;
    match args.get(place)? {
        Arg::Scalar(bytes) => Some(f64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))),
        _ => None,
    }
}

/// Nominal and effective operations of a product over taps; none of any other kernel.
fn operations(kernel: &Kernel, args: &[Arg]) -> Option<[f64; 2]> {
    let of = |name| number(kernel, args, name);
    let (rows, inner, columns, taps) = (of("rows")?, of("inner")?, of("columns")?, of("taps")?);
    let (h, w) = (of("height")?, of("width")?);
    let nominal = 2.0 * rows * inner * columns * taps;
    let valid = if taps == 1.0 { 1.0 } else { (3.0 * h - 2.0) * (3.0 * w - 2.0) / (9.0 * h * w) };
    Some([nominal, nominal * valid])
}

impl<D: Driver> Ledger<D> {
    /// Writes down what is asked of `inner`; with `timed` each launch is waited for and timed, and graphs are not recorded.
    pub fn new(inner: D, timed: bool) -> Self {
        Ledger { inner, entries: Vec::new(), began: 0, timed }
    }

    /// The launches since the last piece of work began that was asked for as a graph, and not replayed.
    pub fn last_work(&self) -> &[Entry] {
        &self.entries[self.began.min(self.entries.len())..]
    }

    fn keep(&mut self, entry: Entry, work: impl FnOnce(&mut D) -> Result<()>) -> Result<()> {
        if !self.timed {
            self.entries.push(entry);
            return work(&mut self.inner);
        }
        self.inner.mark(0)?;
        work(&mut self.inner)?;
        self.inner.mark(1)?;
        let seconds = Some(self.inner.elapsed()?);
        self.entries.push(Entry { seconds, ..entry });
        Ok(())
    }
}

impl<D: Driver> Driver for Ledger<D> {
    fn properties(&self) -> &Properties {
        self.inner.properties()
    }
    fn allocate(&mut self, arena: ArenaId, bytes: usize) -> Result<()> {
        self.inner.allocate(arena, bytes)
    }
    fn guarded(&self) -> bool {
        self.inner.guarded()
    }
    fn guard(&mut self, arena: ArenaId, bands: &[Range<usize>]) -> Result<()> {
        self.inner.guard(arena, bands)
    }
    fn upload(&mut self, to: Region, bytes: &[u8]) -> Result<()> {
        self.inner.upload(to, bytes)
    }
    fn download(&mut self, from: Region, bytes: &mut [u8]) -> Result<()> {
        self.inner.download(from, bytes)
    }
    fn copy(&mut self, from: Region, to: Region) -> Result<()> {
        let bytes = [from.bytes as u64, to.bytes as u64];
        let entry = Entry { kernel: "copy", grid: Grid::new(1, 1), bytes, flops: [0.0; 2], seconds: None };
        self.keep(entry, |inner| inner.copy(from, to))
    }
    fn launch(&mut self, kernel: &'static Kernel, grid: Grid, args: &[Arg]) -> Result<()> {
        let mut bytes = [0; 2];
        for arg in args {
            if let Arg::Tensor { region, written } = arg {
                bytes[usize::from(*written)] += region.bytes as u64;
            }
        }
        let flops = operations(kernel, args).unwrap_or_default();
        let entry = Entry { kernel: kernel.name, grid, bytes, flops, seconds: None };
        self.keep(entry, |inner| inner.launch(kernel, grid, args))
    }
    fn has_gemm(&mut self) -> bool {
        self.inner.has_gemm()
    }
    fn gemm(&mut self, product: Gemm) -> Result<()> {
        let Gemm { m, n, k, a, b, out, .. } = product;
        let flops = [2.0 * m as f64 * n as f64 * k as f64; 2];
        let bytes = [(a.region.bytes + b.region.bytes) as u64, out.bytes as u64];
        let entry = Entry { kernel: "gemm", grid: Grid::new(1, 1), bytes, flops, seconds: None };
        self.keep(entry, |inner| inner.gemm(product))
    }
    fn begin_graph(&mut self, key: u64) -> Result<Graph> {
        // What is replayed as one cannot be timed launch by launch.
        let made = if self.timed { Graph::Make } else { self.inner.begin_graph(key)? };
        if made == Graph::Make {
            self.began = self.entries.len();
        }
        Ok(made)
    }
    fn end_graph(&mut self, key: u64, good: bool) -> Result<()> {
        if self.timed { Ok(()) } else { self.inner.end_graph(key, good) }
    }
    fn synchronize(&mut self) -> Result<()> {
        self.inner.synchronize()
    }
    fn mark(&mut self, which: usize) -> Result<()> {
        self.inner.mark(which)
    }
    fn elapsed(&mut self) -> Result<f64> {
        self.inner.elapsed()
    }
}

/// A device that takes everything and does nothing. What is downloaded from it is 0.
pub struct Dry(Properties);

impl Dry {
    /// A device of these properties.
    pub fn new(properties: Properties) -> Self {
        Dry(properties)
    }
}

impl Driver for Dry {
    fn properties(&self) -> &Properties {
        &self.0
    }
    fn allocate(&mut self, _: ArenaId, _: usize) -> Result<()> {
        Ok(())
    }
    fn upload(&mut self, _: Region, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn download(&mut self, _: Region, bytes: &mut [u8]) -> Result<()> {
        bytes.fill(0);
        Ok(())
    }
    fn copy(&mut self, _: Region, _: Region) -> Result<()> {
        Ok(())
    }
    fn launch(&mut self, kernel: &'static Kernel, grid: Grid, _: &[Arg]) -> Result<()> {
        check_grid(kernel, grid, &self.0)
    }
    fn gemm(&mut self, _: Gemm) -> Result<()> {
        Ok(())
    }
    fn synchronize(&mut self) -> Result<()> {
        Ok(())
    }
    fn mark(&mut self, _: usize) -> Result<()> {
        Ok(())
    }
    fn elapsed(&mut self) -> Result<f64> {
        Ok(0.0)
    }
}
