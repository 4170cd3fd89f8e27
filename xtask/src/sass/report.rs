//! What `cargo xtask sass` prints: a table, JSON, or a loop's listing.

use super::check::{Check, Checked, number};
use super::classes::{Class, Counts};
use super::listing::Instruction;
use super::loops::Loop;
use serde_json::{Value, json};
use std::fmt::Write;

/// A row for each kernel, and one more for each further loop. Where there is a limit it stands behind ≤ or ≥.
pub fn table(checked: &[&Checked<'_>]) -> String {
    let head = ["kernel", "on", "registers", "blocks", "loop", "instructions", "limits", "of which"];
    let mut rows = vec![head.map(String::from)];
    for kernel in checked {
        let told = |what: &str, found: u32| {
            let limited = kernel.checks.iter().find(|check| check.what == what);
            limited.map_or(found.to_string(), |check| limit(check, ""))
        };
        let of = kernel.of;
        let (registers, blocks) = (told(REGISTERS, of.registers), told(BLOCKS, kernel.blocks));
        let whole = worth_showing(kernel.checks.iter().filter(|check| ![REGISTERS, BLOCKS].contains(&&*check.what)));
        let mut first = Some([of.kernel.clone(), format!("sm_{}", of.architecture), registers, blocks]);
        let mut row = |tail: [String; 4]| {
            let [a, b, c, d] = first.take().unwrap_or_default();
            let [e, f, g, h] = tail;
            rows.push([a, b, c, d, e, f, g, h]);
        };
        if !whole.is_empty() || kernel.loops.is_empty() {
            let all = of.counts.get(Class::Instructions).to_string();
            row(["all of it".into(), all, whole, String::new()]);
        }
        for l in &kernel.loops {
            let all = l.of.counts.get(Class::Instructions).to_string();
            row([place(l.of), all, worth_showing(l.checks.iter()), of_which(&l.of.counts)]);
        }
    }
    aligned(&rows)
}

const REGISTERS: &str = "registers";
const BLOCKS: &str = "blocks a multiprocessor";

fn limit(check: &Check, what: &str) -> String {
    let sign = if check.least { "≥" } else { "≤" };
    let mark = if check.holds() { "" } else { " !" };
    format!("{}{what} {sign} {}{mark}", number(check.found), number(check.allowed))
}

/// The limits in words, without those that are 0 as they have to be.
fn worth_showing<'c>(checks: impl Iterator<Item = &'c Check>) -> String {
    let shown = checks.filter(|check| check.found > 0.0 || check.allowed > 0.0);
    shown.map(|check| limit(check, &format!(" {}", check.what))).collect::<Vec<_>>().join(", ")
}

fn place(of: &Loop) -> String {
    format!("{:#x}–{:#x}", of.begin, of.end)
}

fn of_which(counts: &Counts) -> String {
    let classes = counts.iter().filter(|&(class, _)| class != Class::Instructions);
    classes.map(|(class, count)| format!("{count} {}", class.name())).collect::<Vec<_>>().join(", ")
}

/// Columns under one another; the last is as long as it is.
pub fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut out = String::new();
    for row in rows {
        let line: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", line.join("  ").trim_end()).unwrap();
    }
    out
}

/// Everything, for programs.
pub fn json(compiler: &str, checked: &[&Checked<'_>], breaches: &[String]) -> String {
    let kernels: Vec<Value> = checked
        .iter()
        .map(|kernel| {
            let loops: Vec<Value> = kernel
                .loops
                .iter()
                .map(|l| {
                    json!({
                        "chosen_by": l.rule.to_string(),
                        "begin": l.of.begin,
                        "end": l.of.end,
                        "innermost": l.of.innermost,
                        "global_bytes": l.of.counts.global_bytes(),
                        "counts": l.of.counts,
                        "limits": l.checks,
                    })
                })
                .collect();
            json!({
                "kernel": kernel.of.kernel,
                "architecture": kernel.of.architecture,
                "threads": kernel.of.threads,
                "registers": kernel.of.registers,
                "spills": kernel.of.spills,
                "static_shared": kernel.of.shared,
                "blocks_per_multiprocessor": kernel.blocks,
                "has_budget": kernel.budgeted,
                "counts": kernel.of.counts,
                "limits": kernel.checks,
                "loops": loops,
            })
        })
        .collect();
    let all = json!({ "compiler": compiler, "kernels": kernels, "breaches": breaches });
    // Numbers, names and lists of them: nothing that JSON lacks but infinite ratios, which it writes as null.
    serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"
}

/// The loops of a kernel that were looked at, instruction by instruction.
pub fn listing(kernel: &Checked<'_>) -> String {
    let mut out = String::new();
    for l in &kernel.loops {
        let (name, rule) = (&kernel.of.kernel, l.rule);
        writeln!(out, "\n{name} (sm_{}), the loop at {}, chosen by '{rule}':", kernel.of.architecture, place(l.of))
            .unwrap();
        let code = &kernel.of.function.instructions;
        let mut last = None;
        for &at in &l.of.instructions {
            if last.is_some_and(|last| last + 1 != at) {
                out += "        …\n";
            }
            last = Some(at);
            writeln!(out, "{}", line(&code[at], code)).unwrap();
        }
    }
    out
}

fn line(of: &Instruction, code: &[Instruction]) -> String {
    let predicate = of.predicate.as_ref().map(|p| format!("@{p}")).unwrap_or_default();
    let to: Vec<_> = of.targets.iter().map(|&to| format!("{:#x}", code[to].address)).collect();
    let to = if to.is_empty() { String::new() } else { format!("  → {}", to.join(", ")) };
    format!("    {:>6}  {predicate:>5} {} {}{to}", format!("{:x}", of.address), of.opcode, of.operands)
        .trim_end()
        .to_owned()
}
