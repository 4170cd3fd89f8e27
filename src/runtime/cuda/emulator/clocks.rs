//! Vector clocks of a block's threads: what of the others' work each thread knows to be done, by whatever has ordered it.
//!
//! A thread's own number grows each time that it lets others know of its work: at an arrival or a barrier. Work of thread t at its number n has
//! happened before what thread u does if u knows of t's number n or a later one. Beside threads there are the phases of mbarriers, of which threads
//! know how many have ended. `fenced` is the part of what is known that the asynchronous units see too: what was known at a proxy fence.

/// What somebody knows: a number for each thread, then one for each mbarrier.
#[derive(Debug, Clone, Default)]
pub struct Knowledge {
    known: Vec<u32>,
    fenced: Vec<u32>,
}

fn join(into: &mut [u32], from: &[u32]) {
    into.iter_mut().zip(from).for_each(|(mine, other)| *mine = (*mine).max(*other));
}

impl Knowledge {
    /// Nothing is known.
    pub fn none(length: usize) -> Self {
        Knowledge { known: vec![0; length], fenced: vec![0; length] }
    }

    /// Adds what `other` knows.
    pub fn join(&mut self, other: &Knowledge) {
        join(&mut self.known, &other.known);
        join(&mut self.fenced, &other.fenced);
    }
}

/// The knowledge of all threads of a block.
#[derive(Debug, Default)]
pub struct Clocks(Vec<Knowledge>);

impl Clocks {
    /// Of `threads` threads and up to `barriers` mbarriers. Numbers begin with 1.
    pub fn new(threads: usize, barriers: usize) -> Self {
        let of = |thread: usize| {
            let mut own = Knowledge::none(threads + barriers);
            own.known[thread] = 1;
            own
        };
        Clocks((0..threads).map(of).collect())
    }

    /// The length of what somebody knows.
    pub fn length(&self) -> usize {
        self.0.first().map_or(0, |of| of.known.len())
    }

    /// The thread's own number.
    pub fn own(&self, thread: u32) -> u32 {
        self.0[thread as usize].known[thread as usize]
    }

    /// Whether `thread` knows of `other`'s work at `number`.
    pub fn knows(&self, thread: u32, other: u32, number: u32) -> bool {
        self.0[thread as usize].known[other as usize] >= number
    }

    /// Whether it knows of it across a proxy fence.
    pub fn knows_fenced(&self, thread: u32, other: u32, number: u32) -> bool {
        self.0[thread as usize].fenced[other as usize] >= number
    }

    /// Whether `thread` knows that so many phases of a barrier have ended.
    pub fn knows_phases(&self, thread: u32, barrier: usize, phases: u32) -> bool {
        self.0[thread as usize].known[self.0.len() + barrier] >= phases
    }

    /// A proxy fence of `thread`.
    pub fn fence(&mut self, thread: u32) {
        let Knowledge { known, fenced } = &mut self.0[thread as usize];
        fenced.clone_from(known);
    }

    /// `thread` gives away what it knows: to whoever learns of `to`.
    pub fn release(&mut self, thread: u32, to: &mut Knowledge) {
        let own = &mut self.0[thread as usize];
        to.join(own);
        own.known[thread as usize] += 1;
    }

    /// `thread` learns of `from`, and that so many phases of a barrier have ended.
    pub fn acquire(&mut self, thread: u32, from: &Knowledge, barrier: usize, phases: u32) {
        let threads = self.0.len();
        let own = &mut self.0[thread as usize];
        own.join(from);
        let known = &mut own.known[threads + barrier];
        *known = (*known).max(phases);
    }

    /// All of these threads have met: each knows what any of them knew.
    pub fn meet(&mut self, threads: impl Iterator<Item = u32> + Clone) {
        let mut all = Knowledge::none(self.length());
        threads.clone().for_each(|thread| all.join(&self.0[thread as usize]));
        for thread in threads {
            let own = &mut self.0[thread as usize];
            own.known.copy_from_slice(&all.known);
            own.fenced.copy_from_slice(&all.fenced);
            own.known[thread as usize] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_released_is_known_to_who_acquires_it() {
        let mut clocks = Clocks::new(3, 1);
        let (first, mut phase) = (clocks.own(0), Knowledge::none(clocks.length()));
        clocks.release(0, &mut phase);
        let later = clocks.own(0);
        assert!(!clocks.knows(1, 0, first));
        clocks.acquire(1, &phase, 0, 1);
        assert!(clocks.knows(1, 0, first) && !clocks.knows(1, 0, later), "what came after the release is not known");
        assert!(clocks.knows_phases(1, 0, 1) && !clocks.knows_phases(2, 0, 1));
        // By way of another thread, and across a fence only where one was.
        clocks.meet([1, 2].into_iter());
        assert!(clocks.knows(2, 0, first) && clocks.knows_phases(2, 0, 1) && !clocks.knows_fenced(2, 0, first));
        clocks.fence(2);
        assert!(clocks.knows_fenced(2, 0, first) && !clocks.knows_fenced(1, 0, first));
    }
}
