//! Modules, their functions, launches and graphs.

use super::super::codes::INVALID_VALUE;
use super::super::state::Needs::{Current, LetsGo};
use super::super::state::call;
use super::give;
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(module: *mut usize, image: *const c_void) -> u32 {
    call("cuModuleLoadData", Current, |state| {
        // SAFETY: the caller's image is whole.
        let loaded = unsafe { state.load(image) }?;
        // SAFETY: as above.
        unsafe { give(module, loaded) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(function: *mut usize, module: usize, name: *const c_char) -> u32 {
    call("cuModuleGetFunction", Current, |state| {
        if name.is_null() {
            return state.breach(INVALID_VALUE, "the name is null");
        }
        // SAFETY: the caller's name is a string.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        let found = state.function(module, &name)?;
        // SAFETY: as above.
        unsafe { give(function, found) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleUnload(module: usize) -> u32 {
    call("cuModuleUnload", LetsGo, |state| state.unload(module))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetAttribute(value: *mut c_int, attribute: c_int, function: usize) -> u32 {
    call("cuFuncGetAttribute", Current, |state| {
        let found = state.attribute(function, attribute)?;
        // SAFETY: as above.
        unsafe { give(value, found) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetAttribute(function: usize, attribute: c_int, value: c_int) -> u32 {
    call("cuFuncSetAttribute", Current, |state| state.set_attribute(function, attribute, value))
}

/// How a kernel is launched.
#[repr(C)]
pub struct LaunchConfig {
    pub grid: [c_uint; 3],
    pub block: [c_uint; 3],
    pub shared: c_uint,
    pub stream: usize,
    pub attributes: *mut LaunchAttribute,
    pub attribute_count: c_uint,
}

/// An attribute of a launch: its number, and its value in 64 bytes.
#[repr(C)]
pub struct LaunchAttribute {
    pub id: c_uint,
    pub pad: [u8; 4],
    pub value: [u64; 8],
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveClusters(
    clusters: *mut c_int,
    function: usize,
    config: *const LaunchConfig,
) -> u32 {
    call("cuOccupancyMaxActiveClusters", Current, |state| {
        // SAFETY: the caller's pointer is valid.
        let &LaunchConfig { grid, block, shared, stream, attributes, attribute_count } = unsafe { &*config };
        if !attributes.is_null() || attribute_count > 0 {
            return state.not_modelled("attributes of launches");
        }
        let found = state.clusters(function, grid, block, shared, stream)?;
        // SAFETY: as above.
        unsafe { give(clusters, found) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: usize,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared: c_uint,
    stream: usize,
    parameters: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> u32 {
    call("cuLaunchKernel", Current, |state| {
        if !extra.is_null() {
            return state.not_modelled("parameters in one block");
        }
        let (blocks, threads) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        // SAFETY: the caller's parameters are those of the kernel.
        unsafe { state.launch(function, blocks, threads, shared, stream, parameters, false) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernelEx(
    config: *const LaunchConfig,
    function: usize,
    parameters: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> u32 {
    call("cuLaunchKernelEx", Current, |state| {
        if config.is_null() {
            return state.breach(INVALID_VALUE, "how to launch is null");
        }
        // SAFETY: the caller's pointer is valid.
        let &LaunchConfig { grid, block, shared, stream, attributes, attribute_count } = unsafe { &*config };
        if !extra.is_null() {
            return state.not_modelled("parameters in one block");
        }
        if attributes.is_null() && attribute_count > 0 {
            return state.breach(INVALID_VALUE, format!("{attribute_count} attributes at null"));
        }
        let mut overlaps = false;
        for place in 0..attribute_count as usize {
            // SAFETY: the caller has so many there.
            let LaunchAttribute { id, value, .. } = unsafe { &*attributes.add(place) };
            match *id {
                // It says nothing.
                0 => {}
                // Programmatic stream serialization; the value is an int.
                6 => overlaps = value[0] as u32 != 0,
                other => return state.not_modelled(&format!("attribute {other} of launches")),
            }
        }
        // SAFETY: the caller's parameters are those of the kernel.
        unsafe { state.launch(function, grid, block, shared, stream, parameters, overlaps) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(ready: *mut usize, graph: usize, _flags: c_ulonglong) -> u32 {
    call("cuGraphInstantiateWithFlags", Current, |state| {
        let made = state.instantiate(graph)?;
        // SAFETY: as above.
        unsafe { give(ready, made) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphLaunch(exec: usize, stream: usize) -> u32 {
    call("cuGraphLaunch", Current, |state| state.replay(exec, stream))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphDestroy(graph: usize) -> u32 {
    call("cuGraphDestroy", LetsGo, |state| state.destroy_graph(graph))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecDestroy(exec: usize) -> u32 {
    call("cuGraphExecDestroy", LetsGo, |state| state.destroy_exec(exec))
}
