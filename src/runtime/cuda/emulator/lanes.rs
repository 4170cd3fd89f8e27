//! Which accesses of a warp's lanes are one request, and what a request counts for.
//!
//! Threads run one after the other, so a warp's lanes come to the same instruction at different times. Its n-th run by each lane since the
//! lanes last met (a barrier, or an operation of the warp) is taken for one request, as on a GPU whose lanes stay together. No counter
//! depends on the order in which threads run: requests are counted where lanes meet, and sums and sets do not care for order.
//!
//! Lanes that take an inner loop unequally often, in an outer one without a meeting, are taken for being together in later rounds too, where
//! a GPU may have them apart.

use super::tally::{Map, Page, Pages, Tally, Touch};
use crate::runtime::cuda::counts::{Counts, Global, SECTOR, Shared, Wgmma};

const LANES: usize = 32;
const BANKS: usize = 32;
/// Bytes of a bank's word.
const WORD: usize = 4;

/// What an access is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Load,
    Store,
    /// The read and the write of an asynchronous copy.
    CopyLoad,
    CopyStore,
    Ldmatrix,
}

/// Where an access goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    Global,
    /// The block's own shared memory; places are bytes from its beginning.
    Shared,
    /// Another block's.
    Remote,
}

/// An instruction, as far as its accesses can be one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site {
    /// Where in the kernel it is.
    pub at: usize,
    /// Which of several accesses that it is made of.
    pub piece: u32,
    pub kind: Kind,
    pub space: Space,
    /// Bytes of a lane: a power of two up to 16.
    pub bytes: u32,
}

/// What lanes asked for together.
#[derive(Debug, Clone)]
struct Request {
    lanes: u32,
    places: [usize; LANES],
}

impl Request {
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..LANES).filter(|&lane| self.lanes >> lane & 1 == 1).map(|lane| (lane, self.places[lane]))
    }
}

/// Requests of one instruction between two meetings: the n-th is that of its n-th run.
#[derive(Debug, Default)]
struct Stretch {
    meeting: u32,
    requests: Vec<Request>,
}

/// One instruction of one warp.
#[derive(Debug)]
struct Seen {
    site: Site,
    stretches: Vec<Stretch>,
    /// Of each lane: the meeting after which it last came here, and how often it has since.
    runs: [(u32, u32); LANES],
    waiting: bool,
}

/// One warp's requests that are not counted yet.
#[derive(Debug, Default)]
struct Warp {
    rank: usize,
    /// Lanes that exist.
    present: u32,
    /// The last meeting of each lane. Those of several lanes have one number where they met together.
    met: [u32; LANES],
    meetings: u32,
    index: Map<Site, u32>,
    seen: Vec<Seen>,
    /// Instructions that have requests to be counted.
    waiting: Vec<u32>,
}

/// What an exchange of a warp's lanes stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Operation {
    /// Nothing that has a name.
    #[default]
    Plain,
    /// A shuffle of so many times 32 bits.
    Shuffle(u32),
    Vote,
    Mma,
    Ldmatrix,
}

/// The counters of a running cluster.
#[derive(Debug, Default)]
pub struct Counting {
    counts: Counts,
    warps: Vec<Warp>,
    /// Of each block, what it touched.
    pages: Vec<Pages>,
    /// Of each thread, what it is within.
    within: Vec<Operation>,
    /// Of each thread, its waits at mbarriers.
    waits: Vec<u32>,
    /// Of each block, its mma, and those that its warpgroups' products stand for.
    products: Vec<u64>,
    threads: u32,
}

impl Counting {
    /// A new cluster of `blocks` blocks of `threads` threads. What is known of instructions holds within one launch.
    pub fn begin(&mut self, blocks: u32, threads: u32) {
        let warps = threads.div_ceil(LANES as u32);
        self.counts = Counts::default();
        self.pages.resize_with(blocks as usize, Pages::default);
        self.pages.iter_mut().for_each(Pages::clear);
        self.within.clear();
        self.within.resize((blocks * threads) as usize, Operation::Plain);
        self.waits.clear();
        self.waits.resize((blocks * threads) as usize, 0);
        self.products.clear();
        self.products.resize(blocks as usize, 0);
        self.threads = threads;
        self.warps.clear();
        self.warps.extend((0..blocks * warps).map(|warp| {
            let lanes = (threads - warp % warps * LANES as u32).min(LANES as u32);
            let present = if lanes == 32 { u32::MAX } else { (1 << lanes) - 1 };
            Warp { rank: (warp / warps) as usize, present, ..Warp::default() }
        }));
    }

    /// Counts what is left, and gives everything to `tally`.
    pub fn end(&mut self, tally: &Tally) {
        (0..self.warps.len()).for_each(|warp| self.count(warp));
        // Lanes of a warp wait together: where not all of them do, the one that waits most often tells.
        let warps = self.waits.chunks(self.threads.max(1) as usize).flat_map(|block| block.chunks(LANES));
        self.counts.waits = warps.map(|lanes| lanes.iter().copied().max().map_or(0, u64::from)).sum();
        tally.take(&self.counts, self.products.iter().copied().max().unwrap_or(0), &mut self.pages);
    }

    /// Thread `thread` of the cluster has waited at an mbarrier.
    pub fn waited(&mut self, thread: u32) {
        self.waits[thread as usize] += 1;
    }

    /// So many warps of a block have met at a barrier of their own.
    pub fn some_met(&mut self, warps: u32) {
        self.counts.barriers.some += u64::from(warps);
    }

    /// A warpgroup of block `rank` multiplies 64 × 16 by 16 × `columns`, and reads so many bytes of shared memory.
    pub fn multiplied(&mut self, rank: u32, columns: usize, bytes: usize) {
        let Wgmma { requests, mma, bytes: read, .. } = &mut self.counts.wgmma;
        let work = (4 * columns / 8) as u64;
        *requests += 1;
        *mma += work;
        *read += bytes as u64;
        self.products[rank as usize] += work;
    }

    /// A bulk copy of rows of global memory, of which each is an address and bytes, that block `rank` asked for brings `bytes` bytes to each of
    /// `reached` blocks.
    pub fn copied(&mut self, rank: u32, rows: impl Iterator<Item = (usize, usize)>, bytes: usize, reached: u32) {
        self.counts.bulk.copies += 1;
        self.counts.bulk.multicast += u64::from(reached > 1);
        self.counts.bulk.bytes += bytes as u64 * u64::from(reached);
        for (begin, bytes) in rows.filter(|row| row.1 > 0) {
            for sector in begin / SECTOR..(begin + bytes).div_ceil(SECTOR) {
                self.counts.bulk.sectors += 1;
                Page::mark(&mut self.pages[rank as usize], sector, u32::MAX, Touch::Copied);
            }
        }
    }

    /// Thread `thread` begins, or with [`Operation::Plain`] ends, what its next exchange stands for.
    pub fn set_within(&mut self, thread: u32, operation: Operation) {
        self.within[thread as usize] = operation;
    }

    /// What `thread` is within. Accesses within an operation are the emulator's way to make it.
    pub fn within(&self, thread: u32) -> Operation {
        self.within[thread as usize]
    }

    /// Lane `lane` of `warp` makes an access.
    pub fn access(&mut self, warp: usize, lane: u32, site: Site, place: usize) {
        let warp = &mut self.warps[warp];
        let Warp { index, seen, waiting, met, .. } = warp;
        let number = *index.entry(site).or_insert_with(|| {
            seen.push(Seen { site, stretches: Vec::new(), runs: [(u32::MAX, 0); LANES], waiting: false });
            seen.len() as u32 - 1
        });
        let seen = &mut seen[number as usize];
        if !seen.waiting {
            seen.waiting = true;
            waiting.push(number);
        }
        let (meeting, lane) = (met[lane as usize], lane as usize);
        let runs = &mut seen.runs[lane];
        if runs.0 != meeting {
            *runs = (meeting, 0);
        }
        let run = runs.1 as usize;
        runs.1 += 1;
        let find = |which: &dyn Fn(&Stretch) -> bool| seen.stretches.iter().position(which);
        let found = find(&|stretch| stretch.meeting == meeting && !stretch.requests.is_empty());
        let stretch = found.or_else(|| find(&|stretch| stretch.requests.is_empty())).unwrap_or_else(|| {
            seen.stretches.push(Stretch::default());
            seen.stretches.len() - 1
        });
        let Stretch { meeting: of, requests } = &mut seen.stretches[stretch];
        *of = meeting;
        // Each lane comes to the runs in order, so that at most the next one is missing.
        if run == requests.len() {
            requests.push(Request { lanes: 0, places: [0; LANES] });
        }
        requests[run].lanes |= 1 << lane;
        requests[run].places[lane] = place;
    }

    /// All threads of block `rank` have met.
    pub fn block_met(&mut self, rank: u32) {
        self.counts.barriers.block += 1;
        self.all_met(|warp| warp.rank == rank as usize);
    }

    /// All threads of the cluster have met.
    pub fn cluster_met(&mut self) {
        self.counts.barriers.cluster += 1;
        self.all_met(|_| true);
    }

    fn all_met(&mut self, which: impl Fn(&Warp) -> bool) {
        for warp in 0..self.warps.len() {
            if which(&self.warps[warp]) {
                self.count(warp);
                self.warps[warp].meet(u32::MAX);
            }
        }
    }

    /// The lanes `lanes` of `warp` have met for `operation`; none is a `__syncwarp`.
    pub fn warp_met(&mut self, warp: usize, lanes: u32, operation: Option<Operation>) {
        match operation {
            None => self.counts.barriers.warp += 1,
            Some(Operation::Shuffle(words)) => self.counts.shuffles += u64::from(words),
            Some(Operation::Vote) => self.counts.votes += 1,
            Some(Operation::Mma) => {
                self.counts.mma += 1;
                self.products[self.warps[warp].rank] += 1;
            }
            // The request itself is counted.
            Some(Operation::Ldmatrix | Operation::Plain) => {}
        }
        if lanes == self.warps[warp].present {
            self.count(warp);
        }
        self.warps[warp].meet(lanes);
    }

    /// Counts what a warp has asked for.
    fn count(&mut self, warp: usize) {
        let Counting { counts, warps, pages, .. } = self;
        let Warp { rank, present, seen, waiting, .. } = &mut warps[warp];
        for number in waiting.drain(..) {
            let Seen { site, stretches, waiting, .. } = &mut seen[number as usize];
            *waiting = false;
            for request in stretches.iter().flat_map(|stretch| &stretch.requests) {
                count_request(counts, &mut pages[*rank], *site, request, *present);
            }
            // The room is kept, for the next stretch.
            stretches.truncate(1);
            stretches.iter_mut().for_each(|stretch| stretch.requests.clear());
        }
    }
}

impl Warp {
    fn meet(&mut self, lanes: u32) {
        self.meetings += 1;
        for (lane, met) in self.met.iter_mut().enumerate() {
            if lanes >> lane & 1 == 1 {
                *met = self.meetings;
            }
        }
    }
}

fn count_request(counts: &mut Counts, pages: &mut Pages, site: Site, request: &Request, present: u32) {
    let partial = u64::from(request.lanes != present);
    if site.kind == Kind::CopyStore {
        counts.copies += 1;
    }
    let written = matches!(site.kind, Kind::Store | Kind::CopyStore);
    match (site.space, site.kind) {
        (Space::Remote, _) => counts.remote += 1,
        (Space::Global, _) => {
            let global = if written { &mut counts.stores } else { &mut counts.loads };
            global.requests += 1;
            global.partial += partial;
            global.lanes += u64::from(request.lanes.count_ones());
            global.widths.count(site.bytes);
            touch(global, pages, site.bytes as usize, request, if written { Touch::Written } else { Touch::Read });
        }
        (Space::Shared, kind) => {
            let shared = match kind {
                Kind::Ldmatrix => &mut counts.ldmatrix,
                _ if written => &mut counts.shared_stores,
                _ => &mut counts.shared_loads,
            };
            let Shared { requests, partial: partials, widths, wavefronts, extra } = shared;
            let (taken, least) = serve(site.bytes as usize, request);
            *requests += 1;
            *partials += partial;
            widths.count(site.bytes);
            *wavefronts += taken;
            *extra += taken - least;
        }
    }
}

/// The sectors of a request. An access lies within one: it is aligned to its size.
fn touch(global: &mut Global, pages: &mut Pages, bytes: usize, request: &Request, how: Touch) {
    let mut sectors = [(0, 0u32); LANES];
    let mut count = 0;
    for (_, place) in request.places() {
        let mask = (u32::MAX >> (SECTOR - bytes)) << (place % SECTOR);
        sectors[count] = (place / SECTOR, mask);
        count += 1;
    }
    let sectors = &mut sectors[..count];
    sectors.sort_unstable();
    let mut distinct = 0u64;
    for same in sectors.chunk_by(|a, b| a.0 == b.0) {
        let mask = same.iter().fold(0, |all, (_, mask)| all | mask);
        distinct += u64::from(mask.count_ones());
        global.sectors += 1;
        Page::mark(pages, same[0].0, mask, how);
    }
    global.needed += distinct.div_ceil(SECTOR as u64);
}

/// The wavefronts that shared memory takes for a request, and the least that a request of such lanes takes. Lanes of 8 bytes are served in
/// halves of the warp, lanes of 16 bytes in quarters; of the lanes that are served at once, those that ask for one word share it.
fn serve(bytes: usize, request: &Request) -> (u64, u64) {
    let together = LANES * WORD / bytes.max(WORD);
    let (mut taken, mut least) = (0, 0);
    for first in (0..LANES).step_by(together) {
        let mut words = [0; LANES];
        let mut count = 0;
        for (_, place) in request.places().filter(|(lane, _)| (first..first + together).contains(lane)) {
            for word in 0..bytes.div_ceil(WORD) {
                words[count] = place / WORD + word;
                count += 1;
            }
        }
        let words = &mut words[..count];
        words.sort_unstable();
        let mut of_bank = [0; BANKS];
        for same in words.chunk_by(|a, b| a == b) {
            of_bank[same[0] % BANKS] += 1;
        }
        taken += of_bank.iter().max().copied().unwrap_or(0);
        least += u64::from(count > 0);
    }
    (taken, least)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(place: impl Fn(usize) -> usize) -> Request {
        Request { lanes: u32::MAX, places: std::array::from_fn(place) }
    }

    #[test]
    fn wavefronts_are_those_of_the_busiest_bank() {
        for (bytes, place, expected) in [
            (4, (|lane| 4 * lane) as fn(usize) -> usize, (1, 1)),
            (4, |_| 64, (1, 1)),
            (4, |lane| 8 * lane, (2, 1)),
            (4, |lane| 128 * lane, (32, 1)),
            (4, |lane| 132 * lane, (1, 1)),
            (2, |lane| 2 * lane, (1, 1)),
            (2, |lane| 130 * lane, (2, 1)),
            (8, |lane| 8 * lane, (2, 2)),
            (8, |lane| 16 * lane, (4, 2)),
            (16, |lane| 16 * lane, (4, 4)),
            (16, |lane| 128 * lane, (32, 4)),
            (16, |lane| 144 * lane, (4, 4)),
            (16, |_| 0, (4, 4)),
        ] {
            assert_eq!(serve(bytes, &request(place)), expected, "{bytes} bytes, {:?}", place(1));
        }
    }

    #[test]
    fn lanes_that_met_apart_are_apart() {
        let site = Site { at: 1, piece: 0, kind: Kind::Load, space: Space::Global, bytes: 4 };
        let run = |order: [u32; 2]| {
            let (tally, mut counting) = (Tally::default(), Counting::default());
            counting.begin(1, 2);
            // Lane 0 meets alone between its two accesses.
            for lane in order {
                counting.access(0, lane, site, 4 * lane as usize);
                if lane == 0 {
                    counting.warp_met(0, 1, None);
                }
                counting.access(0, lane, site, 64 + 4 * lane as usize);
            }
            counting.end(&tally);
            tally.counts()
        };
        let counts = run([0, 1]);
        assert_eq!(counts, run([1, 0]));
        let Global { requests, lanes, partial, asked, once, .. } = counts.loads;
        assert_eq!((requests, lanes, partial, asked, once), (3, 4, 2, 16, 64));
    }
}
