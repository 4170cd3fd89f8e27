//! The emulator's record of a block's shared memory: for every two bytes, who wrote and who read them, and when.
//!
//! Two accesses to the same bytes by different threads, at least one of them a write, are a race unless a barrier lies between them: `__syncthreads`
//! for threads of one block, `__syncwarp` within a warp, a cluster's barrier between blocks. Shuffles order nothing.

/// The time of an access, by the cluster's clock. Every barrier of any of its blocks advances the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// The time of the last barrier of the thread's block.
    pub block: u32,
    /// The time of the last barrier of the cluster.
    pub cluster: u32,
    /// The time of the last `__syncwarp` of the thread's warp.
    pub warp: u32,
}

/// Who makes an access, and when.
#[derive(Debug, Clone, Copy)]
pub struct Who {
    /// The thread's number in its cluster.
    pub thread: u32,
    /// The block's rank in the cluster.
    pub block: u32,
    /// The warp's number in the cluster.
    pub warp: u32,
    /// The time of the access.
    pub at: Moment,
}

/// Whose accesses an [`Access`] stands for: those of one thread, of one warp, or of many threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Scope {
    Thread,
    Warp,
    Many,
}

#[derive(Debug, Clone, Copy)]
struct Access {
    who: Who,
    scope: Scope,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    write: Access,
    read: Access,
}

impl Cell {
    /// A cell without accesses: moment 0 is before the beginning of every block.
    const NEW: Cell = {
        let who = Who { thread: 0, block: 0, warp: 0, at: Moment { block: 0, cluster: 0, warp: 0 } };
        Cell { write: Access { who, scope: Scope::Thread }, read: Access { who, scope: Scope::Thread } }
    };
}

/// What is wrong with an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// Nobody has written there.
    Uninitialised,
    /// This thread wrote there, and no barrier lies between.
    AfterWrite(u32),
    /// This thread read there, and no barrier lies between.
    AfterRead(u32),
}

/// The record of accesses to one block's shared memory.
#[derive(Debug, Default)]
pub struct Shadow {
    cells: Vec<Cell>,
    /// The moment at which the block began; older accesses belong to an earlier block.
    born: u32,
}

/// Whether two accesses are ordered, by a barrier or because one thread made both.
fn ordered(before: &Access, now: &Who) -> bool {
    let who = &before.who;
    if who.block != now.block {
        return who.at.cluster != now.at.cluster;
    }
    let same_thread = who.thread == now.thread && before.scope == Scope::Thread;
    let warp = who.warp == now.warp && before.scope <= Scope::Warp && who.at.warp != now.at.warp;
    same_thread || warp || who.at.block != now.at.block
}

impl Shadow {
    /// Forgets everything, for a new block that begins at `moment`, which is above 0.
    pub fn begin(&mut self, bytes: usize, moment: u32) {
        let cells = bytes.div_ceil(2);
        if self.cells.len() < cells {
            self.cells.resize(cells, Cell::NEW);
        }
        self.born = moment;
    }

    /// Records an access to `bytes` bytes from `offset`. Errors: the access is wrong.
    pub fn access(&mut self, offset: usize, bytes: usize, write: bool, who: Who) -> Result<(), Wrong> {
        for cell in &mut self.cells[offset / 2..(offset + bytes).div_ceil(2)] {
            let written = cell.write.who.at.block >= self.born;
            let read = cell.read.who.at.block >= self.born;
            if written && !ordered(&cell.write, &who) {
                return Err(Wrong::AfterWrite(cell.write.who.thread));
            }
            if write {
                if read && !ordered(&cell.read, &who) {
                    return Err(Wrong::AfterRead(cell.read.who.thread));
                }
                cell.write = Access { who, scope: Scope::Thread };
                continue;
            }
            if !written {
                return Err(Wrong::Uninitialised);
            }
            // Of several readers the last is kept, and how far apart they were while no barrier has passed.
            let fresh = !read || ordered(&cell.read, &who);
            let scope = match cell.read.scope {
                _ if fresh => Scope::Thread,
                scope if cell.read.who.thread == who.thread => scope,
                Scope::Many => Scope::Many,
                _ if cell.read.who.warp == who.warp => Scope::Warp,
                _ => Scope::Many,
            };
            cell.read = Access { who, scope };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(thread: u32, block: u32, warp: u32) -> Who {
        Who { thread, block: 0, warp: thread / 32, at: Moment { block, cluster: 1, warp } }
    }

    #[test]
    fn races_are_seen_and_barriers_order() {
        let mut shadow = Shadow::default();
        shadow.begin(64, 1);
        assert_eq!(shadow.access(0, 4, false, who(0, 1, 1)), Err(Wrong::Uninitialised));
        assert_eq!(shadow.access(0, 4, true, who(0, 1, 1)), Ok(()));
        assert_eq!(shadow.access(0, 4, false, who(0, 1, 1)), Ok(()), "one's own write");
        assert_eq!(shadow.access(2, 2, false, who(1, 1, 1)), Err(Wrong::AfterWrite(0)));
        assert_eq!(shadow.access(4, 2, true, who(1, 1, 1)), Ok(()), "beside it");
        assert_eq!(shadow.access(0, 4, false, who(1, 1, 2)), Ok(()), "after a __syncwarp");
        assert_eq!(
            shadow.access(0, 4, false, who(40, 1, 2)),
            Err(Wrong::AfterWrite(0)),
            "which other warps do not see"
        );
        assert_eq!(shadow.access(0, 4, false, who(40, 2, 2)), Ok(()), "after a barrier");
        assert_eq!(shadow.access(0, 4, false, who(1, 2, 2)), Ok(()), "two readers");
        assert_eq!(shadow.access(0, 4, true, who(1, 2, 2)), Err(Wrong::AfterRead(1)), "one of whom writes");
        assert_eq!(shadow.access(0, 4, true, who(1, 3, 2)), Ok(()));
        shadow.begin(64, 4);
        assert_eq!(shadow.access(0, 4, false, who(0, 4, 4)), Err(Wrong::Uninitialised), "another block's");
    }

    #[test]
    fn blocks_of_a_cluster_are_ordered_by_its_barrier_only() {
        let mut shadow = Shadow::default();
        shadow.begin(64, 1);
        let remote = |block, cluster| Who { thread: 300, block: 1, warp: 9, at: Moment { block, cluster, warp: 1 } };
        assert_eq!(shadow.access(0, 4, true, who(0, 1, 1)), Ok(()));
        assert_eq!(shadow.access(0, 4, false, remote(2, 1)), Err(Wrong::AfterWrite(0)), "its own block's barrier");
        assert_eq!(shadow.access(0, 4, false, remote(3, 3)), Ok(()));
    }
}
