//! The driver's functions, as cuda.h declares them. Handles are numbers here; to the caller they are pointers.
//!
//! What each function gives back, and what it refuses, is what CUDA's manual says of it. Pointers are the caller's, and valid: that is the one
//! rule that a library cannot check.

#![allow(non_snake_case, reason = "the functions have the names that the driver gives them")]
#![allow(clippy::missing_safety_doc, reason = "the contract is that of CUDA's manual")]

use super::codes::{self, Done, INVALID_DEVICE, INVALID_VALUE, UNKNOWN};
use super::contexts::Context;
use super::state::Needs::{Current, LetsGo, Nothing, Releases, Started};
use super::state::{Device, State, call};
use super::work::Op;
use std::ffi::{CStr, c_char, c_int, c_uchar, c_uint, c_ulonglong, c_void};

/// Gives the caller a value.
///
/// # Safety
/// `to` is null or valid.
pub unsafe fn give<T>(to: *mut T, value: T) -> Done {
    if to.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: by the caller's promise.
    unsafe { to.write(value) };
    Ok(())
}

impl State {
    /// Refuses a device that is not there.
    fn device(&mut self, device: c_int) -> Done<&mut Device> {
        let place = usize::try_from(device).unwrap_or(usize::MAX);
        if place >= self.devices.len() {
            return self.breach(INVALID_DEVICE, format!("there is no device {device}"));
        }
        Ok(&mut self.devices[place])
    }

    /// Bytes of shared memory that a block may have: what CUDA's programming guide says of the architecture.
    pub fn shared_of_block(&self) -> u32 {
        match self.settings.number("capability", 90) {
            80 | 87 => 163 << 10,
            90 | 100 | 103 => 227 << 10,
            _ => 99 << 10,
        }
    }

    fn device_attribute(&mut self, device: c_int, attribute: c_int) -> Done<c_int> {
        self.device(device)?;
        let capability = self.settings.number("capability", 90);
        match attribute {
            16 => Ok(self.settings.number("multiprocessors", 132)),
            75 => Ok(capability / 10),
            76 => Ok(capability % 10),
            97 => Ok(self.shared_of_block() as c_int),
            _ => self.not_modelled(&format!("attribute {attribute} of devices")),
        }
    }

    fn retain(&mut self, device: c_int) -> Done<usize> {
        let Device { context, .. } = *self.device(device)?;
        let context = match context {
            0 => {
                let room = usize::try_from(self.settings.number("free", 80 << 10)).unwrap_or(0) << 20;
                let made = Context::new(device, room);
                let made = made.map_err(|problem| self.note(format!("no context: {problem}"))).map_err(|()| UNKNOWN)?;
                let handle = self.handle();
                self.contexts.insert(handle, made);
                handle
            }
            there => there,
        };
        let found = self.device(device)?;
        found.context = context;
        found.retained += 1;
        Ok(context)
    }

    fn release(&mut self, device: c_int) -> Done {
        let found = self.device(device)?;
        let Some(left) = found.retained.checked_sub(1) else {
            return self.breach(codes::INVALID_CONTEXT, "the primary context is not retained");
        };
        found.retained = left;
        if left == 0 {
            let context = std::mem::take(&mut found.context);
            self.destroy(context);
        }
        Ok(())
    }

    /// Refuses a copy or a fill of memory that is not all in one allocation, which the driver sees at once.
    fn reachable(&mut self, address: u64, bytes: usize) -> Done {
        if self.context()?.part(address, bytes).is_some() {
            return Ok(());
        }
        self.breach(INVALID_VALUE, format!("not all of {bytes} bytes at {address:#x} are allocated"))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuInit(flags: c_uint) -> u32 {
    call("cuInit", Nothing, |state| {
        if flags != 0 {
            return state.breach(INVALID_VALUE, "flags must be 0");
        }
        let count = state.settings.number("count", 1).max(0);
        if !state.started {
            state.devices = vec![Device::default(); count as usize];
        }
        state.started = true;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> u32 {
    // SAFETY: the caller's pointer, as everywhere below.
    call("cuDriverGetVersion", Nothing, |state| unsafe { give(version, state.settings.number("version", 13_000)) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(error: c_uint, name: *mut *const c_char) -> u32 {
    call("cuGetErrorName", Nothing, |_| {
        let found = codes::words(error).map_or(std::ptr::null(), |(name, _)| name.as_ptr().cast());
        // SAFETY: as above.
        unsafe { give(name, found) }?;
        if found.is_null() { Err(INVALID_VALUE) } else { Ok(()) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(error: c_uint, text: *mut *const c_char) -> u32 {
    call("cuGetErrorString", Nothing, |_| {
        let found = codes::words(error).map_or(std::ptr::null(), |(_, text)| text.as_ptr().cast());
        // SAFETY: as above.
        unsafe { give(text, found) }?;
        if found.is_null() { Err(INVALID_VALUE) } else { Ok(()) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> u32 {
    // SAFETY: as above.
    call("cuDeviceGetCount", Started, |state| unsafe { give(count, state.devices.len() as c_int) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> u32 {
    call("cuDeviceGet", Started, |state| {
        state.device(ordinal)?;
        // SAFETY: as above.
        unsafe { give(device, ordinal) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) -> u32 {
    call("cuDeviceGetName", Started, |state| {
        state.device(device)?;
        let card = state.settings.text("card").unwrap_or("Stand-in").as_bytes();
        let room = usize::try_from(length).unwrap_or(0);
        if name.is_null() || room == 0 {
            return Err(INVALID_VALUE);
        }
        let bytes = card.len().min(room - 1);
        // SAFETY: the caller has `length` bytes there.
        unsafe {
            std::ptr::copy_nonoverlapping(card.as_ptr().cast(), name, bytes);
            name.add(bytes).write(0);
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, device: c_int) -> u32 {
    call("cuDeviceGetAttribute", Started, |state| {
        let found = state.device_attribute(device, attribute)?;
        // SAFETY: as above.
        unsafe { give(value, found) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut usize, device: c_int) -> u32 {
    call("cuDevicePrimaryCtxRetain", Started, |state| {
        let found = state.retain(device)?;
        // SAFETY: as above.
        unsafe { give(context, found) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> u32 {
    call("cuDevicePrimaryCtxRelease_v2", Releases, |state| state.release(device))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCurrent(context: usize) -> u32 {
    call("cuCtxSetCurrent", Started, |state| state.set_current(context))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(stream: *mut usize, flags: c_uint) -> u32 {
    call("cuStreamCreate", Current, |state| {
        if flags > 1 {
            return state.breach(INVALID_VALUE, format!("there are no flags {flags}"));
        }
        let made = state.new_stream();
        // SAFETY: as above.
        unsafe { give(stream, made) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamSynchronize(stream: usize) -> u32 {
    call("cuStreamSynchronize", Current, |state| state.synchronize(stream))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamBeginCapture_v2(stream: usize, mode: c_int) -> u32 {
    call("cuStreamBeginCapture_v2", Current, |state| state.begin_capture(stream, mode))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(stream: usize, graph: *mut usize) -> u32 {
    call("cuStreamEndCapture", Current, |state| {
        let ended = state.end_capture(stream);
        // SAFETY: as above.
        unsafe { give(graph, ended.unwrap_or(0)) }.and(ended.map(drop))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamDestroy_v2(stream: usize) -> u32 {
    call("cuStreamDestroy_v2", LetsGo, |state| state.destroy_stream(stream))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: *mut usize, _flags: c_uint) -> u32 {
    call("cuEventCreate", Current, |state| {
        let made = state.new_event();
        // SAFETY: as above.
        unsafe { give(event, made) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecord(event: usize, stream: usize) -> u32 {
    call("cuEventRecord", Current, |state| state.record(event, stream))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventSynchronize(event: usize) -> u32 {
    call("cuEventSynchronize", Current, |state| state.wait_for(event))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(milliseconds: *mut f32, from: usize, to: usize) -> u32 {
    call("cuEventElapsedTime", Current, |state| {
        let found = state.between(from, to)?;
        // SAFETY: as above.
        unsafe { give(milliseconds, found) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventDestroy_v2(event: usize) -> u32 {
    call("cuEventDestroy_v2", LetsGo, |state| state.destroy_event(event))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> u32 {
    call("cuMemAlloc_v2", Current, |state| {
        state.forbidden_while_capturing()?;
        if bytes == 0 {
            return state.breach(INVALID_VALUE, "nothing is asked for");
        }
        let found = state.context()?.allocate(bytes)?;
        // SAFETY: as above.
        unsafe { give(address, found) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFree_v2(address: u64) -> u32 {
    call("cuMemFree_v2", LetsGo, |state| state.free(address))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> u32 {
    call("cuMemGetInfo_v2", Current, |state| {
        let (left, all) = state.context()?.memory();
        // SAFETY: as above.
        unsafe { give(free, left).and(give(total, all)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD8Async(to: u64, value: c_uchar, bytes: usize, stream: usize) -> u32 {
    call("cuMemsetD8Async", Current, |state| {
        state.reachable(to, bytes)?;
        state.submit(stream, Op::Fill { to, value, bytes })
    })
}

/// From pageable memory, which is all that normscape has: CUDA copies it to memory of its own before it returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: usize) -> u32 {
    call("cuMemcpyHtoDAsync_v2", Current, |state| {
        state.reachable(to, bytes)?;
        if from.is_null() {
            return state.breach(INVALID_VALUE, "the host's address is null");
        }
        // SAFETY: the caller has so many bytes there.
        let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes) };
        state.submit(stream, Op::Upload { to, bytes: bytes.into() })
    })
}

/// To pageable memory: CUDA's page on synchronisation says that the call may wait for the copy or may not. Here it does not, and until
/// somebody waits the host finds neither its old bytes nor the new ones.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: usize) -> u32 {
    call("cuMemcpyDtoHAsync_v2", Current, |state| {
        state.reachable(from, bytes)?;
        if to.is_null() {
            return state.breach(INVALID_VALUE, "the host's address is null");
        }
        state.submit(stream, Op::Download { to: to as usize, from, bytes })?;
        // SAFETY: the caller has so many bytes there.
        unsafe { std::ptr::write_bytes(to.cast::<u8>(), 0xA5, bytes) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: usize) -> u32 {
    call("cuMemcpyDtoDAsync_v2", Current, |state| {
        state.reachable(to, bytes)?;
        state.reachable(from, bytes)?;
        if to.abs_diff(from) < bytes as u64 {
            return state.breach(INVALID_VALUE, "the two places overlap, and what is copied is undefined");
        }
        state.submit(stream, Op::Copy { to, from, bytes })
    })
}

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
