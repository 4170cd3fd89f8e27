//! Blocks of one launch that hand results to one another: fences and tickets in the emulator. The right way gives the same bits in any order of blocks,
//! and each way to do it wrong is found, whichever block comes last.

use crate::emulator::{NUMBER, tensor};
use normscape::Error;
use normscape::runtime::cuda::driver::{Arg, Driver, Grid, Kernel, Region, scalar};
use normscape::runtime::cuda::emulator::{Build, Emulator, Options};
use normscape::runtime::tensor::{ArenaId, ArenaPlan, DType, Shape};

/// `k(const float* x, float* y, unsigned* tickets, unsigned n)` on 64 numbers each.
static KERNEL: Kernel =
    Kernel { parameters: &[tensor("x"), tensor("y"), tensor("tickets"), NUMBER], ..crate::emulator::KERNEL };

const BLOCKS: usize = 8;

/// A device with three tensors: where they lie.
struct Device {
    emulator: Emulator,
    regions: [Region; 3],
}

impl Device {
    fn new(options: Options, body: &str) -> Device {
        let text = format!(
            "#include \"columns.cuh\"\n#include \"splits.cuh\"\n\
             extern \"C\" __global__ void k(const float* x, float* y, unsigned* tickets, unsigned n) {{\n{body}\n}}\n"
        );
        let mut emulator = Emulator::new(options).unwrap().with_source("planted", String::leak(text));
        let mut plan = ArenaPlan::with_guards(ArenaId::numbered(0));
        let views = [DType::F32, DType::F32, DType::U32].map(|dtype| plan.view(Shape::new([64]), dtype));
        emulator.allocate(plan.id(), plan.bytes()).unwrap();
        let regions = views.map(|view| Region { arena: plan.id(), offset: view.offset, bytes: view.bytes() });
        // Sums of these depend on their order.
        let x = (0..64).flat_map(|i| [1e8f32, 1.0, -1e8, 0.3][i % 4].to_le_bytes()).collect::<Vec<_>>();
        emulator.upload(regions[0], &x).unwrap();
        emulator.upload(regions[1], &[0; 256]).unwrap();
        emulator.upload(regions[2], &[0; 256]).unwrap();
        Device { emulator, regions }
    }

    fn launch(&mut self) -> Result<(), Error> {
        let [x, y, tickets] = self.regions;
        let args = [
            Arg::Tensor { region: x, written: false },
            Arg::Tensor { region: y, written: true },
            Arg::Tensor { region: tickets, written: true },
            scalar(64u32),
        ];
        self.emulator.launch(&KERNEL, Grid::new(BLOCKS, 64), &args)
    }

    fn words(&mut self, which: usize) -> Vec<u32> {
        let mut bytes = vec![0; 256];
        self.emulator.download(self.regions[which], &mut bytes).unwrap();
        bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }
}

/// Each block stores a part by a thread of its own, and `decides` whether it merges them; thread 7 does so, and says which block it was.
fn merging(decides: &str) -> String {
    format!(
        "if (threadIdx.x == 5) y[blockIdx.x] = x[blockIdx.x] + 0.5f;\n{decides}\n\
         if (threadIdx.x != 7) return;\nfloat sum = 0.0f;\n\
         for (unsigned i = 0; i < gridDim.x; ++i) sum += y[i];\ny[32] = sum;\ny[33] = blockIdx.x;"
    )
}

/// A ticket taken by hand, with or without its fences, and how it counts.
fn by_hand(before: &str, count: &str, after: &str) -> String {
    merging(&format!(
        "SHARED(unsigned, last, [1]);\n__syncthreads();\n\
         if (threadIdx.x == 0) {{\n{before}\nlast[0] = {count} == gridDim.x - 1;\n{after}\n}}\n__syncthreads();\nif (!last[0]) return;"
    ))
}

const RIGHT: &str = "if (!is_last(tickets, gridDim.x)) return;";
const WRAPPING: &str = "atomicInc(tickets, gridDim.x - 1)";
const FENCE: &str = "__threadfence();";

/// Runs `work` with one thread of the operating system, so that blocks run in the order that a seed tells.
fn in_order<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(work)
}

#[test]
fn whichever_block_is_last_merges_to_the_same_bits() {
    let expected = [1e8f32, 1.0, -1e8, 0.3, 1e8, 1.0, -1e8, 0.3].iter().fold(0.0f32, |sum, x| sum + (x + 0.5));
    let by_hand = by_hand(FENCE, WRAPPING, FENCE);
    for build in [Build::Watched, Build::Plain, Build::Counted] {
        let mut lasts = Vec::new();
        for order in [None, Some(1), Some(2), Some(3), Some(4), Some(5)] {
            for body in [&merging(RIGHT), &by_hand] {
                let mut device = Device::new(Options { build, order, poison: false, ..Options::default() }, body);
                // A second launch finds the tickets as the first did.
                for _ in 0..2 {
                    in_order(|| device.launch()).unwrap();
                    assert_eq!(device.words(1)[32], expected.to_bits(), "{build:?}, {order:?}");
                    assert_eq!(device.words(2), [0; 64]);
                }
                lasts.push(device.words(1)[33]);
            }
        }
        lasts.sort_unstable();
        lasts.dedup();
        assert!(lasts.len() > 2, "{build:?}: only blocks {lasts:?} came last");
    }
}

#[test]
fn every_way_to_forget_something_is_found() {
    let between = "no fence, ticket and fence between";
    let all = [
        ("no ticket", merging("__syncthreads();\nif (blockIdx.x != 3) return;"), between),
        ("not the last", by_hand(FENCE, "gridDim.x - 1 - atomicInc(tickets, gridDim.x - 1)", FENCE), between),
        ("no fence before", by_hand("", WRAPPING, FENCE), between),
        ("no fence after", by_hand(FENCE, WRAPPING, ""), between),
        ("a ticket each", by_hand(FENCE, "(atomicInc(tickets + blockIdx.x, 0), gridDim.x - 1)", FENCE), between),
        (
            "no barrier before",
            merging(
                "SHARED(unsigned, last, [1]);\nif (threadIdx.x == 0) {\n__threadfence();\n\
                 last[0] = atomicInc(tickets, gridDim.x - 1) == gridDim.x - 1;\n__threadfence();\n}\n__syncthreads();\n\
                 if (!last[0]) return;",
            ),
            between,
        ),
        ("one number for all", "if (threadIdx.x == 0) y[9] = blockIdx.x;".into(), "of y that block"),
        ("a count that stays", by_hand(FENCE, "atomicAdd(tickets, 1)", FENCE), "has left 8 at byte 0 of tickets"),
        ("of what is read", "atomicAdd((unsigned*)x, 1);".into(), "no number of a tensor that it may write"),
    ];
    for (what, body, words) in all {
        for order in [None, Some(1), Some(2), Some(3)] {
            let mut device = Device::new(Options { order, ..Options::default() }, &body);
            let said = in_order(|| device.launch()).expect_err(what).to_string();
            assert!(said.starts_with("kernel k, block [") && said.contains(words), "{what}, {order:?}: {said}");
            // The next launch counts from 0.
            assert_eq!(device.words(2), [0; 64], "{what}");
        }
    }
}

/// Seven splits of a tile of 2 × 4, of which each block leaves one in y and the sum stands behind them; `split` is what a block takes itself for.
fn splitting(split: &str) -> String {
    format!(
        "if (blockIdx.x == 7) return;\nif (threadIdx.x < 8) y[blockIdx.x * 8 + threadIdx.x] = x[blockIdx.x * 8 + threadIdx.x];\n\
         add_splits_of_tile<4>(y, y + 56, tickets, {split}, 7, {{0, 1, 2, 4, 0, 0}});"
    )
}

#[test]
fn splits_are_added_by_groups_to_the_same_bits_in_every_order() {
    let x = |split: usize, at: usize| [1e8f32, 1.0, -1e8, 0.3][(split * 8 + at) % 4];
    // Three groups: of three, three and one.
    let sum = |splits: &[usize], at: usize| splits.iter().skip(1).fold(x(splits[0], at), |sum, &i| sum + x(i, at));
    let expected: Vec<u32> =
        (0..8).map(|at| (sum(&[0, 1, 2], at) + sum(&[3, 4, 5], at) + sum(&[6], at)).to_bits()).collect();
    for build in [Build::Watched, Build::Plain, Build::Counted] {
        for order in [None, Some(1), Some(2), Some(3), Some(4)] {
            let options = Options { build, order, poison: false, ..Options::default() };
            let mut device = Device::new(options, &splitting("blockIdx.x"));
            for _ in 0..2 {
                in_order(|| device.launch()).unwrap();
                assert_eq!(device.words(1)[56..], expected[..], "{build:?}, {order:?}");
                assert_eq!(device.words(2), [0; 64]);
            }
        }
    }
}

#[test]
fn a_group_that_is_added_before_all_of_it_is_there_is_found() {
    // The first block of each group takes the place of the one before it: the last of a group then comes before its first.
    for order in [None, Some(1), Some(2), Some(3)] {
        let options = Options { order, ..Options::default() };
        let mut device = Device::new(options, &splitting("(blockIdx.x + 6) % 7"));
        let said = in_order(|| device.launch()).expect_err("a wrong group").to_string();
        assert!(said.contains("no fence, ticket and fence between"), "{order:?}: {said}");
    }
}
