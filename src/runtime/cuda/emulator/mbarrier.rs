//! The mbarriers of a cluster's blocks: phases that end when all their arrivals and all the bytes that they expect have come.

use super::clocks::{Clocks, Knowledge};
use super::layout::Layout;

/// The most mbarriers of a block.
pub const BARRIERS: usize = 64;
/// The most arrivals, and the most bytes, of a phase.
const MOST: i64 = (1 << 20) - 1;

/// One mbarrier, by its place in the cluster's shared memory.
#[derive(Debug)]
struct Barrier {
    place: usize,
    arrivals: u32,
    left: u32,
    bytes: i64,
    /// Phases that have ended.
    phases: u32,
    /// What those know who arrive in this phase; and all who arrived in those that have ended.
    coming: Knowledge,
    ended: Knowledge,
    /// Threads that wait, and for which parity.
    waiting: Vec<(u32, u32)>,
    /// Who made it, the maker's number then, and its number at the fence that has copies see it.
    maker: u32,
    made: u32,
    fenced: Option<u32>,
}

/// All of a cluster's.
#[derive(Debug)]
pub struct Barriers {
    all: Vec<Barrier>,
    layout: Layout,
}

impl Barriers {
    /// None yet.
    pub fn new(layout: Layout) -> Self {
        Barriers { all: Vec::new(), layout }
    }

    /// `thread` makes the barrier at `place`.
    pub fn make(&mut self, clocks: &Clocks, thread: u32, place: usize, arrivals: u32) -> Result<(), String> {
        if arrivals == 0 || i64::from(arrivals) > MOST {
            return Err(format!("makes an mbarrier of {arrivals} arrivals; there are 1 to {MOST}"));
        }
        let taken = self.all.iter().any(|barrier| barrier.place == place);
        let own = self.all.iter().filter(|barrier| self.layout.rank_of(barrier.place) == self.layout.rank_of(place));
        if !place.is_multiple_of(8) || own.count() == BARRIERS || taken {
            let place = self.layout.named(place);
            return Err(format!("makes an mbarrier at {place}: not aligned, there already, or one too many"));
        }
        let none = Knowledge::none(clocks.length());
        self.all.push(Barrier {
            place,
            arrivals,
            left: arrivals,
            bytes: 0,
            phases: 0,
            coming: none.clone(),
            ended: none,
            waiting: Vec::new(),
            maker: thread,
            made: clocks.own(thread),
            fenced: None,
        });
        Ok(())
    }

    /// The barrier at `place`, which `thread` must know of.
    fn find(&self, clocks: &Clocks, thread: u32, place: usize) -> Result<usize, String> {
        let Some(at) = self.all.iter().position(|barrier| barrier.place == place) else {
            return Err(format!("uses an mbarrier at {}, where none was made", self.layout.named(place)));
        };
        let Barrier { maker, made, .. } = self.all[at];
        if !clocks.knows(thread, maker, made) {
            let (place, maker) = (self.layout.named(place), self.layout.own(maker));
            return Err(format!("uses the mbarrier at {place} that thread {maker} made: no barrier between"));
        }
        Ok(at)
    }

    /// Whether one of them lies there.
    pub fn overlap(&self, offset: usize, bytes: usize) -> bool {
        self.all.iter().any(|barrier| barrier.place < offset + bytes && offset < barrier.place + 8)
    }

    /// A fence of `thread`, whose own number is `number`: copies see the barriers that it has made.
    pub fn fence(&mut self, thread: u32, number: u32) {
        for barrier in self.all.iter_mut().filter(|barrier| barrier.maker == thread) {
            barrier.fenced.get_or_insert(number);
        }
    }

    /// `thread` arrives at the barrier at `place`, whose phase is to have so many bytes more. Returns the barrier's number.
    pub fn arrive(&mut self, clocks: &mut Clocks, thread: u32, place: usize, bytes: u32) -> Result<usize, String> {
        let at = self.find(clocks, thread, place)?;
        let place = self.layout.named(place);
        let Barrier { left, arrivals, bytes: expected, coming, .. } = &mut self.all[at];
        if *left == 0 {
            return Err(format!("arrives at the mbarrier at {place}, whose phase has had its {arrivals} arrivals"));
        }
        *left -= 1;
        *expected += i64::from(bytes);
        if *expected > MOST {
            return Err(format!("has the mbarrier at {place} expect {expected} bytes; {MOST} are the most"));
        }
        clocks.release(thread, coming);
        Ok(at)
    }

    /// Ends the barrier's phase if everything has come; `under_way` says whether copies to it are. Returns the threads that can go on.
    pub fn end_phase(&mut self, at: usize, under_way: bool) -> Result<Vec<u32>, String> {
        let barrier = &mut self.all[at];
        if barrier.left > 0 || barrier.bytes > 0 {
            return Ok(Vec::new());
        }
        if barrier.bytes < 0 || under_way {
            let place = self.layout.named(barrier.place);
            return Err(format!("has the mbarrier at {place} expect fewer bytes than its copies bring"));
        }
        barrier.phases += 1;
        barrier.left = barrier.arrivals;
        barrier.ended.join(&barrier.coming);
        let phases = barrier.phases;
        let woken = barrier.waiting.extract_if(.., |(_, parity)| phases & 1 != *parity);
        Ok(woken.map(|(thread, _)| thread).collect())
    }

    /// Whether `thread` need not wait for the phase of parity `parity`; it has learnt then of what ended the phase.
    pub fn passes(&mut self, clocks: &mut Clocks, thread: u32, place: usize, parity: u32) -> Result<bool, String> {
        let at = self.find(clocks, thread, place)?;
        let barrier = &mut self.all[at];
        if parity > 1 {
            return Err(format!("waits for parity {parity} of an mbarrier; there are 0 and 1"));
        }
        if barrier.phases & 1 == parity {
            barrier.waiting.push((thread, parity));
            return Ok(false);
        }
        clocks.acquire(thread, &barrier.ended, at, barrier.phases);
        Ok(true)
    }

    /// The barrier at `place`, by which `thread` asks for a copy, and its phase.
    pub fn of_copy(&self, clocks: &Clocks, thread: u32, place: usize) -> Result<(usize, u32), String> {
        let at = self.find(clocks, thread, place)?;
        let Barrier { maker, fenced, phases, .. } = self.all[at];
        match fenced.is_some_and(|number| clocks.knows(thread, maker, number)) {
            true => Ok((at, phases)),
            false => Err(format!(
                "asks for a bulk copy by the mbarrier at {}, which no fence followed when it was made",
                self.layout.named(place)
            )),
        }
    }

    /// So many bytes have come.
    pub fn come(&mut self, at: usize, bytes: usize) {
        self.all[at].bytes -= bytes as i64;
    }

    /// A thread that waits for a phase, and what the phase lacks.
    pub fn stuck(&self) -> Option<(u32, String)> {
        let barrier = self.all.iter().find(|barrier| !barrier.waiting.is_empty())?;
        let Barrier { phases, left, arrivals, bytes, .. } = barrier;
        // Who waits does so at a barrier of its own block.
        let place = barrier.place % self.layout.room;
        let (thread, parity) = barrier.waiting[0];
        Some((
            thread,
            format!(
                "waits for ever for parity {parity} of the mbarrier at byte {place}: {phases} phases have ended, the next lacks {left} of {arrivals} \
                 arrivals and {bytes} bytes"
            ),
        ))
    }
}
