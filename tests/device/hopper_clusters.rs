//! Hopper's asynchronous instructions between the blocks of a cluster, in the emulator: copies that go to several of them, and barriers at which others
//! arrive. A kernel that uses them rightly, and the same with a mistake of each kind, which must be found.

use crate::emulator::CLUSTER;
use crate::hopper::{self, STAGES, exchanged};
use normscape::Error;
use normscape::runtime::cuda::counts::{Bulk, Counts};
use normscape::runtime::cuda::emulator::{Build, Options};

/// y = Σ_i a_i · b_iᵀ in each of two blocks: x has in its columns 128 i … the 64 of a_i, then those of b_i. Each block copies half of the rows to both.
const RIGHT: &str = "
    TILES_SHARED(tiles);
    SHARED(u64, full, [2]);
    SHARED(u64, empty, [2]);
    if (threadIdx.x == 0) {
        for (unsigned i = 0; i < 2; ++i) {
            mbarrier_init(full + i, 1);
            mbarrier_init(empty + i, 8);
        }
        fence_mbarrier_init();
    }
    cluster_sync();
    unsigned rank = cluster_rank();
    if (threadIdx.x < 128) {
        if (threadIdx.x == 0)
            for (unsigned i = 0; i < n; ++i) {
                unsigned stage = i % 2, round = i / 2;
                mbarrier_wait(empty + stage, round & 1 ^ 1);
                mbarrier_expect(full + stage, 16384);
                unsigned char* to = tiles + stage * 16384 + rank * 4096;
                bulk_copy_to(3, to, &x, full + stage, 128 * i, 32 * rank);
                bulk_copy_to(3, to + 8192, &x, full + stage, 128 * i + 64, 32 * rank);
            }
    } else {
        float d[32];
        u64 place = place_of_tile(tiles), a = descriptor(place), b = descriptor(place + 8192);
        unsigned back = mbarrier_of(empty, lane_id() % 2);
        for (unsigned i = 0; i < n; ++i) {
            unsigned stage = i % 2, round = i / 2;
            mbarrier_wait(full + stage, round & 1);
            wgmma_fence();
            for (unsigned step = 0; step < 4; ++step) {
                u64 on = stage * 1024 + step * 2;
                wgmma<false, false>(d, a + on, b + on, i | step);
            }
            wgmma_commit();
            wgmma_wait<0>();
            if (lane_id() < 2) mbarrier_arrive_at(back + 8 * stage);
        }
        for (unsigned i = 0; i < 32; ++i) y[rank * 4096 + i * 128 + threadIdx.x - 128] = d[i];
    }
    cluster_sync(); // the last
";

/// What the kernel of `body` gives in both blocks, and what was counted.
fn run(body: &str, options: Options) -> Result<(Vec<f32>, Option<Counts>), Error> {
    hopper::launched(&CLUSTER, 2, body, 64, options)
}

/// What is right, of both blocks.
fn expected() -> Vec<f32> {
    hopper::expected(64).repeat(2)
}

#[test]
fn a_right_kernel_gives_both_products_in_every_schedule() {
    for build in [Build::Watched, Build::Plain] {
        for order in [None, Some(1), Some(2), Some(3), Some(4)] {
            let options = Options { order, build, ..Options::default() };
            assert!(run(RIGHT, options).unwrap().0 == expected(), "{options:?}");
        }
    }
}

#[test]
fn a_copy_to_two_blocks_is_read_once_and_brought_twice() {
    for order in [None, Some(1), Some(2)] {
        let counts = run(RIGHT, Options { order, build: Build::Counted, ..Options::default() }).unwrap().1.unwrap();
        let (copies, sectors) = (4 * STAGES as u64, 4 * STAGES as u64 * 32 * 4);
        let bytes = copies * 4096 * 2;
        assert_eq!(counts.bulk, Bulk { copies, multicast: copies, sectors, bytes, once: sectors * 32 }, "{order:?}");
        assert_eq!((counts.wgmma.requests, counts.wgmma.busiest), (8 * STAGES as u64, 4 * 32 * STAGES as u64));
    }
}

#[test]
fn planted_mistakes_are_found_and_named() {
    const BACK: &str = "if (lane_id() < 2) mbarrier_arrive_at(back + 8 * stage);";
    const OWN: &str = "if (lane_id() == 0) mbarrier_arrive(empty + stage);";
    const RANK: &str = "    unsigned rank = cluster_rank();";
    const WAIT: &str = "mbarrier_wait(full + stage, round & 1);";
    // Of several words one must be said: which block is ahead is not the mistake's.
    type Mistake<'m> = (&'m [(&'m str, &'m str)], &'m [&'m str]);
    let all: [Mistake<'_>; 10] = [
        (&[("cluster_sync(); // the last", "")], &["without knowing that thread", "which has left the kernel"]),
        (
            &[(RANK, "    unsigned rank = cluster_rank();\n    if (rank == 1) return;")],
            &[
                "the last of its block, while bulk copies are under way",
                "of the cluster's block 1, which has left the kernel",
            ],
        ),
        (
            &[("    cluster_sync();\n    unsigned rank", "    __syncthreads();\n    unsigned rank")],
            &["none was made", "no barrier between"],
        ),
        (
            &[("mbarrier_init(empty + i, 8)", "mbarrier_init(empty + i, 4)")],
            &["whose phase has had its 4 arrivals", "no wait between", "where one was not waited for"],
        ),
        (&[(BACK, OWN)], &["waits for ever for parity"]),
        (
            &[(BACK, OWN), ("mbarrier_init(empty + i, 8)", "mbarrier_init(empty + i, 4)")],
            &["which a wgmma may still read: no wait between", "where one was not waited for"],
        ),
        (&[("full + stage, 16384)", "full + stage, 8192)")], &["expect fewer bytes than its copies bring"]),
        (
            &[("bulk_copy_to(3, to, ", "bulk_copy_to(1u << rank, to, ")],
            &["the next lacks 0 of 1 arrivals and 4096 bytes"],
        ),
        (&[("bulk_copy_to(3, to, ", "bulk_copy_to(5, to, ")], &["uses shared memory of block 2 of a cluster of 2"]),
        (&[(WAIT, "if (i == 0) mbarrier_wait(full + stage, 0);")], &["its mbarrier was not waited for"]),
    ];
    let mut missed = String::new();
    for (changes, words) in all {
        for order in [None, Some(1)] {
            let said = match run(&exchanged(RIGHT, changes), Options { order, ..Options::default() }) {
                Ok(_) => "nothing was found".to_owned(),
                Err(error) => error.to_string(),
            };
            if !words.iter().any(|words| said.contains(words)) {
                missed += &format!("{changes:?}, {order:?}\n  {said}\n");
            }
        }
    }
    assert!(missed.is_empty(), "{missed}");
}
