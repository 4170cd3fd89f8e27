//! Each function of the driver fails once in the middle of a run: the run ends with an error of its own and the documented exit code, or goes on
//! where nothing depends on the call. Nothing panics, hangs, breaches the driver's contract or is left behind.

use super::{Machine, functions};
use std::fs;

/// A run with graphs, probes, checkpoints and copies.
const RUN: &str = "train --model dln --depth 2 --samples 20 --norm batch --steps 8 --checkpoint-every 4 \
                   --probe landscape --probe-every 4 --probe-points 2 --quiet --device cuda --out run";
/// What asks whether there is room for a cluster: ℓ1 takes the samples.
const CLUSTER: &str = "train --model dln --norm l1 --depth 2 --samples 20 --steps 2 --quiet --device cuda --out run";
/// What asks for the time.
const BENCH: &str = "bench --step dln-batch --seconds 0.01 --device cuda --quiet";

/// Where the driver or a device fails, and where memory runs out; the run goes on.
const FAILED: i32 = 3;
const TOO_LARGE: i32 = 2;
const GOES_ON: i32 = 0;

/// The words of the stand-in, the command, and the exit code that docs/commands.md promises.
const TABLE: &[(&str, &str, i32)] = &[
    ("cuInit@1=999", RUN, FAILED),
    ("cuDriverGetVersion@1=999", RUN, FAILED),
    ("cuInit@1=999 cuGetErrorName@1=1", RUN, FAILED),
    ("cuInit@1=999 cuGetErrorString@1=1", RUN, FAILED),
    ("cuDeviceGetCount@1=999", RUN, FAILED),
    ("cuDeviceGet@1=101", RUN, FAILED),
    ("cuDeviceGetName@1=1", RUN, FAILED),
    ("cuDeviceGetAttribute@1=1", RUN, FAILED),
    ("cuDeviceGetAttribute@2=1", RUN, FAILED),
    ("cuDeviceGetAttribute@3=1", RUN, FAILED),
    ("cuDeviceGetAttribute@4=1", RUN, FAILED),
    ("cuDevicePrimaryCtxRetain@1=2", RUN, FAILED),
    // The second time is for programs that open the device again.
    ("cuDevicePrimaryCtxRetain@2=2", RUN, GOES_ON),
    ("cuDevicePrimaryCtxRelease_v2@1=999", RUN, GOES_ON),
    ("cuCtxSetCurrent@1=999", RUN, FAILED),
    ("cuCtxSetCurrent@9=700", RUN, FAILED),
    ("cuCtxSetCurrent@60=700", RUN, FAILED),
    ("cuStreamCreate@1=2", RUN, FAILED),
    ("cuStreamSynchronize@1=700", RUN, FAILED),
    ("cuStreamSynchronize@5=999", RUN, FAILED),
    ("cuStreamBeginCapture_v2@1=999", RUN, FAILED),
    ("cuStreamBeginCapture_v2@2=719", RUN, FAILED),
    ("cuStreamEndCapture@1=901", RUN, FAILED),
    ("cuStreamEndCapture@2=719", RUN, FAILED),
    ("cuStreamDestroy_v2@1=700", RUN, GOES_ON),
    ("cuEventCreate@1=2", RUN, FAILED),
    ("cuEventCreate@2=2", RUN, FAILED),
    ("cuEventDestroy_v2@1=719", RUN, GOES_ON),
    ("cuEventDestroy_v2@2=719", RUN, GOES_ON),
    ("cuEventRecord@1=719", BENCH, FAILED),
    ("cuEventRecord@4=400", BENCH, FAILED),
    ("cuEventSynchronize@1=719", BENCH, FAILED),
    ("cuEventSynchronize@2=999", BENCH, FAILED),
    ("cuEventElapsedTime@1=600", BENCH, FAILED),
    ("cuEventElapsedTime@2=719", BENCH, FAILED),
    ("cuMemAlloc_v2@1=2", RUN, TOO_LARGE),
    ("cuMemAlloc_v2@4=2", RUN, TOO_LARGE),
    ("cuMemAlloc_v2@2=999", RUN, FAILED),
    ("cuMemAlloc_v2@3=2 cuMemGetInfo_v2@1=999", RUN, TOO_LARGE),
    ("cuMemFree_v2@1=999", RUN, GOES_ON),
    ("cuMemFree_v2@3=719", RUN, GOES_ON),
    ("cuMemsetD8Async@1=999", RUN, FAILED),
    ("cuMemsetD8Async@4=719", RUN, FAILED),
    ("cuMemcpyHtoDAsync_v2@1=719", RUN, FAILED),
    ("cuMemcpyHtoDAsync_v2@4=1", RUN, FAILED),
    ("cuMemcpyDtoHAsync_v2@1=999", RUN, FAILED),
    ("cuMemcpyDtoHAsync_v2@5=719", RUN, FAILED),
    ("cuMemcpyDtoDAsync_v2@1=999", RUN, FAILED),
    ("cuMemcpyDtoDAsync_v2@3=719", RUN, FAILED),
    ("cuModuleLoadData@1=719", RUN, FAILED),
    ("cuModuleLoadData@4=2", RUN, FAILED),
    ("cuModuleGetFunction@2=500", RUN, FAILED),
    ("cuModuleGetFunction@5=719", RUN, FAILED),
    ("cuModuleUnload@1=400", RUN, GOES_ON),
    ("cuModuleUnload@3=719", RUN, GOES_ON),
    ("cuFuncGetAttribute@2=1", RUN, FAILED),
    ("cuFuncGetAttribute@5=719", RUN, FAILED),
    ("cuFuncSetAttribute@2=1", RUN, FAILED),
    ("cuFuncSetAttribute@5=719", RUN, FAILED),
    // A network without the kernel of clusters has others.
    ("cuOccupancyMaxActiveClusters@1=999", CLUSTER, GOES_ON),
    ("cuLaunchKernel@1=701", RUN, FAILED),
    ("cuLaunchKernel@3=700", RUN, FAILED),
    // Kernels that may begin before their predecessor has ended.
    ("cuLaunchKernelEx@1=701", RUN, FAILED),
    ("cuLaunchKernelEx@9=700", RUN, FAILED),
    ("cuGraphInstantiateWithFlags@1=2", RUN, FAILED),
    ("cuGraphInstantiateWithFlags@2=719", RUN, FAILED),
    ("cuGraphLaunch@1=719", RUN, FAILED),
    ("cuGraphLaunch@4=2", RUN, FAILED),
    ("cuGraphDestroy@1=400", RUN, GOES_ON),
    ("cuGraphDestroy@2=400", RUN, GOES_ON),
    ("cuGraphExecDestroy@1=400", RUN, GOES_ON),
    ("cuGraphExecDestroy@2=719", RUN, GOES_ON),
];

#[test]
fn each_function_fails_once() {
    let Some(machine) = Machine::new() else { return };
    // And those that a driver need not have.
    for name in functions().into_iter().chain(["cuLaunchKernelEx"]) {
        assert!(TABLE.iter().any(|(words, ..)| words.contains(&format!("{name}@"))), "{name} never fails");
    }
    for &(words, line, code) in TABLE {
        let _ = fs::remove_dir_all(machine.path("run"));
        let ended = machine.ends(line, words, code);
        ended.clean(words);
        let errors: Vec<_> = ended.said.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), usize::from(code != GOES_ON), "{words}: {}", ended.said);
        // The failure itself is told, and not one that came of it.
        if let (FAILED, [error]) = (code, &errors[..]) {
            let number = words.split(['=', ' ']).nth(1).unwrap();
            assert!(error.contains(&format!("error {number})")), "{words}: {error}");
        }
    }
}

#[test]
fn what_fails_and_does_not_come_back_is_told_as_lost() {
    let Some(machine) = Machine::new() else { return };
    for (words, reason) in [
        ("cuLaunchKernelEx@9=700", "launch kernel"),
        ("cuGraphLaunch@2=719", "cannot replay a graph"),
        ("cuStreamSynchronize@7=714", "wait for the device"),
    ] {
        let _ = fs::remove_dir_all(machine.path("run"));
        let said = machine.ends(RUN, words, FAILED).said;
        assert!(
            said.contains(reason) && said.contains("the device is lost, and the last checkpoint"),
            "{words}: {said}"
        );
    }
    // What was saved before goes on to the bits of a run that nothing happened to.
    machine.ends(&RUN.replace("--out run", "--out whole"), "", 0);
    let _ = fs::remove_dir_all(machine.path("run"));
    machine.ends(RUN, "cuGraphLaunch@6=719", FAILED);
    assert!(machine.path("run/checkpoints/step-4").exists());
    machine.ends("train --resume --out run --device cuda --quiet", "", 0).clean("resumed");
    let result = |run: &str| fs::read(machine.path(run).join("checkpoints/step-8/parameters.safetensors")).unwrap();
    assert_eq!(result("run"), result("whole"));
}
