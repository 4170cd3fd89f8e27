//! What fuzzing (`fuzz/`) reaches of this room besides its public functions.

use super::{Array, npz};

/// One `.npy` array as it stands in an archive; `None` where it is refused.
pub fn npy(bytes: &[u8]) -> Option<Array> {
    npz::read_array(bytes, bytes.len() as u64).ok()
}
