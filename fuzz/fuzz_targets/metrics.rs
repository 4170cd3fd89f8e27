//! A log that is taken up again. The first byte says at which row, and whether the log has its header.
#![no_main]

use normscape::train::metrics::{HEADER, Metrics};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else { return };
    let header = format!("{HEADER}\n");
    let content = if first < 128 { [header.as_bytes(), rest].concat() } else { rest.to_vec() };
    let path = normscape_fuzz::file("metrics.csv", &content);
    let from = u64::from(first % 128);
    if Metrics::reopen(&path, from).is_ok() {
        // What is kept is exactly the rows asked for.
        let kept = std::fs::read_to_string(&path).expect("the log");
        assert_eq!(kept.lines().count() as u64, from + 1);
    }
});
