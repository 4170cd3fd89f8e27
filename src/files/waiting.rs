//! How long a thread has waited for a processor that others used: what a time measured on a busy machine has too much.

use super::disk::read_text_capped;
use std::path::Path;
use std::time::Duration;

/// How long this thread was ready and did not run, since it began. `None` where the system does not say: it does on Linux, where its scheduler
/// counts.
pub fn waited() -> Option<Duration> {
    let text = read_text_capped(Path::new("/proc/thread-self/schedstat"), 4096).ok()?;
    // Nanoseconds on a processor, nanoseconds waiting for one, and how often it was given one.
    Some(Duration::from_nanos(text.split_whitespace().nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn waiting_grows_and_never_by_more_than_the_time_that_passes() {
        let began = std::time::Instant::now();
        let Some(first) = super::waited() else { return };
        let sum = (0..1_000_000u64).fold(0, |sum, n| std::hint::black_box(sum ^ n));
        std::hint::black_box(sum);
        let (more, passed) = (super::waited().unwrap() - first, began.elapsed());
        assert!(more <= passed, "{more:?} of {passed:?}");
    }
}
