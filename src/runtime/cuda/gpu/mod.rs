//! A real GPU, through the CUDA driver: one context, one stream, graphs, and cuBLAS if it is found.
//!
//! - `symbols`: the driver's functions · `api`: its start and its errors · `devices`: the devices and libraries of this machine · `opened`: the
//!   context, stream and events of one · `guards`: the initial contents of its memory, and the bands between tensors · `modules`: kernels, compiled
//!   by the build or at first use · `launches`: how they are launched · `maps`: matrices as bulk copies take them · `cublas`: dense products
//!
//! All work goes to one stream, so it is done in the order in which it is asked for, or as if it were where `launches` lets kernels overlap. The
//! driver's functions are called directly. cudarc's safe layer is not used: it tracks events between streams, of which there is only one here, and its
//! launches are untyped, whereas they are generated here.

mod api;
mod cublas;
mod devices;
mod guards;
mod launches;
mod maps;
mod modules;
mod opened;
mod symbols;

use super::driver::{Arg, Driver, Gemm, Graph, Grid, Hardware, Kernel, Properties, Region, Words, check_grid};
use crate::runtime::tensor::ArenaId;
use crate::{Error, Result};
use api::check;
pub use api::dotted;
use cublas::Cublas;
pub use devices::{Found, count, cublas_path, find, nvrtc};
pub use guards::Start;
use guards::{Bands, FILL};
use launches::Launches;
use modules::Modules;
use opened::Opened;
use std::collections::HashMap;
use std::ffi::c_void;
use symbols::{self as sys, CUgraphExec, CUstream, Code};

/// The most parameters that a kernel may have.
const MOST_PARAMETERS: usize = 32;
/// The most of them that may be tensor maps.
const MOST_MAPS: usize = 4;

/// What is known about a piece of work that may be replayed.
enum Known {
    /// The work has been done once.
    Once,
    /// The work is recorded.
    Recorded(CUgraphExec),
}

/// A GPU.
pub struct Gpu {
    /// The address and size in bytes of every arena.
    arenas: Vec<(u64, usize)>,
    modules: Modules,
    launches: Launches,
    start: Start,
    bands: Bands,
    /// cuBLAS, looked for the first time that it is asked for. `Some(None)` means that there is none that works.
    cublas: Option<Option<Cublas>>,
    cublas_room: u64,
    graphs: HashMap<u64, Known>,
    capturing: bool,
    open: Option<u64>,
    /// It comes last, so that it is let go after everything that belongs to it.
    opened: Opened,
}

impl Gpu {
    /// Opens device `number`, whose memory starts as 0.
    ///
    /// Errors: [`Error::Missing`] if there is no driver or no such device; [`Error::Device`], with the driver's reason, if the driver or the device
    /// is too old or does not open.
    pub fn open(number: u32) -> Result<Gpu> {
        Self::open_with(number, Start::Zero)
    }

    /// The same, with memory whose initial contents are `start`.
    pub fn open_with(number: u32, start: Start) -> Result<Gpu> {
        let version = api::start()?;
        let count = api::devices()?;
        let Some(ordinal) = i32::try_from(number).ok().filter(|&n| n < count) else {
            let looked = format!("there are {count}, numbered from 0");
            return Err(Error::Missing { what: format!("CUDA device {number}"), looked });
        };
        let opened = Opened::new(ordinal)?;
        Ok(Gpu {
            arenas: Vec::new(),
            modules: Modules::new(version),
            launches: Launches::new(opened.properties.capability, version)?,
            start,
            bands: Bands::default(),
            cublas: None,
            cublas_room: 0,
            graphs: HashMap::new(),
            capturing: false,
            open: None,
            opened,
        })
    }

    fn check(&self, action: &str, code: Code) -> Result<()> {
        check(self.name(), action, code)
    }

    fn name(&self) -> &str {
        &self.opened.properties.name
    }

    /// Makes this device's context the thread's current one, as every call of the driver needs it.
    fn enter_context(&self) -> Result<()> {
        self.check("use its context", self.opened.make_current())
    }

    /// The stream, for work that is no kernel of ours.
    fn stream(&mut self) -> CUstream {
        self.launches.interrupt();
        self.opened.stream
    }

    fn address(&self, region: Region) -> Result<u64> {
        match self.arenas.get(region.arena.0 as usize) {
            Some(&(base, bytes)) if region.offset + region.bytes <= bytes => Ok(base + region.offset as u64),
            _ => Err(Error::operator("gpu", "a region inside its arena", format!("{region:?}"))),
        }
    }

    /// Allocates memory with the initial contents that were chosen.
    fn take(&mut self, bytes: usize) -> Result<u64> {
        self.enter_context()?;
        let (stream, mut address) = (self.stream(), 0);
        // SAFETY: the context is current, and pointers are valid.
        unsafe {
            let code = sys::cuMemAlloc_v2(&mut address, bytes.max(256));
            if code == Code::OUT_OF_MEMORY {
                let (mut free, mut total) = (0, 0);
                let _ = sys::cuMemGetInfo_v2(&mut free, &mut total);
                let problem = format!(
                    "{} MiB more are needed, {} of {} MiB are free",
                    bytes.div_ceil(1 << 20),
                    free >> 20,
                    total >> 20
                );
                return Err(Error::input("device memory", problem, "a smaller --batch, --width or --dim needs less"));
            }
            self.check("allocate memory", code)?;
            let fill = match self.start {
                Start::Zero => Some(0),
                Start::Guarded => Some(FILL),
                Start::Bare => None,
            };
            if let Some(fill) = fill.filter(|_| bytes > 0) {
                let cleared = sys::cuMemsetD8Async(address, fill, bytes, stream);
                if cleared != Code::SUCCESS {
                    let _ = sys::cuMemFree_v2(address);
                }
                self.check("clear memory", cleared)?;
            }
        }
        Ok(address)
    }

    /// Copies device memory to the host, and waits for the copy.
    fn fetch(&mut self, from: u64, bytes: &mut [u8]) -> Result<()> {
        self.enter_context()?;
        let stream = self.stream();
        // SAFETY: the caller's address has so many bytes, and the stream is waited for before the slice is given back.
        let code = unsafe { sys::cuMemcpyDtoHAsync_v2(bytes.as_mut_ptr().cast(), from, bytes.len(), stream) };
        self.check("download", code)?;
        self.synchronize()
    }

    /// Returns an error if anything was written between tensors.
    fn look_at_bands(&mut self) -> Result<()> {
        let mut found = vec![0; self.bands.longest()];
        for (arena, band) in self.bands.all() {
            let (base, _) = self.arenas[arena];
            let bytes = &mut found[..band.len()];
            self.fetch(base + band.start as u64, bytes)?;
            if let Some(at) = bytes.iter().position(|&byte| byte != FILL) {
                let what = format!("byte {} of arena {arena} was written, which is no tensor's", band.start + at);
                return Err(Error::device(self.name(), "run kernels", what));
            }
        }
        Ok(())
    }

    /// cuBLAS, which the first call opens.
    fn cublas(&mut self) -> Result<Option<&Cublas>> {
        if self.cublas.is_none() {
            // What does not start is as good as missing: the hand-written kernels do every product.
            let room = self.take(cublas::WORKSPACE)?;
            let opened = Cublas::open(self.opened.stream.cast(), room as *mut c_void).ok();
            if opened.is_some() {
                self.cublas_room = room;
            } else {
                // SAFETY: the memory is this device's, whose context is current, and nobody else knows of it.
                self.check("free memory", unsafe { sys::cuMemFree_v2(room) })?;
            }
            self.cublas = Some(opened);
        }
        Ok(self.cublas.as_ref().and_then(Option::as_ref))
    }

    fn refuse_in_graph(&self, action: &str) -> Result<()> {
        match self.open {
            Some(key) => Err(Error::device(self.name(), action, format!("graph {key} has not ended"))),
            None => Ok(()),
        }
    }

    fn replay(&mut self, graph: CUgraphExec) -> Result<()> {
        let stream = self.stream();
        // SAFETY: the graph and the stream are this device's.
        self.check("replay a graph", unsafe { sys::cuGraphLaunch(graph, stream) })
    }
}

impl Driver for Gpu {
    fn properties(&self) -> &Properties {
        &self.opened.properties
    }

    fn hardware(&self) -> Option<Hardware> {
        let architecture = format!("sm_{}", self.opened.properties.capability);
        Some(Hardware { card: self.opened.card.clone(), architecture })
    }

    fn allocate(&mut self, arena: ArenaId, bytes: usize) -> Result<()> {
        self.refuse_in_graph("allocate memory")?;
        let address = self.take(bytes)?;
        let place = arena.0 as usize;
        if self.arenas.len() <= place {
            self.arenas.resize(place + 1, (0, 0));
        }
        self.arenas[place] = (address, bytes);
        Ok(())
    }

    fn guarded(&self) -> bool {
        self.start == Start::Guarded
    }

    fn guard(&mut self, arena: ArenaId, bands: &[std::ops::Range<usize>]) -> Result<()> {
        self.bands.set(arena, bands);
        Ok(())
    }

    fn upload(&mut self, to: Region, bytes: &[u8]) -> Result<()> {
        self.refuse_in_graph("upload")?;
        if bytes.is_empty() {
            return Ok(());
        }
        let to = self.address(to)?;
        self.enter_context()?;
        let stream = self.stream();
        // SAFETY: the region is of this length, and the stream is waited for: only then may the host's memory be used again.
        let code = unsafe { sys::cuMemcpyHtoDAsync_v2(to, bytes.as_ptr().cast(), bytes.len(), stream) };
        self.check("upload", code)?;
        self.synchronize()
    }

    fn download(&mut self, from: Region, bytes: &mut [u8]) -> Result<()> {
        self.refuse_in_graph("download")?;
        if bytes.is_empty() {
            return Ok(());
        }
        let from = self.address(from)?;
        self.fetch(from, bytes)?;
        self.look_at_bands()
    }

    fn copy(&mut self, from: Region, to: Region) -> Result<()> {
        if from.bytes == 0 {
            return Ok(());
        }
        let (source, target) = (self.address(from)?, self.address(to)?);
        self.enter_context()?;
        let stream = self.stream();
        // SAFETY: both regions lie in their arenas.
        let code = unsafe { sys::cuMemcpyDtoDAsync_v2(target, source, from.bytes.min(to.bytes), stream) };
        self.check("copy", code)
    }

    fn launch(&mut self, kernel: &'static Kernel, grid: Grid, args: &[Arg]) -> Result<()> {
        check_grid(kernel, grid, &self.opened.properties)?;
        if args.len() > MOST_PARAMETERS || args.len() != kernel.parameters.len() {
            let expected = format!("{} parameters", kernel.parameters.len());
            return Err(Error::operator(kernel.name, expected, args.len().to_string()));
        }
        self.enter_context()?;
        let Properties { name, capability, shared, .. } = &self.opened.properties;
        let function = self.modules.function(name, *capability, *shared, kernel)?;
        let mut values = [Words([0; 32]); MOST_PARAMETERS];
        let mut tensor_maps = [sys::CUtensorMap { opaque: [0; 16] }; MOST_MAPS];
        let mut maps = tensor_maps.iter_mut();
        let mut pointers = [std::ptr::null_mut::<c_void>(); MOST_PARAMETERS];
        for ((pointer, value), arg) in pointers.iter_mut().zip(&mut values).zip(args) {
            *pointer = std::ptr::from_mut(value).cast();
            match *arg {
                Arg::Null => {}
                Arg::Value(words) => *value = words,
                Arg::Tensor { region, .. } => value.put(0, &self.address(region)?),
                Arg::Map(of) => {
                    let map = maps.next().ok_or_else(|| {
                        Error::operator(kernel.name, format!("at most {MOST_MAPS} tensor maps"), "more".to_owned())
                    })?;
                    *map = maps::encode(name, kernel.name, &of, self.address(of.region)?)?;
                    *pointer = std::ptr::from_mut(map).cast();
                }
            }
        }
        // SAFETY: the function is this kernel's, and the values are those of its parameters, in order: generated code makes them.
        let code = unsafe { self.launches.launch(kernel, function, grid, self.opened.stream, pointers.as_mut_ptr()) };
        check(self.name(), &format!("launch kernel {}", kernel.name), code)
    }

    fn has_room(&mut self, kernel: &'static Kernel, grid: Grid) -> Result<bool> {
        self.enter_context()?;
        let Properties { name, capability, shared, .. } = &self.opened.properties;
        let function = self.modules.function(name, *capability, *shared, kernel)?;
        let mut clusters = 0;
        // SAFETY: the function is this device's, and the pointers are valid.
        let code = unsafe {
            let config = launches::configuration(grid, self.opened.stream);
            sys::cuOccupancyMaxActiveClusters(&mut clusters, function, &config)
        };
        self.check(&format!("ask for the room of kernel {}", kernel.name), code)?;
        Ok(clusters > 0)
    }

    fn has_gemm(&mut self) -> bool {
        matches!(self.cublas(), Ok(Some(_)))
    }

    fn gemm(&mut self, product: Gemm) -> Result<()> {
        let [a, b, out] = [product.a.region, product.b.region, product.out].map(|region| self.address(region));
        let (a, b, out) = (a?, b?, out?);
        self.enter_context()?;
        self.launches.interrupt();
        match self.cublas()? {
            Some(cublas) => cublas.gemm(&product, a, b, out),
            None => Err(Error::Missing { what: "cuBLAS".into(), looked: "nothing that starts was found".into() }),
        }
    }

    fn begin_graph(&mut self, key: u64) -> Result<Graph> {
        self.refuse_in_graph("begin a graph")?;
        self.enter_context()?;
        match self.graphs.get(&key) {
            Some(&Known::Recorded(graph)) => return self.replay(graph).map(|()| Graph::Replayed),
            // The first time is made directly: it loads modules and cuBLAS, which nothing may do while work is recorded.
            None => {}
            Some(Known::Once) => {
                let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
                let stream = self.stream();
                // SAFETY: the stream is this device's, and nothing else is being recorded.
                self.check("record a graph", unsafe { sys::cuStreamBeginCapture_v2(stream, mode) })?;
                self.capturing = true;
            }
        }
        self.open = Some(key);
        Ok(Graph::Make)
    }

    fn end_graph(&mut self, key: u64, good: bool) -> Result<()> {
        self.open = None;
        if !std::mem::take(&mut self.capturing) {
            if good {
                self.graphs.insert(key, Known::Once);
            }
            return Ok(());
        }
        let mut graph = std::ptr::null_mut();
        let (entered, stream) = (self.enter_context(), self.stream());
        // SAFETY: recording was begun on this stream. Where something failed it is ended all the same, and what it gave is let go.
        let ended = unsafe { sys::cuStreamEndCapture(stream, &mut graph) };
        if !good {
            self.graphs.remove(&key);
            // SAFETY: the graph, if there is one, is ours.
            unsafe { (!graph.is_null()).then(|| sys::cuGraphDestroy(graph)) };
            return Ok(());
        }
        entered?;
        self.check("record a graph", ended)?;
        let mut ready = std::ptr::null_mut();
        // SAFETY: the graph is ours; what it is made into does not need it any more.
        unsafe {
            let made = sys::cuGraphInstantiateWithFlags(&mut ready, graph, 0);
            let _ = sys::cuGraphDestroy(graph);
            self.check("make a graph", made)?;
        }
        self.graphs.insert(key, Known::Recorded(ready));
        self.replay(ready)
    }

    fn synchronize(&mut self) -> Result<()> {
        self.enter_context()?;
        // SAFETY: the stream is this device's.
        self.check("wait for the device", unsafe { sys::cuStreamSynchronize(self.opened.stream) })
    }

    fn mark(&mut self, which: usize) -> Result<()> {
        self.enter_context()?;
        let (event, stream) = (self.opened.events[which.min(1)], self.stream());
        // SAFETY: event and stream are this device's.
        self.check("record an event", unsafe { sys::cuEventRecord(event, stream) })
    }

    fn elapsed(&mut self) -> Result<f64> {
        let mut milliseconds = 0.0f32;
        self.enter_context()?;
        // SAFETY: the events are this device's, and the pointer is valid.
        unsafe {
            self.check("wait for an event", sys::cuEventSynchronize(self.opened.events[1]))?;
            let told = sys::cuEventElapsedTime(&mut milliseconds, self.opened.events[0], self.opened.events[1]);
            self.check("read an event", told)?;
        }
        Ok(f64::from(milliseconds) * 1e-3)
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        let _ = self.synchronize();
        self.cublas = None;
        // SAFETY: everything is this device's, was made once, and is used no more. What fails here has no one to tell it to.
        unsafe {
            for known in self.graphs.values() {
                if let Known::Recorded(graph) = known {
                    let _ = sys::cuGraphExecDestroy(*graph);
                }
            }
            for (address, _) in
                self.arenas.drain(..).chain([(self.cublas_room, 0)]).filter(|&(address, _)| address != 0)
            {
                let _ = sys::cuMemFree_v2(address);
            }
            self.modules.unload();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_device_one_line_says_what_was_looked_for() {
        // On a machine with a GPU there is nothing to see here.
        let Err(error) = find() else { return };
        let opened = Gpu::open(0).err().map(|e| e.to_string());
        assert_eq!((error.exit_code(), opened.as_deref()), (3, Some(error.to_string().as_str())));
        assert!(error.to_string().contains("CUDA") && !error.to_string().contains('\n'), "{error}");
    }
}
