//! How long one warp alone takes for some instructions: each is issued when the barriers that it waits for have fallen, and the next as many clocks later
//! as its control says.

use super::card::{Card, Latency};
use super::code;
use crate::sass::{Control, Instruction};

/// An instruction, as far as it makes others wait.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    control: Control,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// From global memory, which takes what the walk says.
    Global,
    /// Of so many clocks until its result.
    Result(f64),
    /// cp.async, the end of a group of them, and the wait for all groups but the last so many.
    Copy,
    Group,
    Wait(usize),
    /// wgmma, which takes so many clocks of the tensor cores after those before it; the end of a group of them, too; and the wait for all groups but
    /// the last so many.
    Product {
        clocks: f64,
        last: bool,
    },
    Retire(usize),
    /// All warps of a block meet, or of a cluster: clocks.
    Meeting(f64),
}

impl Step {
    /// What an instruction is here.
    pub fn of(of: &Instruction, control: Control, card: &Card) -> Step {
        let latency = &card.latency;
        let left =
            || of.operands.rsplit("0x").next().and_then(|n| usize::from_str_radix(n.trim(), 16).ok()).unwrap_or(0);
        let kind = match of.name() {
            // Of four warps, each on a quarter of the tensor cores.
            "HGMMA" => Kind::Product {
                clocks: code::tensor(of).map_or(0.0, |(_, flops, weight)| 4.0 * flops * weight / card.tensor),
                last: of.operands.contains("gsb"),
            },
            "WARPGROUP" if of.has("DEPBAR") => Kind::Retire(left()),
            "LDG" => Kind::Global,
            "LD" => Kind::Result(latency.remote),
            "LDS" | "LDSM" => Kind::Result(latency.shared),
            "HMMA" => Kind::Result(latency.mma),
            "SHFL" => Kind::Result(latency.shuffle),
            "DADD" | "DMUL" | "DFMA" | "DSETP" => Kind::Result(latency.f64),
            "MUFU" | "F2F" | "F2I" | "I2F" | "POPC" | "FLO" | "S2R" | "S2UR" | "LDC" => Kind::Result(latency.special),
            "LDGSTS" => Kind::Copy,
            "LDGDEPBAR" => Kind::Group,
            "DEPBAR" => Kind::Wait(left()),
            "BAR" => Kind::Meeting(latency.barrier),
            "UCGABAR_WAIT" => Kind::Meeting(latency.cluster_barrier),
            _ => Kind::Result(latency.other),
        };
        Step { control, kind }
    }
}

/// Turns after which a loop is taken to have found its pace, and those that are measured then.
const TURNS: [usize; 2] = [6, 4];

/// Clocks of a turn of a loop, or of code that runs once, where global memory answers after `global` clocks.
pub fn clocks(code: &[Step], is_loop: bool, latency: &Latency, global: f64) -> f64 {
    let (mut now, mut barriers, mut copies, mut groups, mut began) = (0.0f64, [0.0f64; 6], 0.0f64, Vec::new(), 0.0);
    let (mut tensor, mut products) = (0.0f64, Vec::new());
    let all = if is_loop { TURNS[0] + TURNS[1] } else { 1 };
    for turn in 0..all {
        if turn == TURNS[0] {
            began = now;
        }
        for Step { control, kind } in code {
            for (number, free) in barriers.iter().enumerate() {
                if control.wait >> number & 1 == 1 {
                    now = now.max(*free);
                }
            }
            let mut result = now + latency.other;
            match *kind {
                Kind::Global => result = now + global,
                Kind::Result(clocks) => result = now + clocks,
                Kind::Copy => copies = copies.max(now + global),
                Kind::Group => groups.push(std::mem::take(&mut copies)),
                Kind::Wait(left) => {
                    let due = groups.len().saturating_sub(left);
                    now = groups[..due].iter().copied().fold(now, f64::max);
                }
                Kind::Product { clocks, last } => {
                    tensor = tensor.max(now) + clocks;
                    if last {
                        products.push(tensor);
                    }
                }
                Kind::Retire(left) => {
                    let due = products.len().saturating_sub(left);
                    now = products[..due].iter().copied().fold(now, f64::max);
                }
                Kind::Meeting(clocks) => now += clocks,
            }
            if let Some(free) = barriers.get_mut(usize::from(control.result)) {
                *free = free.max(result);
            }
            if let Some(free) = barriers.get_mut(usize::from(control.read)) {
                *free = free.max(now + latency.other);
            }
            now += f64::from(control.stall.max(1));
        }
    }
    if is_loop { (now - began) / TURNS[1] as f64 } else { barriers.into_iter().fold(now, f64::max) }
}

#[cfg(test)]
mod tests {
    use super::super::card::Card;
    use super::*;

    fn step(kind: Kind, stall: u8, result: u8, wait: u8) -> Step {
        Step { control: Control { stall, result, read: 7, wait }, kind }
    }

    #[test]
    fn a_load_is_waited_for_and_its_barrier_falls() {
        let latency = Card::named("h200").unwrap().latency;
        // A load that sets barrier 0, work of 10 clocks, and what waits for the load.
        let code = [step(Kind::Global, 1, 0, 0), step(Kind::Result(6.0), 10, 7, 0), step(Kind::Result(6.0), 5, 7, 1)];
        assert_eq!(clocks(&code, false, &latency, 400.0), 405.0);
        // In a loop each turn begins after the last one has waited.
        assert_eq!(clocks(&code, true, &latency, 400.0), 405.0);
        // What nobody waits for costs its issue alone.
        assert_eq!(clocks(&code[..2], true, &latency, 400.0), 11.0);
    }

    #[test]
    fn copies_are_waited_for_as_many_groups_later_as_are_left() {
        let latency = Card::named("h200").unwrap().latency;
        let turn = |left| {
            let code = [
                step(Kind::Copy, 1, 7, 0),
                step(Kind::Group, 1, 7, 0),
                step(Kind::Wait(left), 1, 7, 0),
                step(Kind::Result(6.0), 97, 7, 0),
            ];
            clocks(&code, true, &latency, 300.0)
        };
        // With none left each turn takes the whole latency; with three left the work of three turns hides it.
        assert_eq!(turn(0), 300.0 + 1.0 + 97.0);
        assert_eq!(turn(3), 100.0);
    }

    #[test]
    fn products_take_the_tensor_cores_one_after_the_other() {
        let latency = Card::named("h200").unwrap().latency;
        let turn = |left| {
            let code = [
                step(Kind::Product { clocks: 64.0, last: false }, 1, 7, 0),
                step(Kind::Product { clocks: 64.0, last: true }, 1, 7, 0),
                step(Kind::Retire(left), 1, 7, 0),
                step(Kind::Result(6.0), 30, 7, 0),
            ];
            clocks(&code, true, &latency, 300.0)
        };
        // With one group left other work is hidden behind it; with none all of it comes after.
        assert_eq!(turn(1), 128.0);
        assert_eq!(turn(0), 128.0 + 31.0);
    }
}
