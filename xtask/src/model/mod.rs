//! `cargo xtask model`: how long a training step takes a card, as a range, from machine code and counters. It is a model, not a measurement; no GPU is
//! needed.
//!
//! **What is counted.** The emulator runs a few blocks of each launch of the step at full size (`bench --device emulator --counters --sampled`) and
//! scales what their warps asked for to the grid. Where a product's multiplications are known and its sample missed the map's edge a little, all
//! counts are scaled to them. Numbers in memory are worthless then; no kernel of a step branches on them but for a step that has halted.
//!
//! **Instructions** are those of the machine code (`cargo xtask sass`): turns of a loop = (a counter of its class) / (how many of the class a turn has),
//! and instructions = Σ turns × instructions of a turn + those in no loop × warps. `turns.rs` does this for all classes and loops at once, and says how
//! much of the counters it explains. Not seen: which way a branch within a turn goes (all of it counts), subroutines.
//!
//! **The fast end** of a node's time is the largest of: issue, arithmetic units, shared memory (with L1), tensor cores, L2, memory, each for the busiest
//! multiprocessor, with all else hidden behind it; or the latency of one warp, which must run its instructions in order: `chain.rs` walks each loop by
//! the stalls and barriers of the machine code until it has a pace. Blocks find in L1 what they had before, and in L2 what the last 50 MB of the step
//! left there (`l2.rs`); clocks and bandwidths are the data sheet's.
//!
//! **Bulk copies and wgmma** (kernels for sm_90a) are counted with the rest. The bytes that copies read pass from L2, and those that they bring go to each
//! multiprocessor and through its shared memory, which also gives the operands that descriptors name, at the rate of other shared accesses. Products take
//! the tensor rate, and in a warp's chain each waits for those before it. Blocks go through tiles, and the one that has most is what is waited for. That
//! a ring of stages runs dry is in neither end: what is copied ahead is more than L2 gives in the time that a copy takes.
//!
//! **The slow end** is the largest of these and the second, or the latency of whole waves of blocks, added: nothing but the rest of the largest hides it.
//! L1 and L2 find nothing, and clocks and bandwidths are lower. That some blocks wait for others at the same unit for longer is in neither end.
//!
//! To each node but the first the gap of the card is added: nodes wait for one another. What programmatic dependent launch takes off a gap is left out, since
//! no measurement of it is known.
//!
//! - `card.rs`: the card, from `xtask/cards.toml` · `counted.rs`: what the emulator counted · `code.rs`: parts of machine code
//! - `chain.rs`: latency of a warp · `turns.rs`: how often parts run · `l2.rs`: what is still in L2 · `time.rs`: a node's range · `report.rs`: what is printed
//! - `branches.rs`: what nodes side by side could gain at most
//! - `measured.rs`: holds the model to measurements of the card

mod branches;
mod card;
mod chain;
mod code;
mod counted;
mod l2;
mod measured;
mod report;
mod time;
mod turns;

use card::Card;
use counted::Step;
use l2::L2;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use time::{Predicted, predict};

/// What is asked for.
#[derive(Debug, PartialEq)]
struct Asked {
    card: String,
    /// As `bench --step` takes it.
    step: String,
    batch: usize,
    mode: String,
    /// Blocks of each launch that are counted.
    sampled: usize,
    /// A build of normscape; this source's otherwise.
    program: Option<PathBuf>,
    /// Where measurements are.
    results: PathBuf,
    markdown: bool,
}

const MODES: [&str; 3] = ["bf16", "tf32", "f32"];

fn asked(args: &[OsString]) -> Result<Asked, String> {
    let mut asked = Asked {
        card: "h200".into(),
        step: "vgg16-1-batch".into(),
        batch: 128,
        mode: "bf16".into(),
        sampled: 16,
        program: None,
        results: crate::root().join("benches/results"),
        markdown: false,
    };
    let (mut batch, mut args) = (None, args.iter());
    while let Some(arg) = args.next() {
        let name = arg.to_string_lossy();
        if name == "--markdown" {
            asked.markdown = true;
            continue;
        }
        let known = ["--card", "--network", "--batch", "--mode", "--sampled", "--program", "--results"];
        if !known.contains(&&*name) {
            return Err(format!("no option '{name}'; there are {} and --markdown", known.join(", ")));
        }
        let value = args.next().ok_or_else(|| format!("{name} is followed by a value"))?;
        let text = value.to_string_lossy().into_owned();
        let number = || match text.parse::<usize>() {
            Ok(n) if n > 0 => Ok(n),
            _ => Err(format!("{name} {text}: a whole number of at least 1 is needed")),
        };
        match &*name {
            "--card" => asked.card = text,
            "--network" => {
                asked.step = match &*text {
                    "vgg16" => "vgg16-1-batch".into(),
                    "dln" => "dln-batch".into(),
                    _ => text,
                };
            }
            "--batch" => batch = Some(number()?),
            "--mode" if MODES.contains(&&*text) => asked.mode = text,
            "--mode" => return Err(format!("--mode {text}: there are {}", MODES.join(", "))),
            "--sampled" => asked.sampled = number()?,
            "--program" => asked.program = Some(value.into()),
            _ => asked.results = value.into(),
        }
    }
    asked.batch = batch.unwrap_or(if asked.step.starts_with("dln") { 1000 } else { 128 });
    Ok(asked)
}

/// 0, or 1 where a measurement lies outside, 2 where nothing can be predicted.
pub fn run(args: &[OsString]) -> ExitCode {
    crate::verdict(asked(args).and_then(|asked| predicted(&asked)))
}

/// Whether all measurements that there are agree.
fn predicted(asked: &Asked) -> Result<bool, String> {
    let card = Card::named(&asked.card)?;
    let step = count(asked)?;
    let (compiler, measured) = crate::sass::machine_code(card.architecture)?;
    let parts: BTreeMap<&str, _> = measured.iter().map(|m| (&*m.kernel, (m, code::parts(m, &card)))).collect();
    // The step before leaves L2 as this one finds it.
    let mut l2 = L2::new(card.l2_bytes);
    let mut nodes: Vec<Predicted> = Vec::new();
    for _ in 0..2 {
        nodes.clear();
        for node in &step.work {
            let code = parts.get(&*node.kernel).map(|(measured, parts)| (*measured, &parts[..]));
            if node.counts.is_some() && code.is_none() {
                return Err(format!("{} is not in the machine code for sm_{}", node.kernel, card.architecture));
            }
            let found = predict(node, code, &card, &mut l2);
            let bytes = found.l2[0] + found.shared;
            if node.counts.is_some() && !(found.instructions > 0.0 && bytes > 0.0 && found.seconds[0].is_finite()) {
                return Err(format!("{} at {} has no instructions or no bytes", node.kernel, node.layer));
            }
            nodes.push(found);
        }
    }
    let mut out = report::text(&step, &card, &compiler, &nodes, asked.markdown);
    let held = measured::held(&asked.results, &step, &card, &nodes)?;
    held.lines.iter().for_each(|line| out += &format!("{line}\n"));
    match std::io::stdout().write_all(out.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(format!("standard output: {e}")),
        _ => Ok(held.agree),
    }
}

/// Runs the counting emulator. Errors: the program does not build or does not run; it prints something else.
fn count(asked: &Asked) -> Result<Step, String> {
    let (batch, sampled) = (asked.batch.to_string(), asked.sampled.to_string());
    let step = ["bench", "--device", "emulator", "--counters", "--step", &asked.step, "--batch", &batch];
    let how = ["--precision", &asked.mode, "--sampled", &sampled, "--json"];
    let mut command = match &asked.program {
        Some(program) => Command::new(program),
        None => {
            let mut cargo = crate::cargo();
            cargo.args(["run", "--quiet", "--locked", "--"]);
            cargo
        }
    };
    let out = command.args(step).args(how).stderr(std::process::Stdio::inherit()).output();
    let out = out.map_err(|e| format!("normscape bench: {e}"))?;
    if !out.status.success() {
        return Err(format!("normscape bench ended with {}", out.status));
    }
    serde_json::from_slice(&out.stdout).map_err(|e| format!("what normscape bench printed: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str]) -> Result<Asked, String> {
        asked(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_read() {
        let found = of(&["--network", "dln", "--mode", "f32", "--card", "h100"]).unwrap();
        assert_eq!((&*found.step, found.batch, &*found.mode, &*found.card), ("dln-batch", 1000, "f32", "h100"));
        assert_eq!(of(&["--network", "dln", "--batch", "64"]).unwrap().batch, 64);
        assert_eq!(of(&[]).unwrap().step, "vgg16-1-batch");
        for args in [&["--mode", "f64"][..], &["--batch", "0"], &["--card"], &["vgg16"]] {
            assert!(of(args).is_err(), "{args:?}");
        }
    }
}
