//! Drives the stand-in wrongly, each way once: it must see it. Also what it promises of streams, events and graphs.

use super::codes;
use super::exports::*;
use super::graphs::Graph;
use super::image;
use super::state::{fresh, look};
use super::work::{Node, Op};
use normscape::runtime::cuda::driver::Kernel;
use normscape::runtime::cuda::kernels::IMAGES;
use normscape::runtime::cuda::nvrtc::Target;
use std::ffi::{CString, c_void};
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// There is one driver in a process: its tests run one after the other.
static ALONE: Mutex<()> = Mutex::new(());

/// A driver that has been started, with a context and a stream.
struct Setup {
    context: usize,
    stream: usize,
    _alone: MutexGuard<'static, ()>,
}

/// Gives `$value` what `$call` writes to it, and demands success.
macro_rules! made {
    ($call:ident($($argument:expr),*)) => {{
        let mut value = Default::default();
        // SAFETY: arguments are those that a test means.
        assert_eq!(unsafe { $call(&mut value, $($argument),*) }, 0, stringify!($call));
        value
    }};
}

/// The code of a call.
macro_rules! code {
    ($call:ident($($argument:expr),*)) => {
        // SAFETY: what is wrong is what the stand-in checks; pointers to the host are valid.
        unsafe { $call($($argument),*) }
    };
}

mod launches;

impl Setup {
    fn new(words: &str) -> Setup {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        fresh(words);
        assert_eq!(code!(cuInit(0)), 0);
        let context = made!(cuDevicePrimaryCtxRetain(0));
        assert_eq!(code!(cuCtxSetCurrent(context)), 0);
        Setup { context, stream: made!(cuStreamCreate(1)), _alone: alone }
    }

    fn allocated(&self, bytes: usize) -> u64 {
        made!(cuMemAlloc_v2(bytes))
    }

    /// The bytes at an address, once the stream was waited for.
    fn bytes(&self, from: u64, count: usize) -> Vec<u8> {
        let mut found = vec![0u8; count];
        assert_eq!(code!(cuMemcpyDtoHAsync_v2(found.as_mut_ptr().cast(), from, count, self.stream)), 0);
        assert_eq!(code!(cuStreamSynchronize(self.stream)), 0);
        found
    }

    /// The module that holds kernel `advance` (of `sgd.cu`), and the kernel.
    fn kernel(&self, name: &str) -> (usize, usize) {
        let text = format!("// made\n.target sm_80\n.visible .entry {name}(\n)\n");
        let text = CString::new(text).unwrap();
        let module = made!(cuModuleLoadData(text.as_ptr().cast()));
        let name = CString::new(name).unwrap();
        (module, made!(cuModuleGetFunction(module, name.as_ptr())))
    }

    /// A graph that fills 16 bytes at `to` with 7.
    fn graph(&self, to: u64) -> usize {
        assert_eq!(code!(cuStreamBeginCapture_v2(self.stream, 1)), 0);
        assert_eq!(code!(cuMemsetD8Async(to, 7, 16, self.stream)), 0);
        let graph = {
            let mut graph = 0;
            assert_eq!(code!(cuStreamEndCapture(self.stream, &mut graph)), 0);
            graph
        };
        let exec = made!(cuGraphInstantiateWithFlags(graph, 0));
        assert_eq!(code!(cuGraphDestroy(graph)), 0);
        exec
    }
}

/// The breaches so far; they are forgotten.
fn breaches() -> Vec<String> {
    look(|state| {
        state.breaches = 0;
        std::mem::take(&mut state.lines).into_iter().filter(|line| line.starts_with("breach: ")).collect()
    })
}

/// Demands that a call gave `expected`, and that one breach was reported, with these words.
#[track_caller]
fn breach(found: u32, expected: u32, words: &str) {
    let lines = breaches();
    assert_eq!((found, lines.len()), (expected, 1), "{lines:?}");
    assert!(lines[0].contains(words), "no `{words}` in {}", lines[0]);
}

#[track_caller]
fn clean() {
    assert_eq!(breaches(), Vec::<String>::new());
}

#[test]
fn work_is_done_when_it_is_waited_for_and_not_before() {
    let setup = Setup::new("");
    let to = setup.allocated(64);
    // New memory holds no numbers.
    assert_eq!(setup.bytes(to, 4), [0xFF; 4]);
    let mut from = [3u8; 8];
    assert_eq!(code!(cuMemcpyHtoDAsync_v2(to, from.as_ptr().cast(), 8, setup.stream)), 0);
    // What the host had at the call is copied.
    from.fill(4);
    let mut found = vec![9u8; 8];
    assert_eq!(code!(cuMemcpyDtoHAsync_v2(found.as_mut_ptr().cast(), to, 8, setup.stream)), 0);
    assert_ne!(found, [3; 8], "before the wait");
    assert_ne!(found, [9; 8], "and what was there is gone");
    assert_eq!(code!(cuStreamSynchronize(setup.stream)), 0);
    assert_eq!(found, [3; 8]);
    clean();
}

#[test]
fn events_are_reached_in_the_order_of_their_stream() {
    let setup = Setup::new("");
    let to = setup.allocated(16);
    let (before, after): (usize, usize) = (made!(cuEventCreate(0)), made!(cuEventCreate(0)));
    let mut time = 0.0;
    breach(code!(cuEventElapsedTime(&mut time, before, after)), codes::INVALID_HANDLE, "never recorded");
    assert_eq!(code!(cuEventRecord(before, setup.stream)), 0);
    assert_eq!(code!(cuMemsetD8Async(to, 1, 16, setup.stream)), 0);
    assert_eq!(code!(cuEventRecord(after, setup.stream)), 0);
    assert_eq!(code!(cuMemsetD8Async(to, 2, 16, setup.stream)), 0);
    breach(code!(cuEventElapsedTime(&mut time, before, after)), codes::NOT_READY, "waited");
    assert_eq!(code!(cuEventSynchronize(after)), 0);
    assert_eq!(code!(cuEventElapsedTime(&mut time, before, after)), 0);
    assert!(time >= 0.0);
    // What comes after the event is not done yet.
    assert_eq!(look(|state| state.streams[&setup.stream].queue.len()), 1);
    assert_eq!(setup.bytes(to, 1), [2]);
    clean();
}

#[test]
fn a_graph_is_recorded_and_not_done_and_replayed_as_often_as_asked() {
    let setup = Setup::new("");
    let to = setup.allocated(16);
    let exec = setup.graph(to);
    assert_eq!(setup.bytes(to, 1), [0xFF]);
    for _ in 0..3 {
        assert_eq!(code!(cuMemsetD8Async(to, 1, 16, setup.stream)), 0);
        assert_eq!(code!(cuGraphLaunch(exec, setup.stream)), 0);
        assert_eq!(setup.bytes(to, 1), [7]);
    }
    assert_eq!(look(|state| state.replays), 3);
    assert_eq!(code!(cuGraphExecDestroy(exec)), 0);
    clean();
}

#[test]
fn nodes_that_touch_the_same_bytes_are_ordered_by_a_path() {
    let setup = Setup::new("");
    let [a, b] = [(); 2].map(|()| setup.allocated(64));
    let fill = |to: u64, after: &[usize]| Node { op: Op::Fill { to, value: 3, bytes: 16 }, after: after.to_vec() };
    let copy = |after: &[usize]| Node { op: Op::Copy { to: b, from: a, bytes: 16 }, after: after.to_vec() };
    let instantiate = |nodes: Vec<Node>| {
        let graph = look(|state| {
            let handle = state.handle();
            state.graphs.insert(handle, Graph { context: setup.context, nodes: Arc::new(nodes) });
            handle
        });
        let exec = made!(cuGraphInstantiateWithFlags(graph, 0));
        assert_eq!([code!(cuGraphDestroy(graph)), code!(cuGraphExecDestroy(exec))], [0; 2]);
    };
    // Two branches from one node, and one that joins them.
    instantiate(vec![fill(a, &[]), fill(a + 16, &[0]), fill(b + 16, &[0]), copy(&[1, 2])]);
    clean();
    instantiate(vec![fill(a, &[]), fill(a + 16, &[0]), fill(b + 16, &[0]), copy(&[2]), fill(a + 16, &[3])]);
    breach(0, 0, "no path leads from node 1 (a fill) to node 4 (a fill), which touch the same 16 bytes");
    instantiate(vec![fill(b, &[]), copy(&[])]);
    breach(0, 0, "no path leads from node 0 (a fill) to node 1 (a copy)");
    instantiate(vec![fill(b, &[1]), copy(&[0])]);
    breach(0, 0, "in a circle");
}

#[test]
fn what_no_recording_allows_spoils_it() {
    let setup = Setup::new("");
    let (to, event) = (setup.allocated(16), made!(cuEventCreate(0)));
    let mut host = [0u8; 16];
    let text = CString::new("// made\n.target sm_80\n").unwrap();
    type Call<'a> = &'a dyn Fn(&mut [u8; 16]) -> u32;
    let forbidden: [(&str, Call<'_>); 7] = [
        ("cuMemAlloc_v2", &|_| code!(cuMemAlloc_v2(&mut 0, 16))),
        ("cuMemFree_v2", &|_| code!(cuMemFree_v2(to))),
        ("cuModuleLoadData", &|_| code!(cuModuleLoadData(&mut 0, text.as_ptr().cast()))),
        ("cuStreamSynchronize", &|_| code!(cuStreamSynchronize(setup.stream))),
        ("cuEventSynchronize", &|_| code!(cuEventSynchronize(event))),
        ("cuMemcpyHtoDAsync_v2", &|host| code!(cuMemcpyHtoDAsync_v2(to, host.as_ptr().cast(), 16, setup.stream))),
        ("cuMemcpyDtoHAsync_v2", &|host| code!(cuMemcpyDtoHAsync_v2(host.as_mut_ptr().cast(), to, 16, setup.stream))),
    ];
    for (name, call) in forbidden {
        assert_eq!(code!(cuStreamBeginCapture_v2(setup.stream, 1)), 0);
        breach(call(&mut host), codes::CAPTURE_UNSUPPORTED, name);
        breach(code!(cuMemsetD8Async(to, 0, 16, setup.stream)), codes::CAPTURE_INVALIDATED, "spoilt");
        let mut graph = 5;
        assert_eq!(code!(cuStreamEndCapture(setup.stream, &mut graph)), codes::CAPTURE_INVALIDATED, "{name}");
        assert_eq!(graph, 0);
        // It has ended, and the stream is as before.
        assert_eq!(setup.bytes(to, 1), [0xFF]);
    }
    let mut graph = 0;
    breach(code!(cuStreamEndCapture(setup.stream, &mut graph)), codes::ILLEGAL_STATE, "not recording");
    assert_eq!(code!(cuStreamBeginCapture_v2(setup.stream, 1)), 0);
    breach(code!(cuStreamBeginCapture_v2(setup.stream, 1)), codes::ILLEGAL_STATE, "is recording");
}

#[test]
fn another_thread_is_held_by_a_global_recording_only() {
    let setup = Setup::new("");
    let (context, stream) = (setup.context, setup.stream);
    let elsewhere = |call: &(dyn Fn() -> u32 + Sync)| {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                assert_eq!(code!(cuCtxSetCurrent(context)), 0);
                call()
            });
            thread.join().unwrap()
        })
    };
    let allocate = || code!(cuMemAlloc_v2(&mut 0, 16));
    assert_eq!(code!(cuStreamBeginCapture_v2(stream, 1)), 0);
    assert_eq!(elsewhere(&allocate), 0);
    clean();
    breach(elsewhere(&|| code!(cuStreamEndCapture(stream, &mut 0))), codes::CAPTURE_WRONG_THREAD, "another thread");
    let mut graph = 0;
    assert_eq!(code!(cuStreamEndCapture(stream, &mut graph)), 0);
    assert_eq!(code!(cuStreamBeginCapture_v2(stream, 0)), 0);
    breach(elsewhere(&allocate), codes::CAPTURE_UNSUPPORTED, "while work is recorded");
}

#[test]
fn memory_is_used_while_it_is_there() {
    let setup = Setup::new("");
    let [a, b] = [(); 2].map(|()| setup.allocated(64));
    let exec = setup.graph(a);
    assert_eq!(code!(cuMemFree_v2(a)), 0);
    clean();
    breach(code!(cuMemFree_v2(a)), codes::INVALID_VALUE, "it was freed before");
    breach(code!(cuMemFree_v2(b + 8)), codes::INVALID_VALUE, "in the middle of an allocation");
    breach(code!(cuMemFree_v2(0x1234)), codes::INVALID_VALUE, "it never was");
    breach(code!(cuMemsetD8Async(a, 0, 64, setup.stream)), codes::INVALID_VALUE, "are allocated");
    breach(code!(cuMemsetD8Async(b, 0, 65, setup.stream)), codes::INVALID_VALUE, "not all of 65 bytes");
    breach(code!(cuMemcpyDtoDAsync_v2(b, b + 8, 16, setup.stream)), codes::INVALID_VALUE, "overlap");
    assert_eq!(code!(cuMemsetD8Async(b, 0, 64, setup.stream)), 0);
    breach(code!(cuMemFree_v2(b)), 0, "was not waited for");
    // The work that needs it finds nothing: the context is lost, and stays so.
    breach(code!(cuStreamSynchronize(setup.stream)), codes::ILLEGAL_ADDRESS, "it was freed");
    assert_eq!(code!(cuMemAlloc_v2(&mut 0, 16)), codes::ILLEGAL_ADDRESS);
    assert_eq!(code!(cuGraphLaunch(exec, setup.stream)), codes::ILLEGAL_ADDRESS);
    // What belongs to it can be let go all the same.
    assert_eq!(code!(cuGraphExecDestroy(exec)), codes::ILLEGAL_ADDRESS);
    assert_eq!(code!(cuStreamDestroy_v2(setup.stream)), codes::ILLEGAL_ADDRESS);
    assert_eq!(code!(cuDevicePrimaryCtxRelease_v2(0)), 0);
    clean();
}

#[test]
fn a_graph_that_outlives_its_memory_is_found() {
    let setup = Setup::new("");
    let to = setup.allocated(64);
    let exec = setup.graph(to);
    assert_eq!(code!(cuMemFree_v2(to)), 0);
    assert_eq!(code!(cuGraphLaunch(exec, setup.stream)), 0);
    clean();
    breach(code!(cuStreamSynchronize(setup.stream)), codes::ILLEGAL_ADDRESS, "it was freed");
}

#[test]
fn handles_are_used_while_they_are_there() {
    let setup = Setup::new("");
    let (to, event, stream) = (setup.allocated(16), made!(cuEventCreate(0)), made!(cuStreamCreate(1)));
    let exec = setup.graph(to);
    let (module, function) = setup.kernel("advance");
    let destroyed = [
        code!(cuEventDestroy_v2(event)),
        code!(cuStreamDestroy_v2(stream)),
        code!(cuGraphExecDestroy(exec)),
        code!(cuModuleUnload(module)),
    ];
    assert_eq!(destroyed, [0; 4]);
    clean();
    breach(code!(cuEventRecord(event, setup.stream)), codes::INVALID_HANDLE, "no event");
    breach(code!(cuStreamSynchronize(stream)), codes::INVALID_HANDLE, "no stream");
    breach(code!(cuStreamDestroy_v2(stream)), codes::INVALID_HANDLE, "no stream");
    breach(code!(cuGraphLaunch(exec, setup.stream)), codes::INVALID_HANDLE, "no graph that can be launched");
    breach(code!(cuGraphDestroy(exec)), codes::INVALID_HANDLE, "no graph");
    breach(code!(cuModuleUnload(module)), codes::INVALID_HANDLE, "no module");
    breach(code!(cuFuncGetAttribute(&mut 0, 1, function)), codes::INVALID_HANDLE, "no function");
    breach(code!(cuStreamSynchronize(0)), codes::NOT_SUPPORTED, "the default stream");
}

#[test]
fn a_call_needs_the_driver_and_the_right_context() {
    let setup = Setup::new("count=2");
    let stream = setup.stream;
    let elsewhere = std::thread::spawn(move || code!(cuStreamSynchronize(stream))).join().unwrap();
    breach(elsewhere, codes::INVALID_CONTEXT, "no context is current on this thread");
    let other = made!(cuDevicePrimaryCtxRetain(1));
    assert_eq!(code!(cuCtxSetCurrent(other)), 0);
    breach(code!(cuStreamSynchronize(stream)), codes::INVALID_CONTEXT, "not current");
    assert_eq!(code!(cuDevicePrimaryCtxRelease_v2(1)), 0);
    breach(code!(cuMemAlloc_v2(&mut 0, 1)), codes::CONTEXT_IS_DESTROYED, "was destroyed");
    breach(code!(cuDevicePrimaryCtxRelease_v2(1)), codes::INVALID_CONTEXT, "not retained");
    breach(code!(cuCtxSetCurrent(other)), codes::INVALID_CONTEXT, "no such context");
    breach(code!(cuDeviceGet(&mut 0, 2)), codes::INVALID_DEVICE, "no device 2");
    fresh("");
    breach(code!(cuDeviceGetCount(&mut 0)), codes::NOT_INITIALIZED, "cuInit");
}

#[test]
fn an_address_that_is_not_allocated_loses_the_context() {
    let setup = Setup::new("");
    let (_, function) = setup.kernel("advance");
    for mut address in [0u64, 0x1234, setup.allocated(64) + 65] {
        let mut parameters = [(&raw mut address).cast::<c_void>()];
        let stream = setup.stream;
        // The call itself knows nothing of it.
        assert_eq!(
            code!(cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, stream, parameters.as_mut_ptr(), null_mut())),
            0
        );
        breach(code!(cuStreamSynchronize(stream)), codes::ILLEGAL_ADDRESS, "state of advance reaches address");
        assert_eq!(code!(cuStreamSynchronize(stream)), codes::ILLEGAL_ADDRESS);
        look(|state| state.contexts.get_mut(&setup.context).unwrap().lost = None);
    }
}

#[test]
fn what_is_left_at_the_end_is_counted() {
    let setup = Setup::new("");
    let to = setup.allocated(16);
    let _: usize = made!(cuEventCreate(0));
    let exec = setup.graph(to);
    assert_eq!(code!(cuGraphLaunch(exec, setup.stream)), 0);
    let (clean, line) = look(|state| (state.report(), state.lines.last().cloned().unwrap()));
    assert!(!clean);
    for word in ["leaked=4", "queued=1", "retained=1", "allocations=1", "streams=1", "events=1", "execs=1", "modules=0"]
    {
        assert!(line.contains(&format!(" {word}")), "no {word} in {line}");
    }
    breach(code!(cuDevicePrimaryCtxRelease_v2(0)), 0, "destroyed with 1 allocations, 1 streams, 1 events, 1 execs");
    assert!(look(|state| state.report()));
}

#[test]
fn a_call_fails_when_the_environment_says_so() {
    let setup = Setup::new("cuMemAlloc_v2@2=2 cuEventCreate=999 cuMemFree_v2@1=719");
    let first = setup.allocated(16);
    assert_eq!(code!(cuMemAlloc_v2(&mut 0, 16)), 2);
    setup.allocated(16);
    assert_eq!([(); 3].map(|()| code!(cuEventCreate(&mut 0, 0))), [999; 3]);
    // What lets something go does so, and a context that is lost stays lost.
    assert_eq!(code!(cuMemFree_v2(first)), 719);
    assert_eq!(look(|state| state.contexts[&setup.context].allocations()), 1);
    assert_eq!(code!(cuMemAlloc_v2(&mut 0, 16)), 719);
    clean();
}

/// Against what ptxas reported when the build compiled the kernels.
#[test]
fn cubins_are_read_as_they_were_compiled() {
    use normscape::runtime::cuda::kernels::{ALL, RESOURCES};
    let mut seen = 0;
    for image in IMAGES {
        let (Target::Cubin(arch) | Target::Ptx(arch) | Target::Only(arch)) = image.target;
        let code = image.unpacked("of a test").unwrap();
        let words: Vec<u64> =
            code.chunks(8).map(|c| c.iter().rev().fold(0, |all, &b| all << 8 | u64::from(b))).chain([0]).collect();
        // SAFETY: the image is whole, with a 0 behind it.
        let entries = unsafe { image::read(words.as_ptr().cast(), arch) }.unwrap();
        let own: Vec<_> =
            ALL.iter().filter(|kernel| kernel.source == image.source && (kernel.cluster == 1 || arch >= 90)).collect();
        assert_eq!(entries.len(), own.len(), "{:?}", image.target);
        for entry in entries {
            seen += 1;
            let known = RESOURCES.iter().find(|row| row.kernel == entry.name && row.arch == arch);
            let shared = if matches!(image.target, Target::Ptx(_)) { None } else { known.map(|row| row.shared) };
            assert_eq!(shared.unwrap_or(entry.shared), entry.shared, "{} on sm_{arch}", entry.name);
        }
        // SAFETY: as above.
        let refused = unsafe { image::read(words.as_ptr().cast(), 75) };
        assert_eq!(refused, Err(codes::NO_BINARY_FOR_GPU));
    }
    assert_eq!(seen > 300, !IMAGES.is_empty(), "{seen}");
}
