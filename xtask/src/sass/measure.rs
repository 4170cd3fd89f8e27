//! What there is to say of each kernel's machine code.

use super::classes::Counts;
use super::compile::{Code, Sources};
use super::controls::{self, Control};
use super::early::early;
use super::listing::{self, Function};
use super::loops::{self, Loop};
use super::signature::Signature;

/// A kernel on an architecture.
pub struct Measured {
    /// The kernel's name in the machine code.
    pub kernel: String,
    /// The architecture, as 90 for sm_90.
    pub architecture: u32,
    /// Threads that a block may have.
    pub threads: u32,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes that a thread spills, stores and loads together.
    pub spills: u32,
    /// Bytes of static shared memory of a block.
    pub shared: u32,
    /// Its machine code.
    pub function: Function,
    /// Instructions that touch global memory before it has waited for the launch before its own.
    pub early: u32,
    /// Of all of it.
    pub counts: Counts,
    /// Its loops, in order of addresses.
    pub loops: Vec<Loop>,
    /// What each of its instructions waits for; empty where the cubin cannot be read.
    pub controls: Vec<Control>,
}

/// Names of all kernels, in order of the files.
pub fn names(sources: &Sources) -> Vec<String> {
    let kernels = sources.files.iter().flat_map(|file| &file.kernels);
    kernels.flat_map(Signature::entries).map(|(name, _)| name).collect()
}

/// Every kernel of some code. Errors: a listing that is none, and a kernel that it lacks though ptxas tells of it.
pub fn all(sources: &Sources, codes: &[Code]) -> Result<Vec<Measured>, String> {
    let mut found = Vec::new();
    for Code { file, architecture, usage, listing, cubin } in codes {
        let file = &sources.files[*file];
        let told = |what: String| format!("kernels/{}.cu, sm_{architecture}: {what}", file.name);
        let mut functions = listing::read(listing).map_err(told)?;
        for kernel in &file.kernels {
            for (name, _) in kernel.entries() {
                // A kernel may be left out where the architecture lacks what it needs, as clusters: then ptxas has not seen it either.
                let Some(usage) = usage.iter().find(|usage| usage.kernel == name) else { continue };
                let lacks = || told(format!("no kernel {name} in the machine code"));
                let at = functions.iter().position(|function| function.name == name).ok_or_else(lacks)?;
                let function = functions.swap_remove(at);
                found.push(Measured {
                    kernel: name,
                    architecture: *architecture,
                    threads: kernel.bounds.first().copied().unwrap_or(1024),
                    registers: usage.registers,
                    spills: usage.spills,
                    shared: usage.shared,
                    early: early(*architecture, &function),
                    counts: Counts::of(&function.instructions),
                    loops: loops::find(&function),
                    controls: controls::of(cubin, &function.name).unwrap_or_default(),
                    function,
                });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
impl Measured {
    /// A kernel of such a listing that takes nothing else.
    pub fn of_listing(text: &str) -> Measured {
        let function = listing::read(text).unwrap().remove(0);
        Measured {
            kernel: function.name.clone(),
            architecture: 90,
            threads: 32,
            registers: 0,
            spills: 0,
            shared: 0,
            early: early(90, &function),
            counts: Counts::of(&function.instructions),
            loops: loops::find(&function),
            controls: Vec::new(),
            function,
        }
    }
}
