//! Whether a kernel waits for the launch before it before it touches global memory, in the machine code too: what the source says first a compiler
//! might not do first.

use super::classes::{Class, Counts};
use super::listing::Function;

/// The instruction that waits for the launch before.
const WAIT: &str = "ACQBULK";
/// The first architecture with it.
const FIRST: u32 = 90;

/// How many instructions stand before the wait that touch global memory, jump or leave: all there are where nothing waits.
pub fn early(architecture: u32, function: &Function) -> u32 {
    if architecture < FIRST {
        return 0;
    }
    let before = function.instructions.iter().take_while(|i| i.name() != WAIT || i.predicate.is_some());
    let touches = |class: Class| class.is_global() || [Class::Atomics, Class::Branches, Class::Calls].contains(&class);
    before.filter(|i| i.name() == "EXIT" || Counts::of([*i]).iter().any(|(class, _)| touches(class))).count() as u32
}

#[cfg(test)]
mod tests {
    use super::super::listing;
    use super::*;

    /// Of a kernel of these instructions, on sm_90.
    fn of(code: &[&str]) -> u32 {
        let lines: String = code.iter().enumerate().map(|(i, line)| format!("/*{:04x}*/ {line} ;\n", 16 * i)).collect();
        early(90, &listing::read(&format!(".text.k:\n{lines}")).unwrap()[0])
    }

    #[test]
    fn what_stands_before_the_wait_is_found() {
        assert_eq!(
            of(&["S2R R0, SR_TID.X", "LDS R1, [R0]", "ACQBULK", "LDG.E R2, [R0.64]", "STG.E [R0.64], R2", "EXIT"]),
            0
        );
        for line in [
            "LDG.E R2, [R0.64]",
            "STG.E.128 [R0.64], R2",
            "LDGSTS.E.BYPASS.128 [R0], [R2.64]",
            "UTMALDG.2D [UR4], [UR6]",
            "RED.E.ADD [R0.64], R2",
            "ATOMG.E.INC PT, R2, [R0.64], R3",
            "BRA 0x100",
            "@!P0 BRA 0x100",
            "@P0 EXIT",
        ] {
            assert_eq!(of(&["S2R R0, SR_TID.X", line, "ACQBULK", "EXIT"]), 1, "{line}");
        }
        // A wait that only some threads come to is none.
        assert_eq!(of(&["@P0 ACQBULK", "LDG.E R2, [R0.64]", "STG.E [R0.64], R2", "EXIT"]), 3);
        assert_eq!(of(&["LDG.E R2, [R0.64]", "STG.E [R0.64], R2", "EXIT"]), 3);
    }

    #[test]
    fn what_came_with_sm_90_is_not_looked_for_before() {
        let code = &listing::read(".text.k:\n/*0000*/ LDG.E R2, [R0.64] ;\n").unwrap()[0];
        assert_eq!([80, 89, 90, 120].map(|architecture| early(architecture, code)), [0, 0, 1, 1]);
    }
}
