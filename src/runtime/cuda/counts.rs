//! What a launch asked of memory and of its warps, counted warp by warp: [`super::emulator`] counts, nothing else can.
//!
//! A request is one instruction of one warp: the accesses that its lanes make there together. A sector is 32 bytes of global memory, the
//! least that is moved; a wavefront is what shared memory's 32 banks of 4 bytes serve at once.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// Bytes of a sector.
pub const SECTOR: usize = 32;

/// Everything that was counted of one launch, or of several together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Reads of global memory, those of asynchronous copies among them.
    pub loads: Global,
    /// Writes to global memory.
    pub stores: Global,
    /// Reads of shared memory, without those of ldmatrix.
    pub shared_loads: Shared,
    /// Writes to shared memory, those of asynchronous copies among them.
    pub shared_stores: Shared,
    /// Reads of shared memory by ldmatrix: a request takes four matrices.
    pub ldmatrix: Shared,
    /// Requests to the shared memory of another block of the cluster.
    pub remote: u64,
    /// Asynchronous copies (cp.async), as requests.
    pub copies: u64,
    /// Products on tensor cores: mma of a warp.
    pub mma: u64,
    /// Shuffles of a warp, 32 bits each: a double takes two.
    pub shuffles: u64,
    /// Votes of a warp.
    pub votes: u64,
    /// Barriers of a block, of a warp and of a cluster; one of a block counts once, however many warps it has.
    pub barriers: Barriers,
    /// Bulk copies of tiles (TMA); they are not among the loads, nor among the stores to shared memory.
    pub bulk: Bulk,
    /// Products of warpgroups; they are not among `mma`.
    pub wgmma: Wgmma,
    /// Waits of a warp for a phase of an mbarrier; how long they take is not seen.
    pub waits: u64,
}

/// Bulk copies of tiles through tensor maps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Bulk {
    /// Copies that were asked for.
    pub copies: u64,
    /// Those among them that go to several blocks of a cluster.
    pub multicast: u64,
    /// Sectors of global memory that they read: once, to however many blocks they go.
    pub sectors: u64,
    /// Bytes that they wrote to shared memory, of all the blocks that they go to.
    pub bytes: u64,
    /// Bytes of the distinct sectors that the launch's copies read.
    pub once: u64,
}

impl Bulk {
    fn add(&mut self, other: &Bulk) {
        self.copies += other.copies;
        self.multicast += other.multicast;
        self.sectors += other.sectors;
        self.bytes += other.bytes;
        self.once += other.once;
    }
}

/// Products of warpgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Wgmma {
    /// Instructions of a warpgroup.
    pub requests: u64,
    /// The same work as mma of 16 × 8 × 16.
    pub mma: u64,
    /// Bytes of shared memory that the descriptors name: what each product reads of both operands.
    pub bytes: u64,
    /// The `mma` of the block that has most of them, those of its warps among them; of several launches, summed.
    pub busiest: u64,
}

impl Wgmma {
    fn add(&mut self, other: &Wgmma) {
        self.requests += other.requests;
        self.mma += other.mma;
        self.bytes += other.bytes;
        self.busiest += other.busiest;
    }
}

/// Barriers by who meets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Barriers {
    /// `__syncthreads`
    pub block: u64,
    /// `__syncwarp`
    pub warp: u64,
    /// Of a cluster's blocks.
    pub cluster: u64,
    /// Warps that met others of their block at a barrier of some of its warps.
    pub some: u64,
}

/// Requests to global memory in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Global {
    /// Requests.
    pub requests: u64,
    /// Lanes that took part in them: 32 each at the most.
    pub lanes: u64,
    /// Requests that lanes of their warp took no part in: they had left, had branched off, or were not yet there.
    pub partial: u64,
    /// Requests by the bytes of each lane.
    pub widths: Widths,
    /// Sectors that the requests touched.
    pub sectors: u64,
    /// Sectors that would have held what they asked for: each request's distinct bytes, rounded up to whole sectors.
    pub needed: u64,
    /// Distinct bytes that the launch asked for: the least that can be moved.
    pub asked: u64,
    /// Bytes of the distinct sectors that the launch touched: the least that memory moves.
    pub once: u64,
    /// The same of each block by itself, summed: what passes from L2 where a block finds again what it had.
    pub once_a_block: u64,
}

impl Global {
    /// The sectors needed as a part of those touched; none without requests.
    pub fn used(&self) -> Option<f64> {
        (self.sectors > 0).then(|| self.needed as f64 / self.sectors as f64)
    }

    /// Bytes of all requests' sectors: what passes from L2 where nothing is found again.
    pub fn each_time(&self) -> u64 {
        self.sectors * SECTOR as u64
    }

    fn add(&mut self, other: &Global) {
        self.requests += other.requests;
        self.lanes += other.lanes;
        self.partial += other.partial;
        self.widths.add(&other.widths);
        self.sectors += other.sectors;
        self.needed += other.needed;
        self.asked += other.asked;
        self.once += other.once;
        self.once_a_block += other.once_a_block;
    }
}

/// Requests to shared memory of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Shared {
    /// Requests.
    pub requests: u64,
    /// Requests that lanes of their warp took no part in.
    pub partial: u64,
    /// Requests by the bytes of each lane.
    pub widths: Widths,
    /// Wavefronts that they took.
    pub wavefronts: u64,
    /// Those beyond the least, which is one for 32 lanes of up to 4 bytes, 16 of 8 bytes, 8 of 16 bytes: bank conflicts.
    pub extra: u64,
}

impl Shared {
    /// Adds others of the kind.
    pub fn add(&mut self, other: &Shared) {
        self.requests += other.requests;
        self.partial += other.partial;
        self.widths.add(&other.widths);
        self.wavefronts += other.wavefronts;
        self.extra += other.extra;
    }
}

/// Requests by the bytes of each lane: 1, 2, 4, 8 and 16.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Widths([u64; 5]);

impl Widths {
    /// One more of lanes of `bytes`, a power of two up to 16.
    pub fn count(&mut self, bytes: u32) {
        self.0[bytes.trailing_zeros().min(4) as usize] += 1;
    }

    /// Bytes of a lane, and requests of such lanes.
    pub fn each(&self) -> impl Iterator<Item = (u32, u64)> {
        self.0.into_iter().enumerate().map(|(i, requests)| (1 << i, requests))
    }

    /// Requests of lanes of `bytes`.
    pub fn of(&self, bytes: u32) -> u64 {
        self.each().find(|(width, _)| *width == bytes).map_or(0, |(_, requests)| requests)
    }

    /// Adds others.
    pub fn add(&mut self, other: &Widths) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, more)| *mine += more);
    }
}

impl Serialize for Widths {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (bytes, requests) in self.each() {
            map.serialize_entry(&bytes.to_string(), &requests)?;
        }
        map.end()
    }
}

impl Counts {
    /// The counts of a whole grid, of which a part of the blocks was counted: all of them by `[all, ran]`. The distinct bytes of the launch grow
    /// with the part less than that, since blocks share tensors: at the most to what there is to be read and to be written.
    pub fn scaled(mut self, [all, ran]: [u64; 2], [readable, writable]: [u64; 2]) -> Counts {
        let scale = |count: &mut u64| *count = (u128::from(*count) * u128::from(all) / u128::from(ran.max(1))) as u64;
        for (global, most) in [(&mut self.loads, readable), (&mut self.stores, writable)] {
            let Global { requests, lanes, partial, widths, sectors, needed, asked, once, once_a_block } = global;
            [requests, lanes, partial, sectors, needed, asked, once, once_a_block].into_iter().for_each(scale);
            widths.0.iter_mut().for_each(scale);
            *asked = (*asked).min(most);
            *once = (*once).min(most.next_multiple_of(SECTOR as u64));
        }
        for shared in [&mut self.shared_loads, &mut self.shared_stores, &mut self.ldmatrix] {
            let Shared { requests, partial, widths, wavefronts, extra } = shared;
            [requests, partial, wavefronts, extra].into_iter().chain(&mut widths.0).for_each(scale);
        }
        let Counts { remote, copies, mma, shuffles, votes, waits, .. } = &mut self;
        [remote, copies, mma, shuffles, votes, waits].into_iter().for_each(scale);
        let Barriers { block, warp, cluster, some } = &mut self.barriers;
        let Bulk { copies, multicast, sectors, bytes, once } = &mut self.bulk;
        [block, warp, cluster, some, copies, multicast, sectors, bytes, once].into_iter().for_each(scale);
        *once = (*once).min(readable.next_multiple_of(SECTOR as u64));
        // The busiest block is one, however many there are.
        let Wgmma { requests, mma, bytes, busiest: _ } = &mut self.wgmma;
        [requests, mma, bytes].into_iter().for_each(scale);
        self
    }

    /// Adds another launch.
    pub fn add(&mut self, other: &Counts) {
        self.loads.add(&other.loads);
        self.stores.add(&other.stores);
        self.shared_loads.add(&other.shared_loads);
        self.shared_stores.add(&other.shared_stores);
        self.ldmatrix.add(&other.ldmatrix);
        self.remote += other.remote;
        self.copies += other.copies;
        self.mma += other.mma;
        self.shuffles += other.shuffles;
        self.votes += other.votes;
        self.barriers.block += other.barriers.block;
        self.barriers.warp += other.barriers.warp;
        self.barriers.cluster += other.barriers.cluster;
        self.barriers.some += other.barriers.some;
        self.bulk.add(&other.bulk);
        self.wgmma.add(&other.wgmma);
        self.waits += other.waits;
    }
}
