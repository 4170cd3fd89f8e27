//! How often each part of a kernel's code is run, from what the emulator counted.
//!
//! Of each class of work that both see, the machine code says how many instructions a turn of each loop has, and the emulator how many all warps ran:
//! accesses by the bytes of a lane (the compiler joins neighbours), ldmatrix, mma and wgmma, shuffles, barriers,
//! what wgmma multiply, bulk copies, waits at mbarriers; and FFMA, where all products are known. The turns of a basic block are the numbers, none
//! below 0, and in no loop none above one for each warp, for which the products come nearest to the counters, each weighed by its size. Where several
//! turns do as well (copies of a loop, of which one runs; the rest that an unrolled loop leaves) the block that has most takes all. A block without
//! counted work runs as often as its loop, which is as often as the block of it that has most instructions run; in no loop once for each warp.

use super::card::Latency;
use super::chain;
use super::code::{Block, FEATURES, FFMA, Part};
use super::counted::{Counts, Node};

/// How often warps run each part, all of the grid together.
pub struct Turns {
    /// Of each part its blocks.
    pub blocks: Vec<Vec<f64>>,
    /// Of each loop its turns; of what is in no loop the warps.
    pub parts: Vec<f64>,
    /// How much of the counters this explains: 1 is all.
    pub explained: f64,
}

impl Turns {
    /// What all blocks have together.
    pub fn sum(&self, parts: &[Part], of: impl Fn(&Block) -> f64) -> f64 {
        let blocks = parts.iter().flat_map(|part| &part.blocks);
        blocks.zip(self.blocks.iter().flatten()).map(|(block, turns)| of(block) * turns).sum()
    }

    /// Clocks that a warp of `warps` alone takes, where global memory answers after `global`: of each part the blocks that at least every second turn runs.
    pub fn chain(&self, parts: &[Part], latency: &Latency, global: f64, warps: f64) -> f64 {
        let part = |((part, blocks), &turns): ((&Part, &Vec<f64>), &f64)| {
            let often = part.blocks.iter().zip(blocks).filter(|(_, run)| **run > 0.0 && **run >= 0.5 * turns);
            let steps: Vec<_> = often.flat_map(|(block, _)| block.steps.iter().copied()).collect();
            if turns > 0.0 { turns / warps * chain::clocks(&steps, part.is_loop, latency, global) } else { 0.0 }
        };
        parts.iter().zip(&self.blocks).zip(&self.parts).map(part).sum()
    }
}

/// Rounds over the parts: far more than the few parts need.
const ROUNDS: usize = 2000;

fn counted(counts: &Counts, node: &Node) -> [f64; FEATURES] {
    let warps = f64::from(node.threads.div_ceil(32));
    [
        // An instruction of a warpgroup is one of each of its warps.
        counts.mma + 4.0 * counts.wgmma.requests,
        counts.ldmatrix.requests,
        counts.shared_loads.lane_bytes(),
        counts.shared_stores.lane_bytes(),
        counts.loads.lane_bytes(),
        counts.stores.lane_bytes(),
        counts.shuffles,
        counts.barriers.block * warps + counts.barriers.some,
        counts.remote,
        // Of a product over taps without tensor cores all multiplications are known.
        if counts.mma + counts.wgmma.mma == 0.0 && node.flops[0] > node.flops[1] { node.flops[1] / 64.0 } else { 0.0 },
        counts.bulk.copies,
        counts.waits,
        counts.wgmma.mma,
    ]
}

/// Finds them.
pub fn find(parts: &[Part], counts: &Counts, node: &Node) -> Turns {
    let warps = node.warps();
    let wanted = counted(counts, node);
    // In units of a warp's share, so that all numbers are of a size. What was not counted at all must not run.
    let unknown = |feature: usize| if feature == FFMA { 0.0 } else { 1.0 };
    let scale: Vec<f64> =
        wanted.iter().enumerate().map(|(f, &count)| if count > 0.0 { warps / count } else { unknown(f) }).collect();
    let b: Vec<f64> = wanted.iter().map(|&count| if count > 0.0 { 1.0 } else { 0.0 }).collect();
    let blocks: Vec<(bool, [f64; FEATURES])> = parts
        .iter()
        .flat_map(|part| part.blocks.iter().map(|block| (part.is_loop, block.features)))
        .map(|(is_loop, features)| (is_loop, std::array::from_fn(|f| features[f] * scale[f])))
        .collect();
    let square = |at: usize| blocks[at].1.iter().map(|a| a * a).sum::<f64>();
    // Before counters are looked at, code in no loop runs once.
    let mut x: Vec<f64> = blocks.iter().map(|(is_loop, _)| if *is_loop { 0.0 } else { 1.0 }).collect();
    let mut rest: Vec<f64> =
        (0..FEATURES).map(|f| b[f] - blocks.iter().zip(&x).map(|((_, a), x)| a[f] * x).sum::<f64>()).collect();
    let mut order: Vec<usize> = (0..blocks.len()).filter(|&at| square(at) > 0.0).collect();
    order.sort_by(|&i, &j| blocks[j].0.cmp(&blocks[i].0).then(square(j).total_cmp(&square(i))));
    for _ in 0..ROUNDS {
        for &at in &order {
            let (is_loop, a) = &blocks[at];
            let along: f64 = rest.iter().zip(a).map(|(rest, a)| a * rest).sum();
            let most = if *is_loop { f64::INFINITY } else { 1.0 };
            let next = (x[at] + along / square(at)).clamp(0.0, most);
            rest.iter_mut().zip(a).for_each(|(rest, a)| *rest -= a * (next - x[at]));
            x[at] = next;
        }
    }
    let missed: f64 = rest.iter().map(|rest| rest.abs()).sum();
    let all: f64 = b.iter().sum();
    let mut turns = Turns { blocks: Vec::new(), parts: Vec::new(), explained: 1.0 };
    if all > 0.0 {
        turns.explained = (1.0 - missed / all).max(0.0);
    }
    let mut at = 0;
    for part in parts {
        let own = &mut x[at..at + part.blocks.len()];
        at += own.len();
        // Work on a condition may run less often, and says nothing of the rest.
        let known = |block: &Block| block.instructions > 0.0 && block.features.iter().any(|&n| n > 0.0);
        let work = |&(block, x): &(&Block, &f64)| block.instructions * x;
        let known = part.blocks.iter().zip(&*own).filter(|(block, _)| known(block));
        let most = known.max_by(|a, b| work(a).total_cmp(&work(b))).map(|(_, &x)| x);
        if part.is_loop {
            let without = |block: &Block| block.features.iter().all(|&n| n == 0.0);
            let unknown = part.blocks.iter().zip(&mut *own).filter(|(block, _)| without(block));
            unknown.for_each(|(_, x)| *x = most.unwrap_or(1.0));
        }
        turns.parts.push(warps * if part.is_loop { most.unwrap_or(1.0) } else { 1.0 });
        turns.blocks.push(own.iter().map(|x| x * warps).collect());
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::super::counted::tests::node;
    use super::*;

    fn part(is_loop: bool, features: [f64; FEATURES]) -> Part {
        let block = Block { features, instructions: 10.0, ..Block::default() };
        Part { is_loop, blocks: vec![block] }
    }

    #[test]
    fn turns_are_found_from_counters() {
        // Eight warps: a loop with an mma and two ldmatrix a turn, thirty turns; another with loads of 16 bytes, five turns; stores in no loop.
        let node = node();
        let mut counts = node.counts.clone().unwrap();
        counts.mma = 8.0 * 30.0;
        counts.ldmatrix.requests = 2.0 * 8.0 * 30.0;
        counts.set_global(8.0 * 5.0, 8.0);
        let parts = [
            part(false, [0.0, 0.0, 0.0, 0.0, 0.0, 16.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            part(true, [1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            part(true, [0.0, 0.0, 0.0, 0.0, 16.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            // One that was not run: nothing was shuffled.
            part(true, [1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        ];
        let found = find(&parts, &counts, &node);
        for (turns, wanted) in found.parts.iter().zip([8.0, 240.0, 40.0, 0.0]) {
            assert!((turns - wanted).abs() < 0.02 * wanted + 0.5, "{:?}", found.parts);
        }
        assert!(found.explained > 0.98, "{}", found.explained);
        // Stores of twice as many warps as there are cannot be explained.
        counts.set_global(8.0 * 5.0, 16.0);
        assert!(find(&parts, &counts, &node).explained < 0.9);
    }

    #[test]
    fn products_of_two_widths_are_told_apart() {
        // A loop of products of 64 columns and one of 128, as many instructions in both together as 30 turns, of which 10 are the wider.
        let node = node();
        let mut counts = node.counts.clone().unwrap();
        counts.wgmma.requests = 8.0 * 30.0 / 4.0;
        counts.wgmma.mma = 8.0 * (20.0 * 8.0 + 10.0 * 16.0);
        let product = |mma| {
            let mut features = [0.0; FEATURES];
            (features[0], features[FEATURES - 1]) = (1.0, mma);
            part(true, features)
        };
        let found = find(&[product(8.0), product(16.0)], &counts, &node);
        for (turns, wanted) in found.parts.iter().zip([160.0, 80.0]) {
            assert!((turns - wanted).abs() < 0.02 * wanted, "{:?}", found.parts);
        }
    }
}
