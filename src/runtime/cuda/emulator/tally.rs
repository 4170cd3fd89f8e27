//! What the requests of a launch come to: the blocks' counts, and the distinct bytes that they touched.

use crate::runtime::cuda::counts::{Counts, SECTOR};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

/// Bytes that a set of touched bytes keeps together.
const PAGE: usize = 4096;

/// Addresses need no hash that withstands an enemy.
#[derive(Debug, Default, Clone, Copy)]
pub struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.write_u64(u64::from(b)));
    }
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }
    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
}
/// A map by addresses.
pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// Bytes of a page that were read, that were written, and that bulk copies read: a bit each.
#[derive(Debug, Clone)]
pub struct Page([[u32; PAGE / SECTOR]; 3]);

/// How a byte was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    Read,
    Written,
    Copied,
}

impl Page {
    const NEW: Page = Page([[0; PAGE / SECTOR]; 3]);

    /// Marks bytes of sector `sector` of all memory.
    pub fn mark(pages: &mut Pages, sector: usize, bytes: u32, how: Touch) {
        let page = pages.entry(sector / (PAGE / SECTOR)).or_insert(Page::NEW);
        page.0[how as usize][sector % (PAGE / SECTOR)] |= bytes;
    }

    fn sectors(&self, how: Touch) -> u64 {
        self.0[how as usize].iter().filter(|&&bytes| bytes != 0).count() as u64
    }

    fn bytes(&self, how: Touch) -> u64 {
        self.0[how as usize].iter().map(|bytes| u64::from(bytes.count_ones())).sum()
    }
}

/// Pages by their numbers.
pub type Pages = Map<usize, Page>;

/// All of one launch: the blocks' counts come together here.
#[derive(Debug, Default)]
pub struct Tally(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    sum: Counts,
    pages: Pages,
    /// The most products of one block.
    busiest: u64,
}

impl Tally {
    /// Adds what a cluster came to, of whose blocks the one with most products had so many; `blocks` are the pages that each of its
    /// blocks touched, which are let go.
    pub fn take(&self, counts: &Counts, busiest: u64, blocks: &mut [Pages]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let All { sum, pages, busiest: most } = &mut *all;
        sum.add(counts);
        *most = busiest.max(*most);
        for (number, page) in blocks.iter_mut().flat_map(HashMap::drain) {
            for (how, global) in [(Touch::Read, &mut sum.loads), (Touch::Written, &mut sum.stores)] {
                global.once_a_block += page.sectors(how) * SECTOR as u64;
            }
            let known = pages.entry(number).or_insert(Page::NEW);
            let both = known.0.as_flattened_mut().iter_mut().zip(page.0.as_flattened());
            both.for_each(|(known, more)| *known |= more);
        }
    }

    /// What the launch came to.
    pub fn counts(self) -> Counts {
        let All { mut sum, pages, busiest } = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let once = |how: Touch| pages.values().map(|page| page.sectors(how) * SECTOR as u64).sum();
        for (how, global) in [(Touch::Read, &mut sum.loads), (Touch::Written, &mut sum.stores)] {
            global.asked = pages.values().map(|page| page.bytes(how)).sum();
            global.once = once(how);
        }
        sum.bulk.once = once(Touch::Copied);
        sum.wgmma.busiest = busiest;
        sum
    }
}
