//! The products of one warpgroup: asked for by its 128 threads together, made later, waited for in groups.
//!
//! While products are under way the registers of d are NaN; whoever touches them is found when the next product or the wait looks at them, or by what
//! comes of the NaN. A product is made when it is waited for, or where a seed says so as soon as all threads have asked for it.

use super::clocks::Clocks;
use super::operand::{Product, ROWS, fragment};
use std::collections::VecDeque;

pub const THREADS: usize = 128;
/// What d holds while products are under way: a signalling NaN, of which any arithmetic makes another.
const POISON: u32 = 0xff80_dead;

/// What a product needs to be true of the threads that ask for it.
#[derive(Debug, Default)]
pub struct Needs {
    /// The copies that bring its operands.
    pub copies: Vec<u32>,
    /// Who wrote the rest, and the writer's own number then.
    pub writes: Vec<(u32, u32)>,
}

/// One product.
struct Asked {
    of: Product,
    group: u32,
    needs: Needs,
    threads: usize,
    d: [*mut f32; THREADS],
}

/// The d of one thread, while products on it are under way.
struct Sums {
    d: *mut f32,
    values: Vec<f32>,
    /// The last group with a product on it.
    group: u32,
}

/// The state of one warpgroup.
pub struct Warpgroup {
    asked: VecDeque<Asked>,
    /// How many products are made, and gone from `asked`.
    made: usize,
    /// Of each thread: products asked for, groups closed, whether registers are fenced, its sums.
    counts: [usize; THREADS],
    closed: [u32; THREADS],
    fenced: [bool; THREADS],
    sums: Vec<Vec<Sums>>,
    /// Of each group, the number of each thread when it had waited for it.
    retired: Vec<[u32; THREADS]>,
    /// Threads that wait for others to ask.
    pub waiting: Vec<u32>,
}

impl Default for Warpgroup {
    fn default() -> Self {
        Warpgroup {
            asked: VecDeque::new(),
            made: 0,
            counts: [0; THREADS],
            closed: [0; THREADS],
            fenced: [false; THREADS],
            sums: (0..THREADS).map(|_| Vec::new()).collect(),
            retired: Vec::new(),
            waiting: Vec::new(),
        }
    }
}

/// The bits of one register of d.
///
/// # Safety
/// `d` is of a thread of a running block, with more than `i` elements.
unsafe fn bits(d: *mut f32, i: usize) -> u32 {
    // SAFETY: by the caller's promise.
    unsafe { (*d.add(i)).to_bits() }
}

impl Warpgroup {
    /// Thread `thread` fences its registers.
    pub fn fence(&mut self, thread: usize) {
        self.fenced[thread] = true;
    }

    /// The group that the next product of a thread belongs to.
    pub fn group(&self, thread: usize) -> u32 {
        self.closed[thread]
    }

    /// Whether no other thread has asked for the next product of `thread` yet.
    pub fn is_first(&self, thread: usize) -> bool {
        self.counts[thread] == self.made + self.asked.len()
    }

    /// The first thread asks for a product, which needs `needs`.
    pub fn begin(&mut self, thread: usize, of: Product, needs: Needs) {
        let group = self.closed[thread];
        self.asked.push_back(Asked { of, group, needs, threads: 0, d: [std::ptr::null_mut(); THREADS] });
    }

    /// What the next product of `thread` needs. Errors: it asks for another than others did.
    pub fn needs(&self, thread: usize, of: &Product) -> Result<&Needs, String> {
        let asked = &self.asked[self.counts[thread] - self.made];
        if asked.of != *of || asked.group != self.closed[thread] {
            let group = self.closed[thread];
            return Err(format!(
                "asks for another wgmma than others of its warpgroup: {of:x?} of group {group} for {:x?} of group {}",
                asked.of, asked.group
            ));
        }
        Ok(&asked.needs)
    }

    /// `thread` asks for its next product, with sums in `d`. Errors: what is wrong with them. Returns whether it is the last thread to ask.
    ///
    /// # Safety
    /// `d` is the thread's, of columns / 2 elements, and stays until it has waited.
    pub unsafe fn ask(&mut self, thread: usize, d: *mut f32) -> Result<bool, String> {
        let asked = &mut self.asked[self.counts[thread] - self.made];
        let (count, own) = (asked.of.columns / 2, &mut self.sums[thread]);
        // SAFETY: by the caller's promise.
        unsafe {
            match own.iter_mut().find(|sums| sums.d == d) {
                Some(sums) => {
                    untouched(sums)?;
                    sums.group = asked.group;
                }
                None if !self.fenced[thread] => {
                    return Err("uses registers for a wgmma without wgmma.fence since they were its own".into());
                }
                None => {
                    let values = (0..count).map(|i| *d.add(i)).collect();
                    (0..count).for_each(|i| *d.add(i) = f32::from_bits(POISON));
                    own.push(Sums { d, values, group: asked.group });
                }
            }
        }
        asked.d[thread] = d;
        asked.threads += 1;
        self.counts[thread] += 1;
        Ok(asked.threads == THREADS)
    }

    /// `thread` closes a group of products.
    pub fn close(&mut self, thread: usize) {
        self.closed[thread] += 1;
    }

    /// Whether all products of the groups before the last `left` of `thread` have been asked for by all.
    pub fn is_ready(&self, thread: usize, left: u32) -> bool {
        let due = self.closed[thread].saturating_sub(left);
        self.asked.iter().all(|asked| asked.group >= due || asked.threads == THREADS)
    }

    /// Makes the products that all threads have asked for, of groups before `due`.
    pub fn make(&mut self, memory: &[u8], due: u32) -> Result<(), String> {
        while let Some(asked) = self.asked.front().filter(|asked| asked.threads == THREADS && asked.group < due) {
            let columns = asked.of.columns;
            let mut d = vec![0.0; ROWS * columns];
            let each = |thread: usize| {
                let at = self.sums[thread].iter().position(|sums| sums.d == asked.d[thread]);
                (thread, at.unwrap_or_default())
            };
            let all: Vec<_> = (0..THREADS).map(each).collect();
            for &(thread, at) in &all {
                let values = &self.sums[thread][at].values;
                fragment(thread, columns).for_each(|(row, column, i)| d[row * columns + column] = values[i]);
            }
            asked.of.add(memory, &mut d)?;
            for (thread, at) in all {
                let values = &mut self.sums[thread][at].values;
                fragment(thread, columns).for_each(|(row, column, i)| values[i] = d[row * columns + column]);
            }
            self.asked.pop_front();
            self.made += 1;
        }
        Ok(())
    }

    /// Makes what all threads have asked for.
    pub fn make_all(&mut self, memory: &[u8]) -> Result<(), String> {
        self.make(memory, u32::MAX)
    }

    /// `thread`, whose own number is `number`, has waited until at most `left` of its groups are under way.
    pub fn wait(&mut self, thread: usize, left: u32, number: u32, memory: &[u8]) -> Result<(), String> {
        let due = self.closed[thread].saturating_sub(left);
        self.make(memory, due)?;
        while self.retired.len() < due as usize {
            self.retired.push([0; THREADS]);
        }
        for group in self.retired[..due as usize].iter_mut().rev() {
            if group[thread] != 0 {
                break;
            }
            group[thread] = number;
        }
        let ended = self.sums[thread].extract_if(.., |sums| sums.group < due);
        for sums in ended {
            untouched(&sums)?;
            // SAFETY: whoever asked promised that d is the thread's until now.
            sums.values.iter().enumerate().for_each(|(i, v)| unsafe { *sums.d.add(i) = *v });
            self.fenced[thread] = false;
        }
        Ok(())
    }

    /// Whether `thread` of the block knows that the products of `group` have ended on all four warps, the first of whose threads is `first`.
    pub fn has_ended(&self, group: u32, first: u32, clocks: &Clocks, thread: u32) -> bool {
        let Some(retired) = self.retired.get(group as usize) else { return false };
        retired.chunks(32).zip(0..).all(|(warp, w)| {
            warp.iter()
                .zip(0..)
                .any(|(&number, lane)| number > 0 && clocks.knows(thread, first + 32 * w + lane, number))
        })
    }

    /// Whether `thread` has sums that it has not waited for.
    pub fn is_under_way(&self, thread: usize) -> bool {
        !self.sums[thread].is_empty()
    }
}

/// Errors: the thread has written to registers that are a product's.
fn untouched(sums: &Sums) -> Result<(), String> {
    // SAFETY: as long as the sums are kept, d is the thread's.
    match (0..sums.values.len()).all(|i| unsafe { bits(sums.d, i) } == POISON) {
        true => Ok(()),
        false => Err("has written to registers of a wgmma that is under way".into()),
    }
}
