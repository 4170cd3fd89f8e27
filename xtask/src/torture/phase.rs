//! Where a program was when the kill came: turns the return addresses that `faults.c` wrote into functions, and these into phases.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A thread's return addresses, innermost first, relative to the program's load address.
pub type Stack = Vec<u64>;

/// The phases. Each is recognised by functions in a thread's frames; the first phase that fits counts.
const PHASES: [(&str, &[&str]); 8] = [
    ("saving a checkpoint", &["checkpoint::save", "trainer::Trainer<B>::save", "Trainer<B>::save"]),
    ("gathering, figures, report", &["Evidence::gather", "assemble::"]),
    ("opening, resuming", &["trainer::Trainer<B>::open", "Trainer<B>::open", "RunFolder::open", "runner::is_finished"]),
    ("evaluation", &["source::Source::test", "Source::test"]),
    ("probe", &["normscape::probe::", "train::probes::", "probe_log::"]),
    ("step", &["Trainer<B>::steps", "Trainer<B>::burst", "Trainer<B>::ask", "Trainer<B>::run"]),
    (
        "data",
        &["normscape::data::", "Source::open", "Source::of", "Source::describe", "Images::source", "images::Images"],
    ),
    ("theory's instances", &["normscape::theory::"]),
];

/// The phase where no other fits.
pub const ELSEWHERE: &str = "reading the command, ending, between";

/// The phase before the program's first instruction, or where its threads did not answer in time.
pub const UNKNOWN: &str = "before the program's start, or not known";

/// The stacks in a file that `faults.c` wrote.
pub fn read(path: &Path) -> Vec<Stack> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let (words, _) = bytes.as_chunks::<8>();
    let mut words = words.iter().map(|&word| u64::from_le_bytes(word));
    let mut stacks = Vec::new();
    while let Some(count) = words.next() {
        stacks.push(words.by_ref().take(count as usize).collect());
    }
    stacks
}

/// The phase of each kill. If a process's threads are in several phases, the first in the list counts.
pub fn phases(program: &Path, kills: &[Vec<Stack>]) -> Result<Vec<&'static str>, String> {
    // Other objects are loaded far away.
    let all: BTreeSet<u64> = kills.iter().flatten().flatten().copied().filter(|&at| at < 1 << 32).collect();
    let functions = functions(program, &all)?;
    let rank = |stack: &Stack| {
        let names = stack.iter().filter_map(|at| functions.get(at)).flatten();
        let names: Vec<&String> = names.collect();
        PHASES.iter().position(|(_, marks)| marks.iter().any(|mark| names.iter().any(|name| name.contains(mark))))
    };
    let of = |stacks: &Vec<Stack>| match stacks.iter().filter_map(rank).min() {
        Some(rank) => PHASES[rank].0,
        None if stacks.is_empty() => UNKNOWN,
        None => ELSEWHERE,
    };
    Ok(kills.iter().map(of).collect())
}

/// The functions that contain each address, including those inlined there.
fn functions(program: &Path, addresses: &BTreeSet<u64>) -> Result<BTreeMap<u64, Vec<String>>, String> {
    let refused = |e: std::io::Error| format!("addr2line: {e}; the package binutils is needed");
    let mut child = Command::new("addr2line")
        .args(["--functions", "--inlines", "--demangle", "--addresses", "--exe"])
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(refused)?;
    let input = child.stdin.take();
    // A return address belongs to the call before it.
    let list: String = addresses.iter().map(|at| format!("{:#x}\n", at - u64::from(*at > 0))).collect();
    let told = std::thread::scope(|scope| {
        scope.spawn(move || input.map(|mut input| input.write_all(list.as_bytes())));
        child.wait_with_output()
    });
    let told = told.map_err(refused)?;
    Ok(parse(&String::from_utf8_lossy(&told.stdout)))
}

/// Parses `addr2line`'s answers: an address, then pairs of lines with a function and its place.
fn parse(told: &str) -> BTreeMap<u64, Vec<String>> {
    let (mut found, mut at, mut function) = (BTreeMap::new(), None, true);
    for line in told.lines() {
        if let Some(address) = line.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok()) {
            (at, function) = (Some(address + 1), true);
            found.insert(address + 1, Vec::new());
        } else {
            if let Some(names) = at.and_then(|at| found.get_mut(&at)).filter(|_| function) {
                names.push(line.to_owned());
            }
            function = !function;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let told = "0x0000000000000010\na::b\nx.rs:1\nc\n??:?\n0x000000000000001f\nd\ny.rs:2\n";
        let found = parse(told);
        assert_eq!(found[&0x11], ["a::b", "c"]);
        assert_eq!(found[&0x20], ["d"]);
    }
}
