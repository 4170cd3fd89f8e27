//! Modules and functions.

use super::codes::{
    Done, INVALID_CLUSTER_SIZE, INVALID_VALUE, LAUNCH_OUT_OF_RESOURCES, NOT_FOUND, NOT_SUPPORTED, UNKNOWN,
};
use super::image::{self, Entry};
use super::state::State;
use super::work::{self, Launch, Op, Taken};
use normscape::runtime::cuda::driver::{Grid, Kernel, Parameter};
use normscape::runtime::cuda::kernels::{ALL, SOURCES};
use normscape::runtime::cuda::signature::{self, Kind};
use std::ffi::c_void;
use std::sync::Arc;

/// A module.
#[derive(Debug)]
pub struct Module {
    /// The context that it was loaded in.
    pub context: usize,
    entries: Vec<Entry>,
}

/// A kernel of a module.
#[derive(Debug)]
pub struct Function {
    /// The context that its module was loaded in.
    pub context: usize,
    module: usize,
    kernel: &'static Kernel,
    taken: Vec<Taken>,
    /// Bytes of shared memory that it declares, and that it may be given at a launch.
    shared: [u32; 2],
}

/// Dynamic and declared shared memory that a kernel may have without asking.
const USUAL_SHARED: u32 = 48 << 10;
/// Attributes of functions, by their numbers in cuda.h.
const MAX_THREADS: i32 = 0;
const SHARED_BYTES: i32 = 1;
const MAX_DYNAMIC_SHARED: i32 = 8;

/// The kinds of a kernel's parameters.
fn taken(kernel: &Kernel) -> Option<Vec<Taken>> {
    let signatures = signature::read(SOURCES[kernel.source].text).ok()?;
    let own = signatures.into_iter().find(|signature| signature.name == kernel.name && !signature.of_t)?;
    let one = |(parameter, kind): (&Parameter, Kind)| match kind {
        Kind::Input(_) => Taken::Tensor { written: false, optional: false },
        Kind::Optional(_) => Taken::Tensor { written: false, optional: true },
        Kind::Output(_) => Taken::Tensor { written: true, optional: false },
        Kind::OptionalOutput(_) => Taken::Tensor { written: true, optional: true },
        Kind::Map => Taken::Map,
        Kind::Scalar(_) | Kind::Struct(_) => {
            Taken::Value(parameter.numbers.last().map_or(0, |number| number.at + number.ty.bytes()))
        }
    };
    let kinds = own.parameters.into_iter().map(|parameter| parameter.kind);
    Some(kernel.parameters.iter().zip(kinds).map(one).collect())
}

impl State {
    /// Loads a module.
    ///
    /// # Safety
    /// As [`image::read`].
    pub unsafe fn load(&mut self, code: *const c_void) -> Done<usize> {
        self.forbidden_while_capturing()?;
        if code.is_null() {
            return self.breach(INVALID_VALUE, "the module's code is null");
        }
        let capability = self.settings.number("capability", 90) as u32;
        // SAFETY: by the caller's promise.
        let (entries, made) = unsafe { (image::read(code, capability)?, image::is_made(code)) };
        if let (false, Some(code)) = (made, self.settings.text("refuse").and_then(|code| code.parse().ok())) {
            return Err(code);
        }
        let (context, handle) = (self.current(), self.handle());
        self.modules.insert(handle, Module { context, entries });
        Ok(handle)
    }

    /// Unloads a module.
    pub fn unload(&mut self, module: usize) -> Done {
        self.forbidden_while_capturing()?;
        self.own("module", self.modules.get(&module).map(|module| module.context))?;
        if self.execs.values().any(|exec| exec.nodes.iter().any(|node| node.op.is_of_module(module))) {
            return self.breach(INVALID_VALUE, "a graph that is still there runs kernels of the module");
        }
        if self.streams.values().any(|stream| stream.queue.iter().any(|op| op.is_of_module(module))) {
            return self.breach(INVALID_VALUE, "a kernel of the module is queued in a stream that was not waited for");
        }
        self.modules.remove(&module);
        self.functions.retain(|_, function| function.module != module);
        Ok(())
    }

    /// Finds a kernel of a module.
    pub fn function(&mut self, module: usize, name: &str) -> Done<usize> {
        self.own("module", self.modules.get(&module).map(|module| module.context))?;
        let entry = self.modules.get(&module).and_then(|module| module.entries.iter().find(|entry| entry.name == name));
        let Some(shared) = entry.map(|entry| entry.shared) else {
            return self.breach(NOT_FOUND, format!("the module has no kernel {name}"));
        };
        let kernel = ALL.iter().find(|kernel| kernel.name == name);
        let Some((kernel, taken)) = kernel.and_then(|kernel| Some((*kernel, taken(kernel)?))) else {
            return self.breach(NOT_FOUND, format!("the module's kernel {name} is none of normscape's"));
        };
        let (context, handle) = (self.current(), self.handle());
        let shared = [shared, USUAL_SHARED.saturating_sub(shared)];
        self.functions.insert(handle, Function { context, module, kernel, taken, shared });
        Ok(handle)
    }

    /// An attribute of a function.
    pub fn attribute(&mut self, function: usize, attribute: i32) -> Done<i32> {
        self.own("function", self.functions.get(&function).map(|function| function.context))?;
        let Some(found) = self.functions.get(&function) else { return Err(UNKNOWN) };
        match attribute {
            MAX_THREADS => Ok(found.kernel.max_threads as i32),
            SHARED_BYTES => Ok(found.shared[0] as i32),
            MAX_DYNAMIC_SHARED => Ok(found.shared[1] as i32),
            _ => self.not_modelled(&format!("attribute {attribute} of functions")),
        }
    }

    /// Sets an attribute of a function.
    pub fn set_attribute(&mut self, function: usize, attribute: i32, value: i32) -> Done {
        self.own("function", self.functions.get(&function).map(|function| function.context))?;
        if attribute != MAX_DYNAMIC_SHARED {
            return self.not_modelled(&format!("setting attribute {attribute} of functions"));
        }
        let most = self.shared_of_block();
        let Some(found) = self.functions.get_mut(&function) else { return Err(UNKNOWN) };
        let declared = found.shared[0];
        match u32::try_from(value) {
            Ok(value) if value + declared <= most => {
                found.shared[1] = value;
                Ok(())
            }
            _ => {
                let problem = format!("{value} bytes beside the {declared} that it declares; a block has {most}");
                self.breach(INVALID_VALUE, problem)
            }
        }
    }

    /// Launches a kernel. Where it `overlaps`, it may begin before what is before it in its stream has ended.
    ///
    /// # Safety
    /// `parameters` points to as many pointers as the kernel has parameters, each to a value of its type.
    pub unsafe fn launch(
        &mut self,
        function: usize,
        blocks: [u32; 3],
        threads: [u32; 3],
        shared: u32,
        stream: usize,
        parameters: *mut *mut c_void,
        overlaps: bool,
    ) -> Done {
        self.own("function", self.functions.get(&function).map(|function| function.context))?;
        let Some(found) = self.functions.get(&function) else { return Err(UNKNOWN) };
        let (kernel, module, [declared, allowed]) = (found.kernel, found.module, found.shared);
        let taken = found.taken.clone();
        let [x, y, z] = threads;
        let name = kernel.name;
        if threads.contains(&0) || u64::from(x) * u64::from(y) * u64::from(z) > 1024 || z > 64 {
            return self.breach(INVALID_VALUE, format!("{name}: a block of {x}×{y}×{z} threads"));
        }
        if [y, z] != [1, 1] {
            return self.not_modelled("blocks of more than one dimension");
        }
        if x > kernel.max_threads {
            let problem = format!("{name}: a block of {x} threads; its launch bounds are {}", kernel.max_threads);
            return self.breach(LAUNCH_OUT_OF_RESOURCES, problem);
        }
        let [columns, rows, layers] = blocks;
        if blocks.contains(&0) || columns > i32::MAX as u32 || rows > 65_535 || layers > 65_535 {
            return self.breach(INVALID_VALUE, format!("{name}: a grid of {columns}×{rows}×{layers} blocks"));
        }
        if !columns.is_multiple_of(kernel.cluster) {
            let problem = format!("{name}: {columns} blocks along x, in clusters of {}", kernel.cluster);
            return self.breach(INVALID_CLUSTER_SIZE, problem);
        }
        if shared > allowed {
            let problem =
                format!("{name}: {shared} bytes of dynamic shared memory beside {declared}; {allowed} are allowed");
            return self.breach(INVALID_VALUE, problem);
        }
        if parameters.is_null() {
            return self.breach(INVALID_VALUE, format!("{name}: no parameters"));
        }
        let mut given = Vec::with_capacity(taken.len());
        for (place, &one) in taken.iter().enumerate() {
            // SAFETY: by the caller's promise.
            match unsafe { work::take(one, (*parameters.add(place)).cast_const().cast()) } {
                Ok(value) => given.push(value),
                Err(code) => {
                    return self.breach(
                        code,
                        format!("{name}: parameter {place} is null, or no tensor map where one is taken"),
                    );
                }
            }
        }
        if overlaps {
            self.may_overlap(stream, kernel)?;
        }
        let grid = Grid { blocks, threads: x, shared };
        self.submit(stream, Op::Launch(Arc::new(Launch { kernel, module, grid, given, overlaps })))
    }

    /// Refuses a launch that may begin before its predecessor has ended, where no manual says that this is in order.
    pub fn may_overlap(&mut self, stream: usize, kernel: &Kernel) -> Done {
        let name = kernel.name;
        if self.settings.number("capability", 90) < 90 {
            return self.breach(NOT_SUPPORTED, format!("{name}: programmatic dependent launch begins with sm_90"));
        }
        if !kernel.waits {
            return self.breach(0, format!("{name} does not wait for its predecessor")).or(Ok(()));
        }
        let Some((recording, before)) = self.last_work(stream) else { return Ok(()) };
        if recording && self.settings.number("version", 13_000) < 12_030 {
            return self.breach(NOT_SUPPORTED, format!("{name}: graphs have programmatic edges since CUDA 12.3"));
        }
        if !matches!(before, Op::Launch(_)) {
            let before = before.name();
            return self.not_modelled(&format!("programmatic dependent launch of {name} behind {before}"));
        }
        Ok(())
    }

    /// How many clusters of a kernel's blocks fit the device at once.
    pub fn clusters(
        &mut self,
        function: usize,
        [columns, ..]: [u32; 3],
        [threads, ..]: [u32; 3],
        shared: u32,
        stream: usize,
    ) -> Done<i32> {
        self.own_stream(stream)?;
        self.own("function", self.functions.get(&function).map(|function| function.context))?;
        let Some(found) = self.functions.get(&function) else { return Err(UNKNOWN) };
        let (cluster, fits) = (found.kernel.cluster, shared <= found.shared[1] && threads <= found.kernel.max_threads);
        let multiprocessors = self.settings.number("multiprocessors", 132);
        let most = multiprocessors / cluster.max(1) as i32;
        if !columns.is_multiple_of(cluster) {
            return self.breach(INVALID_CLUSTER_SIZE, format!("{columns} blocks along x, in clusters of {cluster}"));
        }
        Ok(if fits { self.settings.number("clusters", most) } else { 0 })
    }
}
