//! Everything that is alive in the driver, the rules that every call keeps, and what is reported.

use super::codes::{self, Done};
use super::contexts::Context;
use super::graphs::{Exec, Graph};
use super::modules::{Function, Module};
use super::settings::Settings;
use super::streams::{Event, Stream};
use super::work::Op;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A handle of cuBLAS.
#[derive(Debug)]
pub struct Blas {
    /// The context that it was made in.
    pub context: usize,
    /// The stream of its work; 0 before it was given one.
    pub stream: usize,
    /// Whether it was given memory to work in. Without it, it would allocate some.
    pub workspace: bool,
}

/// What a device holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Device {
    /// How often its primary context was retained and not released.
    pub retained: u32,
    /// The context's handle; 0 where there is none.
    pub context: usize,
}

/// The driver.
pub struct State {
    /// What is asked of it.
    pub settings: Settings,
    /// Whether `cuInit` was called.
    pub started: bool,
    /// All devices, once the driver has been started.
    pub devices: Vec<Device>,
    // What is alive, by its handle.
    pub contexts: BTreeMap<usize, Context>,
    pub streams: BTreeMap<usize, Stream>,
    pub events: BTreeMap<usize, Event>,
    pub modules: BTreeMap<usize, Module>,
    pub functions: BTreeMap<usize, Function>,
    pub graphs: BTreeMap<usize, Graph>,
    pub execs: BTreeMap<usize, Exec>,
    pub blas: BTreeMap<usize, Blas>,
    /// The function that is being called.
    now: &'static str,
    calls: HashMap<&'static str, u64>,
    next: usize,
    /// How many breaches were found.
    pub breaches: u64,
    /// The lines of the report.
    pub lines: Vec<String>,
    // How many kernels, kernels that might overlap their predecessor, products of cuBLAS and graphs were run.
    pub launches: u64,
    pub overlapping: u64,
    pub products: u64,
    pub replays: u64,
}

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it may be called at any time.
    Nothing,
    /// The driver, started.
    Started,
    /// A current context.
    Current,
    /// The driver, started; it lets a context go.
    Releases,
    /// A current context, but it lets something go, which a lost context does not keep either.
    LetsGo,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

thread_local! {
    /// The handle of the context that is current on this thread; 0 where none is.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

unsafe extern "C" {
    fn atexit(work: extern "C" fn()) -> std::ffi::c_int;
    fn _exit(code: std::ffi::c_int) -> !;
}

/// Reports what is left when the process ends.
extern "C" fn at_end() {
    let mut state = lock();
    let Some(state) = state.as_mut() else { return };
    let clean = state.report();
    if state.settings.number("strict", 0) != 0 && !clean {
        // SAFETY: it ends the process at once; nothing is buffered here.
        unsafe { _exit(77) }
    }
}

/// The driver's state. A call that panicked ends the process, so that none is left half done.
fn lock() -> MutexGuard<'static, Option<State>> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries out a call of the function `name`: counts it, lets it fail where the environment asks for that, and checks what it needs.
pub fn call(name: &'static str, needs: Needs, work: impl FnOnce(&mut State) -> Done) -> u32 {
    let mut state = lock();
    let state = state.get_or_insert_with(|| {
        // SAFETY: the library is never unloaded: normscape keeps the driver for the life of the process.
        unsafe { atexit(at_end) };
        State::new(Settings::from_environment())
    });
    state.now = name;
    if let Some(code) = state.fault(name) {
        if [Needs::LetsGo, Needs::Releases].contains(&needs) {
            let _ = state.check(needs).and_then(|()| work(state));
        }
        state.failed(code);
        return code;
    }
    let needed = state.check(needs);
    let done = match needed {
        // What belonged to a lost context is gone with it, although the call fails.
        Err(code) if needs == Needs::LetsGo && state.lost() == Some(code) => work(state).and(Err(code)),
        needed => needed.and_then(|()| work(state)),
    };
    done.err().unwrap_or(0)
}

/// Looks at the driver's state from outside a call, for tests; a new one with these settings takes its place.
#[cfg(test)]
pub fn fresh(words: &str) {
    CURRENT.set(0);
    let mut state = lock();
    let next = state.as_ref().map_or(0, |state| state.next);
    *state = Some(State { next, ..State::new(Settings::of(words, None)) });
}

/// Runs `work` on the driver's state, for tests.
#[cfg(test)]
pub fn look<T>(work: impl FnOnce(&mut State) -> T) -> T {
    work(lock().as_mut().expect("a test begins with a fresh state"))
}

impl State {
    fn new(settings: Settings) -> State {
        State {
            settings,
            started: false,
            devices: Vec::new(),
            contexts: BTreeMap::new(),
            streams: BTreeMap::new(),
            events: BTreeMap::new(),
            modules: BTreeMap::new(),
            functions: BTreeMap::new(),
            graphs: BTreeMap::new(),
            execs: BTreeMap::new(),
            blas: BTreeMap::new(),
            now: "",
            calls: HashMap::new(),
            next: 0,
            breaches: 0,
            lines: Vec::new(),
            launches: 0,
            overlapping: 0,
            products: 0,
            replays: 0,
        }
    }

    /// Counts a call of `name`, and gives the code that it must fail with.
    fn fault(&mut self, name: &'static str) -> Option<u32> {
        let only = self.settings.number("device", -1);
        let there = usize::try_from(only).ok().and_then(|device| self.devices.get(device));
        if only >= 0 && there.is_none_or(|device| device.context == 0 || device.context != CURRENT.get()) {
            return None;
        }
        let number = self.calls.entry(name).or_default();
        *number += 1;
        self.settings.fault(name, *number)
    }

    /// A handle that nothing has or had.
    pub fn handle(&mut self) -> usize {
        self.next += 1;
        0x5A00_0000 + 16 * self.next
    }

    /// Writes a line of the report.
    pub fn note(&mut self, line: String) {
        let open = |path| std::fs::OpenOptions::new().create(true).append(true).open(path);
        match self.settings.log.as_ref().and_then(|path| open(path).ok()) {
            Some(mut file) => drop(file.write_all(format!("{line}\n").as_bytes())),
            None if cfg!(test) => {}
            None => eprintln!("libcuda stand-in: {line}"),
        }
        self.lines.push(line);
    }

    /// Reports a breach of the driver's contract, and gives the code back.
    pub fn breach<T>(&mut self, code: u32, problem: impl Display) -> Done<T> {
        self.breaches += 1;
        let name = codes::words(code).map_or("", |(name, _)| name.trim_end_matches('\0'));
        self.note(format!("breach: {}: {problem} ({code} {name})", self.now));
        Err(code)
    }

    /// Reports something that real CUDA would do and the stand-in does not.
    pub fn not_modelled<T>(&mut self, what: &str) -> Done<T> {
        self.breach(codes::NOT_SUPPORTED, format!("the stand-in does not model {what}"))
    }

    /// The handle of the context that is current on this thread; 0 where none is.
    pub fn current(&self) -> usize {
        CURRENT.get()
    }

    /// Makes a context current on this thread; 0 for none.
    pub fn set_current(&mut self, context: usize) -> Done {
        if context != 0 && !self.contexts.contains_key(&context) {
            return self.breach(codes::INVALID_CONTEXT, "there is no such context");
        }
        CURRENT.set(context);
        Ok(())
    }

    /// The current context.
    pub fn context(&mut self) -> Done<&mut Context> {
        self.contexts.get_mut(&CURRENT.get()).ok_or(codes::INVALID_CONTEXT)
    }

    /// The error that the current context was lost with.
    fn lost(&self) -> Option<u32> {
        self.contexts.get(&CURRENT.get())?.lost
    }

    fn check(&mut self, needs: Needs) -> Done {
        if needs == Needs::Nothing {
            return Ok(());
        }
        if !self.started {
            return self.breach(codes::NOT_INITIALIZED, "cuInit has not been called");
        }
        if [Needs::Started, Needs::Releases].contains(&needs) {
            return Ok(());
        }
        match CURRENT.get() {
            0 => self.breach(codes::INVALID_CONTEXT, "no context is current on this thread"),
            current if !self.contexts.contains_key(&current) => {
                self.breach(codes::CONTEXT_IS_DESTROYED, "the context that is current on this thread was destroyed")
            }
            _ => self.lost().map_or(Ok(()), Err),
        }
    }

    /// Refuses a handle that is no `what`, or that belongs to another context than the current one. `owner` is the context that it was made in.
    pub fn own(&mut self, what: &str, owner: Option<usize>) -> Done {
        match owner {
            None => self.breach(codes::INVALID_HANDLE, format!("this is no {what}, or none any more")),
            Some(owner) if owner != CURRENT.get() => {
                self.breach(codes::INVALID_CONTEXT, format!("this {what} belongs to a context that is not current"))
            }
            Some(_) => Ok(()),
        }
    }

    /// The current context is lost with `code`: nothing that was asked of it will be done.
    pub fn lose(&mut self, code: u32) {
        let current = CURRENT.get();
        if let Some(context) = self.contexts.get_mut(&current) {
            context.lost.get_or_insert(code);
        }
        self.streams.values_mut().filter(|stream| stream.context == current).for_each(Stream::clear);
    }

    /// A call was made to fail with `code`.
    fn failed(&mut self, code: u32) {
        if codes::is_sticky(code) {
            self.lose(code);
        }
        if self.now == "cuStreamEndCapture" {
            self.abandon_captures();
        }
        // Whoever waited in vain does not keep the host's memory any longer. A copy to pageable memory may be done at any time from its
        // call to the end of the wait, so that none comes after it.
        let current = CURRENT.get();
        let waited = ["cuStreamSynchronize", "cuEventSynchronize"].contains(&self.now);
        for stream in self.streams.values_mut().filter(|stream| waited && stream.context == current) {
            stream.queue.retain(|op| !matches!(op, Op::Download { .. }));
        }
    }

    /// What is alive in a context.
    fn alive(&self, context: usize) -> [(&'static str, usize); 7] {
        let of = |owner: usize| usize::from(owner == context);
        [
            ("allocations", self.contexts.get(&context).map_or(0, Context::allocations)),
            ("streams", self.streams.values().map(|stream| of(stream.context)).sum()),
            ("events", self.events.values().map(|event| of(event.context)).sum()),
            ("modules", self.modules.values().map(|module| of(module.context)).sum()),
            ("graphs", self.graphs.values().map(|graph| of(graph.context)).sum()),
            ("execs", self.execs.values().map(|exec| of(exec.context)).sum()),
            ("cublas", self.blas.values().map(|blas| of(blas.context)).sum()),
        ]
    }

    /// Destroys a context with all that is in it, which should be nothing.
    pub fn destroy(&mut self, context: usize) {
        let left: Vec<_> = self.alive(context).into_iter().filter(|(_, count)| *count > 0).collect();
        if !left.is_empty() {
            let left: Vec<_> = left.iter().map(|(what, count)| format!("{count} {what}")).collect();
            let _ = self.breach::<()>(0, format!("the context is destroyed with {}", left.join(", ")));
        }
        self.contexts.remove(&context);
        self.streams.retain(|_, stream| stream.context != context);
        self.events.retain(|_, event| event.context != context);
        self.functions.retain(|_, function| function.context != context);
        self.modules.retain(|_, module| module.context != context);
        self.graphs.retain(|_, graph| graph.context != context);
        self.execs.retain(|_, exec| exec.context != context);
        self.blas.retain(|_, blas| blas.context != context);
    }

    /// Writes the last line of the report, and says whether all is in order. A context that is retained at the end is none of what counts:
    /// CUDA destroys it with the process.
    pub fn report(&mut self) -> bool {
        let mut left: BTreeMap<&str, usize> = BTreeMap::new();
        for context in self.contexts.keys() {
            self.alive(*context).into_iter().for_each(|(what, count)| *left.entry(what).or_default() += count);
        }
        let leaked: usize = left.values().sum();
        let retained: u32 = self.devices.iter().map(|device| device.retained).sum();
        // Those that work was given to: each has a context.
        let devices = self.devices.iter().filter(|device| device.context != 0).count();
        let queued: usize = self.streams.values().map(|stream| stream.queue.len()).sum();
        let words: Vec<_> = left.iter().map(|(what, count)| format!(" {what}={count}")).collect();
        let State { launches, overlapping, products, replays, breaches, .. } = *self;
        self.note(format!(
            "end: breaches={breaches} leaked={leaked} queued={queued} retained={retained} devices={devices} launches={launches} \
             overlapping={overlapping} products={products} replays={replays}{}",
            words.concat()
        ));
        breaches == 0 && leaked == 0 && queued == 0
    }
}
