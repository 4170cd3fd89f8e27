//! The emulator's record of a block's shared memory: for every two bytes, who wrote and who read them, and when.
//!
//! Two accesses to the same bytes by different threads, at least one of them a write, are a race unless a barrier lies between them: `__syncthreads`
//! for threads of one block, `__syncwarp` within a warp, a cluster's barrier between blocks. Shuffles order nothing.

use std::collections::{BTreeMap, HashMap};

/// The time of an access, by the cluster's clock. Every barrier of any of its blocks advances the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// The time of the last barrier of the thread's block.
    pub block: u32,
    /// The time of the last barrier of the cluster.
    pub cluster: u32,
    /// The time of the last `__syncwarp` of the thread's warp.
    pub warp: u32,
    /// The thread's own number, where its block has vector clocks; 0 where not.
    pub number: u32,
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
        let who = Who { thread: 0, block: 0, warp: 0, at: Moment { block: 0, cluster: 0, warp: 0, number: 0 } };
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
    /// Of cells that several threads have read since, in a block with vector clocks: each of them, with its own number when it last did. A thread
    /// that knows of all of them comes after them, though no barrier of the whole block lies between.
    readers: HashMap<usize, BTreeMap<u32, u32>>,
    /// The moment at which the block began; older accesses belong to an earlier block.
    born: u32,
}

/// The thread that stands for bulk copies: what orders their accesses is not looked at here.
const COPY: u32 = u32::MAX;

/// Whether two accesses are ordered: by a barrier, because one thread made both, or because the later thread knows of the earlier one's work.
fn ordered(before: &Access, now: &Who, known: &impl Fn(u32, u32) -> bool) -> bool {
    let who = &before.who;
    let clocked = who.at.number > 0 && before.scope == Scope::Thread;
    if who.thread == COPY || (clocked && known(who.thread, who.at.number)) {
        return true;
    }
    if who.block != now.block {
        return who.at.cluster != now.at.cluster;
    }
    let same_thread = who.thread == now.thread && before.scope == Scope::Thread;
    let warp = who.warp == now.warp && before.scope <= Scope::Warp && who.at.warp != now.at.warp;
    same_thread || warp || who.at.block != now.at.block
}

/// Whether all readers of a cell are known; they are not where they were not listed.
fn all_known(readers: Option<&BTreeMap<u32, u32>>, known: impl Fn(u32, u32) -> bool) -> bool {
    readers.is_some_and(|all| all.iter().all(|(&thread, &number)| number > 0 && known(thread, number)))
}

impl Shadow {
    /// Forgets everything, for a new block that begins at `moment`, which is above 0.
    pub fn begin(&mut self, bytes: usize, moment: u32) {
        let cells = bytes.div_ceil(2);
        if self.cells.len() < cells {
            self.cells.resize(cells, Cell::NEW);
        }
        self.readers.clear();
        self.born = moment;
    }

    /// Records an access to `bytes` bytes from `offset`. `known` says whether the thread knows of another's work at a number of the other's. Errors:
    /// the access is wrong.
    pub fn access(
        &mut self,
        offset: usize,
        bytes: usize,
        write: bool,
        who: Who,
        known: impl Fn(u32, u32) -> bool,
    ) -> Result<(), Wrong> {
        for at in offset / 2..(offset + bytes).div_ceil(2) {
            let cell = &mut self.cells[at];
            let written = cell.write.who.at.block >= self.born;
            let read = cell.read.who.at.block >= self.born;
            if written && !ordered(&cell.write, &who, &known) {
                return Err(Wrong::AfterWrite(cell.write.who.thread));
            }
            if write {
                let after_all =
                    || all_known(self.readers.get(&at), |thread, number| thread == who.thread || known(thread, number));
                if read && !ordered(&cell.read, &who, &known) && !after_all() {
                    return Err(Wrong::AfterRead(cell.read.who.thread));
                }
                cell.write = Access { who, scope: Scope::Thread };
                self.readers.remove(&at);
                continue;
            }
            if !written {
                return Err(Wrong::Uninitialised);
            }
            // Of several readers the last is kept, and how far apart they were while no barrier has passed.
            let fresh = !read || ordered(&cell.read, &who, &known);
            let scope = match cell.read.scope {
                _ if fresh => Scope::Thread,
                scope if cell.read.who.thread == who.thread => scope,
                Scope::Many => Scope::Many,
                _ if cell.read.who.warp == who.warp => Scope::Warp,
                _ => Scope::Many,
            };
            if scope == Scope::Thread {
                self.readers.remove(&at);
            } else if who.at.number > 0 {
                let before = cell.read.who;
                let all = self.readers.entry(at).or_insert_with(|| BTreeMap::from([(before.thread, before.at.number)]));
                all.insert(who.thread, who.at.number);
            }
            cell.read = Access { who, scope };
        }
        Ok(())
    }

    fn cells(&self, offset: usize, bytes: usize) -> impl Iterator<Item = (usize, &Cell)> {
        (offset..).step_by(2).zip(&self.cells[offset / 2..(offset + bytes).div_ceil(2)])
    }

    fn is_of_this_block(&self, access: &Access) -> bool {
        access.who.at.block >= self.born
    }

    /// A bulk copy has written `bytes` bytes from `offset`.
    pub fn landed(&mut self, offset: usize, bytes: usize) {
        let at = Moment { block: self.born, ..Moment::default() };
        let write = Access { who: Who { thread: COPY, block: 0, warp: 0, at }, scope: Scope::Thread };
        self.cells[offset / 2..(offset + bytes).div_ceil(2)].iter_mut().for_each(|cell| cell.write = write);
    }

    /// The threads that wrote what lies there, with their own numbers then; copies are not among them. None if some of it was never written.
    pub fn writers(&self, offset: usize, bytes: usize) -> Option<Vec<(u32, u32)>> {
        let all: Option<Vec<_>> = self
            .cells(offset, bytes)
            .map(|(_, cell)| self.is_of_this_block(&cell.write).then_some(cell.write.who))
            .collect();
        let threads = all?.into_iter().filter(|who| who.thread != COPY);
        Some(threads.map(|who| (who.thread, who.at.number.max(1))).collect())
    }

    /// Whether a bulk copy may write there for a thread that knows what `known` says, of another thread, a number of its, and whether across a proxy
    /// fence; `since` says of the time of an access whether no barrier that orders it has passed since. Errors: the byte, and the thread whose access is
    /// not ordered.
    pub fn may_replace(
        &self,
        offset: usize,
        bytes: usize,
        since: impl Fn(&Moment) -> bool,
        known: impl Fn(u32, u32, bool) -> bool,
    ) -> Result<(), (usize, u32)> {
        for (at, Cell { write, read }) in self.cells(offset, bytes) {
            let who = write.who;
            if self.is_of_this_block(write) && who.thread != COPY && !known(who.thread, who.at.number.max(1), true) {
                return Err((at, who.thread));
            }
            let who = read.who;
            let known = |thread, number: u32| known(thread, number.max(1), false);
            let after_all = || match read.scope {
                Scope::Thread => known(who.thread, who.at.number),
                _ => all_known(self.readers.get(&(at / 2)), known),
            };
            if self.is_of_this_block(read) && since(&who.at) && !after_all() {
                return Err((at, who.thread));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread without vector clocks.
    fn nothing(_: u32, _: u32) -> bool {
        false
    }

    fn who(thread: u32, block: u32, warp: u32) -> Who {
        Who { thread, block: 0, warp: thread / 32, at: Moment { block, cluster: 1, warp, number: 0 } }
    }

    #[test]
    fn races_are_seen_and_barriers_order() {
        let mut shadow = Shadow::default();
        shadow.begin(64, 1);
        assert_eq!(shadow.access(0, 4, false, who(0, 1, 1), nothing), Err(Wrong::Uninitialised));
        assert_eq!(shadow.access(0, 4, true, who(0, 1, 1), nothing), Ok(()));
        assert_eq!(shadow.access(0, 4, false, who(0, 1, 1), nothing), Ok(()), "one's own write");
        assert_eq!(shadow.access(2, 2, false, who(1, 1, 1), nothing), Err(Wrong::AfterWrite(0)));
        assert_eq!(shadow.access(4, 2, true, who(1, 1, 1), nothing), Ok(()), "beside it");
        assert_eq!(shadow.access(0, 4, false, who(1, 1, 2), nothing), Ok(()), "after a __syncwarp");
        assert_eq!(
            shadow.access(0, 4, false, who(40, 1, 2), nothing),
            Err(Wrong::AfterWrite(0)),
            "which other warps do not see"
        );
        assert_eq!(shadow.access(0, 4, false, who(40, 2, 2), nothing), Ok(()), "after a barrier");
        assert_eq!(shadow.access(0, 4, false, who(1, 2, 2), nothing), Ok(()), "two readers");
        assert_eq!(shadow.access(0, 4, true, who(1, 2, 2), nothing), Err(Wrong::AfterRead(1)), "one of whom writes");
        assert_eq!(shadow.access(0, 4, true, who(1, 3, 2), nothing), Ok(()));
        shadow.begin(64, 4);
        assert_eq!(shadow.access(0, 4, false, who(0, 4, 4), nothing), Err(Wrong::Uninitialised), "another block's");
    }

    #[test]
    fn whoever_knows_of_all_readers_comes_after_them() {
        let clocked =
            |thread: u32, number| Who { at: Moment { block: 1, cluster: 1, warp: 1, number }, ..who(thread, 1, 1) };
        let read_by_three = || {
            let mut shadow = Shadow::default();
            shadow.begin(64, 1);
            assert_eq!(shadow.access(0, 4, true, clocked(0, 1), nothing), Ok(()));
            for thread in [40, 80, 120] {
                assert_eq!(shadow.access(0, 4, false, clocked(thread, 3), |of, _| of == 0), Ok(()));
            }
            shadow
        };
        // Of each other thread all up to its third number, or of one of them a number too few.
        assert_eq!(read_by_three().access(0, 4, true, clocked(0, 2), |_, number| number <= 3), Ok(()));
        for unknown in [40, 80, 120] {
            let known = |thread: u32, number: u32| number <= if thread == unknown { 2 } else { 3 };
            let error = read_by_three().access(0, 4, true, clocked(0, 2), known).unwrap_err();
            assert!(matches!(error, Wrong::AfterRead(_)), "{unknown}");
            let known = |thread: u32, number: u32, _: bool| known(thread, number);
            assert!(read_by_three().may_replace(0, 4, |at| at.block == 1, known).is_err(), "{unknown}");
        }
        assert_eq!(read_by_three().may_replace(0, 4, |at| at.block == 1, |_, number, _| number <= 3), Ok(()));
        // Once it has written, only its write counts.
        let mut shadow = read_by_three();
        assert_eq!(shadow.access(0, 4, true, clocked(0, 2), |_, _| true), Ok(()));
        assert_eq!(shadow.access(0, 4, false, clocked(7, 1), |of, _| of == 0), Ok(()));
    }

    #[test]
    fn blocks_of_a_cluster_are_ordered_by_its_barrier_only() {
        let mut shadow = Shadow::default();
        shadow.begin(64, 1);
        let remote =
            |block, cluster| Who { thread: 300, block: 1, warp: 9, at: Moment { block, cluster, warp: 1, number: 0 } };
        assert_eq!(shadow.access(0, 4, true, who(0, 1, 1), nothing), Ok(()));
        assert_eq!(
            shadow.access(0, 4, false, remote(2, 1), nothing),
            Err(Wrong::AfterWrite(0)),
            "its own block's barrier"
        );
        assert_eq!(shadow.access(0, 4, false, remote(3, 3), nothing), Ok(()));
    }
}
