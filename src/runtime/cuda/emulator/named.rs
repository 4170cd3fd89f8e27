//! Barriers of some warps of a block, by number.

/// One of them.
#[derive(Debug)]
struct Barrier {
    /// Of the block.
    rank: usize,
    which: u32,
    /// How many threads it is for, and those that are there.
    threads: u32,
    there: Vec<u32>,
}

/// Those of all blocks of a cluster.
#[derive(Debug, Default)]
pub struct NamedBarriers(Vec<Barrier>);

impl NamedBarriers {
    /// `thread`, of block `rank`, comes to barrier `which` of `threads` threads. The last one is given all who were there, itself among them. Errors:
    /// there is no such barrier, or it is another one's.
    pub fn meet(&mut self, rank: usize, thread: u32, which: u32, threads: u32) -> Result<Option<Vec<u32>>, String> {
        if !(1..16).contains(&which) || threads == 0 || !threads.is_multiple_of(32) {
            return Err(format!("waits at barrier {which} of {threads} threads; there are 1 to 15, of whole warps"));
        }
        let of_block = self.0.iter().position(|of| (of.rank, of.which) == (rank, which));
        let at = of_block.unwrap_or_else(|| {
            self.0.push(Barrier { rank, which, threads, there: Vec::new() });
            self.0.len() - 1
        });
        let barrier = &mut self.0[at];
        if barrier.there.is_empty() {
            barrier.threads = threads;
        } else if barrier.threads != threads {
            let expected = barrier.threads;
            return Err(format!("waits at barrier {which} of {threads} threads, others at one of {expected}"));
        }
        barrier.there.push(thread);
        Ok((barrier.there.len() as u32 >= threads).then(|| std::mem::take(&mut barrier.there)))
    }

    /// A thread that waits at one which others do not reach.
    pub fn stuck(&self) -> Option<(u32, String)> {
        let Barrier { which, threads, there, .. } = self.0.iter().find(|of| !of.there.is_empty())?;
        let problem = format!("waits for ever at barrier {which} of {threads} threads, which {} reach", there.len());
        Some((there[0], problem))
    }
}
