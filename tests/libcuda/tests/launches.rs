//! Modules and launches: what a device and the manual allow.

use super::*;

#[test]
fn a_module_stays_while_a_graph_runs_its_kernels() {
    let setup = Setup::new("");
    let (module, function) = setup.kernel("advance");
    let mut state = setup.allocated(64);
    let mut parameters = [(&raw mut state).cast::<c_void>()];
    let mut launch =
        || code!(cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, setup.stream, parameters.as_mut_ptr(), null_mut()));
    assert_eq!(launch(), 0);
    breach(code!(cuModuleUnload(module)), codes::INVALID_VALUE, "queued in a stream");
    assert_eq!(code!(cuStreamSynchronize(setup.stream)), 0);
    assert_eq!(code!(cuStreamBeginCapture_v2(setup.stream, 1)), 0);
    assert_eq!(launch(), 0);
    let mut graph = 0;
    assert_eq!(code!(cuStreamEndCapture(setup.stream, &mut graph)), 0);
    let exec = made!(cuGraphInstantiateWithFlags(graph, 0));
    breach(code!(cuModuleUnload(module)), codes::INVALID_VALUE, "a graph that is still there");
    assert_eq!([code!(cuGraphExecDestroy(exec)), code!(cuModuleUnload(module))], [0, 0]);
    clean();
}

#[test]
fn a_launch_keeps_to_the_device() {
    let setup = Setup::new("");
    let (module, function) = setup.kernel("advance");
    let mut state = setup.allocated(64);
    let mut parameters = [(&raw mut state).cast::<c_void>()];
    let mut launch = |grid: [u32; 3], block: [u32; 3], shared: u32| {
        let ([gx, gy, gz], [x, y, z]) = (grid, block);
        code!(cuLaunchKernel(function, gx, gy, gz, x, y, z, shared, setup.stream, parameters.as_mut_ptr(), null_mut()))
    };
    breach(launch([0, 1, 1], [32, 1, 1], 0), codes::INVALID_VALUE, "a grid of 0×1×1");
    breach(launch([1, 65_536, 1], [32, 1, 1], 0), codes::INVALID_VALUE, "a grid of");
    breach(launch([1, 1, 1], [1025, 1, 1], 0), codes::INVALID_VALUE, "a block of 1025");
    breach(launch([1, 1, 1], [32, 1, 1], (48 << 10) + 1), codes::INVALID_VALUE, "49152 are allowed");
    let most = 227 << 10;
    breach(code!(cuFuncSetAttribute(function, 8, most + 1)), codes::INVALID_VALUE, "a block has");
    assert_eq!(code!(cuFuncSetAttribute(function, 8, most)), 0);
    assert_eq!(launch([1, 1, 1], [32, 1, 1], most as u32), 0);
    breach(launch([1, 1, 1], [32, 1, 1], most as u32 + 1), codes::INVALID_VALUE, "are allowed");
    let name = CString::new("no_such_kernel").unwrap();
    breach(code!(cuModuleGetFunction(&mut 0, module, name.as_ptr())), codes::NOT_FOUND, "no kernel no_such_kernel");
    let (_, clustered) = setup.kernel("deep_linear_10");
    let call =
        code!(cuLaunchKernel(clustered, 7, 1, 1, 256, 1, 1, 0, setup.stream, parameters.as_mut_ptr(), null_mut()));
    breach(call, codes::INVALID_CLUSTER_SIZE, "in clusters of 8");
}

/// A launch of `advance`, one block, that may begin before its predecessor has ended if the attribute says so.
fn launch_ex(setup: &Setup, function: usize, state: &mut u64, attributes: &mut [LaunchAttribute]) -> u32 {
    let mut parameters = [std::ptr::from_mut(state).cast::<c_void>()];
    let (list, attribute_count) = (attributes.as_mut_ptr(), attributes.len() as u32);
    let (grid, block, stream) = ([1; 3], [32, 1, 1], setup.stream);
    let config = LaunchConfig { grid, block, shared: 0, stream, attributes: list, attribute_count };
    code!(cuLaunchKernelEx(&config, function, parameters.as_mut_ptr(), null_mut()))
}

fn attribute(id: u32, value: u64) -> LaunchAttribute {
    LaunchAttribute { id, pad: [0; 4], value: [value, 0, 0, 0, 0, 0, 0, 0] }
}

#[test]
fn a_launch_with_attributes_keeps_its_contract() {
    let setup = Setup::new("");
    let (_, function) = setup.kernel("advance");
    let mut state = setup.allocated(64);
    assert_eq!(code!(cuMemsetD8Async(state, 0, 64, setup.stream)), 0);
    let overlaps = || [attribute(6, 1)];
    // A fill is no kernel: what a kernel's wait means behind it no page says.
    breach(launch_ex(&setup, function, &mut state, &mut overlaps()), codes::NOT_SUPPORTED, "of advance behind a fill");
    assert_eq!(launch_ex(&setup, function, &mut state, &mut []), 0);
    assert_eq!(launch_ex(&setup, function, &mut state, &mut overlaps()), 0);
    // One that says nothing, and one that says no.
    assert_eq!(launch_ex(&setup, function, &mut state, &mut [attribute(0, 1), attribute(6, 0)]), 0);
    assert_eq!(code!(cuStreamSynchronize(setup.stream)), 0);
    assert_eq!(look(|state| [state.launches, state.overlapping]), [3, 1]);
    assert_eq!(setup.bytes(state + 8, 8), 3u64.to_le_bytes());
    // After a wait there is nothing that it could overlap.
    assert_eq!(launch_ex(&setup, function, &mut state, &mut overlaps()), 0);
    clean();
    breach(launch_ex(&setup, function, &mut state, &mut [attribute(4, 1)]), codes::NOT_SUPPORTED, "attribute 4 of");
    let mut parameters = [(&raw mut state).cast::<c_void>()];
    let mut config = LaunchConfig {
        grid: [1; 3],
        block: [32, 1, 1],
        shared: 0,
        stream: setup.stream,
        attributes: null_mut(),
        attribute_count: 1,
    };
    let given = parameters.as_mut_ptr();
    breach(code!(cuLaunchKernelEx(&config, function, given, null_mut())), codes::INVALID_VALUE, "1 attributes at null");
    config.attribute_count = 0;
    breach(code!(cuLaunchKernelEx(&config, function, null_mut(), null_mut())), codes::INVALID_VALUE, "no parameters");
    breach(code!(cuLaunchKernelEx(std::ptr::null(), function, given, null_mut())), codes::INVALID_VALUE, "is null");
    breach(code!(cuLaunchKernelEx(&config, 1, given, null_mut())), codes::INVALID_HANDLE, "no function");
    config.stream = 0;
    breach(code!(cuLaunchKernelEx(&config, function, given, null_mut())), codes::NOT_SUPPORTED, "the default stream");
    // Every kernel of normscape waits: here is one that does not.
    static HASTY: Kernel =
        Kernel { name: "hasty", source: 0, max_threads: 32, cluster: 1, waits: false, parameters: &[] };
    let stream = setup.stream;
    breach(look(|state| state.may_overlap(stream, &HASTY).err().unwrap_or(0)), 0, "hasty does not wait");
}

#[test]
fn launches_overlap_where_device_and_driver_have_it() {
    for (words, recorded, code) in [
        ("", true, 0),
        ("version=12030", true, 0),
        ("version=12020", false, 0),
        ("version=12020", true, codes::NOT_SUPPORTED),
        ("capability=89", false, codes::NOT_SUPPORTED),
    ] {
        let setup = Setup::new(words);
        let (_, function) = setup.kernel("advance");
        let mut state = setup.allocated(64);
        if recorded {
            assert_eq!(code!(cuStreamBeginCapture_v2(setup.stream, 1)), 0);
        }
        assert_eq!(launch_ex(&setup, function, &mut state, &mut []), 0);
        assert_eq!(launch_ex(&setup, function, &mut state, &mut [attribute(6, 1)]), code, "{words}");
        assert_eq!(breaches().len(), usize::from(code != 0), "{words}");
    }
}
