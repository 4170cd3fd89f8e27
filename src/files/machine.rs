//! What the operating system reports about the machine in the files under `/proc`, which only Linux has.

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

/// A range of this process's memory that is mapped from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The range of addresses.
    pub range: std::ops::Range<usize>,
    /// The file.
    pub path: String,
}

/// All files mapped into this process.
pub fn mappings() -> Vec<Mapping> {
    let text = read_text_capped(Path::new("/proc/self/maps"), PROC_CAP).unwrap_or_default();
    let mapping = |line: &str| {
        let (range, path) = (line.split(' ').next()?, line.split_whitespace().nth(5)?);
        let (low, high) = range.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        Some(Mapping { range: address(low)?..address(high)?, path: path.to_owned() })
    };
    text.lines().filter_map(mapping).collect()
}

/// Whether this process was started to ignore a signal (as by `nohup`). False where the system does not say.
pub fn ignores(signal: i32) -> bool {
    let mask = proc_field("/proc/self/status", "SigIgn").and_then(|hex| u64::from_str_radix(&hex, 16).ok());
    // Bit 0 is signal 1.
    let bit = u32::try_from(signal - 1).ok().and_then(|place| 1u64.checked_shl(place));
    mask.zip(bit).is_some_and(|(mask, bit)| mask & bit != 0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_ignored_is_told_from_one_that_is_not() {
        // Rust's start-up ignores SIGPIPE (13), and nothing here ignores SIGSEGV (11).
        assert!(ignores(13) && !ignores(11) && !ignores(0) && !ignores(1000));
    }
}
