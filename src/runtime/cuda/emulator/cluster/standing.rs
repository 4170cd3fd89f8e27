//! Where a thread of a cluster stands: what orders its accesses, and what an error says of it.

use super::state::Cluster;
use crate::Error;
use crate::runtime::cuda::emulator::abi::Dim3;
use crate::runtime::cuda::emulator::global::{Conflict, Place};
use crate::runtime::cuda::emulator::shadow::Moment;

impl Cluster {
    /// The moment of an access by thread `number`.
    pub fn moment(&self, number: u32) -> Moment {
        let thread_state = &self.thread_states[number as usize];
        let block = self.blocks[thread_state.rank as usize].moment;
        let warp = self.warps[self.warp_of(number)].synced;
        let number = self.engine.as_ref().map_or(0, |engine| engine.clocks.own(number));
        Moment { block, cluster: self.cluster_moment, warp, number }
    }

    /// Where thread `number` stands now.
    pub fn place(&self, number: u32) -> Place {
        let block = self.blocks[self.thread_states[number as usize].rank as usize].moment;
        let [now, block, all] = [self.clock, block, self.cluster_moment].map(|moment| moment - self.born);
        let threads = self.thread_states[number as usize].abi.threads.x;
        Place { cluster: self.number, thread: number, threads, now, block, all }
    }

    /// What is wrong with an access to `name` that nothing orders after another block's.
    pub fn unordered(&self, name: &str, bytes: usize, written: bool, other: Conflict) -> String {
        // SAFETY: the launch outlives the cluster.
        let [nx, ny, _] = unsafe { (*self.launch).grid.blocks }.map(u64::from);
        let threads = self.thread_states[0].abi.threads.x;
        let at = other.cluster * u64::from(self.kernel.cluster) + u64::from(other.thread / threads);
        let block = [at % nx, at / nx % ny, at / nx / ny];
        let (verb, did) = (if written { "writes" } else { "reads" }, if other.wrote { "wrote" } else { "read" });
        format!("{verb} {bytes} bytes of {name} that block {block:?} {did}: no fence, ticket and fence between")
    }

    /// An error that names thread `number`.
    pub fn fault(&self, number: u32, problem: String) -> Error {
        let thread_state = &self.thread_states[number as usize];
        let Dim3 { x, y, z } = thread_state.abi.block;
        Error::Kernel { kernel: self.kernel.name, block: [x, y, z], thread: thread_state.abi.thread.x, problem }
    }

    /// The error for a cluster in which no thread can go on: it says who waits for whom.
    pub fn stuck(&self) -> Error {
        if let Some((thread, problem)) = self.engine.as_ref().and_then(|engine| engine.stuck()) {
            return self.fault(thread, problem);
        }
        let first = self.thread_states.iter().find(|s| !s.done).map_or(0, |s| s.number);
        let rank = self.thread_states[first as usize].rank as usize;
        let block = &self.blocks[rank];
        let warp = &self.warps[self.warp_of(first)];
        let problem = if self.cluster_arrived > 0 {
            format!("waits at a barrier of its cluster that only {} threads reach", self.cluster_arrived)
        } else if block.arrived > 0 {
            let threads = self.thread_states.iter().filter(|s| s.rank as usize == rank).count();
            format!("waits at the barrier of line {}, which {} of {threads} threads reach", block.line, block.arrived)
        } else {
            format!("waits for lanes of its warp: mask {:08x}, arrived {:08x}", warp.mask, warp.arrived)
        };
        self.fault(first, problem)
    }
}
