//! What of a block works beside its threads: bulk copies that are under way, and products of warpgroups; with its mbarriers, which count them.
//!
//! Every 16 bytes of shared memory have a record of the last copy to them and of the products that read them. Whether a thread may touch them depends on
//! what it knows (see [`super::clocks`]), not on the moment at which something happens here: so a missing wait is found in every schedule.

use super::clocks::Clocks;
use super::mbarrier::{BARRIERS, Barriers};
use super::operand::{CHUNK, Product, permuted};
use super::shadow::Shadow;
use super::warpgroup::{Needs, THREADS, Warpgroup};
use crate::runtime::rng::{Purpose, word};

/// The most warpgroups that multiply.
const WARPGROUPS: usize = 8;
/// Tiles begin at multiples of this: chunks are permuted by the bits of their address.
const TILE_ALIGNMENT: usize = 1024;
/// A matrix, as a kernel of the emulator has it: the words of its `TensorMap`.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Matrix {
    pub kind: u64,
    pub address: u64,
    pub element: u64,
    pub extents: [u64; 2],
    pub pitch: u64,
    pub tile: [u64; 2],
    pub rest: [u64; 8],
}

impl Matrix {
    /// What says that these words are a matrix.
    pub const KIND: u64 = 0x6e6f_726d_5f6d_6170;

    /// Bytes of a box.
    pub fn box_bytes(&self) -> usize {
        (self.element * self.tile[0] * self.tile[1]) as usize
    }

    /// The rows of the box whose first element is (x, y), each as an address and bytes, as far as they lie within the matrix.
    pub fn rows(self, x: i32, y: i32) -> impl Iterator<Item = (usize, usize)> {
        let within = |first: i32, count: u64, extent: u64| {
            let clamped = |at: i64| at.clamp(0, extent as i64) as usize;
            clamped(i64::from(first))..clamped(i64::from(first) + count as i64)
        };
        let columns = within(x, self.tile[0], self.extents[0]);
        let element = self.element as usize;
        let begin = self.address as usize + columns.start * element;
        within(y, self.tile[1], self.extents[1])
            .map(move |row| (begin + row * self.pitch as usize, columns.len() * element))
    }
}

/// One bulk copy.
#[derive(Debug, Clone, Copy)]
struct Transfer {
    barrier: usize,
    phase: u32,
    thread: u32,
    to: usize,
    from: Matrix,
    x: i32,
    y: i32,
}

impl Transfer {
    fn bytes(&self) -> usize {
        self.from.box_bytes()
    }
}

/// 16 bytes of shared memory: the last copy to them, counted from 1, and of each warpgroup the last group of products that reads them, too.
#[derive(Debug, Clone, Copy, Default)]
struct Granule {
    copy: u32,
    readers: [u32; WARPGROUPS],
}

/// All of a block's.
pub struct Engine {
    pub clocks: Clocks,
    barriers: Barriers,
    transfers: Vec<Transfer>,
    under_way: Vec<usize>,
    granules: Vec<Granule>,
    warpgroups: Vec<Warpgroup>,
    /// Barriers of some warps: number, how many threads it is for, and those that are there.
    named: Vec<(u32, u32, Vec<u32>)>,
    /// Threads that can go on.
    pub woken: Vec<u32>,
    seed: Option<u64>,
    drawn: u64,
}

/// A block's shared memory, for what works beside its threads.
pub struct Memory<'a> {
    pub bytes: &'a mut [u8],
    pub shadow: &'a mut Shadow,
    /// Whether the threads' own accesses are on record in the shadow.
    pub watched: bool,
    /// The time of the block's last barrier.
    pub moment: u32,
}

impl Engine {
    /// Of a block of `threads` threads with `room` bytes of shared memory. With a seed, copies come and products are made at times that it chooses.
    pub fn new(threads: u32, room: usize, seed: Option<u64>) -> Self {
        Engine {
            clocks: Clocks::new(threads as usize, BARRIERS),
            barriers: Barriers::default(),
            transfers: Vec::new(),
            under_way: Vec::new(),
            granules: vec![Granule::default(); room.div_ceil(CHUNK)],
            warpgroups: (0..threads as usize / THREADS).map(|_| Warpgroup::default()).collect(),
            named: Vec::new(),
            woken: Vec::new(),
            seed,
            drawn: 0,
        }
    }

    /// A number below `below`, by the seed; 0 without one.
    fn draw(&mut self, below: usize) -> usize {
        self.drawn += 1;
        self.seed.map_or(0, |seed| word(seed, Purpose::Case, 1, 0, self.drawn) as usize % below)
    }

    // ---- mbarriers ----

    /// `thread` makes the barrier at `place`.
    pub fn make_barrier(&mut self, thread: u32, place: usize, arrivals: u32) -> Result<(), String> {
        self.barriers.make(&self.clocks, thread, place, arrivals)
    }

    /// A fence of `thread`: of its barriers' making alone, or of all that it wrote to shared memory.
    pub fn fence(&mut self, thread: u32, making_alone: bool) {
        if !making_alone {
            self.clocks.fence(thread);
        }
        self.barriers.fence(thread, self.clocks.own(thread));
    }

    /// `thread` arrives at the barrier at `place`, whose phase is to have so many bytes more.
    pub fn arrive(&mut self, thread: u32, place: usize, bytes: u32) -> Result<(), String> {
        let at = self.barriers.arrive(&mut self.clocks, thread, place, bytes)?;
        self.end_phase(at)
    }

    /// Ends the barrier's phase if everything has come.
    fn end_phase(&mut self, at: usize) -> Result<(), String> {
        let under_way = self.under_way.iter().any(|&copy| self.transfers[copy].barrier == at);
        self.woken.extend(self.barriers.end_phase(at, under_way)?);
        Ok(())
    }

    /// Whether `thread` need not wait for the phase of parity `parity`; it has learnt then of what ended the phase.
    pub fn passes(&mut self, thread: u32, place: usize, parity: u32) -> Result<bool, String> {
        self.barriers.passes(&mut self.clocks, thread, place, parity)
    }

    /// What a thread waits for that can never go on: at an mbarrier, for a product, or at a barrier of some warps.
    pub fn stuck(&self) -> Option<(u32, String)> {
        if let Some(&thread) = self.warpgroups.iter().flat_map(|warpgroup| &warpgroup.waiting).next() {
            return Some((thread, "waits for ever for a wgmma that not all of its warpgroup ask for".into()));
        }
        if let Some((which, threads, there)) = self.named.iter().find(|(.., there)| !there.is_empty()) {
            let problem =
                format!("waits for ever at barrier {which} of {threads} threads, which {} reach", there.len());
            return Some((there[0], problem));
        }
        self.barriers.stuck()
    }

    /// `thread` comes to a barrier of `threads` threads. Returns whether it is the last.
    pub fn meet(&mut self, thread: u32, which: u32, threads: u32) -> Result<bool, String> {
        if !(1..16).contains(&which) || threads == 0 || !threads.is_multiple_of(32) {
            return Err(format!("waits at barrier {which} of {threads} threads; there are 1 to 15, of whole warps"));
        }
        let at = self.named.iter().position(|(other, ..)| *other == which).unwrap_or_else(|| {
            self.named.push((which, threads, Vec::new()));
            self.named.len() - 1
        });
        let (_, expected, there) = &mut self.named[at];
        if there.is_empty() {
            *expected = threads;
        } else if *expected != threads {
            return Err(format!("waits at barrier {which} of {threads} threads, others at one of {expected}"));
        }
        there.push(thread);
        if (there.len() as u32) < threads {
            return Ok(false);
        }
        let mut there = std::mem::take(there);
        self.clocks.meet(there.iter().copied());
        there.retain(|&other| other != thread);
        self.woken.extend(there);
        Ok(true)
    }

    // ---- shared memory ----

    /// The records of `bytes` bytes from `offset`.
    fn granules(&self, offset: usize, bytes: usize) -> &[Granule] {
        &self.granules[offset / CHUNK..(offset + bytes).div_ceil(CHUNK)]
    }

    fn has_come(&self, thread: u32, copy: u32) -> bool {
        let Some(copy) = copy.checked_sub(1) else { return true };
        let Transfer { barrier, phase, .. } = self.transfers[copy as usize];
        self.clocks.knows_phases(thread, barrier, phase + 1)
    }

    fn is_read(&self, thread: u32, granule: &Granule) -> bool {
        let mut groups = granule.readers.iter().zip(0..).filter(|(group, _)| **group > 0);
        groups.any(|(&group, w)| {
            !self.warpgroups[w as usize].has_ended(group - 1, w * THREADS as u32, &self.clocks, thread)
        })
    }

    /// A thread's own access. Errors: it is not ordered with a copy or a product.
    pub fn touch(&self, thread: u32, offset: usize, bytes: usize, write: bool) -> Result<(), String> {
        let verb = if write { "writes" } else { "reads" };
        if self.barriers.overlap(offset, bytes) {
            return Err(format!("{verb} an mbarrier, at byte {offset}, as memory"));
        }
        for granule in self.granules(offset, bytes) {
            if !self.has_come(thread, granule.copy) {
                return Err(format!(
                    "{verb} shared memory, at byte {offset}, that a bulk copy writes: its mbarrier was not waited for"
                ));
            }
            if write && self.is_read(thread, granule) {
                return Err(format!(
                    "writes shared memory, at byte {offset}, that a wgmma may still read: no wait between"
                ));
            }
        }
        Ok(())
    }

    /// `thread` asks for a box of a matrix.
    pub fn copy(
        &mut self,
        thread: u32,
        to: usize,
        from: Matrix,
        barrier: usize,
        at: [i32; 2],
        memory: &mut Memory<'_>,
    ) -> Result<(), String> {
        if from.kind != Matrix::KIND {
            return Err("asks for a bulk copy without a tensor map".into());
        }
        let (barrier, phase) = self.barriers.of_copy(&self.clocks, thread, barrier)?;
        if !to.is_multiple_of(TILE_ALIGNMENT) {
            return Err(format!("asks for a bulk copy to byte {to}; tiles begin at multiples of {TILE_ALIGNMENT}"));
        }
        let copy = Transfer { barrier, phase, thread, to, from, x: at[0], y: at[1] };
        let bytes = copy.bytes();
        for (granule, i) in self.granules(to, bytes).iter().zip(0..) {
            let offset = to + i * CHUNK;
            if !self.has_come(thread, granule.copy) {
                return Err(format!("asks for a bulk copy to byte {offset}, where one was not waited for"));
            }
            if self.is_read(thread, granule) {
                return Err(format!(
                    "asks for a bulk copy to byte {offset}, which a wgmma may still read: no wait between"
                ));
            }
        }
        if memory.watched {
            let known = |other, number, fenced| match fenced {
                true => self.clocks.knows_fenced(thread, other, number),
                false => self.clocks.knows(thread, other, number),
            };
            memory.shadow.may_replace(to, bytes, memory.moment, known).map_err(|(offset, other)| {
                format!("asks for a bulk copy to byte {offset}, which thread {other} used: no barrier between, or no proxy fence")
            })?;
        }
        self.transfers.push(copy);
        let number = self.transfers.len();
        self.granules[to / CHUNK..(to + bytes).div_ceil(CHUNK)]
            .fill(Granule { copy: number as u32, readers: [0; WARPGROUPS] });
        // Until it comes there is nothing: NaN.
        memory.bytes[to..to + bytes].fill(0xff);
        self.under_way.push(number - 1);
        if self.seed.is_some() && self.draw(2) == 0 {
            let last = self.under_way.len() - 1;
            self.land(last, memory)?;
        }
        Ok(())
    }

    /// One copy that is under way comes; none if there is none. Errors: the thread that asked for it, and what is wrong.
    pub fn deliver(&mut self, memory: &mut Memory<'_>) -> Option<Result<(), (u32, String)>> {
        if self.under_way.is_empty() {
            return None;
        }
        let which = self.draw(self.under_way.len());
        let thread = self.transfers[self.under_way[which]].thread;
        Some(self.land(which, memory).map_err(|problem| (thread, problem)))
    }

    fn land(&mut self, which: usize, memory: &mut Memory<'_>) -> Result<(), String> {
        let copy = self.transfers[self.under_way.remove(which)];
        let Matrix { address, element, extents, pitch, tile, .. } = copy.from;
        let element = element as usize;
        for row in 0..tile[1] as usize {
            for column in 0..tile[0] as usize {
                let [x, y] = [i64::from(copy.x) + column as i64, i64::from(copy.y) + row as i64];
                let inside = x >= 0 && y >= 0 && (x as u64) < extents[0] && (y as u64) < extents[1];
                let place = permuted(copy.to + row * 128 + column * element);
                let to = &mut memory.bytes[place..place + element];
                if inside {
                    let from = address as usize + y as usize * pitch as usize + x as usize * element;
                    // SAFETY: the launch has checked that the whole matrix lies within its tensor.
                    unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to.as_mut_ptr(), element) };
                } else {
                    to.fill(0);
                }
            }
        }
        memory.shadow.landed(copy.to, copy.bytes());
        self.barriers.come(copy.barrier, copy.bytes());
        self.end_phase(copy.barrier)
    }

    // ---- products ----

    fn warpgroup(&mut self, thread: u32) -> Result<(&mut Warpgroup, usize), String> {
        let count = self.warpgroups.len();
        match self.warpgroups.get_mut(thread as usize / THREADS) {
            Some(warpgroup) if thread as usize / THREADS < WARPGROUPS => Ok((warpgroup, thread as usize % THREADS)),
            _ => Err(format!("uses wgmma outside of the block's {count} whole warpgroups")),
        }
    }

    /// `thread` fences its registers.
    pub fn fence_registers(&mut self, thread: u32) -> Result<(), String> {
        let (warpgroup, own) = self.warpgroup(thread)?;
        warpgroup.fence(own);
        Ok(())
    }

    /// `thread` asks for a product with sums in `d`.
    ///
    /// # Safety
    /// As [`Warpgroup::ask`].
    pub unsafe fn product(
        &mut self,
        thread: u32,
        d: *mut f32,
        of: Product,
        memory: &mut Memory<'_>,
        inside: impl Fn(usize) -> bool,
    ) -> Result<(), String> {
        let which = thread as usize / THREADS;
        let (warpgroup, own) = self.warpgroup(thread)?;
        if warpgroup.is_first(own) {
            let group = warpgroup.group(own);
            let needs = self.read(which, group, &of, memory, inside)?;
            self.warpgroup(thread)?.0.begin(own, of, needs);
        }
        let needs = self.warpgroups[which].needs(own, &of)?;
        if needs.copies.iter().any(|&copy| !self.has_come(thread, copy)) {
            return Err("asks for a wgmma of what a bulk copy brings: its mbarrier was not waited for".into());
        }
        if let Some((other, _)) =
            needs.writes.iter().find(|&&(other, number)| !self.clocks.knows_fenced(thread, other, number))
        {
            return Err(format!(
                "asks for a wgmma of what thread {other} wrote: no barrier between, or no fence.proxy.async"
            ));
        }
        let early = self.seed.is_some() && self.draw(2) == 0;
        let (warpgroup, own) = self.warpgroup(thread)?;
        // SAFETY: by the caller's promise.
        if unsafe { warpgroup.ask(own, d)? } {
            if early {
                warpgroup.make_all(memory.bytes)?;
            }
            let woken = std::mem::take(&mut warpgroup.waiting);
            self.woken.extend(woken);
        }
        Ok(())
    }

    /// Writes down that a group of products of a warpgroup reads what `of` needs, and returns what that is.
    fn read(
        &mut self,
        which: usize,
        group: u32,
        of: &Product,
        memory: &Memory<'_>,
        inside: impl Fn(usize) -> bool,
    ) -> Result<Needs, String> {
        let mut needs = Needs::default();
        for place in of.chunks()? {
            if !inside(place) {
                return Err(format!("asks for a wgmma of memory outside all shared arrays, at byte {place}"));
            }
            let granule = &mut self.granules[place / CHUNK];
            granule.readers[which] = group + 1;
            if granule.copy > 0 {
                needs.copies.push(granule.copy);
            }
            if !memory.watched {
                continue;
            }
            match memory.shadow.writers(place, CHUNK) {
                Some(writers) => needs.writes.extend(writers),
                // A copy that is under way has not written yet.
                None if granule.copy > 0 => {}
                None => return Err(format!("asks for a wgmma of memory that nobody has written, at byte {place}")),
            }
        }
        needs.copies.sort_unstable();
        needs.copies.dedup();
        needs.writes.sort_unstable();
        needs.writes.dedup();
        Ok(needs)
    }

    /// `thread` closes a group of products.
    pub fn close_group(&mut self, thread: u32) -> Result<(), String> {
        let (warpgroup, own) = self.warpgroup(thread)?;
        warpgroup.close(own);
        Ok(())
    }

    /// Whether at most `left` groups of `thread` are under way; otherwise it waits for others of its warpgroup to ask for theirs.
    pub fn wait_groups(&mut self, thread: u32, left: u32, memory: &Memory<'_>) -> Result<bool, String> {
        let number = self.clocks.own(thread);
        let (warpgroup, own) = self.warpgroup(thread)?;
        if !warpgroup.is_ready(own, left) {
            warpgroup.waiting.push(thread);
            return Ok(false);
        }
        warpgroup.wait(own, left, number, memory.bytes)?;
        Ok(true)
    }

    /// Errors: what `thread`, which leaves the kernel, has not waited for; the last thread, whether copies are under way.
    pub fn leave(&self, thread: u32, last: bool) -> Result<(), String> {
        let warpgroup = self.warpgroups.get(thread as usize / THREADS);
        if warpgroup.is_some_and(|warpgroup| warpgroup.is_under_way(thread as usize % THREADS)) {
            return Err("leaves the kernel while its wgmma are under way".into());
        }
        if last && !self.under_way.is_empty() {
            return Err("leaves the kernel, the last of its block, while bulk copies are under way".into());
        }
        Ok(())
    }
}
