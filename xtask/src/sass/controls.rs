//! What each instruction of a cubin carries beside its operation: how long to wait after it, and which barriers it sets and waits for.
//!
//! The fields are in the upper bits of an instruction's 128, the same since Volta (Jia et al., "Dissecting the NVIDIA Volta GPU Architecture via
//! Microbenchmarking", 2018).

/// Of one instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// Clocks until the warp's next instruction.
    pub stall: u8,
    /// The barrier that falls when the result is there; none is 7.
    pub result: u8,
    /// The barrier that falls when the operands have been read; none is 7.
    pub read: u8,
    /// The barriers that must have fallen before, a bit each.
    pub wait: u8,
}

impl Control {
    fn of(upper: u64) -> Control {
        let field = |at: u32, bits: u32| (upper >> at & ((1 << bits) - 1)) as u8;
        Control { stall: field(41, 4), result: field(46, 3), read: field(49, 3), wait: field(52, 6) }
    }
}

/// Those of a kernel's instructions, in order; none where the cubin has no such kernel, or is no ELF file of 64 bits.
pub fn of(cubin: &[u8], kernel: &str) -> Option<Vec<Control>> {
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let mut wide = [0; 8];
        wide[..bytes].copy_from_slice(cubin.get(at..at.checked_add(bytes)?)?);
        usize::try_from(u64::from_le_bytes(wide)).ok()
    };
    if cubin.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let (headers, size, count, names) = (number(0x28, 8)?, number(0x3a, 2)?, number(0x3c, 2)?, number(0x3e, 2)?);
    let header = |section: usize| headers.checked_add(section.checked_mul(size)?);
    let names = number(header(names)? + 0x18, 8)?;
    let wanted = format!(".text.{kernel}\0");
    for section in 0..count {
        let at = header(section)?;
        let name = names.checked_add(number(at, 4)?)?;
        if cubin.get(name..)?.starts_with(wanted.as_bytes()) {
            let (from, bytes) = (number(at + 0x18, 8)?, number(at + 0x20, 8)?);
            let code = cubin.get(from..from.checked_add(bytes)?)?;
            let upper = |instruction: &[u8]| u64::from_le_bytes(instruction[8..16].try_into().unwrap_or_default());
            return Some(code.chunks_exact(16).map(|instruction| Control::of(upper(instruction))).collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_nvdisasm_puts_them() {
        // From a listing of `nvdisasm -hex`: a load that waits for barrier 0 and sets barrier 2, with a stall of 4.
        let upper = 4 << 41 | 1 << 45 | 2 << 46 | 7 << 49 | 1 << 52;
        assert_eq!(Control::of(upper), Control { stall: 4, result: 2, read: 7, wait: 1 });
    }

    #[test]
    fn what_is_no_cubin_has_none() {
        assert_eq!(of(b"", "k"), None);
        assert_eq!(of(b"\x7fELF\x02 cut off", "k"), None);
    }
}
