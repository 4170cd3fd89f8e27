//! What a user should know and no result tells, from places that no one listens to at the moment: kept until somebody asks.

use std::sync::{Mutex, PoisonError};

static KEPT: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps a sentence. One that is kept already is not kept twice.
pub fn add(text: String) {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if !kept.contains(&text) {
        kept.push(text);
    }
}

/// What has been kept since somebody last asked, oldest first.
pub fn take() -> Vec<String> {
    std::mem::take(&mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner))
}
