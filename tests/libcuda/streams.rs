//! Streams and events. A stream's work is done when somebody waits for it, and not before.

use super::codes::{
    CAPTURE_INVALIDATED, CAPTURE_UNSUPPORTED, CAPTURE_WRONG_THREAD, Done, ILLEGAL_STATE, INVALID_HANDLE, INVALID_VALUE,
    NOT_READY, UNKNOWN,
};
use super::graphs::Graph;
use super::state::State;
use super::work::{self, Node, Op};
use normscape::runtime::cuda::order;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Instant;

/// What recordings forbid other threads, by number in cuda.h: the global mode, and the mode that forbids nothing.
const GLOBAL: i32 = 0;
const RELAXED: i32 = 2;

/// Work that is being recorded.
#[derive(Debug)]
struct Capture {
    nodes: Vec<Node>,
    thread: ThreadId,
    mode: i32,
    /// Something happened that spoils it.
    invalid: bool,
}

/// A stream.
#[derive(Debug, Default)]
pub struct Stream {
    /// The context that it was made in.
    pub context: usize,
    /// The work that was asked for and is not done.
    pub queue: VecDeque<Op>,
    capture: Option<Capture>,
}

impl Stream {
    /// Forgets all work, what is recorded too: its context was lost.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.capture = None;
    }
}

/// How far an event is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mark {
    /// It was never recorded.
    Never,
    /// It is in a stream's queue.
    Queued,
    /// It was reached then.
    Reached(Instant),
}

/// An event.
#[derive(Debug)]
pub struct Event {
    /// The context that it was made in.
    pub context: usize,
    mark: Mark,
}

impl State {
    /// Makes a stream.
    pub fn new_stream(&mut self) -> usize {
        let (context, handle) = (self.current(), self.handle());
        self.streams.insert(handle, Stream { context, ..Stream::default() });
        handle
    }

    /// Lets a stream go.
    pub fn destroy_stream(&mut self, stream: usize) -> Done {
        self.own_stream(stream)?;
        let Some(Stream { queue, capture, .. }) = self.streams.remove(&stream) else { return Err(UNKNOWN) };
        if capture.is_some() {
            return self.breach(CAPTURE_UNSUPPORTED, "the stream is recording");
        }
        // CUDA does the work all the same, at some time: whoever asked for it does not know when.
        match queue.len() {
            0 => Ok(()),
            n => {
                self.breach(0, format!("the stream was not waited for; {n} pieces of work are queued in it")).or(Ok(()))
            }
        }
    }

    /// Refuses what is no stream of the current context.
    pub fn own_stream(&mut self, stream: usize) -> Done {
        if stream == 0 {
            return self.not_modelled("the default stream");
        }
        self.own("stream", self.streams.get(&stream).map(|stream| stream.context))
    }

    /// The last work of a stream that is not done, and whether it is recorded; none where the next has no predecessor.
    pub fn last_work(&self, stream: usize) -> Option<(bool, &Op)> {
        let found = self.streams.get(&stream)?;
        match &found.capture {
            Some(capture) => capture.nodes.last().map(|node| (true, &node.op)),
            None => found.queue.back().map(|op| (false, op)),
        }
    }

    /// Asks for a piece of work: it is queued or recorded.
    pub fn submit(&mut self, stream: usize, op: Op) -> Done {
        self.own_stream(stream)?;
        let Some(found) = self.streams.get_mut(&stream) else { return Err(UNKNOWN) };
        let Some(capture) = &mut found.capture else {
            found.queue.push_back(op);
            return Ok(());
        };
        if capture.invalid {
            return self.breach(CAPTURE_INVALIDATED, "the recording has been spoilt");
        }
        match op {
            // The host's memory would have to be the same at each replay: CUDA refuses memory that is not pinned.
            Op::Upload { .. } | Op::Download { .. } => {
                capture.invalid = true;
                self.breach(CAPTURE_UNSUPPORTED, "a copy from or to pageable memory while its stream is recording")
            }
            Op::Record(_) => self.not_modelled("events in recordings"),
            Op::Replay(..) => self.not_modelled("graphs in recordings"),
            op => {
                let after = capture.nodes.len().checked_sub(1).into_iter().collect();
                capture.nodes.push(Node { op, after });
                Ok(())
            }
        }
    }

    /// Refuses what may not be done on this thread while work is recorded, and spoils the recordings, as cuThreadExchangeStreamCaptureMode's page
    /// says of "potentially unsafe" calls: where this thread records, or any other one does in the global mode.
    pub fn forbidden_while_capturing(&mut self) -> Done {
        let own = std::thread::current().id();
        let forbids = |capture: &&mut Capture| match capture.mode {
            RELAXED => false,
            GLOBAL => true,
            _ => capture.thread == own,
        };
        let captures = self.streams.values_mut().filter_map(|stream| stream.capture.as_mut());
        let spoilt = captures.filter(forbids).map(|capture| capture.invalid = true).count();
        match spoilt {
            0 => Ok(()),
            _ => self.breach(CAPTURE_UNSUPPORTED, "this is not allowed while work is recorded"),
        }
    }

    /// Begins to record.
    pub fn begin_capture(&mut self, stream: usize, mode: i32) -> Done {
        self.own_stream(stream)?;
        if !(GLOBAL..=RELAXED).contains(&mode) {
            return self.breach(INVALID_VALUE, format!("there is no mode {mode}"));
        }
        let Some(found) = self.streams.get_mut(&stream) else { return Err(UNKNOWN) };
        if found.capture.is_some() {
            return self.breach(ILLEGAL_STATE, "the stream is recording");
        }
        let thread = std::thread::current().id();
        found.capture = Some(Capture { nodes: Vec::new(), thread, mode, invalid: false });
        Ok(())
    }

    /// Ends recording, and gives the graph.
    pub fn end_capture(&mut self, stream: usize) -> Done<usize> {
        self.own_stream(stream)?;
        let Some(found) = self.streams.get_mut(&stream) else { return Err(UNKNOWN) };
        let own = std::thread::current().id();
        if found.capture.as_ref().is_some_and(|capture| capture.mode != RELAXED && capture.thread != own) {
            return self.breach(CAPTURE_WRONG_THREAD, "another thread began to record");
        }
        let Some(capture) = found.capture.take() else {
            return self.breach(ILLEGAL_STATE, "the stream is not recording");
        };
        if capture.invalid {
            return Err(CAPTURE_INVALIDATED);
        }
        let (context, handle) = (self.current(), self.handle());
        self.graphs.insert(handle, Graph { context, nodes: Arc::new(capture.nodes) });
        Ok(handle)
    }

    /// Ends what this thread records, and throws it away.
    pub fn abandon_captures(&mut self) {
        let own = std::thread::current().id();
        let streams = self.streams.values_mut();
        streams.for_each(|stream| drop(stream.capture.take_if(|capture| capture.thread == own)));
    }

    /// Waits for a stream.
    pub fn synchronize(&mut self, stream: usize) -> Done {
        self.own_stream(stream)?;
        if self.streams.get(&stream).is_some_and(|stream| stream.capture.is_some()) {
            if let Some(capture) = self.streams.get_mut(&stream).and_then(|stream| stream.capture.as_mut()) {
                capture.invalid = true;
            }
            return self.breach(CAPTURE_UNSUPPORTED, "the stream is recording");
        }
        self.forbidden_while_capturing()?;
        let length = self.streams.get(&stream).map_or(0, |stream| stream.queue.len());
        self.work_off(stream, length)
    }

    /// Does the first `count` pieces of a stream's work. The first that fails ends all work of the context.
    fn work_off(&mut self, stream: usize, count: usize) -> Done {
        for _ in 0..count {
            let op = self.streams.get_mut(&stream).and_then(|stream| stream.queue.pop_front());
            let Some(op) = op else { break };
            self.work(&op)?;
        }
        Ok(())
    }

    fn work(&mut self, op: &Op) -> Done {
        match op {
            Op::Record(event) => {
                if let Some(event) = self.events.get_mut(event) {
                    event.mark = Mark::Reached(Instant::now());
                }
                return Ok(());
            }
            Op::Replay(_, nodes) => {
                self.replays += 1;
                let seed = self.settings.number("seed", 0) as u64 ^ self.replays;
                let after: Vec<_> = nodes.iter().map(|node| node.after.clone()).collect();
                let Some(order) = order::any(&after, seed) else { return self.breach(UNKNOWN, "a graph in a circle") };
                return order.into_iter().try_for_each(|node| self.work(&nodes[node].op));
            }
            Op::Launch(launch) => {
                self.launches += 1;
                self.overlapping += u64::from(launch.overlaps);
            }
            Op::Product(_) => self.products += 1,
            _ => {}
        }
        let done = work::run(self.context()?, op);
        done.or_else(|(code, problem)| {
            self.lose(code);
            self.breach(code, format!("{} fails: {problem}", op.name()))
        })
    }

    /// Makes an event.
    pub fn new_event(&mut self) -> usize {
        let (context, handle) = (self.current(), self.handle());
        self.events.insert(handle, Event { context, mark: Mark::Never });
        handle
    }

    fn own_event(&mut self, event: usize) -> Done {
        self.own("event", self.events.get(&event).map(|event| event.context))
    }

    /// Records an event in a stream.
    pub fn record(&mut self, event: usize, stream: usize) -> Done {
        self.own_event(event)?;
        self.submit(stream, Op::Record(event))?;
        self.events.entry(event).and_modify(|event| event.mark = Mark::Queued);
        Ok(())
    }

    /// Waits for an event: for all work before its last record.
    pub fn wait_for(&mut self, event: usize) -> Done {
        self.own_event(event)?;
        self.forbidden_while_capturing()?;
        let last = |stream: &Stream| stream.queue.iter().rposition(|op| matches!(op, Op::Record(of) if *of == event));
        let found: Vec<_> =
            self.streams.iter().filter_map(|(&handle, stream)| Some((handle, last(stream)? + 1))).collect();
        found.into_iter().try_for_each(|(stream, count)| self.work_off(stream, count))
    }

    /// Milliseconds between two events.
    pub fn between(&mut self, from: usize, to: usize) -> Done<f32> {
        self.own_event(from)?;
        self.own_event(to)?;
        let marks = [from, to].map(|event| self.events.get(&event).map_or(Mark::Never, |event| event.mark));
        match marks {
            [Mark::Reached(from), Mark::Reached(to)] => Ok(1e3 * (to.saturating_duration_since(from)).as_secs_f32()),
            marks if marks.contains(&Mark::Never) => {
                self.breach(INVALID_HANDLE, "one of the events was never recorded")
            }
            _ => self.breach(NOT_READY, "nobody has waited for the events"),
        }
    }

    /// Lets an event go.
    pub fn destroy_event(&mut self, event: usize) -> Done {
        self.own_event(event)?;
        self.events.remove(&event);
        Ok(())
    }

    /// Frees memory, which no work that is queued may need.
    pub fn free(&mut self, address: u64) -> Done {
        self.forbidden_while_capturing()?;
        let context = self.context()?;
        let (found, before) = (context.allocation(address) == Some(address), context.was_allocated(address));
        if !found {
            let why = if before { "it was freed before, or is in the middle of an allocation" } else { "it never was" };
            return self.breach(INVALID_VALUE, format!("nothing is allocated at {address:#x}: {why}"));
        }
        let current = self.current();
        let context = self.contexts.get(&current);
        let inside = |reached: &u64| context.is_some_and(|context| context.allocation(*reached) == Some(address));
        let own = self.streams.values().filter(|stream| stream.context == current);
        let queued = own.flat_map(|stream| &stream.queue).any(|op| op.addresses().iter().any(inside));
        if queued {
            // CUDA waits for the device before it frees, though no page promises it.
            let _ = self.breach::<()>(0, "work that needs the memory is queued and was not waited for");
        }
        self.context()?.free(address);
        Ok(())
    }
}
