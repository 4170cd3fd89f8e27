//! Kernels to cubins and PTX by NVRTC, where it is found: embedded in the program, with what each kernel takes of a multiprocessor.

use crate::launchers::File;
use crate::nvrtc::{Compiled, Nvrtc, Target, Usage};
use crate::signature::only_for;
use lzma_rust2::{LzipOptions, LzipWriter};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What kernels are compiled for. A device of another generation compiles the PTX for itself.
const TARGETS: [Target; 3] = [Target::Cubin(80), Target::Cubin(90), Target::Ptx(90)];
/// What a release is compiled for too. Other builds are made often, and wait for the compiler of kernels longer than for anything else; on such a
/// device they have the PTX.
const OF_A_RELEASE: [Target; 2] = [Target::Cubin(100), Target::Cubin(120)];

/// What a file is compiled for.
fn targets(file: &File) -> Vec<Target> {
    match only_for(&file.text) {
        Some(arch) => vec![Target::Only(arch)],
        None => {
            let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
            TARGETS.into_iter().chain(OF_A_RELEASE.into_iter().filter(|_| release)).collect()
        }
    }
}

/// One file (and its place) for one target.
type Job<'a> = ((usize, &'a File), Target);

/// Compiles what has changed and gives the tables `IMAGES` and `RESOURCES` as Rust text. Errors: NVRTC's log.
pub fn generate(files: &[File], headers: &[(&str, &str)], out: &Path, packages: PathBuf) -> Result<String, String> {
    println!("cargo:rerun-if-env-changed=NVRTC_PATH");
    println!("cargo:rerun-if-env-changed=VIRTUAL_ENV");
    println!("cargo:rerun-if-env-changed=CUDA_HOME");
    println!("cargo:rerun-if-env-changed=CUDA_PATH");
    // What is not there counts as changed at every build; `cargo xtask cuda`, which puts it there, has this script run again.
    let installed = packages.join("nvidia");
    if installed.exists() {
        println!("cargo:rerun-if-changed={}", installed.display());
    }
    let (mut images, mut resources) = (String::new(), String::new());
    match Nvrtc::find(Some(packages)) {
        None => println!(
            "cargo:warning=NVRTC was not found: kernels are compiled at first use (cargo xtask cuda fetches it)"
        ),
        Some(nvrtc) => {
            let of = |f: (usize, _)| targets(f.1).into_iter().map(move |target| (f, target));
            let jobs: Vec<Job<'_>> = files.iter().enumerate().flat_map(of).collect();
            // NVRTC compiles in several threads at once; two are what a small machine has.
            let (even, odd): (Vec<_>, Vec<_>) = jobs.iter().enumerate().partition(|(i, _)| i % 2 == 0);
            let work = |part: Vec<(usize, &Job<'_>)>| -> Result<Vec<_>, String> {
                part.into_iter()
                    .map(|(i, &((source, file), target))| {
                        Ok(one(&nvrtc, file, headers, target, out)?.map(|made| (i, source, target, made)))
                    })
                    .filter_map(Result::transpose)
                    .collect()
            };
            let mut made = std::thread::scope(|scope| {
                let other = scope.spawn(|| work(odd));
                let mut made = work(even)?;
                made.extend(other.join().map_err(|_| "a compilation panicked".to_owned())??);
                Ok::<_, String>(made)
            })?;
            made.sort_by_key(|&(i, ..)| i);
            for (_, source, target, Made { packed, bytes, usage }) in made {
                writeln!(
                    images,
                    "    Image {{ source: {source}, target: Target::{target:?}, packed: include_bytes!({packed:?}), bytes: {bytes} }},"
                )
                .map_err(|e| e.to_string())?;
                let Some(arch) = target.machine() else { continue };
                for Usage { kernel, registers, spills, shared } in usage {
                    writeln!(
                        resources,
                        "    Resources {{ kernel: {kernel:?}, arch: {arch}, registers: {registers}, spills: {spills}, shared: {shared} }},"
                    )
                    .map_err(|e| e.to_string())?;
                }
            }
        }
    }
    Ok(format!(
        "/// What the build compiled; empty where it found no NVRTC.\npub static IMAGES: &[Image] = &[\n{images}];\n\
         /// What every kernel takes, by architecture.\npub static RESOURCES: &[Resources] = &[\n{resources}];\n"
    ))
}

/// One file's code for one target.
struct Made {
    /// The file that holds it, compressed.
    packed: PathBuf,
    /// Its bytes before that.
    bytes: usize,
    usage: Vec<Usage>,
}

/// One file for one target: from an earlier build where nothing has changed since. Nothing where this NVRTC does not know the target.
fn one(
    nvrtc: &Nvrtc,
    file: &File,
    headers: &[(&str, &str)],
    target: Target,
    out: &Path,
) -> Result<Option<Made>, String> {
    let refuse = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let mut hash = DefaultHasher::new();
    (&file.text, headers, target.options(false), nvrtc.describe()).hash(&mut hash);
    let stem = out.join(format!("{}-{:016x}", file.name, hash.finish()));
    let (packed, table) = (stem.with_extension("lz"), stem.with_extension("txt"));
    if let (true, Ok(lines)) = (packed.exists(), std::fs::read_to_string(&table)) {
        let usage = |line: &str| {
            let mut words = line.split(' ');
            let kernel = words.next()?.to_owned();
            let mut number = || words.next()?.parse().ok();
            Some(Usage { kernel, registers: number()?, spills: number()?, shared: number()? })
        };
        // The first line has the size.
        if let Some(bytes) = lines.lines().next().and_then(|line| line.parse().ok()) {
            return Ok(Some(Made { packed, bytes, usage: lines.lines().skip(1).filter_map(usage).collect() }));
        }
    }
    let Compiled { code, usage } = match nvrtc.compile(&file.name, &file.text, headers, target, false) {
        Ok(compiled) => compiled,
        // An older compiler than the architecture: it names the option.
        Err(log) if OF_A_RELEASE.contains(&target) && log.contains("--gpu-architecture") => return Ok(None),
        Err(log) => return Err(log),
    };
    let mut options = LzipOptions::with_preset(9);
    // A file refers to nothing before itself: a larger dictionary would be memory for nothing where it is unpacked.
    options.lzma_options.dict_size = u32::try_from(code.len().next_power_of_two()).unwrap_or(u32::MAX);
    let mut pack = LzipWriter::new(Vec::new(), options);
    let small = pack.write_all(&code).and_then(|()| pack.finish()).map_err(|e| refuse(&packed, e))?;
    std::fs::write(&packed, small).map_err(|e| refuse(&packed, e))?;
    let line = |u: &Usage| format!("{} {} {} {}\n", u.kernel, u.registers, u.spills, u.shared);
    let text = format!("{}\n{}", code.len(), usage.iter().map(line).collect::<String>());
    std::fs::write(&table, text).map_err(|e| refuse(&table, e))?;
    Ok(Some(Made { packed, bytes: code.len(), usage }))
}
