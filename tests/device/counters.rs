//! The emulator counts what a kernel asks of memory and of its warps: kernels whose counts are known, in every order of threads.

use crate::emulator::{CLUSTER, PLAIN};
use normscape::runtime::cuda::counts::{Counts, Global, Shared};
use normscape::runtime::cuda::driver::{Arg, Driver, Grid, Kernel, Region, scalar};
use normscape::runtime::cuda::emulator::{Build, Emulator, Options};
use normscape::runtime::tensor::{ArenaId, ArenaPlan, DType, Shape};

/// What a kernel of the body `body` comes to on tensors of 4096, in `blocks` blocks of `threads` threads; `t` is the thread.
fn counted_as(kernel: &'static Kernel, blocks: usize, threads: u32, order: Option<u64>, body: &str) -> Counts {
    sampled_as(kernel, blocks, threads, (order, None), body)
}

/// The same of a sample of so many of its clusters, if of a sample.
fn sampled_as(
    kernel: &'static Kernel,
    blocks: usize,
    threads: u32,
    (order, sample): (Option<u64>, Option<u64>),
    body: &str,
) -> Counts {
    let text = format!(
        "#include \"tensor_cores.cuh\"\n#include \"cluster.cuh\"\nstruct __align__(8) Two {{ float v[2]; }};\n\
         extern \"C\" __global__ void k(const float* x, float* y, unsigned n) {{\nunsigned t = threadIdx.x;\n{body}\n}}\n"
    );
    let options = Options { build: Build::Counted, order, ..Options::default() };
    let mut emulator = Emulator::new(options).unwrap().with_source("planted", String::leak(text));
    if let Some(clusters) = sample {
        emulator = emulator.sampling(clusters);
    }
    let mut plan = ArenaPlan::with_guards(ArenaId::numbered(0));
    let views: Vec<_> = (0..2).map(|_| plan.view(Shape::new([4096]), DType::F32)).collect();
    emulator.allocate(plan.id(), plan.bytes()).unwrap();
    let region = |i: usize| Region { arena: plan.id(), offset: views[i].offset, bytes: views[i].bytes() };
    let tensor = |i: usize| Arg::Tensor { region: region(i), written: i == 1 };
    assert_eq!(emulator.counts(), None, "nothing has been launched");
    let args = [tensor(0), tensor(1), scalar(64u32)];
    emulator.launch(kernel, Grid::new(blocks, threads), &args).unwrap_or_else(|e| panic!("{body}\n{e}"));
    emulator.counts().unwrap()
}

/// The same of one block of one warp, and that it is the same in any order of lanes.
fn counted(body: &str) -> Counts {
    let counts = counted_as(&PLAIN, 1, 32, None, body);
    for order in [1, 2] {
        assert_eq!(counted_as(&PLAIN, 1, 32, Some(order), body), counts, "order {order}: {body}");
    }
    counts
}

fn global(global: Global) -> [u64; 6] {
    [global.requests, global.lanes, global.sectors, global.needed, global.asked, global.once]
}

#[test]
fn sectors_of_global_memory_are_counted_with_their_use() {
    // Requests, lanes, sectors touched and needed, distinct bytes, bytes of distinct sectors; and the width of the loads.
    for (body, loads, width) in [
        ("y[t] = x[t];", [1, 32, 4, 4, 128, 128], 4),
        ("y[t] = x[2 * t];", [1, 32, 8, 4, 128, 256], 4),
        ("y[t] = x[t + 1];", [1, 32, 5, 4, 128, 160], 4),
        ("y[t] = x[32 * t];", [1, 32, 32, 4, 128, 1024], 4),
        ("y[t] = x[0];", [1, 32, 1, 1, 4, 32], 4),
        ("((bf16*)y)[t] = ((const bf16*)x)[t];", [1, 32, 2, 2, 64, 64], 2),
        ("y[t] = to_f32(((const bf16*)x)[2 * t]);", [1, 32, 4, 2, 64, 128], 2),
        ("y[t] = ((const double*)x)[t];", [1, 32, 8, 8, 256, 256], 8),
        ("y[t] = load4((const bf16*)x + 4 * t).v[0];", [1, 32, 8, 8, 256, 256], 8),
        ("store4(y + 4 * t, load4(x + 4 * t));", [1, 32, 16, 16, 512, 512], 16),
        ("Four f = load4(x + 4 * t);\ny[t] = f.v[0] + f.v[1] + f.v[2] + f.v[3];", [1, 32, 16, 16, 512, 512], 16),
        ("if (t < 8) y[t] = x[t];", [1, 8, 1, 1, 32, 32], 4),
        ("for (unsigned i = t; i < 80; i += 32) y[i] = x[i];", [3, 80, 10, 10, 320, 320], 4),
        // What is read again is asked for again.
        ("for (unsigned i = 0; i < 4; ++i) y[t + i] = x[t];", [4, 128, 16, 16, 128, 128], 4),
        // Lanes that have branched off ask apart.
        ("if (t % 2) y[t] = x[t];\nelse y[t] = 2.0f * x[64 + t];", [2, 32, 8, 4, 128, 256], 4),
    ] {
        let counts = counted(body);
        assert_eq!(global(counts.loads), loads, "{body}: {:?}", counts.loads);
        assert_eq!(counts.loads.widths.of(width), loads[0], "{body}");
        let apart = loads[1] != 32 * loads[0];
        assert_eq!(counts.loads.partial > 0, apart, "{body}: {:?}", counts.loads);
    }
    let counts = counted("store4(y + 4 * t, load4(x + 4 * t));");
    assert_eq!((global(counts.stores), counts.stores.widths.of(16)), ([1, 32, 16, 16, 512, 512], 1));
    assert_eq!((counts.loads.used(), counted("y[t] = x[2 * t];").loads.used()), (Some(1.0), Some(0.5)));
    assert_eq!(global(counted("y[2 * t] = x[t];").stores), [1, 32, 8, 4, 128, 256]);
}

#[test]
fn bytes_are_counted_once_a_launch_once_a_block_and_each_time() {
    for order in [None, Some(1), Some(2)] {
        let body = "float v = x[t];\n__syncthreads();\ny[64 * blockIdx.x + t] = v + x[t];";
        let counts = counted_as(&PLAIN, 3, 64, order, body);
        let Global { asked, once, once_a_block, .. } = counts.loads;
        assert_eq!((asked, once, once_a_block, counts.loads.each_time()), (256, 256, 768, 1536), "{order:?}");
        let Global { asked, once, once_a_block, .. } = counts.stores;
        assert_eq!((asked, once, once_a_block, counts.stores.each_time()), (768, 768, 768, 768), "{order:?}");
        assert_eq!(counts.barriers.block, 3);
    }
}

/// Requests, wavefronts, and those beyond the least.
fn shared(shared: Shared) -> [u64; 3] {
    [shared.requests, shared.wavefronts, shared.extra]
}

#[test]
fn bank_conflicts_are_counted() {
    let filled = |read: &str| {
        format!(
            "SHARED(float, s, [1056]);\nfor (unsigned i = t; i < 1056; i += 32) s[i] = x[i];\n__syncthreads();\n\
             y[t] = {read};"
        )
    };
    for (read, loads, width) in [
        ("s[t]", [1, 1, 0], 4),
        ("s[31 - t]", [1, 1, 0], 4),
        ("s[7]", [1, 1, 0], 4),
        ("s[t / 2]", [1, 1, 0], 4),
        ("s[2 * t]", [1, 2, 1], 4),
        ("s[32 * t]", [1, 32, 31], 4),
        ("s[33 * t]", [1, 1, 0], 4),
        ("to_f32(((const bf16*)s)[t])", [1, 1, 0], 2),
        ("((const Two*)s)[t].v[1]", [1, 2, 1], 4),
        ("((const double*)s)[t]", [1, 2, 0], 8),
        ("((const double*)s)[2 * t]", [1, 4, 2], 8),
        ("load4(s + 4 * t).v[3]", [1, 4, 0], 16),
        ("load4(s + 32 * t).v[3]", [1, 32, 28], 16),
    ] {
        let counts = counted(&filled(read));
        assert_eq!(shared(counts.shared_loads), loads, "{read}");
        assert_eq!(counts.shared_loads.widths.of(width), 1, "{read}");
        assert_eq!(shared(counts.shared_stores), [33, 33, 0]);
    }
    // A tile that is transposed: 32 stores along rows, 32 loads along columns.
    let transposed = |pitch: u32| {
        format!(
            "SHARED(float, s, [32][{pitch}]);\nfor (unsigned i = 0; i < 32; ++i) s[i][t] = x[32 * i + t];\n__syncthreads();\n\
             for (unsigned i = 0; i < 32; ++i) y[32 * i + t] = s[t][i];"
        )
    };
    for (pitch, loads) in [(32, [32, 1024, 992]), (33, [32, 32, 0])] {
        let counts = counted(&transposed(pitch));
        assert_eq!((shared(counts.shared_loads), shared(counts.shared_stores)), (loads, [32, 32, 0]), "pitch {pitch}");
        assert_eq!((counts.loads.used(), counts.stores.used()), (Some(1.0), Some(1.0)));
    }
}

#[test]
fn matrices_and_asynchronous_copies_are_counted() {
    // Rows of 16 bytes: at a pitch of 64 bytes every other one is in the same banks, at 80 none of eight.
    for (pitch, expected) in [(16, [1, 4, 0]), (64, [1, 16, 12]), (80, [1, 4, 0]), (128, [1, 32, 28])] {
        for call in ["ldmatrix_x4", "ldmatrix_x4_trans"] {
            let counts = counted(&format!(
                "SHARED(float, s, [1024]);\nfor (unsigned i = t; i < 1024; i += 32) s[i] = 0.0f;\n__syncthreads();\n\
                 unsigned r[4];\n{call}(r, (const char*)s + {pitch} * t);\ny[t] = __uint_as_float(r[0] ^ r[1] ^ r[2] ^ r[3]);"
            ));
            assert_eq!(shared(counts.ldmatrix), expected, "{call}, pitch {pitch}");
            // It is neither a load of other kinds nor a shuffle.
            assert_eq!((counts.shared_loads.requests, counts.shuffles), (0, 0));
        }
    }
    let copy = |valid: &str| {
        counted(&format!(
            "SHARED(float, s, [128]);\ncp_async_16(s + 4 * t, x + 4 * t, {valid});\ncp_async_commit();\ncp_async_wait<0>();\n\
             __syncthreads();\ny[t] = s[t];"
        ))
    };
    let (all, half) = (copy("true"), copy("t < 16"));
    assert_eq!((all.copies, global(all.loads), all.loads.partial), (1, [1, 32, 16, 16, 512, 512], 0));
    assert_eq!((half.copies, global(half.loads), half.loads.partial), (1, [1, 16, 8, 8, 256, 256], 1));
    for counts in [all, half] {
        assert_eq!((shared(counts.shared_stores), counts.shared_stores.widths.of(16)), ([1, 4, 0], 1));
        assert_eq!(shared(counts.shared_loads), [1, 1, 0]);
    }
}

#[test]
fn what_warps_do_together_is_counted() {
    let counts = counted(
        "float d[4] = {};\nunsigned a[4] = {}, b[2] = {};\nmma_bf16(d, a, b);\nmma_tf32(d, a, b);\n\
         float one = warp_sum(x[t]);\ndouble two = warp_sum((double)one);\nunsigned votes = __ballot_sync(0xffffffffu, t % 2);\n\
         __syncwarp();\n__syncthreads();\ny[t] = d[0] + one + two + votes;",
    );
    // A double is shuffled as two words.
    assert_eq!((counts.mma, counts.shuffles, counts.votes), (2, 5 + 10, 1));
    assert_eq!((counts.barriers.block, counts.barriers.warp, counts.barriers.cluster), (1, 1, 0));
    assert_eq!((counts.shared_loads.requests, counts.shared_stores.requests), (0, 0));
    for order in [None, Some(1), Some(2)] {
        let counts = counted_as(
            &CLUSTER,
            2,
            64,
            order,
            "SHARED(float, s, [64]);\ns[t] = x[t];\ncluster_sync();\n\
             float v = cluster_map(&s[0], 1 - cluster_rank())[t];\ncluster_sync();\nif (cluster_rank() == 0) y[t] = v;",
        );
        assert_eq!((counts.remote, counts.barriers.cluster, counts.stores.requests), (4, 2, 2), "{order:?}");
        assert_eq!((shared(counts.shared_stores), shared(counts.shared_loads)), ([4, 4, 0], [0, 0, 0]), "{order:?}");
    }
}

#[test]
fn a_sample_of_blocks_counts_for_all_where_they_are_alike() {
    // Each block reads 128 bytes of its own, and the same 32; four lanes of it write.
    let body = "unsigned b = blockIdx.x;\nfloat v = x[32 * b + t] + x[4064 + t % 8];\nif (t < 4) y[32 * b + t] = v;\n__syncthreads();";
    let whole = counted_as(&PLAIN, 64, 32, None, body);
    for (sample, order) in [(64, None), (8, None), (8, Some(1)), (3, Some(2)), (1000, None)] {
        let mut counts = sampled_as(&PLAIN, 64, 32, (order, Some(sample)), body);
        // Of distinct bytes the blocks share some: there are at the most as many as the tensors have.
        for (counted, known) in [(&mut counts.loads, whole.loads), (&mut counts.stores, whole.stores)] {
            assert!((known.once..=2 * known.once).contains(&counted.once), "{sample}: {counted:?}");
            (counted.once, counted.asked) = (known.once, known.asked);
        }
        let off = |found: u64, known: u64| found.abs_diff(known) * 100 <= known;
        assert!(off(counts.loads.requests, 128) && off(counts.barriers.block, 64), "{sample}: {counts:?}");
        if 64 % sample == 0 {
            assert_eq!(counts, whole, "{sample}");
        }
    }
    // Blocks that differ are met wherever they lie: those of every eighth place ask for three times as much.
    let body = "for (unsigned i = 0; i < (blockIdx.x % 8 ? 1 : 3); ++i) y[blockIdx.x] = x[t];";
    let found = sampled_as(&PLAIN, 4096, 32, (None, Some(64)), body).loads.requests as f64;
    assert!((found / (4096.0 * 1.25) - 1.0).abs() < 0.1, "{found}");
}

#[test]
fn whole_clusters_are_sampled() {
    let body = "SHARED(float, mine, [32]);\nmine[t] = x[t];\ncluster_sync();\n\
                y[32 * blockIdx.x + t] = *cluster_map(mine + t, (cluster_rank() + 1) % 2);\ncluster_sync();";
    let whole = counted_as(&CLUSTER, 32, 32, None, body);
    let counts = sampled_as(&CLUSTER, 32, 32, (None, Some(4)), body);
    assert_eq!((counts.remote, counts.barriers), (whole.remote, whole.barriers));
    assert_eq!(counts.loads.sectors, whole.loads.sectors);
}
