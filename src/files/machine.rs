//! What the operating system says of the machine, from the files under `/proc`. Elsewhere than on Linux it says nothing.

use super::disk::read_text_capped;
use std::path::Path;

/// The largest file under `/proc` that is read.
const PROC_CAP: u64 = 16 << 20;

/// The value after `name :` in a file under `/proc`.
pub fn proc_field(path: &str, name: &str) -> Option<String> {
    let text = read_text_capped(Path::new(path), PROC_CAP).ok()?;
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned()).next()
}

/// A field of `/proc/meminfo`, such as `MemTotal` or `MemAvailable`, in bytes.
pub fn memory(field: &str) -> Option<u64> {
    Some(proc_field("/proc/meminfo", field)?.split(' ').next()?.parse::<u64>().ok()? << 10)
}
