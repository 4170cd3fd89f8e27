//! Warnings for the user that are in no result. They come from places without access to the terminal and are kept until someone asks for them.

use std::sync::{Mutex, PoisonError};

static KEPT: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps a warning; a repeated one is kept once.
pub fn add(text: String) {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if !kept.contains(&text) {
        kept.push(text);
    }
}

/// The warnings kept since the last call, oldest first.
pub fn take() -> Vec<String> {
    std::mem::take(&mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner))
}
