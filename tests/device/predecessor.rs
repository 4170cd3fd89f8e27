//! Launches that may begin before the one before them has ended: every kernel waits for it first, and one that does not is found and named.

use crate::emulator::{CLUSTER, PLAIN, WAITING, run_as};
use normscape::runtime::cuda::driver::Kernel;
use normscape::runtime::cuda::kernels::ALL;

#[test]
fn every_kernel_begins_with_waiting() {
    let others: Vec<_> = ALL.iter().filter(|kernel| !kernel.waits).map(|kernel| kernel.name).collect();
    assert!(others.is_empty(), "{others:?} do not begin with wait_for_predecessor(); (kernels/prelude.cuh)");
}

/// What a thread does with shared memory and its own numbers is nobody else's.
const RIGHT: &str = "SHARED(float, s, [64]);\nunsigned i = threadIdx.x;\ns[i] = (float)(n - i);\n__syncthreads();\n\
                     wait_for_predecessor();\nif (blockIdx.x == 0) y[i] = x[i] + s[63 - i];";

#[test]
fn a_kernel_that_waits_before_it_touches_memory_passes() {
    let expected: Vec<f32> = (0..64).map(|i| (2 * i + 1) as f32).collect();
    for order in [None, Some(1), Some(2)] {
        assert_eq!(run_as(&WAITING, order, RIGHT).unwrap(), expected, "{order:?}");
    }
}

static CLUSTER_WAITING: Kernel = Kernel { waits: true, ..CLUSTER };

#[test]
fn planted_accesses_before_the_wait_are_found_and_named() {
    let own = "before it has waited for the launch before its own";
    for (body, words) in [
        (
            "float v = x[threadIdx.x];\nwait_for_predecessor();\ny[threadIdx.x] = v;",
            format!("reads 4 bytes of x {own}"),
        ),
        // The launch before it may still read there.
        ("y[threadIdx.x] = 0.0f;\nwait_for_predecessor();", format!("writes 4 bytes of y {own}")),
        ("float v = load4(x).v[3];\nwait_for_predecessor();\ny[threadIdx.x] = v;", format!(" of x {own}")),
        ("atomicAdd((unsigned*)y, 1u);\nwait_for_predecessor();", format!("makes an atomic operation {own}")),
        (
            "SHARED(float, s, [256]);\ncp_async_16(s + 4 * threadIdx.x, x, true);\ncp_async_commit();\ncp_async_wait<0>();\n\
             wait_for_predecessor();\ny[threadIdx.x] = s[4 * threadIdx.x];",
            format!("reads 16 bytes of x {own}"),
        ),
        // Each thread waits for itself.
        (
            "if (threadIdx.x >= 32) wait_for_predecessor();\n__syncthreads();\ny[threadIdx.x] = x[threadIdx.x];",
            format!("reads 4 bytes of x {own}"),
        ),
        // Who leaves without waiting lets the launch that follows overtake the one before.
        (
            "if (threadIdx.x >= 48) return;\nwait_for_predecessor();\ny[threadIdx.x] = x[threadIdx.x];",
            "leaves the kernel and has not waited for the launch before its own".into(),
        ),
        ("", "leaves the kernel and has not waited".into()),
    ] {
        for kernel in [&WAITING, &CLUSTER_WAITING] {
            let said = run_as(kernel, None, body).unwrap_err().to_string();
            assert!(said.contains(&words) && said.starts_with("kernel k, block ["), "{body}\n{said}");
        }
    }
    // A kernel that does not say that it waits is launched when the one before it has ended.
    assert!(run_as(&PLAIN, None, "if (blockIdx.x == 0) y[threadIdx.x] = x[threadIdx.x];").is_ok());
}
