//! Contexts and their memory. A context is an emulator; its memory is found by addresses that mean nothing to the host.

use super::codes::{Done, OUT_OF_MEMORY, UNKNOWN};
use normscape::runtime::cuda::driver::{Driver, Region};
use normscape::runtime::cuda::emulator::{Emulator, Options};
use normscape::runtime::tensor::ArenaId;
use std::collections::BTreeMap;

/// One allocation.
#[derive(Debug, Clone, Copy)]
struct Allocation {
    bytes: usize,
    arena: ArenaId,
}

/// A device's primary context.
pub struct Context {
    /// The device itself.
    pub emulator: Emulator,
    /// The error that it was lost with.
    pub lost: Option<u32>,
    /// What is allocated, by its first address.
    allocations: BTreeMap<u64, Allocation>,
    arenas: u32,
    next: u64,
    used: usize,
    room: usize,
}

/// The least distance between two allocations: what runs over the end of one is in none.
const GAP: u64 = 64 << 10;
/// Allocations begin at multiples of it, as CUDA's do.
const ALIGNMENT: u64 = 256;

impl Context {
    /// A context on device `device`, with memory of `room` bytes. Errors: there is no C++ compiler to emulate with.
    pub fn new(device: i32, room: usize) -> Result<Context, String> {
        let options = Options::from_environment().map_err(|e| e.to_string())?;
        // New memory holds whatever was there before: here NaN.
        let emulator = Emulator::new(Options { poison: true, ..options }).map_err(|e| e.to_string())?;
        // Far above what the host gives out.
        let next = 0x7F00_0000_0000_0000 + ((device as u64) << 48);
        Ok(Context { emulator, lost: None, allocations: BTreeMap::new(), arenas: 0, next, used: 0, room })
    }

    /// Allocates. No address is ever given out twice, so that what was freed is told from what is allocated now.
    pub fn allocate(&mut self, bytes: usize) -> Done<u64> {
        if bytes > self.room - self.used {
            return Err(OUT_OF_MEMORY);
        }
        let arena = ArenaId::numbered(self.arenas);
        self.emulator.allocate(arena, bytes).map_err(|_| OUT_OF_MEMORY)?;
        self.arenas += 1;
        let address = self.next;
        self.next = (address + bytes as u64 + GAP).next_multiple_of(ALIGNMENT);
        self.used += bytes;
        self.allocations.insert(address, Allocation { bytes, arena });
        Ok(address)
    }

    /// Frees what begins at `address`; false where nothing does.
    pub fn free(&mut self, address: u64) -> bool {
        let Some(Allocation { bytes, arena }) = self.allocations.remove(&address) else { return false };
        self.used -= bytes;
        // An arena of nothing takes its place.
        self.emulator.allocate(arena, 0).is_ok()
    }

    /// Whether an address was given out at some time.
    pub fn was_allocated(&self, address: u64) -> bool {
        address >> 48 == self.next >> 48 && address < self.next
    }

    /// Free and total bytes.
    pub fn memory(&self) -> (usize, usize) {
        (self.room - self.used, self.room)
    }

    /// How much is allocated now.
    pub fn allocations(&self) -> usize {
        self.allocations.len()
    }

    /// The first address of the allocation that `address` lies in, or right at its end.
    pub fn allocation(&self, address: u64) -> Option<u64> {
        let (&base, allocation) = self.allocations.range(..=address).next_back()?;
        (address - base <= allocation.bytes as u64).then_some(base)
    }

    /// What lies from `address` to the end of its allocation; none where the address is in none.
    pub fn region(&self, address: u64) -> Option<Region> {
        let base = self.allocation(address)?;
        let Allocation { bytes, arena } = *self.allocations.get(&base)?;
        let offset = (address - base) as usize;
        Some(Region { arena, offset, bytes: bytes - offset })
    }

    /// The `bytes` bytes at `address`; none where not all of them are in one allocation.
    pub fn part(&self, address: u64, bytes: usize) -> Option<Region> {
        self.region(address).filter(|region| bytes <= region.bytes).map(|region| Region { bytes, ..region })
    }

    /// Fills memory with a byte.
    pub fn fill(&mut self, to: Region, value: u8) -> Done {
        self.emulator.upload(to, &vec![value; to.bytes]).map_err(|_| UNKNOWN)
    }
}
