//! How the shared memory and the threads of a cluster's blocks are numbered for what works beside threads: one block's after the other's.

/// The same room and as many threads in every block.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub blocks: u32,
    /// Of a block.
    pub threads: u32,
    /// Bytes of a block's shared memory.
    pub room: usize,
}

impl Layout {
    /// The rank of the block in whose memory `place` is.
    pub fn rank_of(&self, place: usize) -> usize {
        place / self.room
    }

    /// The rank of the block that `thread` is of.
    pub fn rank(&self, thread: u32) -> usize {
        (thread / self.threads) as usize
    }

    /// The thread's number in its block.
    pub fn own(&self, thread: u32) -> u32 {
        thread % self.threads
    }

    /// Where byte `offset` of block `rank` is.
    pub fn place(&self, rank: usize, offset: usize) -> usize {
        rank * self.room + offset
    }

    /// A place as errors name it.
    pub fn named(&self, place: usize) -> String {
        let (rank, offset) = (self.rank_of(place), place % self.room);
        match self.blocks {
            1 => format!("byte {offset}"),
            _ => format!("byte {offset} of the cluster's block {rank}"),
        }
    }
}
