//! The emulator runs kernels correctly and detects their mistakes: a planted mistake of each kind must be found and named.

use normscape::Error;
use normscape::ops::sgd::{Descent, Sgd};
use normscape::ops::vector::{COMPARED, Direction, NormKind, Vector};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::driver::{Arg, Driver, Grid, Kernel, Number, Parameter, Region, scalar};
use normscape::runtime::cuda::emulator::{Emulator, Options};
use normscape::runtime::cuda::signature::Type;
use normscape::runtime::cuda::{Cuda, Mode};
use normscape::runtime::state::StepState;
use normscape::runtime::storage::{Graph, Storage};
use normscape::runtime::tensor::{ArenaId, ArenaPlan, DType, In, Out, Shape, View};

fn emulated(order: Option<u64>) -> Cuda<Emulator> {
    let emulator = Emulator::new(Options { order, poison: true, ..Options::default() }).unwrap();
    Cuda::new(emulator, Mode::F32).unwrap()
}

/// Five vectors of `len`, three scalar slots and a step state.
fn vectors<B: Storage>(backend: &mut B, len: usize) -> (Vec<View>, Vec<View>, View) {
    let mut plan = backend.plan();
    let vectors: Vec<_> = (0..5).map(|_| plan.view(Shape::new([len]), DType::F32)).collect();
    let slots: Vec<_> = (0..5).map(|_| plan.view(Shape::new([1]), DType::F64)).collect();
    let state = plan.view(StepState::shape(), StepState::DTYPE);
    backend.commit(&plan).unwrap();
    let value = |i: usize, v: usize| ((i * 7919 + v * 104_729) % 2001) as f32 / 1000.0 - 1.0;
    for (v, &view) in vectors.iter().enumerate() {
        backend.upload_f32(&(0..len).map(|i| value(i, v)).collect::<Vec<_>>(), Out(view)).unwrap();
    }
    backend.set_state(&StepState::new(3, 41, 0.125), Out(state)).unwrap();
    (vectors, slots, state)
}

/// Every vector operation and both updates, one after the other; all results.
fn exercise<B: Storage + Vector + Sgd>(mut backend: B, len: usize) -> (Vec<f64>, Vec<f64>, Vec<u64>) {
    let (v, slots, state) = vectors(&mut backend, len);
    backend.axpy(0.3, In(v[0]), Out(v[1])).unwrap();
    backend.displace(In(v[1]), -0.7, In(v[0]), Out(v[2])).unwrap();
    let decayed = |theta| Descent { weight_decay: 0.1, ..Descent::plain(Out(theta), In(state)) };
    backend.sgd(In(v[0]), decayed(v[2])).unwrap();
    backend.sgd(In(v[0]), Descent { velocity: Some(Out(v[4])), momentum: 0.9, ..decayed(v[3]) }).unwrap();
    backend.advance(Out(state)).unwrap();
    backend.dot(In(v[2]), In(v[3]), Out(slots[0])).unwrap();
    backend.norm(NormKind::L2, In(v[2]), Out(slots[1])).unwrap();
    backend.norm(NormKind::L1, In(v[3]), Out(slots[2])).unwrap();
    backend.diff_norm(NormKind::L2, In(v[1]), In(v[4]), Out(slots[3])).unwrap();
    backend.diff_norm(NormKind::LInf, In(v[1]), In(v[4]), Out(slots[4])).unwrap();
    // More rows than one launch compares, each a little longer than the vectors.
    let (rows, stride) = (9, len + 3);
    let mut plan = backend.plan();
    let (matrix, a) = (plan.view(Shape::new([rows, stride]), DType::F32), plan.view(Shape::new([rows]), DType::F64));
    let compared = plan.view(Shape::new([rows, COMPARED]), DType::F64);
    backend.commit(&plan).unwrap();
    backend.upload_f64(&(0..rows).map(|r| 0.1 * r as f64 - 0.4).collect::<Vec<_>>(), Out(a)).unwrap();
    backend.displace_rows(In(v[0]), In(a), In(v[1]), Out(matrix)).unwrap();
    backend.compare_rows(In(matrix), In(v[0]), Out(compared)).unwrap();
    backend.direction(Direction::Normal, 0, In(state), Out(v[4])).unwrap();
    backend.direction(Direction::Signs, 3, In(state), Out(matrix.slice(0, Shape::new([len])))).unwrap();
    backend.jitter(In(v[0]), 1e-3, 7, In(state), Out(matrix.slice(3 * stride, Shape::new([len])))).unwrap();
    backend.stretch(In(a), In(slots[1]), In(slots[2]), Out(a)).unwrap_err();
    let stretched = compared.slice(0, Shape::new([rows]));
    let first = backend.download_f64(In(compared)).unwrap();
    backend.stretch(In(a), In(slots[1]), In(slots[2]), Out(stretched)).unwrap();
    let row = |row: usize| matrix.slice(row * stride, Shape::new([len]));
    let all = v.iter().copied().chain((0..rows).map(row));
    let all = all.flat_map(|view| backend.download_f64(In(view)).unwrap()).collect();
    let mut scalars: Vec<_> = slots.iter().map(|&slot| backend.scalar(In(slot)).unwrap()).collect();
    scalars.extend(first);
    scalars.extend(backend.download_f64(In(stretched)).unwrap());
    let mut words = [0u64; 4];
    backend.download(In(state), &mut words).unwrap();
    (all, scalars, words.to_vec())
}

#[test]
fn vectors_and_updates_follow_the_cpu() {
    for len in [1, 31, 257, 5_000, 100_003] {
        let (expected, sums, state) = exercise(Cpu::<f32>::default(), len);
        let (found, found_sums, found_state) = exercise(emulated(None), len);
        // Element by element both round at the same places.
        assert!(expected == found, "{len}");
        for (a, b) in sums.iter().zip(&found_sums) {
            assert!((a - b).abs() <= 1e-12 * a.abs().max(1.0), "{len}: {a} {b}");
        }
        assert_eq!(state, found_state);
    }
}

#[test]
fn the_order_of_threads_changes_no_bit() {
    let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
    let straight = exercise(emulated(None), 5_000);
    for order in [1, 2, 3] {
        let shuffled = exercise(emulated(Some(order)), 5_000);
        assert_eq!(bits(straight.1.clone()), bits(shuffled.1), "order {order}");
        assert_eq!(bits(straight.0.clone()), bits(shuffled.0), "order {order}");
    }
}

/// A tensor that a planted kernel takes, and the number that it takes last.
pub const fn tensor(name: &'static str) -> Parameter {
    Parameter { name, numbers: &[] }
}
pub const NUMBER: Parameter = Parameter { name: "n", numbers: &[Number { name: "n", ty: Type::U32, at: 0 }] };

/// One kernel, `k(const float* x, float* y, unsigned n)`, on 64 elements each.
pub const KERNEL: Kernel = Kernel {
    name: "k",
    source: 0,
    max_threads: 1024,
    cluster: 1,
    waits: false,
    parameters: &[tensor("x"), tensor("y"), NUMBER],
};

pub static PLAIN: Kernel = KERNEL;
/// The same as one cluster of two blocks.
pub static CLUSTER: Kernel = Kernel { cluster: 2, ..KERNEL };

/// The same, which may come to the device while the launch before it runs.
pub static WAITING: Kernel = Kernel { waits: true, ..KERNEL };

/// Runs a kernel of the body `body`, on two blocks of 64 threads.
fn run(body: &str) -> Result<Vec<f32>, Error> {
    run_as(&PLAIN, None, body)
}

/// The same as another kernel, with threads in the order `order`.
pub fn run_as(kernel: &'static Kernel, order: Option<u64>, body: &str) -> Result<Vec<f32>, Error> {
    let text = format!(
        "#include \"tensor_cores.cuh\"\n#include \"cluster.cuh\"\n\
         extern \"C\" __global__ void k(const float* x, float* y, unsigned n) {{\n{body}\n}}\n"
    );
    let options = Options { order, ..Options::default() };
    let mut emulator = Emulator::new(options).unwrap().with_source("planted", String::leak(text));
    let mut plan = ArenaPlan::with_guards(ArenaId::numbered(0));
    let views: Vec<_> = (0..2).map(|_| plan.view(Shape::new([64]), DType::F32)).collect();
    emulator.allocate(plan.id(), plan.bytes())?;
    let regions = [0, 1].map(|i: usize| Region { arena: plan.id(), offset: views[i].offset, bytes: views[i].bytes() });
    let input: Vec<u8> = (0..64).flat_map(|i| (i as f32).to_le_bytes()).collect();
    emulator.upload(regions[0], &input)?;
    let args = [
        Arg::Tensor { region: regions[0], written: false },
        Arg::Tensor { region: regions[1], written: true },
        scalar(64u32),
    ];
    emulator.launch(kernel, Grid::new(2, 64), &args)?;
    let mut bytes = vec![0; 256];
    emulator.download(regions[1], &mut bytes)?;
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// What the emulator says of `body`: kernel, thread and problem.
fn found(body: &str) -> String {
    match run(body) {
        Ok(_) => panic!("nothing was found in {body}"),
        Err(error) => {
            assert_eq!(error.exit_code(), 3);
            error.to_string()
        }
    }
}

#[test]
fn a_right_kernel_passes() {
    // A block reverses its 32 elements through shared memory, doubles by a shuffle, and sums by a vote.
    let y = run("SHARED(float, s, [64]);\n\
                 unsigned i = threadIdx.x;\n\
                 s[i] = x[i];\n__syncthreads();\n\
                 float v = s[63 - i] + __shfl_xor_sync(0xffffffffu, s[63 - i], 1);\n\
                 unsigned b = __ballot_sync(0xffffffffu, i % 2);\n\
                 if (blockIdx.x == 0) y[i] = v + (b == 0xaaaaaaaau ? 0.5f : 0.0f);")
    .unwrap();
    let expected: Vec<f32> = (0..64).map(|i| (63 - i) as f32 + (63 - (i ^ 1)) as f32 + 0.5).collect();
    assert_eq!(y, expected);
}

#[test]
fn planted_mistakes_are_found_and_named() {
    let all = [
        (
            "if (threadIdx.x < 40) __syncthreads();\ny[threadIdx.x] = 0.0f;",
            "leaves the kernel while others of its block wait",
        ),
        ("if (threadIdx.x < 32) __syncthreads();\nelse\n__syncthreads();\ny[threadIdx.x] = 0.0f;", "barrier of line"),
        (
            "SHARED(float, s, [64]);\ns[threadIdx.x] = x[threadIdx.x];\ny[threadIdx.x] = s[threadIdx.x / 2];",
            "no barrier between",
        ),
        (
            "SHARED(float, s, [64]);\ns[threadIdx.x] = x[threadIdx.x];\n__syncthreads();\n\
             float v = s[(threadIdx.x + 1) % 64];\ns[threadIdx.x] = v;\ny[threadIdx.x] = v;",
            "no barrier between",
        ),
        (
            "SHARED(float, s, [65]);\ns[threadIdx.x] = x[threadIdx.x];\n__syncthreads();\ny[threadIdx.x] = s[threadIdx.x + 1];",
            "nobody has written",
        ),
        ("SHARED(float, s, [64]);\ns[threadIdx.x + 1] = 0.0f;\ny[threadIdx.x] = 0.0f;", "outside all shared arrays"),
        ("y[threadIdx.x] = x[threadIdx.x + 1];", "256 bytes after the start of x, which has 256"),
        ("y[threadIdx.x + 1] = 0.0f;", "writes 4 bytes out of bounds"),
        ("y[(int)threadIdx.x - 1] = 0.0f;", "4 bytes before the start of y"),
        ("((float*)x)[threadIdx.x] = 0.0f;", "may only read"),
        (
            "float v = threadIdx.x % 2 ? __shfl_sync(0xffffffffu, x[0], 0) : 0.0f;\ny[threadIdx.x] = v;",
            "which has left the kernel",
        ),
        ("y[threadIdx.x] = __shfl_sync(0x0000ffffu, x[0], 0);", "not in the mask"),
        (
            "DYNAMIC_SHARED(s);\ncp_async_16(s + 16 * threadIdx.x, x, true);\ncp_async_commit();\n\
             y[threadIdx.x] = ((float*)s)[threadIdx.x];",
            "outside all shared arrays",
        ),
        (
            "SHARED(float, s, [256]);\ncp_async_16(s + 4 * threadIdx.x, x + 4 * (threadIdx.x % 16), true);\n\
             cp_async_commit();\ny[threadIdx.x] = s[4 * threadIdx.x];",
            "nobody has written",
        ),
        (
            "SHARED(float, s, [256]);\ncp_async_16(s + 4 * threadIdx.x, x + 4 * (threadIdx.x % 16), true);\n\
             cp_async_commit();\ncp_async_wait<0>();\ny[threadIdx.x] = s[4 * (threadIdx.x / 2)];",
            "no barrier between",
        ),
        ("cp_async_16(y + threadIdx.x + 1, x, true);", "not multiples"),
        // A GPU faults at these, the host does not.
        (
            "SHARED(float, s, [256]);\nfor (unsigned i = threadIdx.x; i < 256; i += 64) s[i] = 0.0f;\n__syncthreads();\n\
             unsigned r[4];\nldmatrix_x4(r, s + 4 * (threadIdx.x % 32) + 2);\ny[threadIdx.x] = r[0];",
            "no multiple of 16 but 8 bytes past one, in tensor_cores.cuh:",
        ),
        ("store4(y, load4(x + 1));", "uses an address that is no multiple of 16 but 4 bytes past one, in prelude.cuh:"),
        ("store4(y + 2, load4(x));", "no multiple of 16 but 8 bytes past one"),
        ("y[0] = load4((const bf16*)x + 2).v[0];", "no multiple of 8 but 4 bytes past one"),
        ("y[0] = (float)*(const double*)(x + 1);", "no multiple of 8 but 4 bytes past one, in kernels/planted.cu:4"),
        ("y[0] = *(const float*)((const char*)x + 2);", "no multiple of 4 but 2 bytes past one"),
        (
            "SHARED(float, s, [64]);\n*(Four*)&s[threadIdx.x + 1] = Four{};\ny[threadIdx.x] = 0.0f;",
            "no multiple of 16 but 4 bytes past one",
        ),
        ("SHARED(float, s, [256]);\ncp_async_16(s + 4 * threadIdx.x, x, true);\ncp_async_commit();", "are under way"),
    ];
    for (body, words) in all {
        // One block alone: what another does to the same elements of y would be found too, and may be found first.
        let said = found(&format!("if (blockIdx.x > 0) return; {body}"));
        assert!(said.contains(words) && said.starts_with("kernel k, block [0, 0, 0], thread "), "{body}\n{said}");
    }
}

#[test]
fn blocks_of_a_cluster_see_each_others_shared_memory_across_its_barrier() {
    let exchange = |first: &str, last: &str| {
        format!(
            "SHARED(float, s, [64]);\nunsigned i = threadIdx.x, other = 1 - cluster_rank();\n\
             s[i] = x[i] + 100.0f * cluster_rank();\n{first}\n\
             float v = cluster_map(&s[0], other)[63 - i];\n{last}\n\
             if (cluster_rank() == 0) y[i] = v + 1000.0f * cluster_blocks();"
        )
    };
    let right = exchange("cluster_sync();", "cluster_sync();");
    let expected: Vec<f32> = (0..64).map(|i| 2100.0 + (63 - i) as f32).collect();
    for order in [None, Some(1), Some(2)] {
        assert_eq!(run_as(&CLUSTER, order, &right).unwrap(), expected, "{order:?}");
    }
    for (body, words) in [
        // A block's own barrier orders nothing of another's.
        (exchange("__syncthreads();", "cluster_sync();"), "outside all shared arrays"),
        (
            "SHARED(float, s, [64]);\ncluster_sync();\ns[threadIdx.x] = 1.0f;\n__syncthreads();\n\
             y[threadIdx.x] = cluster_map(&s[0], 1 - cluster_rank())[0];"
                .into(),
            "nobody has written",
        ),
        // Its memory is written again while the neighbour may still read.
        (exchange("cluster_sync();", "s[i] = v;"), "no barrier between"),
        (
            "if (cluster_rank() == 0 && threadIdx.x < 60) cluster_sync();\ny[threadIdx.x] = 0.0f;".into(),
            "that only 60 threads reach",
        ),
        ("SHARED(float, s, [64]);\ns[0] = cluster_map(&s[0], 2)[0];".into(), "block 2's copy"),
    ] {
        let said = run_as(&CLUSTER, None, &body).unwrap_err().to_string();
        assert!(said.contains(words), "{body}\n{said}");
    }
}

#[test]
fn what_is_recorded_is_replayed_with_its_arguments() {
    let mut backend = emulated(None);
    let (v, slots, state) = vectors(&mut backend, 300);
    for round in 0..4 {
        // Recorded in the second round, replayed from the third on.
        if backend.begin_graph(7).unwrap() == Graph::Make {
            assert!(round < 2);
            backend.axpy(0.5, In(v[0]), Out(v[1])).unwrap();
            backend.advance(Out(state)).unwrap();
            assert!(backend.scalar(In(slots[0])).is_err(), "a graph holds nothing that the host waits for");
            backend.end_graph(7, true).unwrap();
        }
    }
    let mut plain = Cpu::<f32>::default();
    let (w, _, _) = vectors(&mut plain, 300);
    (0..4).for_each(|_| plain.axpy(0.5, In(w[0]), Out(w[1])).unwrap());
    assert_eq!(backend.download_f64(In(v[1])).unwrap(), plain.download_f64(In(w[1])).unwrap());
    let mut words = [0u64; 4];
    backend.download(In(state), &mut words).unwrap();
    assert_eq!(words[1], 45);
}

#[test]
fn a_kernel_that_does_not_compile_names_its_line() {
    let said = found("y[threadIdx.x] = z;");
    assert!(said.contains("kernels/planted.cu:4") && said.contains('z'), "{said}");
}
