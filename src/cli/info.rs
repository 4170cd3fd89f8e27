//! `normscape info`: the machine, what was found on it and what was not, and which device would be used.

use super::device::{Device, isa_name};
use super::device_options::{Choice, Precision};
use super::{Answer, Globals, VERSION};
use crate::Result;
use crate::data::cifar10;
use crate::files::{limits, machine};
use crate::report::{Cell, Table};
use serde_json::json;

/// Reports all of it.
pub fn run(globals: &Globals) -> Result<Answer> {
    let device = Device::choose(Choice::Auto, globals.precision.unwrap_or(Precision::F32))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match globals.threads {
        Some(count) => limits::Threads { count, why: "--threads" },
        None => limits::threads(),
    };
    let limit = limits::memory_limit();
    let processor = machine::proc_field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into());
    let (total, available) = (machine::memory("MemTotal"), machine::memory("MemAvailable"));
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let build = if cfg!(debug_assertions) { "development" } else { "release" };
    let driver = cuda::look();
    let data = cifar10::find(None);
    let why = device.why(globals.thread_count(), device.precision().name());
    if globals.json {
        return Ok(Answer::json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "commit": env!("NORMSCAPE_COMMIT"),
            "target": target,
            "build": build,
            "cpu": { "model": processor, "cores": cores, "instructions": isa_name() },
            "memory": {
                "bytes": total,
                "available_bytes": available,
                "limit": limit.map(|limit| json!({ "name": limit.name, "bytes": limit.limit, "left_bytes": limit.left })),
            },
            "threads": { "count": threads.count, "why": threads.why },
            "cuda": driver.json(),
            "kernels": driver.kernels(),
            "data": data.map(|path| path.to_string_lossy().into_owned()),
            "auto": { "device": device.name(), "precision": device.precision().name(), "threads": globals.thread_count() },
        })));
    }
    let gib =
        |bytes: Option<u64>| bytes.map_or("unknown".into(), |b| format!("{:.1} GiB", b as f64 / f64::from(1u32 << 30)));
    let found = data.map_or_else(
        || format!("CIFAR-10 not found in NORMSCAPE_DATA, {}; normscape data fetch", cifar10::usual_places_in_words()),
        |path| format!("CIFAR-10 expected in {}", path.display()),
    );
    let mut table = Table::new(["", ""]);
    let mut rows = vec![
        ("version", format!("{VERSION}, {target}, {build} build")),
        ("processor", format!("{processor}, {cores} cores, {}", isa_name())),
        (
            "memory",
            format!(
                "{}, {} available{}",
                gib(total),
                gib(available),
                limit.map_or(String::new(), |of| format!("; {}", of.words()))
            ),
        ),
        ("threads", format!("{} ({})", threads.count, threads.why)),
    ];
    rows.extend(driver.rows());
    rows.push(("data", found));
    rows.push(("auto", why.strip_prefix("device: ").unwrap_or(&why).to_owned()));
    rows.extend(device.slow().map(|slow| ("speed", slow)));
    for (name, text) in rows {
        table.row([Cell::from(name), Cell::from(text)]);
    }
    // No headers: the first two lines are theirs.
    Ok(Answer::text(table.to_string().lines().skip(2).collect::<Vec<_>>().join("\n")))
}

/// The part of the report about CUDA.
mod cuda {
    use crate::runtime::cuda::emulator::compiler_version;
    use crate::runtime::cuda::gpu;
    use crate::runtime::cuda::kernels::{ALL, IMAGES};
    use crate::runtime::cuda::nvrtc::Target;
    use serde_json::{Value, json};

    /// The CUDA driver, libraries and compiler: what was found, and what was not.
    pub struct Cuda {
        found: Result<gpu::Found, String>,
        nvrtc: Option<String>,
        cublas: Option<String>,
        compiler: Option<String>,
    }

    /// Looks for the driver, the libraries and the compiler.
    pub fn look() -> Cuda {
        Cuda {
            found: gpu::find().map_err(|e| e.to_string()),
            nvrtc: gpu::nvrtc(),
            cublas: gpu::cublas_path().map(|path| path.display().to_string()),
            compiler: compiler_version(),
        }
    }

    /// The targets that the build compiled kernels for.
    fn targets() -> Vec<String> {
        let mut names: Vec<_> = IMAGES
            .iter()
            .map(|image| match image.target {
                Target::Cubin(arch) => format!("sm_{arch}"),
                Target::Only(arch) => format!("sm_{arch}a"),
                Target::Ptx(arch) => format!("PTX for sm_{arch} and newer"),
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }

    impl Cuda {
        /// The table's rows, for people.
        pub fn rows(&self) -> Vec<(&'static str, String)> {
            let devices = match &self.found {
                Ok(found) => {
                    format!("driver for CUDA {}: {}", gpu::dotted(found.version), found.devices.join(", "))
                }
                Err(problem) => problem.clone(),
            };
            let or = |found: &Option<String>, none: &str| found.clone().unwrap_or_else(|| none.to_owned());
            let compiled = match targets().as_slice() {
                [] => "compiled at first use (the build found no NVRTC)".to_owned(),
                targets => format!("compiled for {}", targets.join(", ")),
            };
            vec![
                ("CUDA", devices),
                ("kernels", format!("{}, {compiled}", ALL.len())),
                ("NVRTC", or(&self.nvrtc, "not found (NVRTC_PATH, a toolkit, the Python package nvidia-cuda-nvrtc)")),
                ("cuBLAS", or(&self.cublas, "not found (CUBLAS_PATH, a toolkit, the Python package nvidia-cublas)")),
                ("emulator", or(&self.compiler, "no C++ compiler (NORMSCAPE_CXX, CXX, c++, g++)")),
            ]
        }

        /// The same as JSON, for programs.
        pub fn json(&self) -> Value {
            let (version, devices, problem) = match &self.found {
                Ok(found) => (Some(found.version), found.devices.clone(), None),
                Err(problem) => (None, Vec::new(), Some(problem)),
            };
            json!({
                "driver": version,
                "devices": devices,
                "problem": problem,
                "nvrtc": self.nvrtc,
                "cublas": self.cublas,
                "emulator_compiler": self.compiler,
            })
        }

        /// The compiled kernels as JSON, for programs.
        pub fn kernels(&self) -> Value {
            json!({ "count": ALL.len(), "compiled_for": targets() })
        }
    }
}
