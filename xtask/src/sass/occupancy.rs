//! How many blocks of a kernel a multiprocessor holds at once.

/// What a multiprocessor has (CUDA C++ Programming Guide, "Compute Capabilities").
struct Multiprocessor {
    warps: u32,
    blocks: u32,
    /// Bytes of shared memory at the most.
    shared: u32,
}

/// Of all that are known here.
const REGISTERS: u32 = 65_536;
/// Registers come in so many for a warp.
const UNIT: u32 = 256;
/// Bytes of shared memory that the driver keeps of each block.
const KEPT: u32 = 1024;

fn multiprocessor(architecture: u32) -> Multiprocessor {
    let (warps, blocks, kibibytes) = match architecture {
        80 => (64, 32, 164),
        86 => (48, 16, 100),
        87 => (48, 16, 164),
        89 => (48, 24, 100),
        120.. => (48, 24, 100),
        _ => (64, 32, 228),
    };
    Multiprocessor { warps, blocks, shared: kibibytes * 1024 }
}

/// Blocks of `threads` each, with so many registers a thread and bytes of shared memory a block.
pub fn blocks(architecture: u32, threads: u32, registers: u32, shared: u32) -> u32 {
    let has = multiprocessor(architecture);
    let warps = threads.div_ceil(32).max(1);
    // Each quarter of a multiprocessor has a quarter of the registers, and of a block's warps.
    let warps_by_registers = (REGISTERS / 4 / (registers.max(1) * 32).next_multiple_of(UNIT)) * 4;
    let by_shared = has.shared / (shared + KEPT).next_multiple_of(128);
    has.blocks.min(has.warps / warps).min(warps_by_registers / warps).min(by_shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_those_of_nvidias_calculator() {
        // Registers, threads, shared memory and nothing set the limit, in turn.
        assert_eq!(blocks(90, 256, 80, 54_400), 3);
        assert_eq!(blocks(90, 256, 32, 0), 8);
        assert_eq!(blocks(90, 128, 40, 100_000), 2);
        assert_eq!(blocks(90, 32, 16, 0), 32);
        assert_eq!(blocks(90, 256, 228, 21_028), 1);
        assert_eq!(blocks(120, 256, 32, 0), 6);
        assert_eq!(blocks(80, 256, 16, 80_000), 2);
        assert_eq!(blocks(90, 1024, 128, 0), 0);
    }
}
