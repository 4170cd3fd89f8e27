//! The conditions of the measurement: processor, threads, versions, date.

use super::Options;
use super::competitor::Competitor;
use std::ffi::OsString;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// The heading of the table.
pub fn heading(options: &Options, competitors: &[Competitor], load: &str, args: &[OsString]) -> String {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!("# Training steps side by side, {}\n\n{}, {cores} processors", date(days), processor());
    let _ = writeln!(text, ", {} threads{load}.\n", options.threads);
    for competitor in competitors {
        let _ = writeln!(text, "- {}", competitor.describe());
    }
    let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    let _ = writeln!(
        text,
        "\n`cargo xtask compare {}`: {} rounds; in each, every program runs every kind of step for {} s, in alternating order. \
         VGG: batch 128; DLN: 25 layers of 10, 1,000 samples. Random data; forward, backward, update. The median is of the rounds' medians, the \
         least of all steps.",
        args.join(" "),
        options.rounds,
        options.seconds
    );
    text
}

/// The machine's load before the measurement, as `, load 0.52 before`; empty where it is unknown.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().map_or(String::new(), |load| format!(", load {load} before"))
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    model(&info).unwrap_or(std::env::consts::ARCH).to_owned()
}

fn model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim())
}

/// The date (UTC) this many days after 1 January 1970.
fn date(days: u64) -> String {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        let dates = [0, 58, 59, 11_016, 11_017, 20_785, 47_540].map(date);
        let expected =
            ["1970-01-01", "1970-02-28", "1970-03-01", "2000-02-29", "2000-03-01", "2026-11-28", "2100-02-28"];
        assert_eq!(dates, expected);
        assert_eq!(date(47_541), "2100-03-01");
    }

    #[test]
    fn the_processor_is_read() {
        assert_eq!(model("processor\t: 0\nmodel name\t: AMD EPYC\nflags: x\n"), Some("AMD EPYC"));
        assert_eq!(model(""), None);
    }
}
