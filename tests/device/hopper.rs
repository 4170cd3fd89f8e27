//! Hopper's asynchronous instructions in the emulator: a kernel that uses them rightly, and the same with a mistake of each kind, which must be found.

use crate::emulator::{PLAIN, WAITING};
use half::bf16;
use normscape::Error;
use normscape::runtime::cuda::counts::{Bulk, Counts, Wgmma};
use normscape::runtime::cuda::driver::{Arg, Driver, Grid, Kernel, Region, TensorMap, scalar};
use normscape::runtime::cuda::emulator::{Build, Emulator, Options};
use normscape::runtime::tensor::{ArenaId, ArenaPlan, DType, Shape};

/// y = Σ_i a_i · b_iᵀ over n stages: x has in its columns 128 i … the 64 of a_i, then those of b_i. Two stages lie in shared memory at a time.
const RIGHT: &str = "
    TILES_SHARED(tiles);
    SHARED(u64, full, [2]);
    SHARED(u64, empty, [2]);
    if (threadIdx.x == 0) {
        for (unsigned i = 0; i < 2; ++i) {
            mbarrier_init(full + i, 1);
            mbarrier_init(empty + i, 4);
        }
        fence_mbarrier_init();
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        if (threadIdx.x == 0)
            for (unsigned i = 0; i < n; ++i) {
                unsigned stage = i % 2, round = i / 2;
                mbarrier_wait(empty + stage, round & 1 ^ 1);
                mbarrier_expect(full + stage, 16384);
                unsigned char* to = tiles + stage * 16384;
                bulk_copy(to, &x, full + stage, 128 * i, 0);
                bulk_copy(to + 8192, &x, full + stage, 128 * i + 64, 0);
            }
        return;
    }
    float d[32];
    u64 place = place_of_tile(tiles), a = descriptor(place), b = descriptor(place + 8192);
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
        if (lane_id() == 0) mbarrier_arrive(empty + stage);
    }
    for (unsigned i = 0; i < 32; ++i) y[i * 128 + threadIdx.x - 128] = d[i];
";

pub const STAGES: usize = 5;
const COLUMNS: usize = 128 * STAGES;

/// A small whole number, so that every sum is exact.
fn value(row: usize, column: usize) -> f32 {
    ((row * 31 + column * 17 + row * column) % 9) as f32 - 4.0
}

/// What the kernel of `body` gives, of the first `rows` rows of x.
fn run(body: &str, rows: usize, options: Options) -> Result<Vec<f32>, Error> {
    launched(&PLAIN, 1, body, rows, options).map(|(y, _)| y)
}

/// The same of another kernel on a cluster of so many blocks, each of which copies as large a part of the rows at once; with what was counted. Every block
/// has 64 × 64 numbers of y.
pub fn launched(
    kernel: &'static Kernel,
    blocks: usize,
    body: &str,
    rows: usize,
    options: Options,
) -> Result<(Vec<f32>, Option<Counts>), Error> {
    let text = format!(
        "#include \"hopper.cuh\"\n#include \"cluster.cuh\"\n\
         extern \"C\" __global__ void k(const __grid_constant__ TensorMap x, float* y, unsigned n) {{\n{body}\n}}\n"
    );
    let mut emulator = Emulator::new(options)?.with_source("planted", String::leak(text));
    let mut plan = ArenaPlan::with_guards(ArenaId::numbered(0));
    let views =
        [plan.view(Shape::new([64, COLUMNS]), DType::Bf16), plan.view(Shape::new([64 * blocks, 64]), DType::F32)];
    emulator.allocate(plan.id(), plan.bytes())?;
    let [x, y] = views.map(|view| Region { arena: plan.id(), offset: view.offset, bytes: view.bytes() });
    let all = (0..64 * COLUMNS).map(|i| bf16::from_f32(value(i / COLUMNS, i % COLUMNS)));
    emulator.upload(x, &all.flat_map(bf16::to_le_bytes).collect::<Vec<_>>())?;
    let map = TensorMap { region: x, half: true, extents: [COLUMNS, rows], tile: [64, 64 / blocks] };
    let args = [Arg::Map(map), Arg::Tensor { region: y, written: true }, scalar(STAGES as u32)];
    emulator.launch(kernel, Grid::new(blocks, 256).shared(49_152), &args)?;
    let mut bytes = vec![0; y.bytes];
    emulator.download(y, &mut bytes)?;
    let y = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Ok((y, emulator.counts()))
}

/// What is right where x has `rows` rows, and zeros beyond, in the order in which the threads of a block store it.
pub fn expected(rows: usize) -> Vec<f32> {
    let of = |row: usize, column: usize| if row < rows { f64::from(value(row, column)) } else { 0.0 };
    let sum = |m: usize, n: usize| -> f64 {
        let term = |k: usize| of(m, k / 64 * 128 + k % 64) * of(n, k / 64 * 128 + 64 + k % 64);
        (0..64 * STAGES).map(term).sum()
    };
    (0..32 * 128)
        .map(|at| {
            let (i, thread) = (at / 128, at % 128);
            let row = thread / 32 * 16 + thread % 32 / 4 + i % 4 / 2 * 8;
            sum(row, i / 4 * 8 + thread % 4 * 2 + i % 2) as f32
        })
        .collect()
}

/// A kernel's text with these pieces of it exchanged.
pub fn exchanged(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, to)
    })
}

/// The right kernel, likewise.
fn with(changes: &[(&str, &str)]) -> String {
    exchanged(RIGHT, changes)
}

#[test]
fn a_copy_waits_for_the_launch_before_its_own_and_what_is_only_of_the_block_need_not() {
    let waits = "    __syncthreads();\n    wait_for_predecessor();\n    if (threadIdx.x < 128) {";
    let right = with(&[("    __syncthreads();\n    if (threadIdx.x < 128) {", waits)]);
    assert!(launched(&WAITING, 1, &right, 64, Options::default()).unwrap().0 == expected(64));
    // The warp that asks for copies did not wait; that another one has does not help it.
    let early = right.replace("    wait_for_predecessor();", "    if (threadIdx.x >= 32) wait_for_predecessor();");
    let said = launched(&WAITING, 1, &early, 64, Options::default()).unwrap_err().to_string();
    assert!(
        said.contains("thread 0: asks for a bulk copy before it has waited for the launch before its own"),
        "{said}"
    );
}

#[test]
fn a_right_kernel_gives_the_product_in_every_schedule() {
    for build in [Build::Watched, Build::Plain] {
        for order in [None, Some(1), Some(2), Some(3)] {
            let options = Options { order, build, ..Options::default() };
            assert!(run(RIGHT, 64, options).unwrap() == expected(64), "{options:?}");
        }
    }
    assert!(run(RIGHT, 60, Options::default()).unwrap() == expected(60), "zeros come where the matrix has ended");
}

#[test]
fn a_stage_may_stay_under_way_while_the_next_is_asked_for() {
    let later = with(&[
        ("    float d[32];", "    u64* last = 0;\n    float d[32];"),
        ("wgmma_wait<0>();", "wgmma_wait<1>();"),
        (
            "if (lane_id() == 0) mbarrier_arrive(empty + stage);",
            "if (last && lane_id() == 0) mbarrier_arrive(last);\nlast = empty + stage;",
        ),
        ("    for (unsigned i = 0; i < 32; ++i) y", "    wgmma_wait<0>();\n    for (unsigned i = 0; i < 32; ++i) y"),
    ]);
    for order in [None, Some(1), Some(2)] {
        assert!(run(&later, 64, Options { order, ..Options::default() }).unwrap() == expected(64));
    }
}

#[test]
fn a_descriptor_without_the_swizzle_gives_other_numbers() {
    let wrong = with(&[("a = descriptor(place)", "a = descriptor(place) & ~(1ull << 62)")]);
    assert!(run(&wrong, 64, Options::default()).unwrap() != expected(64));
}

#[test]
fn copies_and_products_are_counted_alike_in_every_schedule() {
    let counted = |rows: usize, order: Option<u64>| {
        let options = Options { order, build: Build::Counted, ..Options::default() };
        let (y, counts) = launched(&PLAIN, 1, RIGHT, rows, options).unwrap();
        assert!(y == expected(rows), "{order:?}");
        counts.unwrap()
    };
    let counts = counted(64, None);
    // Each stage is two boxes of 64 rows of 128 bytes, and four products of 64 × 64 × 16, which are 32 of 16 × 8 × 16.
    let (copies, sectors, products) = (2 * STAGES as u64, 2 * STAGES as u64 * 64 * 4, 4 * STAGES as u64);
    let bulk = Bulk { copies, multicast: 0, sectors, bytes: copies * 8192, once: sectors * 32 };
    assert_eq!(counts.bulk, bulk);
    // Of each operand 64 rows or columns of 16 elements.
    let mma = 32 * products;
    assert_eq!(counts.wgmma, Wgmma { requests: products, mma, bytes: products * 2 * 64 * 32, busiest: mma });
    // One thread waits before it asks for a stage, four warps before they multiply it.
    assert_eq!((counts.waits, counts.loads.requests, counts.mma), (5 * STAGES as u64, 0, 0));
    for order in [1, 2, 3] {
        assert_eq!(counted(64, Some(order)), counts, "order {order}");
    }
    // What lies beyond the matrix is not read, but comes.
    let fewer = counted(60, None);
    assert_eq!((fewer.bulk.sectors, fewer.bulk.bytes), (copies * 60 * 4, copies * 8192));
}

const WRITTEN_BY_THREADS: &str = "
    for (unsigned i = threadIdx.x; i < 4096; i += 256) ((bf16*)(tiles + 32768))[i] = bf16{0x3f80};
    FENCE
    __syncthreads();
    if (threadIdx.x < 128) {";

#[test]
fn what_threads_wrote_is_multiplied_after_a_fence() {
    let text = WRITTEN_BY_THREADS.replace("FENCE", "fence_proxy();");
    let ones = with(&[
        ("    __syncthreads();\n    if (threadIdx.x < 128) {", &text),
        ("b = descriptor(place + 8192)", "b = descriptor(place + 32768)"),
        ("b + on", "b + step * 2"),
    ]);
    let found = run(&ones, 64, Options::default()).unwrap();
    let row: f32 = (0..64 * STAGES).map(|k| value(0, k / 64 * 128 + k % 64)).sum();
    assert_eq!(found[0], row, "the first row times ones");
}

#[test]
fn planted_mistakes_are_found_and_named() {
    let unfenced = WRITTEN_BY_THREADS.replace("FENCE", "");
    let all: [(&[(&str, &str)], &str); 26] = [
        // mbarriers and copies
        (&[("mbarrier_wait(full + stage, round & 1);", "")], "a wgmma of memory that nobody has written"),
        (
            &[("mbarrier_wait(full + stage, round & 1);", "if (i == 0) mbarrier_wait(full + stage, round & 1);")],
            "a wgmma of what a bulk copy brings: its mbarrier was not waited for",
        ),
        (&[("full + stage, round & 1)", "full + stage, round & 1 ^ (i == 1))")], "its mbarrier was not waited for"),
        (
            &[(
                "mbarrier_wait(full + stage, round & 1);",
                "if (i == 0) mbarrier_wait(full, 0);\nelse y[0] = ((float*)tiles)[4096];",
            )],
            "reads shared memory, at byte 16384, that a bulk copy writes: its mbarrier was not waited for",
        ),
        (
            &[(
                "mbarrier_wait(full + stage, round & 1);",
                "if (i == 0) mbarrier_wait(full, 0);\nelse ((float*)tiles)[4096] = 0.0f;",
            )],
            "writes shared memory, at byte 16384, that a bulk copy writes",
        ),
        (&[("round & 1 ^ 1", "round & 1")], "waits for ever for parity 0 of the mbarrier"),
        (&[("mbarrier_wait(empty + stage, round & 1 ^ 1);", "")], "whose phase has had its 1 arrivals"),
        (&[("tiles + stage * 16384", "tiles")], "to byte 0, where one was not waited for"),
        (&[("full + stage, 16384)", "full + stage, 17408)")], "the next lacks 0 of 1 arrivals and 1024 bytes"),
        (&[("full + stage, 16384)", "full + stage, 8192)")], "expect fewer bytes than its copies bring"),
        (&[("full + stage, 16384)", "full + stage, 8200)")], "expect fewer bytes than its copies bring"),
        (&[("tiles + stage * 16384", "tiles + stage * 16384 + 512")], "tiles begin at multiples of 1024"),
        (&[("fence_mbarrier_init();", "")], "which no fence followed when it was made"),
        (&[("    __syncthreads();\n", "")], "no barrier between"),
        (&[("mbarrier_init(empty + i, 4);", "")], "where none was made"),
        (&[("if (lane_id() == 0) mbarrier_arrive", "mbarrier_arrive")], "waits for ever for parity"),
        (
            &[("i < n; ++i) {\n                unsigned", "i <= n; ++i) {\n                unsigned")],
            "while bulk copies are under way",
        ),
        // products
        (
            &[
                ("        wgmma_wait<0>();\n", ""),
                ("mbarrier_arrive(empty + stage);", "mbarrier_arrive(empty + stage);\nwgmma_wait<0>();"),
            ],
            "which a wgmma may still read: no wait between",
        ),
        (&[("wgmma_wait<0>();", "wgmma_wait<1>();")], "which a wgmma may still read: no wait between"),
        (
            &[("        wgmma_wait<0>();\n", "        if (warp_id() != 7) wgmma_wait<0>();\n")],
            "which a wgmma may still read: no wait between",
        ),
        (&[("wgmma_wait<0>();", "if (i + 1 < n) wgmma_wait<0>();")], "leaves the kernel while its wgmma are under way"),
        (&[("wgmma_fence();", "")], "without wgmma.fence"),
        (&[("wgmma_commit();", "wgmma_commit();\nd[3] += 1.0f;")], "has written to registers of a wgmma"),
        (&[("a + on, b", "a + on + (threadIdx.x == 133), b")], "asks for another wgmma than others of its warpgroup"),
        (
            &[("wgmma<false", "if (warp_id() != 7) wgmma<false")],
            "waits for ever for a wgmma that not all of its warpgroup ask for",
        ),
        (
            &[
                ("    __syncthreads();\n    if (threadIdx.x < 128) {", &unfenced),
                ("b = descriptor(place + 8192)", "b = descriptor(place + 32768)"),
                ("b + on", "b + step * 2"),
            ],
            "or no fence.proxy.async",
        ),
    ];
    let mut missed = String::new();
    for (changes, words) in all {
        let said = match run(&with(changes), 64, Options::default()) {
            Ok(_) => "nothing was found".to_owned(),
            Err(error) => error.to_string(),
        };
        if !said.contains(words) || !said.starts_with("kernel k, block [0, 0, 0], thread ") {
            missed += &format!("{changes:?}\n  {said}\n");
        }
    }
    assert!(missed.is_empty(), "{missed}");
}

#[test]
fn registers_of_a_product_that_is_under_way_are_not_numbers() {
    let early = with(&[("wgmma_commit();", "wgmma_commit();\nif (i == 0) y[threadIdx.x - 128] = d[0];")]);
    let early =
        early.replace("y[i * 128 + threadIdx.x - 128] = d[i];", "if (i > 0) y[i * 128 + threadIdx.x - 128] = d[i];");
    let found = run(&early, 64, Options::default()).unwrap();
    assert!(found[..128].iter().all(|v| v.is_nan()) && found[128..] == expected(64)[128..]);
}

#[test]
fn a_matrix_that_a_device_does_not_take_is_refused() {
    let region = Region { arena: ArenaId::numbered(0), offset: 0, bytes: 64 * 128 };
    let right = TensorMap { region, half: true, extents: [64, 64], tile: [64, 64] };
    assert!(right.check("k").is_ok());
    for wrong in [
        TensorMap { extents: [64, 65], ..right },
        TensorMap { extents: [60, 64], ..right },
        TensorMap { extents: [0, 64], ..right },
        TensorMap { tile: [32, 64], ..right },
        TensorMap { tile: [64, 257], ..right },
        TensorMap { tile: [64, 64], half: false, extents: [32, 64], ..right },
        TensorMap { region: Region { offset: 8, ..region }, ..right },
    ] {
        assert!(wrong.check("k").is_err(), "{wrong:?}");
    }
}
