//! The devices and libraries of this machine, as `normscape info` reports them.

use super::api::{self, check_opening};
use super::symbols::{self as sys, CUdevice_attribute as Attribute};
use crate::Result;
use crate::runtime::cuda::nvrtc::Nvrtc;
use std::path::{Path, PathBuf};

/// What was found on this machine, whether or not a device works.
pub struct Found {
    /// The CUDA version that the driver supports; 13000 stands for 13.0.
    pub version: i32,
    /// The devices' names.
    pub devices: Vec<String>,
}

/// Looks for devices. Errors: there are none; the error says what was looked for and where.
pub fn find() -> Result<Found> {
    let version = api::start()?;
    let name = |n: i32| {
        let mut device = 0;
        // SAFETY: the driver has been started, and the pointer is valid.
        check_opening("CUDA", "open a device", unsafe { sys::cuDeviceGet(&mut device, n) })?;
        Ok(format!("{} (sm_{})", card(device)?, capability(device)?))
    };
    Ok(Found { version, devices: (0..api::devices()?).map(name).collect::<Result<_>>()? })
}

/// How many devices are visible. Errors: as in [`find`].
pub fn count() -> Result<u32> {
    api::start()?;
    Ok(u32::try_from(api::devices()?).unwrap_or(0))
}

/// The path of cuBLAS, if it was found.
pub fn cublas_path() -> Option<PathBuf> {
    super::cublas::find().map(|(_, path, _)| path)
}

/// The folder where `cargo xtask cuda` puts NVIDIA's Python packages.
pub(super) fn packages() -> Option<PathBuf> {
    option_env!("CARGO_MANIFEST_DIR").map(|root| Path::new(root).join("target/cuda"))
}

/// The version of NVRTC and its path, if it was found.
pub fn nvrtc() -> Option<String> {
    Nvrtc::find(packages()).map(|nvrtc| nvrtc.describe())
}

/// An attribute of a device. Errors: the driver does not tell it.
pub(super) fn attribute(device: sys::CUdevice, attribute: Attribute) -> Result<u32> {
    let mut value = 0;
    // SAFETY: the driver has been started, and the pointer is valid.
    let code = unsafe { sys::cuDeviceGetAttribute(&mut value, attribute, device) };
    check_opening("CUDA", "ask for a device's properties", code)?;
    Ok(u32::try_from(value).unwrap_or(0))
}

/// The compute capability times ten.
pub(super) fn capability(device: sys::CUdevice) -> Result<u32> {
    let major = attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    Ok(10 * major + attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?)
}

/// The card's name, as the driver gives it.
pub(super) fn card(device: sys::CUdevice) -> Result<String> {
    let mut name = [0 as std::ffi::c_char; 128];
    // SAFETY: the driver has been started; it writes a string of at most 128 bytes, its end included.
    let code = unsafe { sys::cuDeviceGetName(name.as_mut_ptr(), 127, device) };
    check_opening("CUDA", "ask for a device's name", code)?;
    let bytes: Vec<u8> = name.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}
