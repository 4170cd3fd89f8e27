//! A node's time as a range.

use super::card::Card;
use super::code::{Block, PIPES, Part};
use super::counted::{Node, Tensor};
use super::l2::L2;
use super::turns;
use crate::sass::{Measured, resident_blocks};

/// A node, with what its time is made of.
#[derive(Debug, Clone)]
pub struct Predicted {
    pub kernel: String,
    pub layer: String,
    pub pass: String,
    pub group: Group,
    pub blocks: [u64; 3],
    /// Blocks that a multiprocessor holds; 0 of what is no kernel.
    pub resident: u32,
    /// Warp instructions of the whole grid.
    pub instructions: f64,
    /// How much of the counters the turns of loops explain; 1 is all.
    pub explained: f64,
    /// Clocks of shared memory and L1, which are one, of all multiprocessors together.
    pub shared: f64,
    /// Clocks of tensor cores, likewise.
    pub tensor: f64,
    /// Bytes from L2 and to it: with what a block has in L1 asked for again, and found there.
    pub l2: [f64; 2],
    /// Bytes of memory: all tensors, and those only that are not in L2.
    pub memory: [f64; 2],
    /// Seconds: the slow end and the fast end, without the gap to the next node.
    pub seconds: [f64; 2],
    /// What the slow end and the fast end are made of.
    pub limited: [&'static str; 2],
}

/// What a step's time is added up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Forward,
    InputGradient,
    WeightGradient,
    Gradients,
    Norm,
    Update,
    Rest,
}

impl Group {
    pub const ALL: [Group; 7] = [
        Group::Forward,
        Group::InputGradient,
        Group::WeightGradient,
        Group::Gradients,
        Group::Norm,
        Group::Update,
        Group::Rest,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Group::Forward => "forward products",
            Group::InputGradient => "input gradients",
            Group::WeightGradient => "weight gradients",
            Group::Gradients => "both gradients",
            Group::Norm => "norms",
            Group::Update => "update",
            Group::Rest => "rest",
        }
    }

    fn of(node: &Node) -> Group {
        let has = |text: &str| node.layer.contains(text);
        match (&*node.pass, &*node.kernel) {
            (_, kernel) if kernel.starts_with("sgd") => Group::Update,
            ("weight gradient", _) => Group::WeightGradient,
            ("input gradient", _) => Group::InputGradient,
            ("backward", _) if node.flops[0] > 0.0 => Group::Gradients,
            ("forward", _) if node.flops[0] > 0.0 || has("conv") || has("linear") || has("fc") => Group::Forward,
            _ if has("norm") => Group::Norm,
            _ => Group::Rest,
        }
    }
}

/// A node that moves less than this part of what it is given uses pieces of it.
const FEW: f64 = 0.25;

/// The node's tensors, as far as it uses them: one that is given whole vectors and moves few pieces of them by its counters leaves the rest alone. Which
/// pieces is not known; the first are as good as any.
fn used(node: &Node) -> Vec<Tensor> {
    let all = node.tensors.iter().map(|tensor| tensor.bytes as f64).sum::<f64>();
    let Some(moved) = node.counts.as_ref().map(|of| of.loads.once + of.stores.once + of.bulk.once) else {
        return node.tensors.clone();
    };
    let part = if moved < FEW * all { moved / all } else { 1.0 };
    let of = |tensor: &Tensor| Tensor { bytes: (part * tensor.bytes as f64) as u64, ..*tensor };
    node.tensors.iter().map(of).collect()
}

/// The time of a node; `code` is its kernel's, none of what is no kernel of ours. The L2 holds what the nodes before have left.
pub fn predict(node: &Node, code: Option<(&Measured, &[Part])>, card: &Card, l2: &mut L2) -> Predicted {
    let mut found = Predicted {
        kernel: node.kernel.clone(),
        layer: node.layer.clone(),
        pass: node.pass.clone(),
        group: Group::of(node),
        blocks: node.blocks,
        resident: 0,
        instructions: 0.0,
        explained: 1.0,
        shared: 0.0,
        tensor: 0.0,
        l2: [0.0; 2],
        memory: [0.0; 2],
        seconds: [0.0; 2],
        limited: ["memory"; 2],
    };
    let (mut missing, mut left) = ([0.0; 2], 0.0);
    let tensors = used(node);
    for tensor in &tensors {
        let [missed, leaving] = l2.use_tensor(tensor);
        missing[usize::from(tensor.written)] += missed;
        left += leaving;
    }
    let all = |written: bool| tensors.iter().filter(|t| t.written == written).map(|t| t.bytes as f64).sum::<f64>();
    let (Some(counts), Some((measured, parts))) = (&node.counts, code) else {
        found.memory = [all(false) + all(true), missing[0] + left];
        found.l2 = [found.memory[0]; 2];
        found.seconds = [0, 1]
            .map(|end| (found.l2[end] / card.l2_bandwidth[end]).max(found.memory[end] / card.memory_bandwidth[end]));
        return found;
    };
    let turns = turns::find(parts, counts, node);
    found.explained = turns.explained;
    let sum = |of: &dyn Fn(&Block) -> f64| turns.sum(parts, of);
    // Blocks at a map's edge have fewer taps. How many there are is known of a product, which sets right what the sample missed.
    let missed = node.flops[1] / sum(&|block| block.flops);
    let right = if node.flops[0] > node.flops[1] && (0.8..1.25).contains(&missed) { missed } else { 1.0 };
    let sum = |of: &dyn Fn(&Block) -> f64| right * sum(of);
    found.instructions = sum(&|block| block.instructions);

    let global = counts.loads.sectors + counts.stores.sectors;
    found.shared = right
        * (counts.shared_loads.wavefronts
            + counts.shared_stores.wavefronts
            + counts.ldmatrix.wavefronts
            + counts.remote
            + (global * 32.0 + counts.bulk.bytes + counts.wgmma.bytes) / card.shared_bytes_per_clock);
    found.l2 = [counts.loads.sectors * 32.0, counts.loads.once_a_block]
        .map(|read| right * (read + (counts.stores.sectors + counts.bulk.sectors) * 32.0));
    // Bulk copies pass L1 by.
    let read_once = counts.loads.once + counts.bulk.once;
    // What others wrote leaves L2 in its time too, and may be more than this node moves.
    // What a node writes it may have read before, as an update does: what it reads beyond what is only read.
    let changed = (read_once - all(false)).clamp(0.0, all(true)) / all(true).max(1.0);
    let fast = (missing[0] + changed * missing[1]).min(read_once) + left;
    found.memory = [fast.max(read_once + counts.stores.once), fast];
    let tensor = |end: usize| {
        (sum(&|block| block.tensor[0]) / card.mma_sync[end] + sum(&|block| block.tensor[1]) / card.wgmma[end])
            / card.tensor
    };
    found.tensor = tensor(1);

    let lanes = [card.lanes.alu, card.lanes.imad, card.lanes.f64, card.lanes.special, card.lanes.shuffle];
    let units = PIPES.map(|pipe| sum(&|block| block.pipes[pipe as usize]) * 32.0 / lanes[pipe as usize]);
    let (blocks, warps) = (node.all_blocks(), node.warps());
    found.resident =
        resident_blocks(card.architecture, node.threads, measured.registers, measured.shared + node.dynamic_shared)
            .max(1);
    let held = f64::from(card.multiprocessors);
    // Where operands come by bulk copies, the warp that asks for them is ahead of those that multiply.
    let working = if counts.bulk.copies > 0.0 { blocks * f64::from(node.threads / 128 * 4) } else { warps };
    // Blocks are alike, and a multiprocessor has whole ones.
    let busiest = (blocks / held).ceil() / blocks * node.unevenness();
    let waves = (blocks / (held * f64::from(found.resident))).max(1.0);
    for end in [0, 1] {
        let clocks = |clocks: f64| clocks * busiest / card.clock[end];
        let mut limits = [
            ("issue", clocks(found.instructions / card.issue)),
            ("units", units.iter().map(|&unit| clocks(unit)).fold(0.0, f64::max)),
            ("shared memory", clocks(found.shared)),
            ("tensor cores", clocks(tensor(end))),
            ("L2", (found.l2[end] / card.l2_bandwidth[end]).max(clocks(found.l2[end] / card.l2_bytes_per_clock))),
            ("memory", found.memory[end] / card.memory_bandwidth[end]),
        ];
        let waves = if end == 0 { waves.ceil() } else { waves };
        let global = [card.latency.memory, card.latency.l2][end];
        // The first copy of a ring of stages is waited for.
        let first = if counts.bulk.copies > 0.0 { global } else { 0.0 };
        let chain = right * waves * (first + turns.chain(parts, &card.latency, global, working)) / card.clock[end];
        limits.sort_by(|a, b| b.1.total_cmp(&a.1));
        (found.seconds[end], found.limited[end]) = match end {
            // Nothing is hidden behind the largest but by the rest of it.
            0 if chain > limits[1].1 => (limits[0].1 + chain, "latency"),
            0 => (limits[0].1 + limits[1].1, limits[0].0),
            _ if chain > limits[0].1 => (chain, "latency"),
            _ => (limits[0].1, limits[0].0),
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::counted::tests::node;
    use super::*;

    /// A loop whose turn has one load and one store of 16 bytes, and 10 instructions.
    fn parts() -> [Part; 1] {
        let features = [0.0, 0.0, 0.0, 0.0, 16.0, 16.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        [Part { is_loop: true, blocks: vec![Block { features, instructions: 10.0, ..Block::default() }] }]
    }

    fn measured() -> Measured {
        let text = ".text.k:\n/*0000*/ EXIT ;\n";
        Measured { registers: 64, threads: 128, ..Measured::of_listing(text) }
    }

    #[test]
    fn a_copy_of_a_gigabyte_takes_what_memory_takes_and_twice_as_many_blocks_twice_that() {
        let card = Card::named("h200").unwrap();
        let copy = |blocks: u64| {
            let mut node = node();
            node.blocks = [blocks, 1, 1];
            // Each warp copies 64 times 512 bytes.
            let requests = node.warps() * 64.0;
            node.counts.as_mut().unwrap().set_global(requests, requests);
            let bytes = (requests * 512.0) as u64;
            node.tensors =
                [(0, false), (bytes, true)].map(|(offset, written)| Tensor { arena: 0, offset, bytes, written }).into();
            (predict(&node, Some((&measured(), &parts())), &card, &mut L2::new(card.l2_bytes)), bytes)
        };
        let blocks = 132 * 64;
        let (found, bytes) = copy(blocks);
        assert!((found.instructions / (blocks as f64 * 4.0 * 640.0) - 1.0).abs() < 1e-3, "{}", found.instructions);
        // All of it is read from memory; what is written stays in L2 as far as there is room.
        let moved = 2.0 * bytes as f64;
        assert_eq!(found.memory, [moved, moved - card.l2_bytes]);
        assert_eq!(found.limited[1], "memory");
        assert!((found.seconds[1] / (found.memory[1] / 4.8e12) - 1.0).abs() < 1e-9, "{:?}", found.seconds);
        assert!(found.seconds[0] > moved / 4.3e12, "the slow end lies above what memory alone takes");
        let (twice, _) = copy(2 * blocks);
        assert!((twice.seconds[1] / found.seconds[1] - 2.0).abs() < 0.05);
        // The last block alone takes a multiprocessor as long as a whole row of blocks.
        let (one_more, _) = copy(blocks + 1);
        assert!(one_more.seconds[0] > found.seconds[0]);
    }

    #[test]
    fn a_node_that_is_given_whole_vectors_dirties_what_it_moves() {
        let card = Card::named("h200").unwrap();
        let memory = |given: u64| {
            let mut node = node();
            node.blocks = [4, 1, 1];
            let requests = node.warps() * 2.0;
            node.counts.as_mut().unwrap().set_global(requests, requests);
            let moved = (requests * 512.0) as u64;
            let tensor = |(offset, written)| Tensor { arena: 0, offset, bytes: moved * given, written };
            node.tensors = [(0, false), (moved * given, true)].map(tensor).into();
            let mut l2 = L2::new(moved as f64);
            let found = predict(&node, Some((&measured(), &parts())), &card, &mut l2);
            (
                found.memory[1] / moved as f64,
                l2.use_tensor(&Tensor { arena: 1, offset: 0, bytes: moved, written: false }),
            )
        };
        let (few, [_, left]) = memory(1000);
        let (all, _) = memory(1);
        assert!((few - all).abs() < 0.02 * all && left > 0.0, "{few} {all} {left}");
    }
}
