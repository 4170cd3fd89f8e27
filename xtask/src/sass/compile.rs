//! The kernels' files to machine code and its listing, one file for one architecture at a time; what has not changed is kept in `target/sass`.

use super::nvrtc::{Compiled, Nvrtc, Target, Usage};
use super::signature::{self, Signature};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Reads what ptxas says: what is kept was read by the same text.
const READER: &str = include_str!("../../../src/runtime/cuda/nvrtc.rs");

/// Lines that are shown of a compiler's log: what goes wrong once does so in every copy of a loop.
const MOST_LINES: usize = 12;

/// A file of kernels.
pub struct File {
    /// Its name without `.cu`.
    pub name: String,
    /// Its text, with the entries of its kernels of T at the end: what the build compiles too.
    text: String,
    /// The one architecture that it is for; none where it is for all.
    only_for: Option<u32>,
    /// What it holds.
    pub kernels: Vec<Signature>,
}

/// All files of kernels, and the names and texts of the headers that they include.
pub struct Sources {
    /// The files, by name.
    pub files: Vec<File>,
    headers: Vec<(String, String)>,
}

impl Sources {
    /// Reads the folder of kernels. Errors: a file that cannot be read, and a kernel outside the grammar.
    pub fn read(folder: &Path) -> Result<Sources, String> {
        let mut files = Vec::new();
        for (name, text) in texts(folder, "cu")? {
            let kernels = signature::read(&text).map_err(|m| format!("kernels/{name}.cu:{}: {}", m.line, m.problem))?;
            let only_for = signature::only_for(&text);
            files.push(File { text: signature::with_entries(&text, &kernels), name, only_for, kernels });
        }
        let headers = texts(folder, "cuh")?;
        Ok(Sources { files, headers: headers.into_iter().map(|(name, text)| (name + ".cuh", text)).collect() })
    }
}

/// The files of a folder with an extension, by name, with their text.
fn texts(folder: &Path, extension: &str) -> Result<Vec<(String, String)>, String> {
    let refuse = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| refuse(folder, e))? {
        let path = entry.map_err(|e| refuse(folder, e))?.path();
        if let (Some(name), true) = (path.file_stem(), path.extension().is_some_and(|e| e == extension)) {
            let text = std::fs::read_to_string(&path).map_err(|e| refuse(&path, e))?;
            found.push((name.to_string_lossy().into_owned(), text));
        }
    }
    found.sort();
    Ok(found)
}

/// One file's machine code for one architecture.
pub struct Code {
    /// The file's place among the sources.
    pub file: usize,
    /// The architecture, as 90 for sm_90.
    pub architecture: u32,
    /// What ptxas says of each kernel.
    pub usage: Vec<Usage>,
    /// What nvdisasm says of all.
    pub listing: String,
    /// The code itself.
    pub cubin: Vec<u8>,
}

/// What compiles and takes apart.
pub struct Tools {
    nvrtc: Nvrtc,
    disassembler: PathBuf,
    /// Where results are kept.
    kept: PathBuf,
}

/// Whether this is the log of a compiler that does not know the architecture.
fn unknown_architecture(log: &str) -> bool {
    log.contains("--gpu-architecture")
}

impl Tools {
    /// Finds them, and fetches what is missing. Errors: why it cannot be fetched or opened.
    pub fn find() -> Result<Tools, String> {
        let place = crate::cuda::folder();
        let nvrtc = match Nvrtc::find(Some(place.clone())) {
            Some(nvrtc) => nvrtc,
            None => {
                crate::cuda::fetch()?;
                Nvrtc::find(Some(place.clone()))
                    .ok_or_else(|| format!("{} has no NVRTC that opens", place.display()))?
            }
        };
        let kept = crate::target().join("sass");
        std::fs::create_dir_all(&kept).map_err(|e| format!("{}: {e}", kept.display()))?;
        Ok(Tools { nvrtc, disassembler: crate::cuda::disassembler()?, kept })
    }

    /// The compiler's version and place.
    pub fn compiler(&self) -> String {
        self.nvrtc.describe()
    }

    /// Compiles every file for every architecture that it is for and the compiler knows. Gives the code, and the architectures that it does not know.
    /// Errors: what the compiler says of a kernel, a tool that fails, a folder that cannot be written.
    pub fn compile(&self, sources: &Sources, architectures: &[u32]) -> Result<(Vec<Code>, Vec<u32>), String> {
        let place = |file: usize| {
            let is_for = move |a: &&u32| sources.files[file].only_for.is_none_or(|only| only == **a);
            architectures.iter().filter(is_for).map(move |&architecture| (file, architecture))
        };
        let jobs: Vec<_> = (0..sources.files.len()).flat_map(place).collect();
        // NVRTC compiles in several threads at once; two are what a small machine has.
        let next = std::sync::atomic::AtomicUsize::new(0);
        let work = || -> Result<Vec<_>, String> {
            let mut made = Vec::new();
            while let Some(&(file, architecture)) = jobs.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                made.push((file, architecture, self.one(sources, file, architecture)?));
            }
            Ok(made)
        };
        let mut all = std::thread::scope(|scope| {
            let other = scope.spawn(work);
            let mut all = work()?;
            all.extend(other.join().map_err(|_| "a compilation panicked".to_owned())??);
            Ok::<_, String>(all)
        })?;
        all.sort_by_key(|&(file, architecture, _)| (file, architecture));
        let mut unknown: Vec<u32> = all.iter().filter(|(.., code)| code.is_none()).map(|&(_, a, _)| a).collect();
        unknown.sort_unstable();
        unknown.dedup();
        Ok((all.into_iter().filter_map(|(.., code)| code).collect(), unknown))
    }

    /// One file for one architecture; nothing where the compiler does not know it.
    fn one(&self, sources: &Sources, file: usize, architecture: u32) -> Result<Option<Code>, String> {
        let File { name, text, only_for, .. } = &sources.files[file];
        let target = only_for.map_or(Target::Cubin(architecture), Target::Only);
        let headers: Vec<_> = sources.headers.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let mut hash = Sha256::new();
        for part in [READER, &self.compiler(), crate::cuda::disassembler_version(), text]
            .into_iter()
            .chain(headers.iter().flat_map(|&(name, text)| [name, text]))
            .chain(target.options(false).iter().map(String::as_str))
        {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let prefix = format!("{name}-sm_{architecture}-");
        let [cubin, table, listing] =
            ["cubin", "usage", "sass"].map(|end| self.kept.join(format!("{prefix}{hash}.{end}")));
        // The table comes last: where it is, the others are.
        let kept = |path| std::fs::read_to_string(path);
        if let (Ok(usage), Ok(listing), Ok(cubin)) = (kept(&table), kept(&listing), std::fs::read(&cubin)) {
            return Ok(Some(Code { file, architecture, usage: from_lines(&usage), listing, cubin }));
        }
        let Compiled { code, usage } = match self.nvrtc.compile(name, text, &headers, target, false) {
            Ok(compiled) => compiled,
            Err(log) if unknown_architecture(&log) => return Ok(None),
            Err(log) => {
                let first: Vec<_> = log.lines().take(MOST_LINES).collect();
                let what = first.join("\n");
                return Err(format!("kernels/{name}.cu does not compile for sm_{architecture}:\n{what}"));
            }
        };
        self.forget(&prefix, &hash);
        let write = |path: &Path, bytes: &[u8]| {
            // Whole or not at all: another command may look at the same time.
            let partial = path.with_extension(format!("{}.partial", std::process::id()));
            let written = std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, path));
            written.map_err(|e| format!("{}: {e}", path.display()))
        };
        write(&cubin, &code)?;
        let text = self.disassemble(&cubin)?;
        write(&listing, text.as_bytes())?;
        write(&table, to_lines(&usage).as_bytes())?;
        Ok(Some(Code { file, architecture, usage, listing: text, cubin: code }))
    }

    /// Removes what is kept of an older text of a file, with another hash.
    fn forget(&self, prefix: &str, hash: &str) {
        let Ok(entries) = std::fs::read_dir(&self.kept) else { return };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name();
            if name.to_string_lossy().strip_prefix(prefix).is_some_and(|rest| !rest.starts_with(hash)) {
                // What stays costs room and nothing else.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn disassemble(&self, cubin: &Path) -> Result<String, String> {
        let program = self.disassembler.display();
        let mut command = Command::new(&self.disassembler);
        command.arg("-c").arg(cubin).stdin(Stdio::null());
        let out = command.output().map_err(|e| format!("{program}: {e}"))?;
        match out.status.success() {
            true => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
            false => Err(format!("{program} -c {}: {}", cubin.display(), String::from_utf8_lossy(&out.stderr).trim())),
        }
    }
}

fn to_lines(usage: &[Usage]) -> String {
    let mut out = String::new();
    for Usage { kernel, registers, spills, shared } in usage {
        writeln!(out, "{kernel} {registers} {spills} {shared}").unwrap();
    }
    out
}

fn from_lines(text: &str) -> Vec<Usage> {
    let usage = |line: &str| {
        let mut words = line.split(' ');
        let kernel = words.next()?.to_owned();
        let mut number = || words.next()?.parse().ok();
        Some(Usage { kernel, registers: number()?, spills: number()?, shared: number()? })
    };
    text.lines().filter_map(usage).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_as_it_was() {
        let usage = vec![
            Usage { kernel: "axpy".into(), registers: 14, spills: 0, shared: 0 },
            Usage { kernel: "stem_f32".into(), registers: 128, spills: 76, shared: 16_932 },
        ];
        assert_eq!(from_lines(&to_lines(&usage)), usage);
    }

    #[test]
    fn an_architecture_that_a_compiler_does_not_know_is_told_from_a_mistake() {
        assert!(unknown_architecture("nvrtc: error: invalid value for --gpu-architecture (-arch)\n"));
        assert!(!unknown_architecture("kernels/sgd.cu(3): error: identifier \"x\" is undefined\n"));
    }
}
