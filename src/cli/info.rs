//! `normscape info`: the machine, what was found on it and what was not, and what would run.

use super::device::{Choice, Device, Precision, isa_name};
use super::{Answer, Globals, VERSION};
use crate::Result;
use crate::data::cifar10;
use crate::files::machine;
use crate::report::{Cell, Table};
use serde_json::{Value, json};

/// Tells it.
pub fn run(globals: &Globals) -> Result<Answer> {
    let device = Device::choose(Choice::Auto, globals.precision.unwrap_or(Precision::F32))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let processor = machine::proc_field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into());
    let (total, available) = (machine::memory("MemTotal"), machine::memory("MemAvailable"));
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let build = if cfg!(debug_assertions) { "development" } else { "release" };
    let driver = cuda::look();
    let data = cifar10::find(None);
    let why = device.why(globals.thread_count());
    if globals.json {
        return Ok(Answer::json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "commit": env!("NORMSCAPE_COMMIT"),
            "target": target,
            "build": build,
            "cpu": { "model": processor, "cores": cores, "instructions": isa_name() },
            "memory": { "bytes": total, "available_bytes": available },
            "cuda": driver.json(),
            "kernels": Value::Null,
            "data": data.map(|path| path.to_string_lossy().into_owned()),
            "auto": { "device": device.name(), "precision": device.precision().name(), "threads": globals.thread_count() },
        })));
    }
    let gib =
        |bytes: Option<u64>| bytes.map_or("unknown".into(), |b| format!("{:.1} GiB", b as f64 / f64::from(1u32 << 30)));
    let found = data.map_or_else(
        || "CIFAR-10 not found (NORMSCAPE_DATA, data, target/data, ~/.cache/normscape); normscape data fetch".into(),
        |path| format!("CIFAR-10 expected in {}", path.display()),
    );
    let mut table = Table::new(["", ""]);
    for (name, text) in [
        ("version", format!("{VERSION}, {target}, {build} build")),
        ("processor", format!("{processor}, {cores} cores, {}", isa_name())),
        ("memory", format!("{}, {} available", gib(total), gib(available))),
        ("CUDA", driver.words()),
        ("kernels", "none in this version".into()),
        ("data", found),
        ("auto", why.strip_prefix("device: ").unwrap_or(&why).to_owned()),
    ] {
        table.row([Cell::from(name), Cell::from(text)]);
    }
    // No headers: the first two lines are theirs.
    Ok(Answer::text(table.to_string().lines().skip(2).collect::<Vec<_>>().join("\n")))
}

/// The CUDA driver. Nothing here may panic on a machine without one: presence is asked before the first call, and only
/// functions that every driver has are called.
mod cuda {
    use cudarc::driver::{result, sys};
    use serde_json::{Value, json};

    /// What was found.
    pub struct Driver {
        /// As 13000 is 13.0; `None` where there is none.
        version: Option<i32>,
        devices: Vec<String>,
        /// Why there are no devices.
        problem: Option<String>,
    }

    /// Where the library is looked for.
    const LOOKED: &str = "libcuda.so in LD_LIBRARY_PATH and the loader's folders";

    /// Looks for the driver and its devices.
    pub fn look() -> Driver {
        let none = |problem: String| Driver { version: None, devices: Vec::new(), problem: Some(problem) };
        // SAFETY: it only tries to load the library.
        if !unsafe { sys::is_culib_present() } {
            return none(format!("no driver found (looked for {LOOKED})"));
        }
        let mut version = 0;
        // SAFETY: the library is there, the function is in every driver, and the pointer is valid.
        if let Err(code) = unsafe { sys::cuDriverGetVersion(&mut version) }.result() {
            return none(format!("the driver does not tell its version (error {})", code.0 as u32));
        }
        match devices() {
            Ok(devices) => Driver { version: Some(version), devices, problem: None },
            Err(code) => {
                let problem = Some(format!("no device can be used (error {})", code.0 as u32));
                Driver { version: Some(version), devices: Vec::new(), problem }
            }
        }
    }

    fn devices() -> Result<Vec<String>, result::DriverError> {
        result::init()?;
        (0..result::device::get_count()?).map(|i| result::device::get_name(result::device::get(i)?)).collect()
    }

    impl Driver {
        /// For people.
        pub fn words(&self) -> String {
            let found = self.version.map(|v| format!("driver for CUDA {}.{}", v / 1000, v % 1000 / 10));
            let devices =
                (!self.devices.is_empty()).then(|| format!("{} (not used by this version)", self.devices.join(", ")));
            [found, devices, self.problem.clone()].into_iter().flatten().collect::<Vec<_>>().join(": ")
        }

        /// For programs.
        pub fn json(&self) -> Value {
            json!({ "driver": self.version, "devices": self.devices, "problem": self.problem, "looked_for": LOOKED })
        }
    }
}
