//! `cargo xtask sass`: the machine code of every kernel, held to `xtask/budgets.toml`. No GPU is needed.
//!
//! - `compile.rs`: NVRTC and nvdisasm · `listing.rs`: reads what the latter prints
//! - `controls.rs`: what instructions wait for · `loops.rs`: finds loops · `classes.rs`: counts kinds of instructions · `early.rs`: what
//!   comes before the wait for the launch before · `occupancy.rs`: blocks that a multiprocessor holds
//! - `measure.rs`: all that of every kernel · `budget.rs`: the file of budgets, and what breaks one · `report.rs`: what is printed

mod budget;
mod check;
mod classes;
mod compile;
mod controls;
mod early;
mod listing;
mod loops;
mod measure;
#[allow(dead_code, reason = "the program uses more of it")]
#[path = "../../../src/runtime/cuda/nvrtc.rs"]
mod nvrtc;
mod occupancy;
#[path = "../../../src/runtime/cuda/places.rs"]
mod places;
mod report;
mod rule;
#[allow(dead_code, reason = "the build and the library read more of it")]
#[path = "../../../src/runtime/cuda/signature.rs"]
mod signature;

use budget::Budgets;
use check::Checked;
use compile::{Sources, Tools};
pub use controls::Control;
pub use listing::Instruction;
pub use loops::basic_blocks;
pub use measure::Measured;
pub use occupancy::blocks as resident_blocks;
pub use report::aligned;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// What is asked for.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    /// A kernel's name, or one without its `_f32` or `_bf16`.
    kernel: Option<String>,
    architecture: Option<u32>,
    json: bool,
    /// Kernels without a budget too.
    all: bool,
}

/// Every kernel as the model looks at it, and the compiler. Errors: as those of the command.
pub fn machine_code(architecture: u32) -> Result<(String, Vec<Measured>), String> {
    let sources = Sources::read(&crate::root().join("kernels"))?;
    let tools = Tools::find()?;
    let (codes, unknown) = tools.compile(&sources, &[architecture])?;
    if !unknown.is_empty() {
        return Err(format!("{} does not know sm_{architecture}", tools.compiler()));
    }
    Ok((tools.compiler(), measure::all(&sources, &codes)?))
}

fn asked(args: &[OsString]) -> Result<Asked, String> {
    let mut asked = Asked::default();
    let mut args = args.iter().map(|arg| arg.to_string_lossy().into_owned());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => asked.json = true,
            "--all" => asked.all = true,
            "--arch" => {
                let value = args.next().ok_or("--arch is followed by an architecture, as 90")?;
                let number = value.strip_prefix("sm_").unwrap_or(&value).parse();
                asked.architecture = Some(number.map_err(|_| format!("--arch {value} is no architecture; 90 is one"))?);
            }
            flag if flag.starts_with('-') => {
                return Err(format!("no option '{flag}'; there are --json, --all and --arch N"));
            }
            _ if asked.kernel.is_some() => return Err(format!("one kernel at a time; '{arg}' is a second")),
            _ => asked.kernel = Some(arg),
        }
    }
    Ok(asked)
}

/// 0 where every budget is kept, 1 where one is not, 2 where that cannot be told.
pub fn run(args: &[OsString]) -> ExitCode {
    crate::verdict(asked(args).and_then(|asked| held(&asked)))
}

/// Whether all budgets are kept.
fn held(asked: &Asked) -> Result<bool, String> {
    let folder = crate::root().join("kernels");
    let sources = Sources::read(&folder)?;
    let names = measure::names(&sources);
    let place = crate::root().join("xtask/budgets.toml");
    let text = std::fs::read_to_string(&place).map_err(|e| format!("{}: {e}", place.display()))?;
    let budgets = Budgets::read(&text, &names).map_err(|e| format!("xtask/budgets.toml: {e}"))?;
    if let Some(kernel) = asked.kernel.as_ref().filter(|kernel| !names.iter().any(|name| means(kernel, name))) {
        return Err(format!("no kernel is called {kernel}"));
    }
    let tools = Tools::find()?;
    let architectures = match asked.architecture {
        Some(one) => vec![one],
        None => budgets.architectures.clone(),
    };
    let (codes, unknown) = tools.compile(&sources, &architectures)?;
    if let Some(one) = unknown.iter().find(|&&a| a == budgets.measured_on || asked.architecture == Some(a)) {
        return Err(format!("{} does not know sm_{one}", tools.compiler()));
    }
    let measured: Vec<Measured> = measure::all(&sources, &codes)?;
    let there = |name: &String| measured.iter().any(|m| m.kernel == *name && m.architecture == budgets.measured_on);
    if let Some(name) = names.iter().find(|name| architectures.contains(&budgets.measured_on) && !there(name)) {
        return Err(format!("{name} is not there on sm_{}", budgets.measured_on));
    }
    let wanted = measured.iter().filter(|m| asked.kernel.as_ref().is_none_or(|kernel| means(kernel, &m.kernel)));
    let check = |m| budgets.check(m).map_err(|e| format!("xtask/budgets.toml: {e}"));
    let checked = wanted.map(check).collect::<Result<Vec<_>, _>>()?;
    let breaches: Vec<String> = checked.iter().flat_map(Checked::breaches).collect();
    let compiler = tools.compiler();
    let mut out = String::new();
    if asked.json {
        out += &report::json(&compiler, &checked.iter().collect::<Vec<_>>(), &breaches);
    } else {
        // One kernel is shown on all architectures; of all, those with a budget where it holds, and what breaks one anywhere.
        let shown = |c: &&Checked<'_>| {
            let here = asked.architecture.is_some() || c.of.architecture == budgets.measured_on;
            asked.kernel.is_some() || (here && (asked.all || c.budgeted)) || !c.breaches().is_empty()
        };
        let rows: Vec<_> = checked.iter().filter(shown).collect();
        out += &format!("{compiler}\n{}", report::table(&rows));
        let listed = asked.architecture.unwrap_or(budgets.measured_on);
        if asked.kernel.is_some() {
            checked.iter().filter(|c| c.of.architecture == listed).for_each(|c| out += &report::listing(c));
        }
        out += &counted(&checked, &unknown);
        if !breaches.is_empty() && !compiler.starts_with(&format!("NVRTC {} ", budgets.compiler)) {
            out += &format!("The budgets are those of NVRTC {}; another makes other code.\n", budgets.compiler);
        }
        out += &breaches.iter().map(|line| format!("{line}\n")).collect::<String>();
    }
    match std::io::stdout().write_all(out.as_bytes()) {
        // Whoever reads may have seen enough.
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(format!("standard output: {e}")),
        _ => Ok(breaches.is_empty()),
    }
}

/// Whether somebody who says `asked` means the kernel `name`.
fn means(asked: &str, name: &str) -> bool {
    let rest = name.strip_prefix(asked);
    rest.is_some_and(|rest| ["", "_f32", "_bf16"].contains(&rest))
}

/// A line for each architecture.
fn counted(checked: &[Checked<'_>], unknown: &[u32]) -> String {
    let mut lines: BTreeMap<u32, (usize, usize, Vec<String>)> = BTreeMap::new();
    for kernel in checked {
        let (all, budgeted, spilling) = lines.entry(kernel.of.architecture).or_default();
        *all += 1;
        *budgeted += usize::from(kernel.budgeted);
        if kernel.of.spills > 0 {
            spilling.push(format!("{} {} bytes", kernel.of.kernel, kernel.of.spills));
        }
    }
    let mut out = String::new();
    for (architecture, (all, budgeted, spilling)) in lines {
        let spilling =
            if spilling.is_empty() { "none spills".into() } else { format!("spilling: {}", spilling.join(", ")) };
        let budgeted = if budgeted > 0 { format!(", {budgeted} with a budget") } else { String::new() };
        let kernels = if all == 1 { "kernel" } else { "kernels" };
        out += &format!("sm_{architecture}: {all} {kernels}{budgeted}; {spilling}\n");
    }
    for architecture in unknown {
        out += &format!("sm_{architecture}: not looked at, since this NVRTC does not know it\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str]) -> Result<Asked, String> {
        asked(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_read() {
        let wanted = Asked { kernel: Some("product_mma".into()), architecture: Some(80), json: true, all: false };
        assert_eq!(of(&["product_mma", "--arch", "sm_80", "--json"]), Ok(wanted));
        assert_eq!(of(&["--arch", "90"]).map(|asked| asked.architecture), Ok(Some(90)));
        for args in [&["--arch"][..], &["--arch", "hopper"], &["--write"], &["axpy", "recast"]] {
            assert!(of(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn a_name_means_its_entries_of_both_types() {
        assert!(means("product_mma", "product_mma_bf16") && means("product_mma_f32", "product_mma_f32"));
        assert!(!means("product_mma", "product_mma_64_f32"));
    }
}
