//! The kernels that the build compiled: every kernel is there for every architecture, and none spills registers.

use normscape::runtime::cuda::kernels::{ALL, IMAGES, RESOURCES, SOURCES};
use normscape::runtime::cuda::nvrtc::Target;
use std::ffi::CStr;

/// Without NVRTC there is nothing to look at: on continuous integration that is a failure.
fn compiled() -> bool {
    if IMAGES.is_empty() {
        let ci = std::env::var("CI").is_ok_and(|v| v == "true");
        assert!(!ci, "the build found no NVRTC; cargo xtask cuda fetches it");
    }
    !IMAGES.is_empty()
}

#[test]
fn every_kernel_is_compiled_for_every_architecture() {
    if !compiled() {
        return;
    }
    // A release has those of newer generations too.
    let architectures: &[u32] = if cfg!(debug_assertions) { &[80, 90] } else { &[80, 90, 100, 120] };
    for &arch in architectures {
        for (source, file) in SOURCES.iter().enumerate() {
            let there = |target| IMAGES.iter().any(|i| i.source == source && i.target == target && i.bytes > 500);
            if let Some(only) = file.only_for {
                let all: Vec<_> = IMAGES.iter().filter(|i| i.source == source).map(|i| i.target).collect();
                assert!(all == [Target::Only(only)] && there(all[0]), "{} for {all:?}", file.name);
                continue;
            }
            assert!(there(Target::Cubin(arch)), "{} for sm_{arch}", file.name);
            assert!(there(Target::Ptx(90)), "PTX of {}", file.name);
        }
        for kernel in ALL {
            let there = RESOURCES.iter().any(|r| r.kernel == kernel.name && r.arch == arch);
            // Clusters came with sm_90.
            let possible =
                SOURCES[kernel.source].only_for.map_or(kernel.cluster == 1 || arch >= 90, |only| only == arch);
            assert_eq!(there, possible, "{} for sm_{arch}", kernel.name);
        }
    }
}

#[test]
fn what_the_build_compressed_is_unpacked_as_what_it_is() {
    for image in IMAGES {
        let name = SOURCES[image.source].name;
        let code = image.unpacked(name).unwrap();
        let good = match image.target {
            Target::Cubin(_) | Target::Only(_) => code.starts_with(b"\x7fELF"),
            Target::Ptx(arch) => {
                let text = CStr::from_bytes_with_nul(&code).unwrap().to_str().unwrap();
                text.contains(&format!(".target sm_{arch}"))
            }
        };
        assert!(good && image.packed.len() < code.len(), "{name} for {:?}", image.target);
    }
}

/// A row for each kernel, for each architecture its registers, bytes that spill and bytes of static shared memory. Continuous integration
/// shows it.
fn table() -> String {
    let mut text = format!("{:<28} {:>22} {:>22}", "kernel", "sm_80 regs spill shared", "sm_90 regs spill shared");
    for kernel in ALL {
        text += &format!("\n{:<28}", kernel.name);
        for arch in [80, 90] {
            text += &match RESOURCES.iter().find(|r| r.kernel == kernel.name && r.arch == arch) {
                Some(r) => format!(" {:>10} {:>5} {:>6}", r.registers, r.spills, r.shared),
                None => format!(" {:>10} {:>5} {:>6}", "-", "-", "-"),
            };
        }
    }
    text
}

#[test]
fn no_kernel_spills() {
    if !compiled() {
        return;
    }
    println!("{}", table());
    let spilling: Vec<_> = RESOURCES.iter().filter(|r| r.spills > 0).collect();
    assert!(spilling.is_empty(), "{spilling:?}");
    // A block of the most threads must find its registers.
    for r in RESOURCES {
        let kernel = ALL.iter().find(|k| k.name == r.kernel).expect("a kernel of the tables");
        assert!(r.registers * kernel.max_threads <= 65_536, "{r:?} with {} threads", kernel.max_threads);
    }
}
