//! The emulator's record of global memory in one launch: who touched what, and which fences and atomic operations lie between.
//!
//! The blocks of a launch run in any order and at the same time. What one of them has touched, another may touch (if either of them writes) only
//! where these follow one another:
//!
//! 1. the first access; a barrier of its block, unless the next step is the same thread's;
//! 2. `__threadfence()` and then an atomic operation by one thread;
//! 3. later, on the same number, an atomic operation by a thread of the other block, and then its `__threadfence()`;
//! 4. a barrier of that block, unless it is the same thread's access; the other access.
//!
//! This is less than CUDA's memory model allows, and all that the kernels here do. Blocks of one cluster are not told apart. Numbers of fewer than four
//! bytes are not looked after: what blocks leave one another is wider.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// A thread at a moment. Times are by its cluster's clock, from the beginning of the cluster.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The number of its cluster in the launch.
    pub cluster: u64,
    /// Its number in the cluster, and the threads of a block.
    pub thread: u32,
    pub threads: u32,
    /// The time, and those of the last barriers of its block and of its cluster.
    pub now: u32,
    pub block: u32,
    pub all: u32,
}

impl Place {
    /// Whether what `thread` of this cluster did at the time `at` comes before this.
    fn follows(&self, thread: u32, at: u32) -> bool {
        let same_block = thread / self.threads == self.thread / self.threads;
        thread == self.thread && at < self.now || same_block && at < self.block || at < self.all
    }
}

/// An atomic operation that a thread has made, and the fence after it.
#[derive(Debug, Clone, Copy)]
pub struct Acquired {
    /// The number's address, and which operation on it this was.
    pub ticket: usize,
    pub turn: u32,
    /// The fence.
    pub fence: Place,
}

/// Who made an access of the other block's that nothing orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    pub cluster: u64,
    pub thread: u32,
    pub wrote: bool,
}

/// What is known of a number that atomic operations were made on.
#[derive(Debug)]
struct Ticket {
    /// Its value before the first of them.
    first: u32,
    turns: u32,
    /// The operations before which a thread had made a fence, of each cluster.
    releases: HashMap<u64, Vec<(u32, Place)>>,
}

/// The last access to four bytes, packed; 0 where there was none.
type Cell = AtomicU64;

const THREAD_BITS: u32 = 13;
const TIME_BITS: u32 = 25;

fn packed(who: &Place) -> u64 {
    let time = u64::from(who.now).min((1 << TIME_BITS) - 1);
    (who.cluster + 1) << (THREAD_BITS + TIME_BITS) | u64::from(who.thread) << TIME_BITS | time
}

/// The cluster, the thread and the time of a cell that is not 0.
fn unpacked(cell: u64) -> (u64, u32, u32) {
    let thread = cell >> TIME_BITS & ((1 << THREAD_BITS) - 1);
    ((cell >> (THREAD_BITS + TIME_BITS)) - 1, thread as u32, (cell & ((1 << TIME_BITS) - 1)) as u32)
}

/// Bytes that the launch may write.
struct Area {
    bytes: Range<usize>,
    written: Box<[Cell]>,
    read: Box<[Cell]>,
}

impl Area {
    fn new(bytes: Range<usize>) -> Area {
        let cells = || -> Box<[Cell]> {
            let zeros = vec![0u64; bytes.len().div_ceil(4) + 1].into_boxed_slice();
            // SAFETY: an atomic number has the layout of a number. (Zeros that are asked for as such take no time until they are touched.)
            unsafe { Box::from_raw(Box::into_raw(zeros) as *mut [Cell]) }
        };
        Area { written: cells(), read: cells(), bytes: bytes.clone() }
    }
}

/// The record of one launch.
#[derive(Default)]
pub struct Global {
    areas: Vec<Area>,
    tickets: RwLock<HashMap<usize, Ticket>>,
}

impl Global {
    /// The record of a launch that may write to these ranges of addresses.
    pub fn new(written: impl Iterator<Item = Range<usize>>) -> Global {
        let mut ranges: Vec<_> = written.filter(|range| !range.is_empty()).collect();
        ranges.sort_by_key(|range| range.start);
        let mut joined: Vec<Range<usize>> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(last) if range.start < last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        Global { areas: joined.into_iter().map(Area::new).collect(), ..Global::default() }
    }

    /// Whether accesses are looked after.
    pub fn watches(&self) -> bool {
        !self.areas.is_empty()
    }

    /// Records an access by a thread that has made the operations `acquired`. Errors: nothing orders it and another block's.
    pub fn access(
        &self,
        address: usize,
        bytes: usize,
        write: bool,
        who: Place,
        acquired: &[Acquired],
    ) -> Result<(), Conflict> {
        let Some(area) = self.areas.iter().find(|area| area.bytes.contains(&address)) else { return Ok(()) };
        if bytes < 4 {
            return Ok(());
        }
        let first = address - area.bytes.start;
        for cell in first / 4..(first + bytes).div_ceil(4).min(area.written.len()) {
            self.check(area.written[cell].load(Ordering::Relaxed), true, &who, acquired)?;
            let own = match write {
                true => {
                    self.check(area.read[cell].load(Ordering::Relaxed), false, &who, acquired)?;
                    &area.written[cell]
                }
                false => &area.read[cell],
            };
            own.store(packed(&who), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Errors: the access in `cell` is another cluster's, and nothing orders it before what `who` does.
    fn check(&self, cell: u64, wrote: bool, who: &Place, acquired: &[Acquired]) -> Result<(), Conflict> {
        if cell == 0 {
            return Ok(());
        }
        let (cluster, thread, at) = unpacked(cell);
        if cluster == who.cluster {
            return Ok(());
        }
        let tickets = self.tickets.read().unwrap_or_else(PoisonError::into_inner);
        let ordered = acquired.iter().filter(|of| who.follows(of.fence.thread, of.fence.now)).any(|of| {
            let releases = tickets.get(&of.ticket).and_then(|ticket| ticket.releases.get(&cluster));
            releases.is_some_and(|all| all.iter().any(|(turn, fence)| *turn < of.turn && fence.follows(thread, at)))
        });
        if ordered { Ok(()) } else { Err(Conflict { cluster, thread, wrote }) }
    }

    /// Makes an atomic operation on the number at `address`, by a thread of `cluster` whose last fence was `fence`. Returns the number's value before,
    /// and which operation on it this was.
    ///
    /// # Safety
    /// `address` is that of an aligned number of this launch.
    pub unsafe fn atomic(
        &self,
        address: usize,
        operation: impl Fn(u32) -> u32,
        cluster: u64,
        fence: Option<Place>,
    ) -> (u32, u32) {
        let mut tickets = self.tickets.write().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: by the caller's promise; no other access to it is made outside this lock but by a wrong kernel.
        let number = unsafe { AtomicU32::from_ptr(address as *mut u32) };
        let before = number.load(Ordering::SeqCst);
        number.store(operation(before), Ordering::SeqCst);
        let ticket =
            tickets.entry(address).or_insert_with(|| Ticket { first: before, turns: 0, releases: HashMap::new() });
        ticket.turns += 1;
        if let Some(fence) = fence {
            ticket.releases.entry(cluster).or_default().push((ticket.turns, fence));
        }
        (before, ticket.turns)
    }

    /// Ends the launch. Numbers that atomic operations were made on must be what they were before, since the next launch counts from there; where
    /// the launch has `failed`, they are made so. Errors: the address of one that is not, what it is, and what it was.
    pub fn end(self, failed: bool) -> Result<(), (usize, u32, u32)> {
        let tickets = self.tickets.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut left: Option<(usize, u32, u32)> = None;
        for (address, ticket) in tickets {
            // SAFETY: as in `atomic`; the launch has ended.
            let number = unsafe { AtomicU32::from_ptr(address as *mut u32) };
            let now = number.swap(ticket.first, Ordering::SeqCst);
            if now != ticket.first && !failed && left.is_none_or(|(other, ..)| address < other) {
                left = Some((address, now, ticket.first));
            }
        }
        left.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thread `thread` of 64 of the only block of `cluster`.
    fn place(cluster: u64, thread: u32, now: u32, block: u32) -> Place {
        Place { cluster, thread, threads: 64, now, block, all: 0 }
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let who = Place { cluster: 65_535, thread: 8_191, threads: 1024, now: 33_554_431, block: 7, all: 3 };
        assert_eq!(unpacked(packed(&who)), (65_535, 8_191, 33_554_431));
        assert_eq!(unpacked(packed(&place(0, 0, 0, 0))), (0, 0, 0));
    }

    #[test]
    fn only_fences_and_a_ticket_between_them_order_two_blocks() {
        // Eight bytes of data; thread 5 of block 0 writes, a barrier passes at time 1.
        let (mut data, mut ticket) = ([0u64; 1], 0u32);
        let (at, number) = (data.as_mut_ptr() as usize, std::ptr::from_mut(&mut ticket) as usize);
        let fresh = || {
            let global = Global::new(std::iter::once(at..at + 8));
            assert_eq!(global.access(at, 8, true, place(0, 5, 0, 0), &[]), Ok(()));
            global
        };
        let conflict = Err(Conflict { cluster: 0, thread: 5, wrote: true });
        assert_eq!(fresh().access(at, 8, false, place(0, 9, 0, 0), &[]), Ok(()), "within a block the shadow looks");
        assert_eq!(fresh().access(at, 8, false, place(1, 5, 0, 0), &[]), conflict);
        // Block 0 takes its ticket by thread `by` with this fence; block 1 takes it by its thread 0 and fences at time 3, a barrier passes at 4.
        let read = |fence: Option<Place>, reader: Place, late: bool| {
            let global = fresh();
            // SAFETY: it is the number's address.
            let take = |cluster, fence| unsafe { global.atomic(number, |v| v + 1, cluster, fence) }.1;
            let turns = if late {
                let turn = take(1, None);
                take(0, fence);
                turn
            } else {
                take(0, fence);
                take(1, None)
            };
            let acquired = Acquired { ticket: number, turn: turns, fence: place(1, 0, 3, 0) };
            let found = global.access(at, 8, false, reader, &[acquired]);
            global.end(true).unwrap();
            found
        };
        let after = place(1, 7, 5, 4);
        assert_eq!(read(Some(place(0, 0, 2, 1)), after, false), Ok(()));
        assert_eq!(read(Some(place(0, 5, 1, 0)), after, false), Ok(()), "the writer's own fence");
        assert_eq!(read(None, after, false), conflict, "no fence before the ticket");
        assert_eq!(read(Some(place(0, 0, 1, 0)), after, false), conflict, "no barrier before the fence");
        assert_eq!(read(Some(place(0, 0, 2, 1)), place(1, 7, 5, 0), false), conflict, "no barrier after the ticket");
        assert_eq!(read(Some(place(0, 0, 2, 1)), place(1, 0, 5, 0), false), Ok(()), "but for the thread that took it");
        assert_eq!(read(Some(place(0, 0, 2, 1)), after, true), conflict, "the reader was there first");
    }

    #[test]
    fn a_ticket_is_left_as_it_was() {
        let mut ticket = 0u32;
        let number = std::ptr::from_mut(&mut ticket) as usize;
        for (operations, failed, expected) in [(2, false, Ok(())), (1, false, Err((number, 1, 0))), (1, true, Ok(()))] {
            let global = Global::default();
            for _ in 0..operations {
                // SAFETY: it is the number's address.
                unsafe { global.atomic(number, |v| if v >= 1 { 0 } else { v + 1 }, 0, None) };
            }
            assert_eq!(global.end(failed), expected);
            assert_eq!(ticket, 0);
        }
    }
}
