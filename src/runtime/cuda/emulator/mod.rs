//! A CUDA device emulated on the host: the C++ compiler compiles the kernels' text, each CUDA thread is a coroutine, and every memory access is
//! checked.
//!
//! It serves machines without a GPU, and finds mistakes that a GPU passes over in silence: a barrier that not all threads reach, a race in shared
//! memory, a read of memory that nobody wrote, an access outside the tensors that the kernel was given, an access to what another block wrote and no fence
//! and ticket order. Each is an [`Error::Kernel`] that names
//! kernel, block and thread.
//!
//! - `compile`: kernels as host code (`host.h` declares CUDA's built-ins, `hooks.cpp` sees accesses), cached
//! - `cluster`: threads as coroutines, and their schedule · `calls`: what they ask for · `shadow`: who touched shared memory
//! - `lanes`: which accesses of a warp's lanes are one request, and their counters · `tally`: these of all blocks · `counted`: calls that tell these
//! - `global`: who touched global memory, and what orders it
//! - `engine`: bulk copies of a `matrix`, counted by `mbarrier` · `named`: barriers of some warps · `warpgroup`: products of warpgroups, from operands that descriptors name (`operand`) · `clocks`: what threads
//!   know of each other's work · `layout`: how a cluster's memory is numbered · `hopper`: the calls for these
//! - `gemm`: the dense product · `graph`: recorded work · `abi`: the layouts that both sides agree on

mod abi;
mod calls;
mod clocks;
mod cluster;
mod compile;
mod counted;
mod engine;
mod gemm;
mod global;
mod graph;
mod hopper;
mod lanes;
mod layout;
mod matrix;
mod mbarrier;
mod named;
mod operand;
mod shadow;
mod tally;
mod warpgroup;

pub use compile::{Build, compiler_version};

use super::counts::Counts;
use super::driver::{Arg, Driver, Gemm, Graph, Grid, Kernel, Properties, Region, TensorMap, Words, check_grid};
use super::kernels;
use crate::files::limits;
use crate::runtime::memory::LARGE;
use crate::runtime::tensor::ArenaId;
use crate::{Error, Result};
use cluster::{BlockRunner, Launch, Window, shuffle};
use global::Global;
use graph::{Command, Recording};
use matrix::Matrix;
use rayon::prelude::*;
use std::cell::RefCell;
use std::ffi::c_void;
use std::time::Instant;
use tally::Tally;

/// What the emulator checks, and in which order threads run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How kernels are compiled.
    pub build: Build,
    /// A seed that shuffles the order in which threads run, and that of recorded work as far as what it touches leaves it open.
    pub order: Option<u64>,
    /// Whether new memory is NaN rather than 0; for tests.
    pub poison: bool,
    /// Whether the device has what sm_90a alone has, so that products are made of the kernels for it.
    pub hopper: bool,
    /// What the device says that it has of them: grids of some kernels have as many blocks.
    pub multiprocessors: u32,
}

impl Options {
    /// The options that `NORMSCAPE_EMULATOR` names: `watched` (or nothing), `plain` or `sanitized`. Errors: another word.
    pub fn from_environment() -> Result<Self> {
        let build = match std::env::var("NORMSCAPE_EMULATOR").as_deref() {
            Err(_) | Ok("" | "watched") => Build::Watched,
            Ok("plain") => Build::Plain,
            Ok("sanitized") => Build::Sanitized,
            Ok(other) => {
                let problem = format!("is {}", other.escape_debug());
                return Err(Error::input("NORMSCAPE_EMULATOR", problem, "there are watched, plain and sanitized"));
            }
        };
        Ok(Options { build, ..Options::default() })
    }
}

impl Default for Options {
    fn default() -> Self {
        Options { build: Build::Watched, order: None, poison: false, hopper: true, multiprocessors: 8 }
    }
}

/// The emulated device.
pub struct Emulator {
    properties: Properties,
    arenas: Vec<Vec<Line>>,
    options: Options,
    source: Option<(&'static str, &'static str)>,
    graphs: graph::Graphs,
    /// How often recorded work was done.
    replays: u64,
    marks: [Instant; 2],
    counts: Option<Counts>,
    sample: Option<u64>,
}

/// 256 bytes of memory, aligned as a GPU's allocations are: sectors are then the same as there.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(256))]
struct Line([u8; 256]);

impl Emulator {
    /// A device with the shared memory of sm_90. Errors: there is no C++ compiler.
    pub fn new(options: Options) -> Result<Self> {
        let Some(version) = compiler_version() else {
            return Err(Error::Missing {
                what: "a C++ compiler, which the emulator compiles kernels with,".into(),
                looked: "NORMSCAPE_CXX, CXX, c++ and g++ were tried".into(),
            });
        };
        let name = format!("emulator ({version})");
        let Options { multiprocessors, hopper, .. } = options;
        let properties = Properties { name, capability: 90, multiprocessors, shared: 227 << 10, hopper };
        Ok(Emulator {
            properties,
            arenas: Vec::new(),
            options,
            source: None,
            graphs: graph::Graphs::default(),
            replays: 0,
            marks: [Instant::now(); 2],
            counts: None,
            sample: None,
        })
    }

    /// For tests: takes the kernels' text from here, not from the program's own files.
    pub fn with_source(mut self, name: &'static str, text: &'static str) -> Self {
        self.source = Some((name, text));
        self
    }

    /// Of each launch only so many clusters run (blocks, where there are no clusters), spread over the grid; counts are scaled to all of it.
    ///
    /// What a launch writes is then written in part: numbers are worthless, and a kernel whose control flow depends on them counts another flow.
    pub fn sampling(mut self, clusters: u64) -> Self {
        self.sample = Some(clusters.max(1));
        self
    }

    fn address(&self, region: Region) -> Result<*mut u8> {
        let arena = self.arenas.get(region.arena.0 as usize);
        let inside = |arena: &&Vec<Line>| region.offset + region.bytes <= arena.len() * size_of::<Line>();
        match arena.filter(inside) {
            // A launch writes through this while `self` is borrowed mutably.
            Some(arena) => Ok(arena.as_ptr().cast::<u8>().cast_mut().wrapping_add(region.offset)),
            None => Err(Error::operator("emulator", "a region inside its arena", format!("{region:?}"))),
        }
    }
}

impl Emulator {
    fn play(&mut self, recording: &Recording) -> Result<()> {
        self.replays += 1;
        let seed = self.options.order.map(|seed| seed.wrapping_add(self.replays));
        recording.commands(seed).try_for_each(|command| match command {
            Command::Launch(kernel, grid, args) => self.launch(kernel, *grid, args),
            Command::Copy(from, to) => self.copy(*from, *to),
            Command::Gemm(product) => self.gemm(*product),
        })
    }
}

/// Which of `all` clusters the `number`-th of `ran` is: one in each of `ran` equal stretches of the grid, at a place in it that goes by the golden
/// ratio, so that no period of the grid (a map's rows, a layer's taps) meets always the same.
fn sampled(number: u64, ran: u64, all: u64) -> u64 {
    if ran == all {
        return number;
    }
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let within = u128::from((number + 1).wrapping_mul(GOLDEN));
    let place = (u128::from(number) << 64) + within;
    ((place * u128::from(all) / u128::from(ran)) >> 64) as u64
}

/// A matrix that starts at `address`, as kernels of the emulator are given it.
fn matrix(of: &TensorMap, address: usize) -> Matrix {
    Matrix {
        kind: Matrix::KIND,
        address: address as u64,
        element: of.element() as u64,
        extents: of.extents.map(|n| n as u64),
        pitch: of.pitch() as u64,
        tile: of.tile.map(|n| n as u64),
        rest: [0; 8],
    }
}

thread_local! {
    static RUNNER: RefCell<Option<BlockRunner>> = const { RefCell::new(None) };
}

impl Driver for Emulator {
    fn properties(&self) -> &Properties {
        &self.properties
    }

    fn allocate(&mut self, arena: ArenaId, bytes: usize) -> Result<()> {
        let place = arena.0 as usize;
        if self.arenas.len() <= place {
            self.arenas.resize_with(place + 1, Vec::new);
        }
        let lines = bytes.div_ceil(size_of::<Line>());
        let remedy = "a smaller --batch, --width or --dim needs less";
        if bytes > LARGE {
            limits::require(bytes as u128, remedy)?;
        }
        let mut memory: Vec<Line> = Vec::new();
        memory
            .try_reserve_exact(lines)
            .map_err(|_| Error::input("memory", format!("{} MiB more are needed", bytes >> 20), remedy))?;
        memory.resize(lines, Line([if self.options.poison { u8::MAX } else { 0 }; 256]));
        self.arenas[place] = memory;
        Ok(())
    }

    fn guarded(&self) -> bool {
        true
    }

    fn guard(&mut self, arena: ArenaId, bands: &[std::ops::Range<usize>]) -> Result<()> {
        if self.options.build == Build::Sanitized {
            for band in bands {
                let region = Region { arena, offset: band.start, bytes: band.len() };
                compile::poison(self.address(region)?, region.bytes);
            }
        }
        Ok(())
    }

    fn upload(&mut self, to: Region, bytes: &[u8]) -> Result<()> {
        self.graphs.refuse("upload")?;
        let to = self.address(to)?;
        // SAFETY: the region lies in its arena, is of this length by contract, and host slices never overlap arenas.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    fn download(&mut self, from: Region, bytes: &mut [u8]) -> Result<()> {
        self.graphs.refuse("download")?;
        let from = self.address(from)?;
        // SAFETY: as in `upload`.
        unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn copy(&mut self, from: Region, to: Region) -> Result<()> {
        self.counts = None;
        if self.graphs.records(|| Command::Copy(from, to)) {
            return Ok(());
        }
        let (source, target) = (self.address(from)?, self.address(to)?);
        // SAFETY: both lie in their arenas, have one length, and do not overlap by contract.
        unsafe { std::ptr::copy_nonoverlapping(source, target, from.bytes.min(to.bytes)) };
        Ok(())
    }

    fn launch(&mut self, kernel: &'static Kernel, grid: Grid, args: &[Arg]) -> Result<()> {
        self.counts = None;
        check_grid(kernel, grid, &self.properties)?;
        if self.graphs.records(|| Command::Launch(kernel, grid, args.to_vec())) {
            return Ok(());
        }
        let (name, text) = match self.source {
            Some(source) => source,
            None => (kernels::SOURCES[kernel.source].name, kernels::SOURCES[kernel.source].text),
        };
        let module = compile::module(name, text, self.options.build)?;
        let (mut values, mut windows) = (vec![Words([0; 32]); args.len()], Vec::new());
        let mut maps: Vec<(usize, Box<Matrix>)> = Vec::new();
        for (i, ((value, arg), parameter)) in values.iter_mut().zip(args).zip(kernel.parameters).enumerate() {
            match *arg {
                Arg::Null => {}
                Arg::Value(words) => *value = words,
                Arg::Tensor { region, written } => {
                    let start = self.address(region)? as usize;
                    windows.push(Window { start, bytes: region.bytes, written, name: parameter.name });
                    value.put(0, &start);
                }
                Arg::Map(of) => {
                    of.check(kernel.name)?;
                    let start = self.address(of.region)? as usize;
                    windows.push(Window { start, bytes: of.region.bytes, written: false, name: parameter.name });
                    maps.push((i, Box::new(matrix(&of, start))));
                }
            }
        }
        // An output may be split or reread: what one parameter may write, no other parameter's window forbids.
        windows.sort_by_key(|window| !window.written);
        let mut values: Vec<*const c_void> = values.iter().map(|value| std::ptr::from_ref(value).cast()).collect();
        maps.iter().for_each(|(i, map)| values[*i] = std::ptr::from_ref::<Matrix>(map).cast());
        let tally = (self.options.build == Build::Counted).then(Tally::default);
        // Other builds do not tell of their accesses.
        let watched = matches!(self.options.build, Build::Watched | Build::Counted);
        let written = windows.iter().filter(|window| window.written && watched);
        let global = Global::new(written.map(|window| window.start..window.start + window.bytes));
        let launch = Launch {
            kernel,
            grid,
            entry: module.entry(kernel.name)?,
            slot: module.slot_function(),
            async_calls: &hopper::CALLS,
            watched: matches!(self.options.build, Build::Watched | Build::Counted),
            calls: if tally.is_some() { &counted::CALLS } else { &calls::CALLS },
            values: &values,
            windows: &windows,
            constants: module.image(),
            shared: self.properties.shared as usize,
            order: self.options.order,
            tally: tally.as_ref(),
            global: &global,
        };
        let [x, y, z] = grid.blocks.map(u64::from);
        let clusters = x * y * z / u64::from(kernel.cluster);
        // Any order of blocks must do.
        let order = self.options.order.map(|seed| {
            let mut order: Vec<u32> = (0..clusters as u32).collect();
            shuffle(&mut order, seed, u32::MAX);
            order
        });
        let shuffled = |number: u64| order.as_ref().map_or(number, |order| u64::from(order[number as usize]));
        let ran = self.sample.map_or(clusters, |most| most.min(clusters));
        let run = |number: u64| {
            let number = sampled(number, ran, clusters);
            RUNNER.with_borrow_mut(|runner| {
                runner.get_or_insert_with(|| BlockRunner::new(kernel)).run(&launch, shuffled(number))
            })
        };
        // Of several errors the first block's is told, whichever worker was first.
        let found = (0..ran).into_par_iter().map(|n| run(n).err().map(|e| (n, e))).reduce(
            || None,
            |a, b| match (a, b) {
                (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
                (a, b) => a.or(b),
            },
        );
        // Where only a sample of the blocks runs, nobody comes last.
        let left = global.end(found.is_some() || ran != clusters);
        if let Some((_, error)) = found {
            return Err(error);
        }
        left.map_err(|(address, now, before)| {
            let window = windows.iter().find(|w| (w.start..w.start + w.bytes).contains(&address));
            let (name, at) = window.map_or(("a tensor", 0), |w| (w.name, address - w.start));
            let problem = format!("has left {now} at byte {at} of {name}, where atomic operations found {before}");
            Error::Kernel { kernel: kernel.name, block: [0; 3], thread: 0, problem }
        })?;
        let most = |written: bool| windows.iter().filter(|w| w.written || !written).map(|w| w.bytes as u64).sum();
        self.counts = tally.map(|tally| {
            let counts = tally.counts();
            if ran == clusters { counts } else { counts.scaled([clusters, ran], [most(false), most(true)]) }
        });
        Ok(())
    }

    fn counts(&self) -> Option<Counts> {
        self.counts
    }

    fn gemm(&mut self, product: Gemm) -> Result<()> {
        self.counts = None;
        if self.graphs.records(|| Command::Gemm(product)) {
            return Ok(());
        }
        let [a, b, out] = [product.a.region, product.b.region, product.out].map(|region| self.address(region));
        gemm::run(&product, a?, b?, out?);
        Ok(())
    }

    fn begin_graph(&mut self, key: u64) -> Result<Graph> {
        let Some(recording) = self.graphs.begin(key)? else { return Ok(Graph::Make) };
        self.play(&recording).map(|()| Graph::Replayed)
    }

    fn end_graph(&mut self, key: u64, good: bool) -> Result<()> {
        match self.graphs.end(key, good) {
            Some(recording) => self.play(&recording),
            None => Ok(()),
        }
    }

    fn synchronize(&mut self) -> Result<()> {
        Ok(())
    }

    fn mark(&mut self, which: usize) -> Result<()> {
        self.marks[which.min(1)] = Instant::now();
        Ok(())
    }

    fn elapsed(&mut self) -> Result<f64> {
        Ok(self.marks[1].saturating_duration_since(self.marks[0]).as_secs_f64())
    }
}
