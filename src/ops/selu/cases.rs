//! SELU's cases: those of ELU.

use crate::ops::door::Case;
use crate::ops::elu;

/// See [`elu::cases::cases`].
pub fn cases() -> Vec<Case> {
    elu::cases::cases()
}
