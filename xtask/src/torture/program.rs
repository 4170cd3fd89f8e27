//! Starts the program: with a time limit, without the user's settings, and with `faults.c` preloaded.

use super::system;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

/// Seconds that one part of a small run may take on a busy machine.
const SECONDS: u32 = 120;

pub struct Program {
    pub path: PathBuf,
    preload: PathBuf,
    /// The program supports `train --resume-if-there`.
    pub resumes_if_there: bool,
}

impl Program {
    /// Builds the program, unless one is given, and the library that is preloaded into it.
    pub fn prepare(given: Option<&Path>) -> Result<Program, String> {
        let path = match given {
            Some(path) => path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))?,
            None => {
                let built = crate::cargo().args(["build", "--quiet", "--locked", "--package", "normscape"]).status();
                match built {
                    Ok(status) if status.success() => {}
                    Ok(_) => return Err("the program does not build".into()),
                    Err(e) => return Err(format!("cargo: {e}")),
                }
                crate::target().join("debug/normscape")
            }
        };
        let folder = crate::target().join("torture");
        std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let preload = folder.join("faults.so");
        let source = crate::root().join("xtask/src/torture/faults.c");
        let mut compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(&preload).arg(source).arg("-ldl");
        match compiler.status() {
            Ok(status) if status.success() => {}
            Ok(_) => return Err("faults.c does not compile".into()),
            Err(e) => return Err(format!("cc: {e}; a C compiler is needed")),
        }
        let mut program = Program { path, preload, resumes_if_there: false };
        let help = program.command(&folder, &["train", "--help"]).output().map_err(|e| program.refused(&e))?;
        program.resumes_if_there = String::from_utf8_lossy(&help.stdout).contains("--resume-if-there");
        Ok(program)
    }

    /// The program with these arguments, in a folder. The preloaded library does nothing unless its variables are set.
    pub fn command(&self, dir: &Path, args: &[impl AsRef<str>]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(args.iter().map(AsRef::as_ref)).current_dir(dir).env("HOME", dir).env("TMPDIR", dir);
        command.env_remove("NORMSCAPE_DATA").env_remove("NORMSCAPE_CACHE").env_remove("XDG_CACHE_HOME");
        command.env("LD_PRELOAD", &self.preload).stdin(Stdio::null());
        for name in ["UNDER", "FAIL", "ERRNO", "LASTING", "LOG", "WHERE"] {
            command.env_remove(format!("TORTURE_{name}"));
        }
        system::bounded(&mut command, SECONDS);
        command
    }

    /// Runs the program to its end, and requires success.
    pub fn done(&self, dir: &Path, args: &[impl AsRef<str>]) -> Result<Output, String> {
        let out = self.command(dir, args).output().map_err(|e| self.refused(&e))?;
        match out.status.success() {
            true => Ok(out),
            false => Err(format!("{}: {}", ended(out.status), text(&out.stderr))),
        }
    }

    pub fn refused(&self, e: &std::io::Error) -> String {
        format!("{}: {e}", self.path.display())
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// How a process ended, in words.
pub fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (_, Some(14)) => format!("still running after {SECONDS} s"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => "no status".into(),
    }
}

/// A process's output, on one line.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().replace('\n', " | ")
}
