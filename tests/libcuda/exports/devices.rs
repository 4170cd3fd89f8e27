//! The driver itself, its errors, devices and their contexts.

use super::super::codes::{self, Done, INVALID_DEVICE, INVALID_VALUE, UNKNOWN};
use super::super::contexts::Context;
use super::super::state::Needs::{Nothing, Releases, Started};
use super::super::state::{Device, State, call};
use super::give;
use std::ffi::{c_char, c_int, c_uint};

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
