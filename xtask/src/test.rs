//! `cargo xtask test`: sets up, runs `cargo test`, and counts.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{ExitCode, Stdio};

use crate::data;
use crate::python;
use crate::tally::Tally;
use crate::wheel;

/// Whether this is a machine of continuous integration.
pub fn ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Runs every test; `args` are passed to `cargo test`. Fails if a test failed, something did not compile, or no test ran. The last line on
/// standard output is the summary, whatever happened.
pub fn run(args: &[OsString]) -> ExitCode {
    let without = std::env::var("NORMSCAPE_WITHOUT_DATA").is_ok_and(|value| value == "1");
    if without {
        say("NORMSCAPE_WITHOUT_DATA=1: tests that lack their data are skipped");
    }
    match crate::cuda::fetch() {
        Ok(line) => say(&line),
        Err(reason) => {
            let effect = if ci() { "the tests device kernels:: fail" } else { "kernels are compiled at first use" };
            say(&format!("{reason}: {effect}"));
        }
    }
    let mut cargo = crate::cargo();
    cargo.args(["test", "--workspace", "--locked", "--no-fail-fast"]).args(args);
    for (variable, place) in [
        ("NORMSCAPE_DATA", data::cifar10()),
        ("NORMSCAPE_GOLDEN", data::golden()),
        ("NORMSCAPE_PYTHON", python::for_tests()),
        ("NORMSCAPE_WHEEL", wheel::for_tests()),
    ] {
        match place {
            Ok(path) => {
                say(&format!("{variable}={}", path.display()));
                cargo.env(variable, path);
            }
            Err(reason) => {
                let effect = if ci() && !without { "fail" } else { "are skipped" };
                say(&format!("{variable}: {reason}: the tests that need it {effect}"));
            }
        }
    }
    // Colours would stand between the words that are read below.
    cargo.env("CARGO_TERM_COLOR", "never").stdin(Stdio::null()).stdout(Stdio::piped());

    let tally = match cargo.spawn() {
        Ok(mut child) => {
            let mut tally = Tally::default();
            let read = child.stdout.take().map_or(Ok(()), |out| pass_through(BufReader::new(out), &mut tally));
            let ended = child.wait();
            tally.finish(read.is_ok() && ended.is_ok_and(|status| status.success()))
        }
        Err(e) => {
            say(&format!("cannot start cargo: {e}"));
            Tally::default().finish(false)
        }
    };
    report(&tally);
    if tally.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Copies the output to this program's own, line by line as it comes, and counts the results.
fn pass_through(mut from: impl BufRead, tally: &mut Tally) -> io::Result<()> {
    let mut line = Vec::new();
    let mut to = io::stdout();
    while from.read_until(b'\n', &mut line)? > 0 {
        // A reader that has gone away must not stop the tests or change what they give.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        tally.line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        line.clear();
    }
    Ok(())
}

/// Prints the skipped tests, what went wrong outside of tests, and the summary as the last line.
fn report(tally: &Tally) {
    for broken in &tally.broken {
        say(broken);
    }
    if tally.unexplained {
        say("cargo test failed without a failed test: something did not compile or could not be run (see above)");
    }
    if tally.passed + tally.failed == 0 {
        say("no test ran");
    }
    if tally.skipped > 0 {
        say("\nskipped:");
        for skip in &tally.reasons {
            let reason = if skip.reason.is_empty() { "no reason given" } else { &skip.reason };
            say(&format!("  {}: {reason}", skip.test));
        }
        let unnamed = tally.skipped.saturating_sub(tally.reasons.len() as u64);
        if unnamed > 0 {
            say(&format!("  and {unnamed} more"));
        }
    }
    say(&tally.summary());
}

/// Prints a line to standard output; it does not matter if nobody reads it.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
