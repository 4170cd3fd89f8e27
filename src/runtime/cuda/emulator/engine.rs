//! What of a cluster works beside its threads: bulk copies that are under way, and products of warpgroups; with the mbarriers that count them. Places
//! in shared memory and threads are numbered through all of its blocks (`layout`).
//!
//! Every 16 bytes of shared memory have a record of the last copy to them and of the products that read them. Whether a thread may touch them depends on
//! what it knows (see [`super::clocks`]), not on the moment at which something happens here: so a missing wait is found in every schedule.

use super::clocks::Clocks;
use super::layout::Layout;
use super::matrix::Matrix;
use super::mbarrier::{BARRIERS, Barriers};
use super::named::NamedBarriers;
use super::operand::{CHUNK, Product};
use super::shadow::{Moment, Shadow};
use super::warpgroup::{Needs, THREADS, Warpgroup};
use crate::runtime::rng::{Purpose, word};

/// The most warpgroups that multiply.
const WARPGROUPS: usize = 8;
/// Tiles begin at multiples of this: chunks are permuted by the bits of their address.
const TILE_ALIGNMENT: usize = 1024;
/// One bulk copy, as far as it goes to one block.
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

/// All of a cluster's.
pub struct Engine {
    pub clocks: Clocks,
    layout: Layout,
    barriers: Barriers,
    transfers: Vec<Transfer>,
    under_way: Vec<usize>,
    granules: Vec<Granule>,
    warpgroups: Vec<Warpgroup>,
    named: NamedBarriers,
    /// Of each block, whether all its threads have left; and who has arrived from other blocks at its mbarriers, with the other's own number then.
    gone: Vec<bool>,
    arrived: Vec<Vec<(u32, u32)>>,
    /// Threads that can go on.
    pub woken: Vec<u32>,
    seed: Option<u64>,
    drawn: u64,
}

/// One block's shared memory, for what works beside its threads.
pub struct Memory<'a> {
    pub bytes: &'a mut [u8],
    pub shadow: &'a mut Shadow,
    /// Whether the threads' own accesses are on record in the shadow.
    pub watched: bool,
    /// The time of the block's last barrier, and of the cluster's.
    pub moment: u32,
    pub cluster_moment: u32,
}

impl Engine {
    /// Of a cluster's blocks. With a seed, copies come and products are made at times that it chooses.
    pub fn new(layout: Layout, seed: Option<u64>) -> Self {
        let Layout { blocks, threads, room } = layout;
        let (blocks, threads) = (blocks as usize, threads as usize);
        Engine {
            clocks: Clocks::new(blocks * threads, blocks * BARRIERS),
            layout,
            barriers: Barriers::new(layout),
            transfers: Vec::new(),
            under_way: Vec::new(),
            granules: vec![Granule::default(); (blocks * room).div_ceil(CHUNK)],
            warpgroups: (0..blocks * (threads / THREADS)).map(|_| Warpgroup::default()).collect(),
            named: NamedBarriers::default(),
            gone: vec![false; blocks],
            arrived: vec![Vec::new(); blocks],
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
        let rank = self.layout.rank_of(place);
        if rank != self.layout.rank(thread) {
            self.is_there(rank)?;
            let number = self.clocks.own(thread);
            match self.arrived[rank].iter_mut().find(|(other, _)| *other == thread) {
                Some((_, last)) => *last = number,
                None => self.arrived[rank].push((thread, number)),
            }
        }
        let at = self.barriers.arrive(&mut self.clocks, thread, place, bytes)?;
        self.end_phase(at)
    }

    /// Errors: block `rank` is none of the cluster, or all its threads have left.
    fn is_there(&self, rank: usize) -> Result<(), String> {
        match self.gone.get(rank) {
            Some(false) => Ok(()),
            Some(true) => Err(format!("uses shared memory of the cluster's block {rank}, which has left the kernel")),
            None => Err(format!("uses shared memory of block {rank} of a cluster of {}", self.gone.len())),
        }
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
        self.named.stuck().or_else(|| self.barriers.stuck())
    }

    /// `thread` comes to a barrier of `threads` threads. Returns whether it is the last.
    pub fn meet(&mut self, thread: u32, which: u32, threads: u32) -> Result<bool, String> {
        let Some(there) = self.named.meet(self.layout.rank(thread), thread, which, threads)? else { return Ok(false) };
        self.clocks.meet(there.iter().copied());
        self.woken.extend(there.into_iter().filter(|&other| other != thread));
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

    /// Whether products that `thread` does not know to have ended read what a granule of block `rank` is.
    fn is_read(&self, thread: u32, rank: usize, granule: &Granule) -> bool {
        let (all, threads) = (self.layout.threads as usize / THREADS, self.layout.threads);
        let mut groups = granule.readers.iter().zip(0..).filter(|(group, _)| **group > 0);
        groups.any(|(&group, w)| {
            let first = rank as u32 * threads + w * THREADS as u32;
            !self.warpgroups[rank * all + w as usize].has_ended(group - 1, first, &self.clocks, thread)
        })
    }

    /// A thread's own access. Errors: it is not ordered with a copy or a product.
    pub fn touch(&self, thread: u32, place: usize, bytes: usize, write: bool) -> Result<(), String> {
        let verb = if write { "writes" } else { "reads" };
        let named = || self.layout.named(place);
        if self.barriers.overlap(place, bytes) {
            return Err(format!("{verb} an mbarrier, at {}, as memory", named()));
        }
        for granule in self.granules(place, bytes) {
            if !self.has_come(thread, granule.copy) {
                return Err(format!(
                    "{verb} shared memory, at {}, that a bulk copy writes: its mbarrier was not waited for",
                    named()
                ));
            }
            if write && self.is_read(thread, self.layout.rank_of(place), granule) {
                return Err(format!(
                    "writes shared memory, at {}, that a wgmma may still read: no wait between",
                    named()
                ));
            }
        }
        Ok(())
    }

    /// `thread` asks for a box of a matrix, for each block that is a bit of `blocks`: it comes to the same place of each, and is counted by the mbarrier
    /// at the same place. Returns how many blocks these are.
    pub fn copy(
        &mut self,
        thread: u32,
        to: usize,
        from: Matrix,
        barrier: usize,
        at: [i32; 2],
        blocks: u32,
        memory: &mut [Memory<'_>],
    ) -> Result<u32, String> {
        if from.kind != Matrix::KIND {
            return Err("asks for a bulk copy without a tensor map".into());
        }
        for rank in (0..32).filter(|rank| blocks >> rank & 1 == 1) {
            self.is_there(rank)?;
            let [to, barrier] = [to, barrier].map(|place| self.layout.place(rank, place % self.layout.room));
            self.copy_to(thread, to, from, barrier, at, memory)?;
        }
        Ok(blocks.count_ones())
    }

    fn copy_to(
        &mut self,
        thread: u32,
        to: usize,
        from: Matrix,
        barrier: usize,
        at: [i32; 2],
        memory: &mut [Memory<'_>],
    ) -> Result<(), String> {
        let (barrier, phase) = self.barriers.of_copy(&self.clocks, thread, barrier)?;
        let (rank, offset) = (self.layout.rank_of(to), to % self.layout.room);
        if !offset.is_multiple_of(TILE_ALIGNMENT) {
            return Err(format!("asks for a bulk copy to byte {offset}; tiles begin at multiples of {TILE_ALIGNMENT}"));
        }
        let copy = Transfer { barrier, phase, thread, to, from, x: at[0], y: at[1] };
        let bytes = copy.bytes();
        for (granule, i) in self.granules(to, bytes).iter().zip(0..) {
            let named = || self.layout.named(to + i * CHUNK);
            if !self.has_come(thread, granule.copy) {
                return Err(format!("asks for a bulk copy to {}, where one was not waited for", named()));
            }
            if self.is_read(thread, rank, granule) {
                return Err(format!(
                    "asks for a bulk copy to {}, which a wgmma may still read: no wait between",
                    named()
                ));
            }
        }
        let remote = rank != self.layout.rank(thread);
        let Memory { bytes: into, shadow, watched, moment, cluster_moment } = &mut memory[rank];
        if *watched {
            let known = |other, number, fenced| match fenced {
                true => self.clocks.knows_fenced(thread, other, number),
                false => self.clocks.knows(thread, other, number),
            };
            // A barrier of the block alone says nothing to others.
            let since = |at: &Moment| if remote { at.cluster == *cluster_moment } else { at.block == *moment };
            shadow.may_replace(offset, bytes, since, known).map_err(|(offset, other)| {
                let (place, other) = (self.layout.named(self.layout.place(rank, offset)), self.layout.own(other));
                format!(
                    "asks for a bulk copy to {place}, which thread {other} used: no barrier between, or no proxy fence"
                )
            })?;
        }
        self.transfers.push(copy);
        let number = self.transfers.len();
        self.granules[to / CHUNK..(to + bytes).div_ceil(CHUNK)]
            .fill(Granule { copy: number as u32, readers: [0; WARPGROUPS] });
        // Until it comes there is nothing: NaN.
        into[offset..offset + bytes].fill(0xff);
        self.under_way.push(number - 1);
        if self.seed.is_some() && self.draw(2) == 0 {
            let last = self.under_way.len() - 1;
            self.land(last, memory)?;
        }
        Ok(())
    }

    /// One copy that is under way comes; none if there is none. Errors: the thread that asked for it, and what is wrong.
    pub fn deliver(&mut self, memory: &mut [Memory<'_>]) -> Option<Result<(), (u32, String)>> {
        if self.under_way.is_empty() {
            return None;
        }
        let which = self.draw(self.under_way.len());
        let thread = self.transfers[self.under_way[which]].thread;
        Some(self.land(which, memory).map_err(|problem| (thread, problem)))
    }

    fn land(&mut self, which: usize, memory: &mut [Memory<'_>]) -> Result<(), String> {
        let copy = self.transfers[self.under_way.remove(which)];
        let (memory, first) = (&mut memory[self.layout.rank_of(copy.to)], copy.to % self.layout.room);
        // SAFETY: the launch has checked that the whole matrix lies within its tensor.
        unsafe { copy.from.bring(copy.x, copy.y, memory.bytes, first) };
        memory.shadow.landed(first, copy.bytes());
        self.barriers.come(copy.barrier, copy.bytes());
        self.end_phase(copy.barrier)
    }

    // ---- products ----

    fn warpgroup(&mut self, thread: u32) -> Result<(&mut Warpgroup, usize), String> {
        let (count, own) = (self.layout.threads as usize / THREADS, self.layout.own(thread) as usize);
        match self.warpgroups.get_mut(self.layout.rank(thread) * count + own / THREADS) {
            Some(warpgroup) if own / THREADS < WARPGROUPS.min(count) => Ok((warpgroup, own % THREADS)),
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
        memory: &mut [Memory<'_>],
        inside: impl Fn(usize) -> bool,
    ) -> Result<(), String> {
        let memory = &mut memory[self.layout.rank(thread)];
        let (warpgroup, own) = self.warpgroup(thread)?;
        if warpgroup.is_first(own) {
            let group = warpgroup.group(own);
            let needs = self.read(thread, group, &of, memory, inside)?;
            self.warpgroup(thread)?.0.begin(own, of, needs);
        }
        let which = self.layout.rank(thread) * (self.layout.threads as usize / THREADS)
            + self.layout.own(thread) as usize / THREADS;
        let needs = self.warpgroups[which].needs(own, &of)?;
        if needs.copies.iter().any(|&copy| !self.has_come(thread, copy)) {
            return Err("asks for a wgmma of what a bulk copy brings: its mbarrier was not waited for".into());
        }
        if let Some(&(other, _)) =
            needs.writes.iter().find(|&&(other, number)| !self.clocks.knows_fenced(thread, other, number))
        {
            return Err(format!(
                "asks for a wgmma of what thread {} wrote: no barrier between, or no fence.proxy.async",
                self.layout.own(other)
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

    /// Writes down that a group of products of `thread`'s warpgroup reads what `of` needs, and returns what that is.
    fn read(
        &mut self,
        thread: u32,
        group: u32,
        of: &Product,
        memory: &Memory<'_>,
        inside: impl Fn(usize) -> bool,
    ) -> Result<Needs, String> {
        let mut needs = Needs::default();
        let (rank, which) = (self.layout.rank(thread), self.layout.own(thread) as usize / THREADS);
        for place in of.chunks()? {
            if !inside(place) {
                return Err(format!("asks for a wgmma of memory outside all shared arrays, at byte {place}"));
            }
            let granule = &mut self.granules[self.layout.place(rank, place) / CHUNK];
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
    pub fn wait_groups(&mut self, thread: u32, left: u32, memory: &[Memory<'_>]) -> Result<bool, String> {
        let memory = &memory[self.layout.rank(thread)];
        let number = self.clocks.own(thread);
        let (warpgroup, own) = self.warpgroup(thread)?;
        if !warpgroup.is_ready(own, left) {
            warpgroup.waiting.push(thread);
            return Ok(false);
        }
        warpgroup.wait(own, left, number, memory.bytes)?;
        Ok(true)
    }

    /// Errors: what `thread`, which leaves the kernel, has not waited for; the last thread of a block, whether copies to it are under way, or others may
    /// still arrive at its mbarriers.
    pub fn leave(&mut self, thread: u32, last: bool) -> Result<(), String> {
        if self.warpgroup(thread).is_ok_and(|(warpgroup, own)| warpgroup.is_under_way(own)) {
            return Err("leaves the kernel while its wgmma are under way".into());
        }
        if !last {
            return Ok(());
        }
        let rank = self.layout.rank(thread);
        if self.under_way.iter().any(|&copy| self.layout.rank_of(self.transfers[copy].to) == rank) {
            return Err("leaves the kernel, the last of its block, while bulk copies are under way".into());
        }
        let mut arrived = self.arrived[rank].iter();
        if let Some(&(other, _)) = arrived.find(|&&(other, number)| !self.clocks.knows(thread, other, number)) {
            let (other, rank) = (self.layout.own(other), self.layout.rank(other));
            return Err(format!(
                "leaves the kernel, the last of its block, without knowing that thread {other} of the cluster's block {rank} has arrived at its mbarrier"
            ));
        }
        self.gone[rank] = true;
        Ok(())
    }
}
