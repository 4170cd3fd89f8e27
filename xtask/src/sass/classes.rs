//! What kinds of instructions there are, and how many of each some code has.

use super::listing::Instruction;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A kind of instruction that budgets name. One instruction may be of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Any but NOP.
    Instructions,
    /// Of a tensor core: HMMA and its kin, wgmma too.
    Mma,
    /// f32 multiply and add in one.
    Ffma,
    /// f64 sums, products and comparisons.
    F64Arithmetic,
    /// To f64 or from it.
    F64Conversions,
    /// Of the unit for roots, inverses, exp2, log2 and sines.
    Mufu,
    /// By a number that is not constant: the subroutine's call, or the sequence that begins with an inverse rounded up.
    IntegerDivisions,
    /// Of any subroutine.
    Calls,
    /// Jumps; not the ends of kernels.
    Branches,
    /// Of a block, and of shared memory's transactions.
    Barriers,
    /// Between lanes.
    Shuffles,
    /// From shared memory, ldmatrix apart.
    SharedLoads,
    /// To shared memory.
    SharedStores,
    /// ldmatrix.
    Ldmatrix,
    /// cp.async: from global to shared memory, each up to 16 bytes.
    AsyncCopies,
    /// The same in bulk, by TMA.
    BulkCopies,
    /// Of one byte from global memory.
    #[serde(rename = "global_loads_1")]
    GlobalLoads1,
    /// Of 2 bytes.
    #[serde(rename = "global_loads_2")]
    GlobalLoads2,
    /// Of 4 bytes.
    #[serde(rename = "global_loads_4")]
    GlobalLoads4,
    /// Of 8 bytes.
    #[serde(rename = "global_loads_8")]
    GlobalLoads8,
    /// Of 16 bytes.
    #[serde(rename = "global_loads_16")]
    GlobalLoads16,
    /// Of 32 bytes.
    #[serde(rename = "global_loads_32")]
    GlobalLoads32,
    /// Of one byte to global memory.
    #[serde(rename = "global_stores_1")]
    GlobalStores1,
    /// Of 2 bytes.
    #[serde(rename = "global_stores_2")]
    GlobalStores2,
    /// Of 4 bytes.
    #[serde(rename = "global_stores_4")]
    GlobalStores4,
    /// Of 8 bytes.
    #[serde(rename = "global_stores_8")]
    GlobalStores8,
    /// Of 16 bytes.
    #[serde(rename = "global_stores_16")]
    GlobalStores16,
    /// Of 32 bytes.
    #[serde(rename = "global_stores_32")]
    GlobalStores32,
    /// On global or shared memory.
    Atomics,
    /// Loads and stores of a thread's own memory: what was spilled, and arrays whose index is not known.
    LocalMemory,
}

/// Accesses to global memory, with the bytes of each.
const GLOBAL: [(Class, u32); 12] = [
    (Class::GlobalLoads1, 1),
    (Class::GlobalLoads2, 2),
    (Class::GlobalLoads4, 4),
    (Class::GlobalLoads8, 8),
    (Class::GlobalLoads16, 16),
    (Class::GlobalLoads32, 32),
    (Class::GlobalStores1, 1),
    (Class::GlobalStores2, 2),
    (Class::GlobalStores4, 4),
    (Class::GlobalStores8, 8),
    (Class::GlobalStores16, 16),
    (Class::GlobalStores32, 32),
];

impl Class {
    /// Whether it moves something from global memory or to it, atomic operations apart.
    pub fn is_global(self) -> bool {
        GLOBAL.iter().any(|&(class, _)| class == self) || [Class::AsyncCopies, Class::BulkCopies].contains(&self)
    }

    /// Its name, as in budgets.
    pub fn name(self) -> String {
        // The name is what serde writes: one source for both.
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// How many instructions of each class there are.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Counts(BTreeMap<Class, u32>);

impl Counts {
    /// Of these instructions.
    pub fn of<'i>(instructions: impl IntoIterator<Item = &'i Instruction>) -> Counts {
        let mut counts = Counts::default();
        for class in instructions.into_iter().flat_map(classes) {
            *counts.0.entry(class).or_default() += 1;
        }
        counts
    }

    /// Of one class.
    pub fn get(&self, class: Class) -> u32 {
        self.0.get(&class).copied().unwrap_or(0)
    }

    /// Those that there are.
    pub fn iter(&self) -> impl Iterator<Item = (Class, u32)> {
        self.0.iter().map(|(&class, &count)| (class, count))
    }

    /// Bytes that a thread moves by loads from global memory and stores to it, and by cp.async.
    pub fn global_bytes(&self) -> u32 {
        let direct: u32 = GLOBAL.iter().map(|&(class, bytes)| self.get(class) * bytes).sum();
        direct + 16 * self.get(Class::AsyncCopies)
    }
}

/// The classes of an instruction.
fn classes(of: &Instruction) -> Vec<Class> {
    use Class::*;
    let name = of.name();
    if name == "NOP" {
        return Vec::new();
    }
    let mut all = vec![Instructions];
    let f64 = of.has("F64");
    match name {
        "HMMA" | "IMMA" | "DMMA" | "BMMA" | "QMMA" | "OMMA" | "HGMMA" | "IGMMA" | "BGMMA" | "QGMMA" => all.push(Mma),
        "UTCHMMA" | "UTCIMMA" | "UTCQMMA" | "UTCOMMA" => all.push(Mma),
        "FFMA" | "UFFMA" => all.push(Ffma),
        // Two at once.
        "FFMA2" => all.extend([Ffma, Ffma]),
        "DADD" | "DMUL" | "DFMA" | "DSETP" | "DSET" | "DMNMX" => all.push(F64Arithmetic),
        "F2F" | "F2I" | "FRND" | "UF2F" | "UF2I" | "UFRND" if f64 => all.push(F64Conversions),
        // Newer architectures have what is the same for a whole warp converted once, by an instruction of its own.
        "I2F" | "UI2F" => {
            if f64 {
                all.push(F64Conversions);
            } else if of.has("RP") {
                // An inverse that is at most too large is what the division of integers begins with; nothing else rounds up.
                all.push(IntegerDivisions);
            }
        }
        "MUFU" => all.push(Mufu),
        "CALL" => {
            all.push(Calls);
            let divides = |label: &String| ["div_u", "div_s", "rem_u", "rem_s"].iter().any(|part| label.contains(part));
            if of.labels.iter().any(divides) {
                all.push(IntegerDivisions);
            }
        }
        "BRA" | "BRX" | "BRXU" | "JMP" | "JMX" => all.push(Branches),
        "BAR" | "SYNCS" | "UCGABAR_ARV" | "UCGABAR_WAIT" => all.push(Barriers),
        "SHFL" => all.push(Shuffles),
        "LDS" => all.push(SharedLoads),
        "STS" | "STSM" => all.push(SharedStores),
        "LDSM" => all.push(Ldmatrix),
        "LDGSTS" => all.push(AsyncCopies),
        "UBLKCP" | "UTMALDG" | "UTMASTG" | "UTMAREDG" => all.push(BulkCopies),
        "LDG" | "LD" => all.push(GLOBAL[width(of)].0),
        "STG" | "ST" => all.push(GLOBAL[GLOBAL.len() / 2 + width(of)].0),
        "ATOM" | "ATOMG" | "ATOMS" | "RED" | "REDG" | "REDAS" => all.push(Atomics),
        "LDL" | "STL" => all.push(LocalMemory),
        _ => {}
    }
    all
}

/// The place of an access's width in 1, 2, 4, 8, 16 and 32 bytes.
fn width(of: &Instruction) -> usize {
    let widths = [("U8", 0), ("S8", 0), ("U16", 1), ("S16", 1), ("64", 3), ("128", 4), ("256", 5)];
    widths.iter().find(|&&(modifier, _)| of.has(modifier)).map_or(2, |&(_, place)| place)
}

#[cfg(test)]
mod tests {
    use super::super::listing;
    use super::*;

    /// Of instructions without operands, but for calls.
    fn of(opcodes: &[&str]) -> Counts {
        let lines: String = opcodes.iter().enumerate().map(|(i, o)| format!("/*{:04x}*/ {o} ;\n", 16 * i)).collect();
        Counts::of(&listing::read(&format!(".text.f:\n{lines}")).unwrap()[0].instructions)
    }

    #[test]
    fn widths_of_accesses_are_told_apart() {
        let counts = of(&[
            "LDG.E.U16",
            "LDG.E",
            "LDG.E.64.CONSTANT",
            "LDG.E.LTC128B.128",
            "STG.E.U8",
            "STG.E.128",
            "LDG.E.LTC128B",
        ]);
        let found: Vec<_> = counts.iter().map(|(class, count)| (class.name(), count)).collect();
        let wanted = [("instructions", 7), ("global_loads_2", 1), ("global_loads_4", 2), ("global_loads_8", 1)];
        let wanted =
            wanted.into_iter().chain([("global_loads_16", 1), ("global_stores_1", 1), ("global_stores_16", 1)]);
        assert_eq!(found, wanted.map(|(name, count)| (name.to_owned(), count)).collect::<Vec<_>>());
        assert_eq!(counts.global_bytes(), 2 + 2 * 4 + 8 + 16 + 1 + 16);
        assert_eq!(of(&["LDGSTS.E.BYPASS.128"]).global_bytes(), 16);
    }

    #[test]
    fn tensor_cores_are_not_taken_for_what_is_called_alike() {
        // HFMA2.MMA is how Hopper sets a register to a constant.
        let counts = of(&["HMMA.16816.F32.BF16", "HFMA2.MMA", "FFMA", "FFMA2", "NOP"]);
        assert_eq!((counts.get(Class::Mma), counts.get(Class::Ffma), counts.get(Class::Instructions)), (1, 3, 4));
    }

    #[test]
    fn divisions_are_found_inline_and_called() {
        let counts =
            of(&["I2F.U32.RP", "UI2F.U32.RP", "I2F.U32", "CALL.REL.NOINC `($__internal_0_$__cuda_sm20_div_u64)"]);
        assert_eq!((counts.get(Class::IntegerDivisions), counts.get(Class::Calls)), (3, 1));
        let double = of(&[
            "CALL.REL.NOINC `($__internal_1_$__cuda_sm20_div_rn_f64_full)",
            "I2F.F64.U32",
            "F2F.F32.F64",
            "F2F.BF16.F32",
        ]);
        assert_eq!((double.get(Class::IntegerDivisions), double.get(Class::F64Conversions)), (0, 2));
    }

    #[test]
    fn local_memory_barriers_and_jumps_are_counted() {
        let counts = of(&[
            "LDL.LU",
            "STL.64",
            "BAR.SYNC.DEFER_BLOCKING",
            "BRA",
            "BSYNC",
            "EXIT",
            "DFMA",
            "MUFU.RCP64H",
            "SHFL.BFLY",
        ]);
        let of = |class| counts.get(class);
        use Class::*;
        assert_eq!(
            [of(LocalMemory), of(Barriers), of(Branches), of(F64Arithmetic), of(Mufu), of(Shuffles)],
            [2, 1, 1, 1, 1, 1]
        );
    }
}
