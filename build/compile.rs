//! Kernels to cubins and PTX by NVRTC, where it is found: embedded in the program, with what each kernel takes of a multiprocessor.

use crate::launchers::File;
use crate::nvrtc::{Compiled, Nvrtc, Target, Usage};
use crate::signature::only_for;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// What kernels are compiled for. Newer devices than the last compile its PTX for themselves.
const TARGETS: [Target; 3] = [Target::Cubin(80), Target::Cubin(90), Target::Ptx(90)];

/// What a file is compiled for.
fn targets(file: &File) -> Vec<Target> {
    match only_for(&file.text) {
        Some(arch) => vec![Target::Only(arch)],
        None => TARGETS.to_vec(),
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
                        Ok((i, source, target, one(&nvrtc, file, headers, target, out)?))
                    })
                    .collect()
            };
            let mut made = std::thread::scope(|scope| {
                let other = scope.spawn(|| work(odd));
                let mut made = work(even)?;
                made.extend(other.join().map_err(|_| "a compilation panicked".to_owned())??);
                Ok::<_, String>(made)
            })?;
            made.sort_by_key(|&(i, ..)| i);
            for (_, source, target, (path, usage)) in made {
                writeln!(
                    images,
                    "    Image {{ source: {source}, target: Target::{target:?}, code: include_bytes!({path:?}) }},"
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

/// One file for one target: from an earlier build where nothing has changed since.
fn one(
    nvrtc: &Nvrtc,
    file: &File,
    headers: &[(&str, &str)],
    target: Target,
    out: &Path,
) -> Result<(PathBuf, Vec<Usage>), String> {
    let refuse = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let mut hash = DefaultHasher::new();
    (&file.text, headers, target.options(false), nvrtc.describe()).hash(&mut hash);
    let stem = out.join(format!("{}-{:016x}", file.name, hash.finish()));
    let (code, table) = (stem.with_extension("bin"), stem.with_extension("txt"));
    if let (true, Ok(lines)) = (code.exists(), std::fs::read_to_string(&table)) {
        let usage = |line: &str| {
            let mut words = line.split(' ');
            let kernel = words.next()?.to_owned();
            let mut number = || words.next()?.parse().ok();
            Some(Usage { kernel, registers: number()?, spills: number()?, shared: number()? })
        };
        return Ok((code, lines.lines().filter_map(usage).collect()));
    }
    let Compiled { code: bytes, usage } = nvrtc.compile(&file.name, &file.text, headers, target, false)?;
    std::fs::write(&code, bytes).map_err(|e| refuse(&code, e))?;
    let line = |u: &Usage| format!("{} {} {} {}\n", u.kernel, u.registers, u.spills, u.shared);
    std::fs::write(&table, usage.iter().map(line).collect::<String>()).map_err(|e| refuse(&table, e))?;
    Ok((code, usage))
}
