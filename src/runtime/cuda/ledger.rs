//! A driver that records what is asked of it: each launch with its bytes, its operations and, if wanted, its time.
//!
//! There is also [`Dry`], a device that does nothing. With it, the launches of a whole step at full size are counted in milliseconds on any machine.

use super::counts::Counts;
use super::driver::{Arg, Driver, Gemm, Graph, Grid, Kernel, Number, Part, Pass, Properties, Region, check_grid};
use super::signature::Type;
use crate::Result;
use crate::runtime::tensor::ArenaId;
use std::ops::Range;

/// One launch.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The kernel's name; `gemm` for a dense product, `copy` for a copy.
    pub kernel: &'static str,
    /// The numbers of blocks and threads; one block of one thread for anything that is not one of our kernels.
    pub grid: Grid,
    /// Blocks of a cluster; 1 without clusters.
    pub cluster: u32,
    /// The tensors that it reads, and with `true` those that it writes.
    pub tensors: Vec<(Region, bool)>,
    /// The bytes of the tensors that it reads, and of those that it writes; each tensor is counted once.
    pub bytes: [u64; 2],
    /// The multiplications and additions of a product over taps: nominal (every tap everywhere), and effective (valid taps only).
    pub flops: [f64; 2],
    /// Seconds on the device, if timing was asked for.
    pub seconds: Option<f64>,
    /// The part of a network that it belongs to.
    pub part: Option<Part>,
    /// What its threads asked for, where the device counts.
    pub counts: Option<Counts>,
}

impl Entry {
    /// Of what is known before it is made.
    fn new(kernel: &'static str, grid: Grid, tensors: Vec<(Region, bool)>, flops: [f64; 2]) -> Entry {
        let mut bytes = [0; 2];
        tensors.iter().for_each(|(region, written)| bytes[usize::from(*written)] += region.bytes as u64);
        Entry { kernel, grid, cluster: 1, tensors, bytes, flops, seconds: None, part: None, counts: None }
    }
}

/// Another driver, with a record of what was asked of it.
pub struct Ledger<D> {
    inner: D,
    /// The record, in order.
    pub entries: Vec<Entry>,
    /// The entry at which the last piece of work that was asked for as a graph begins.
    began: usize,
    /// How often a launch is repeated to be timed; 0 if launches are not timed.
    repeats: u32,
    part: Option<Part>,
    /// Nothing is recorded as a graph: each launch is looked at by itself.
    direct: bool,
    /// Graphs of repeated launches so far.
    graphs: u64,
}

/// The default number of repetitions for timing a launch.
const REPEATS: u32 = 20;
/// How often the graph of a launch's repetitions is replayed between two marks.
const REPLAYS: u32 = 2;

/// The value of parameter `name` of a launch.
fn number(kernel: &Kernel, args: &[Arg], name: &str) -> Option<f64> {
    let known = |number: &&Number| number.name == name && number.ty == Type::U32;
    let mut found =
        kernel.parameters.iter().zip(args).filter_map(|(p, arg)| Some((p.numbers.iter().find(known)?, arg)));
    match found.next()? {
        (number, Arg::Value(words)) => {
            Some(f64::from(bytemuck::pod_read_unaligned::<u32>(&words.0[number.at..number.at + 4])))
        }
        _ => None,
    }
}

/// The nominal and effective operations of a product over taps, or of the two that make both gradients; none for any other kernel.
fn operations(kernel: &Kernel, args: &[Arg]) -> Option<[f64; 2]> {
    let of = |name| number(kernel, args, name);
    // A classifier's last layer has ten outputs, and its gradients two products.
    if kernel.name.starts_with("head") {
        let products = if kernel.name.contains("gradients") { 2.0 } else { 1.0 };
        return Some([products * 2.0 * of("samples")? * of("inputs")? * 10.0; 2]);
    }
    let (rows, inner, columns, taps) = (of("rows")?, of("inner")?, of("columns")?, of("taps")?);
    let (h, w) = (of("height")?, of("width")?);
    let products = if of("weights_first").is_some() { 2.0 } else { 1.0 };
    let nominal = products * 2.0 * rows * inner * columns * taps;
    let valid = if taps == 1.0 { 1.0 } else { (3.0 * h - 2.0) * (3.0 * w - 2.0) / (9.0 * h * w) };
    Some([nominal, nominal * valid])
}

impl<D: Driver> Ledger<D> {
    /// Records what is asked of `inner`. With `timed`, each launch is repeated and timed, and graphs of several launches are not recorded.
    ///
    /// A launch is repeated with the same arguments. What it reads and writes therefore stays in a cache if it fits, and its bytes per second may
    /// exceed the memory's bandwidth. A launch that works in place sees its own results, at most a hundred times. Afterwards the results of the
    /// original launch are put back, so that all later work has the numbers that it would have had without timing.
    pub fn new(inner: D, timed: bool) -> Self {
        let repeats = if timed { REPEATS } else { 0 };
        Ledger { inner, entries: Vec::new(), began: 0, repeats, part: None, direct: timed, graphs: 0 }
    }

    /// Writes down what is asked of `inner`, which counts: each launch is made when it is asked for, as what is replayed as one is not counted
    /// launch by launch.
    pub fn counting(inner: D) -> Self {
        Ledger { direct: true, ..Ledger::new(inner, false) }
    }

    /// Sets the number of repetitions of each timed launch.
    pub fn repeating(self, repeats: u32) -> Self {
        Ledger { repeats: if self.repeats > 0 { repeats.max(1) } else { 0 }, ..self }
    }

    /// The launches of the last piece of work that was asked for as a graph, and was not replayed, and the launches since.
    pub fn last_work(&self) -> &[Entry] {
        &self.entries[self.began.min(self.entries.len())..]
    }

    fn keep(&mut self, entry: Entry, work: impl Fn(&mut D) -> Result<()>) -> Result<()> {
        work(&mut self.inner)?;
        let counts = self.inner.counts();
        let written = || entry.tensors.iter().filter_map(|&(region, written)| written.then_some(region));
        let seconds = if self.repeats > 0 { Some(self.time(written(), work)?) } else { None };
        self.entries.push(Entry { seconds, counts, part: self.part, ..entry });
        Ok(())
    }

    /// The seconds that one of many repetitions of `work` takes. `work` has been done once and writes to `written`, whose contents are put back.
    fn time(&mut self, written: impl Iterator<Item = Region>, work: impl Fn(&mut D) -> Result<()>) -> Result<f64> {
        let Ledger { inner, repeats, graphs, .. } = self;
        let mut kept = Vec::new();
        for region in written {
            let mut bytes = vec![0; region.bytes];
            inner.download(region, &mut bytes)?;
            kept.push((region, bytes));
        }
        // As a graph, since asking takes a host longer than many a launch takes a device.
        *graphs += 1;
        let key = *graphs;
        let replay = |inner: &mut D| -> Result<()> {
            if inner.begin_graph(key)? == Graph::Replayed {
                return Ok(());
            }
            let made = (0..*repeats).try_for_each(|_| work(inner));
            let ended = inner.end_graph(key, made.is_ok());
            made.and(ended)
        };
        // Made once; recorded; and once for the device to be busy with while it is asked for what counts.
        for _ in 0..3 {
            replay(inner)?;
        }
        inner.mark(0)?;
        for _ in 0..REPLAYS {
            replay(inner)?;
        }
        inner.mark(1)?;
        let seconds = inner.elapsed()? / f64::from(REPLAYS * *repeats);
        for (region, bytes) in kept {
            inner.upload(region, &bytes)?;
        }
        Ok(seconds)
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
        let entry = Entry::new("copy", Grid::new(1, 1), vec![(from, false), (to, true)], [0.0; 2]);
        self.keep(entry, |inner| inner.copy(from, to))
    }
    fn launch(&mut self, kernel: &'static Kernel, grid: Grid, args: &[Arg]) -> Result<()> {
        let flops = operations(kernel, args).unwrap_or_default();
        let entry = Entry::new(kernel.name, grid, args.iter().filter_map(Arg::touches).collect(), flops);
        let entry = Entry { cluster: kernel.cluster, ..entry };
        self.keep(entry, |inner| inner.launch(kernel, grid, args))
    }
    fn counts(&self) -> Option<Counts> {
        self.inner.counts()
    }
    fn has_room(&mut self, kernel: &'static Kernel, grid: Grid) -> Result<bool> {
        self.inner.has_room(kernel, grid)
    }
    fn has_gemm(&mut self) -> bool {
        self.inner.has_gemm()
    }
    fn gemm(&mut self, product: Gemm) -> Result<()> {
        let Gemm { m, n, k, a, b, out, .. } = product;
        let flops = [2.0 * m as f64 * n as f64 * k as f64; 2];
        let tensors = vec![(a.region, false), (b.region, false), (out, true)];
        let entry = Entry::new("gemm", Grid::new(1, 1), tensors, flops);
        self.keep(entry, |inner| inner.gemm(product))
    }
    fn begin_graph(&mut self, key: u64) -> Result<Graph> {
        // What is replayed as one cannot be timed launch by launch.
        let made = if self.direct { Graph::Make } else { self.inner.begin_graph(key)? };
        if made == Graph::Make {
            self.began = self.entries.len();
        }
        Ok(made)
    }
    fn end_graph(&mut self, key: u64, good: bool) -> Result<()> {
        if self.direct { Ok(()) } else { self.inner.end_graph(key, good) }
    }
    fn enter(&mut self, part: Option<Part>) {
        self.part = part;
    }
    fn enter_pass(&mut self, pass: Pass) {
        self.part = self.part.map(|part| Part { pass, ..part });
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

/// A device that accepts everything and does nothing. What is downloaded from it is 0.
pub struct Dry(Properties);

impl Dry {
    /// A device with these properties.
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
