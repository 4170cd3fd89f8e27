//! A kernel's machine code in parts: each loop without the loops within it, and what is in no loop; of each its basic blocks, which run as a whole.

use super::card::Card;
use super::chain::Step;
use crate::sass::{Instruction, Measured, basic_blocks};

/// What both the emulator counts and the machine code shows, by which turns of loops are found.
pub const FEATURES: usize = 13;
/// The place among them of FFMA, which the emulator does not count.
pub const FFMA: usize = 9;

/// The place of waits at mbarriers.
const WAITS: usize = 11;
/// The place of what wgmma multiply, as mma of 16 × 8 × 16: products of tiles of several widths are not the same work.
const MULTIPLIED: usize = 12;

/// Kinds of units besides tensor cores that take more than the one clock in which an instruction is issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipe {
    Alu,
    Imad,
    F64,
    Special,
    Shuffle,
}

pub const PIPES: [Pipe; 5] = [Pipe::Alu, Pipe::Imad, Pipe::F64, Pipe::Special, Pipe::Shuffle];

/// A loop without the loops within it, or what is in no loop.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// Whether it is a loop.
    pub is_loop: bool,
    pub blocks: Vec<Block>,
}

/// Instructions that run as a whole; numbers are those of one warp that runs them once.
#[derive(Debug, Clone, Default)]
pub struct Block {
    /// In the order of the counters that [`super::turns`] takes.
    pub features: [f64; FEATURES],
    pub instructions: f64,
    /// Of each kind of unit.
    pub pipes: [f64; PIPES.len()],
    /// Operations on tensor cores: of mma.sync, and of wgmma; those of tf32 count double, since they take twice the time.
    pub tensor: [f64; 2],
    /// Multiplications and additions of FFMA and of tensor cores.
    pub flops: f64,
    /// For the latency of a warp. What runs on a condition is counted as a block of its own, and has its steps with the others.
    pub steps: Vec<Step>,
}

/// The parts of a kernel; first what is in no loop.
pub fn parts(of: &Measured, card: &Card) -> Vec<Part> {
    let code = &of.function.instructions;
    // The smallest loop that has an instruction owns it.
    let mut owner = vec![0; code.len()];
    let mut loops: Vec<_> = of.loops.iter().collect();
    loops.sort_by_key(|l| std::cmp::Reverse(l.instructions.len()));
    for (number, l) in loops.iter().enumerate() {
        l.instructions.iter().for_each(|&at| owner[at] = number + 1);
    }
    let blocks = basic_blocks(&of.function);
    let part = |number: usize| {
        let own = |at: &usize| owner[*at] == number && code[*at].name() != "NOP";
        let mut part = Part { is_loop: number > 0, ..Part::default() };
        let spins = number > 0 && spins(loops[number - 1].instructions.iter().map(|&at| &code[at]));
        for places in &blocks {
            let (mut whole, mut on_condition) = (Block::default(), Block::default());
            for at in places.clone().filter(own) {
                let instruction = &code[at];
                whole.instructions += 1.0;
                whole.steps.extend(of.controls.get(at).map(|&control| Step::of(instruction, control, card)));
                match &instruction.predicate {
                    // The compiler keeps distance by loads that are never made.
                    Some(never) if never == "!PT" => {}
                    Some(_) => on_condition.count(instruction),
                    None => whole.count(instruction),
                }
            }
            // How often a wait asks again is not counted.
            if spins {
                whole.features[WAITS] = 0.0;
            }
            let there = |block: &Block| block.instructions > 0.0 || block.features.iter().any(|&n| n > 0.0);
            part.blocks.extend([whole, on_condition].into_iter().filter(there));
        }
        part
    };
    (0..=loops.len()).map(part).collect()
}

/// Whether this is the loop of a wait at an mbarrier: it asks, and asks again.
fn spins<'i>(code: impl Iterator<Item = &'i Instruction>) -> bool {
    let mut code = code.peekable();
    code.peek().is_some() && code.all(|of| matches!(of.name(), "SYNCS" | "BRA" | "NOP" | "YIELD" | "NANOSLEEP"))
}

impl Block {
    fn count(&mut self, of: &Instruction) {
        let name = of.name();
        let lane_bytes = width(of);
        match name {
            "LDSM" => self.features[1] += 1.0,
            "LDS" => self.features[2] += lane_bytes,
            "STS" | "STSM" => self.features[3] += lane_bytes,
            "LDGSTS" => {
                self.features[3] += lane_bytes;
                self.features[4] += lane_bytes;
            }
            "LDG" => self.features[4] += lane_bytes,
            "STG" => self.features[5] += lane_bytes,
            "SHFL" => self.features[6] += 1.0,
            "BAR" => self.features[7] += 1.0,
            // Through a generic address: of another block of the cluster.
            "LD" | "ST" => self.features[8] += 1.0,
            "UTMALDG" => self.features[10] += 1.0,
            "SYNCS" if of.has("PHASECHK") => self.features[WAITS] += 1.0,
            "FFMA" => {
                self.features[FFMA] += 1.0;
                self.flops += 64.0;
            }
            _ => {}
        }
        if let Some((wgmma, flops, weight)) = tensor(of) {
            self.features[0] += 1.0;
            if wgmma {
                self.features[MULTIPLIED] += flops / (2.0 * 16.0 * 8.0 * 16.0);
            }
            self.flops += flops;
            self.tensor[usize::from(wgmma)] += flops * weight;
        }
        if let Some(pipe) = pipe(of) {
            self.pipes[pipe as usize] += 1.0;
        }
    }
}

/// Bytes of a lane of an access.
fn width(of: &Instruction) -> f64 {
    let widths = [("U8", 1), ("S8", 1), ("U16", 2), ("S16", 2), ("64", 8), ("128", 16)];
    f64::from(widths.iter().find(|&&(modifier, _)| of.has(modifier)).map_or(4, |&(_, bytes)| bytes))
}

/// Of an instruction of the tensor cores: whether it is wgmma, the operations of one warp, and how much more time they take than in bf16.
pub fn tensor(of: &Instruction) -> Option<(bool, f64, f64)> {
    let parts: Vec<&str> = of.opcode.split('.').collect();
    let weight = if of.has("TF32") { 2.0 } else { 1.0 };
    match of.name() {
        "HMMA" => {
            let shape = parts.get(1)?;
            // 16816 is 16 × 8 × 16, 1688 is 16 × 8 × 8, 1684 is 16 × 8 × 4.
            let depth = shape.strip_prefix("168")?.parse::<f64>().ok()?;
            Some((false, 2.0 * 16.0 * 8.0 * depth, weight))
        }
        "HGMMA" => {
            // Of four warps together, as 64x256x16.
            let sides: Vec<f64> = parts.get(1)?.split('x').filter_map(|side| side.parse().ok()).collect();
            (sides.len() == 3).then(|| (true, 2.0 * sides.iter().product::<f64>() / 4.0, weight))
        }
        _ => None,
    }
}

fn pipe(of: &Instruction) -> Option<Pipe> {
    let double = of.has("F64");
    match of.name() {
        "IMAD" | "IMUL" => Some(Pipe::Imad),
        "DADD" | "DMUL" | "DFMA" | "DSETP" | "DMNMX" => Some(Pipe::F64),
        "MUFU" | "POPC" | "FLO" | "BREV" => Some(Pipe::Special),
        "F2F" | "F2I" | "I2F" | "FRND" if double => Some(Pipe::Special),
        "SHFL" => Some(Pipe::Shuffle),
        "IADD3" | "IADD" | "LOP3" | "SHF" | "ISETP" | "SEL" | "LEA" | "FSETP" | "FSEL" | "FMNMX" | "PRMT" | "VIADD"
        | "IMNMX" | "VIMNMX" | "MOV" | "F2FP" | "F2F" | "F2I" | "I2F" | "FRND" | "IABS" | "PLOP3" | "SGXT" | "BMSK" => {
            Some(Pipe::Alu)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_asks_again_is_no_second_wait() {
        // A loop of one wait, one copy and one product a turn, and beside it the loop in which the wait asks again.
        let text = "\
.text.k:
.L_x_0:
/*0000*/ SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [R2+URZ], R3 ;
/*0010*/ @!P0 BRA `(.L_x_2) ;
.L_x_1:
/*0020*/ UTMALDG.2D [UR8], [UR6] ;
/*0030*/ HGMMA.64x128x16.F32.BF16 R24, gdesc[UR8], R24, gsb0 ;
/*0040*/ @P1 BRA `(.L_x_0) ;
/*0050*/ EXIT ;
.L_x_2:
/*0060*/ YIELD ;
/*0070*/ SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [R2+URZ], R3 ;
/*0080*/ @!P0 BRA `(.L_x_2) ;
/*0090*/ BRA `(.L_x_1) ;
";
        let card = Card::named("h200").unwrap();
        let parts = parts(&Measured::of_listing(text), &card);
        let of = |feature: usize| -> Vec<f64> {
            parts.iter().map(|part| part.blocks.iter().map(|block| block.features[feature]).sum()).collect()
        };
        assert_eq!(of(WAITS), [0.0, 1.0, 0.0]);
        assert_eq!((of(10), of(0)), (vec![0.0, 1.0, 0.0], vec![0.0, 1.0, 0.0]));
        let tensor: f64 = parts[1].blocks.iter().map(|block| block.tensor[1]).sum();
        assert_eq!(tensor, 2.0 * 64.0 * 128.0 * 16.0 / 4.0);
    }
}
