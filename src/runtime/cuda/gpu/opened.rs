//! An opened device: its context, stream and events, which are let go together, also where opening it fails halfway.

use super::api::check_opening;
use super::devices::{attribute, capability, card};
use super::symbols::{self as sys, CUcontext, CUdevice_attribute as Attribute, CUevent, CUstream, Code};
use crate::runtime::cuda::driver::Properties;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// What belongs to an opened device. It lives on one thread: the pointers do not let it move to another.
pub struct Opened {
    /// The device's number, as the driver counts.
    device: sys::CUdevice,
    /// Its name, without the architecture.
    pub card: String,
    /// What kernels need to know of it.
    pub properties: Properties,
    context: CUcontext,
    /// The one stream that all work goes to.
    pub stream: CUstream,
    /// Two marks in the stream.
    pub events: [CUevent; 2],
}

/// Devices whose primary context this process holds once more, for good: a program that opens a device again need not make its context anew.
static KEPT: Mutex<BTreeSet<sys::CUdevice>> = Mutex::new(BTreeSet::new());

impl Opened {
    /// Opens the device that the driver, which has been started, counts as `ordinal`.
    pub fn new(ordinal: i32) -> Result<Opened> {
        let mut device = 0;
        // SAFETY: the driver has been started; the number is a device's, and the pointer is valid.
        check_opening("CUDA", "open a device", unsafe { sys::cuDeviceGet(&mut device, ordinal) })?;
        let (card, capability) = (card(device)?, capability(device)?);
        let name = format!("{card} (sm_{capability})");
        if capability < 80 {
            return Err(Error::device(&name, "run the kernels", "they need sm_80 or newer"));
        }
        let properties = Properties {
            name,
            capability,
            multiprocessors: attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            shared: attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
            hopper: capability == 90 && super::maps::there(),
        };
        let mut context = std::ptr::null_mut();
        // SAFETY: the device is open, and the pointer is valid.
        let code = unsafe { sys::cuDevicePrimaryCtxRetain(&mut context, device) };
        check_opening(&properties.name, "open a context", code)?;
        // From here on, what has been made is let go where the rest fails.
        let (stream, events) = (std::ptr::null_mut(), [std::ptr::null_mut(); 2]);
        let mut opened = Opened { device, card, properties, context, stream, events };
        opened.keep();
        let name = &opened.properties.name;
        check_opening(name, "open a context", opened.make_current())?;
        let apart = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: pointers are valid, and the context that the stream and the events belong to is current.
        unsafe {
            check_opening(name, "make a stream", sys::cuStreamCreate(&mut opened.stream, apart))?;
            for event in &mut opened.events {
                check_opening(name, "make an event", sys::cuEventCreate(event, 0))?;
            }
        }
        Ok(opened)
    }

    /// Holds the context once more, if this process does not do so yet. Where the driver refuses, the context is made anew each time.
    fn keep(&self) {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.contains(&self.device) {
            return;
        }
        let mut context = std::ptr::null_mut();
        // SAFETY: the device is open, and the pointer is valid.
        if unsafe { sys::cuDevicePrimaryCtxRetain(&mut context, self.device) } == Code::SUCCESS {
            kept.insert(self.device);
        }
    }

    /// Makes the context current on this thread. Every call begins with it: another device may have been used since.
    pub fn make_current(&self) -> Code {
        // SAFETY: the context is retained as long as this lives.
        unsafe { sys::cuCtxSetCurrent(self.context) }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // Whatever else is the device's has been let go already. What fails here has no one to tell it to.
        let _ = self.make_current();
        // SAFETY: everything is this device's, was made once, and is used no more.
        unsafe {
            for event in self.events.into_iter().filter(|event| !event.is_null()) {
                let _ = sys::cuEventDestroy_v2(event);
            }
            if !self.stream.is_null() {
                let _ = sys::cuStreamDestroy_v2(self.stream);
            }
            let _ = sys::cuDevicePrimaryCtxRelease_v2(self.device);
        }
    }
}
