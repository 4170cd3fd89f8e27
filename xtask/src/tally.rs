//! Counts the results that test programs print: those of libtest, of libtest-mimic, and of documentation tests.
//!
//! A program prints `running 3 tests`, then a line for each test, then `test result: ok. 2 passed; 0 failed; 1 ignored; …`. The counts come
//! from that last line; the other lines give the reasons why tests were ignored.

/// How many tests passed, failed and were skipped, over any number of test programs.
#[derive(Debug, Default, PartialEq)]
pub struct Tally {
    pub passed: u64,
    /// Failed tests, plus one for each program that ended without a result.
    pub failed: u64,
    pub skipped: u64,
    /// The skipped tests, each with its reason, in the order printed.
    pub reasons: Vec<Skip>,
    /// Programs that began but did not end with a result; one line for each.
    pub broken: Vec<String>,
    /// The run failed, but no test did: something did not compile or could not be started.
    pub unexplained: bool,
    /// The program whose output is being read.
    open: Option<Program>,
}

/// A test that was skipped.
#[derive(Debug, PartialEq)]
pub struct Skip {
    pub test: String,
    /// The reason; empty where the test gives none.
    pub reason: String,
}

#[derive(Debug, PartialEq)]
struct Program {
    tests: u64,
    result: Option<Counts>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Reads one line of output, without its line end.
    pub fn line(&mut self, line: &str) {
        if let Some(tests) = announcement(line) {
            self.close();
            self.open = Some(Program { tests, result: None });
        } else if let Some(counts) = result(line) {
            // The program's own line comes last: what looks like one before it is the captured output of a failed test.
            if let Some(program) = &mut self.open {
                program.result = Some(counts);
            }
        } else if let Some(skip) = ignored(line) {
            self.reasons.push(skip);
        }
    }

    /// Finishes reading. `success` says whether the whole run reported success.
    ///
    /// A run that failed counts at least one failure, even if it did not reach a test.
    pub fn finish(mut self, success: bool) -> Tally {
        self.close();
        if !success && self.failed == 0 {
            self.unexplained = true;
            self.failed = 1;
        }
        self
    }

    /// Whether tests ran and all of them passed.
    pub fn good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }

    /// The closing line.
    pub fn summary(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }

    /// Counts the program that has just been read.
    fn close(&mut self) {
        let Some(program) = self.open.take() else { return };
        match program.result {
            Some(counts) => {
                self.passed += counts.passed;
                self.failed += counts.failed;
                self.skipped += counts.ignored;
            }
            None => {
                self.failed += 1;
                self.broken.push(format!("a test program of {} tests ended without a result", program.tests));
            }
        }
    }
}

/// The number in `running 3 tests`.
fn announcement(line: &str) -> Option<u64> {
    let rest = line.strip_prefix("running ")?;
    rest.strip_suffix(" tests").or_else(|| rest.strip_suffix(" test"))?.parse().ok()
}

/// The counts in `test result: FAILED. 5 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s`.
fn result(line: &str) -> Option<Counts> {
    let rest = line.strip_prefix("test result: ")?;
    let (_verdict, counts) = rest.split_once(". ")?;
    let count = |word: &str| -> Option<u64> {
        let part = counts.split(';').find_map(|part| part.trim().strip_suffix(word))?;
        part.trim().parse().ok()
    };
    Some(Counts { passed: count("passed")?, failed: count("failed")?, ignored: count("ignored")? })
}

/// The test and its reason in `test NAME ... ignored, REASON` (libtest), `test NAME ... ignored (REASON)` (libtest-mimic, decided while the
/// test runs) and `test [REASON] NAME ... ignored` (libtest-mimic, marked beforehand).
fn ignored(line: &str) -> Option<Skip> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ignored")?;
    let said = match outcome {
        "" => "",
        _ => outcome.strip_prefix(", ").or_else(|| outcome.strip_prefix(" (")?.strip_suffix(')'))?,
    };
    let (kind, name) = match name.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((kind, name)) => (kind, name),
        None => ("", name),
    };
    let reason = if said.is_empty() { kind } else { said };
    Some(Skip { test: name.trim().into(), reason: reason.trim().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, success: bool) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.line(line));
        tally.finish(success)
    }

    fn skip(test: &str, reason: &str) -> Skip {
        Skip { test: test.into(), reason: reason.into() }
    }

    #[test]
    fn libtest_is_counted_with_its_reasons() {
        let tally = read(
            "\nrunning 4 tests\n\
             test a::b ... ok\n\
             test a::slow ... ignored, takes an hour, or two\n\
             test a::bare ... ignored\n\
             test a::c - should panic ... ok\n\n\
             test result: ok. 2 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
            true,
        );
        assert_eq!((tally.passed, tally.failed, tally.skipped), (2, 0, 2));
        assert_eq!(tally.reasons, [skip("a::slow", "takes an hour, or two"), skip("a::bare", "")]);
        assert_eq!(tally.summary(), "2 passed, 0 failed, 2 skipped");
    }

    #[test]
    fn libtest_mimic_is_counted_with_its_reasons() {
        let tally = read(
            "\nrunning 3 tests\n\
             test [no data set: set NORMSCAPE_DATA] reads_a_batch     ... ignored\n\
             test [golden]                          conv2d::odd       ... ignored (no golden cases)\n\
             test                                   conv2d::one       ... ok\n\n\
             test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
            true,
        );
        assert_eq!((tally.passed, tally.failed, tally.skipped), (1, 0, 2));
        assert_eq!(
            tally.reasons,
            [skip("reads_a_batch", "no data set: set NORMSCAPE_DATA"), skip("conv2d::odd", "no golden cases")]
        );
    }

    #[test]
    fn programs_and_documentation_tests_add_up() {
        let tally = read(
            "running 1 test\ntest a ... ok\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             running 0 tests\n\
             test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.00s\n\
             running 2 tests\n\
             test src/lib.rs - read (line 3) ... ok\n\
             test src/lib.rs - write (line 9) - compile ... FAILED\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s; merged\n",
            false,
        );
        assert_eq!(tally.summary(), "2 passed, 1 failed, 0 skipped");
        assert!(tally.broken.is_empty() && !tally.unexplained && !tally.good());
    }

    #[test]
    fn a_program_that_dies_is_a_failure() {
        let tally = read(
            "running 5 tests\ntest a ... ok\n\
             running 1 test\ntest b ... ok\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
            false,
        );
        assert_eq!(tally.summary(), "1 passed, 1 failed, 0 skipped");
        assert_eq!(tally.broken, ["a test program of 5 tests ended without a result"]);
        // The same at the end of the output.
        assert_eq!(read("running 2 tests\n", false).summary(), "0 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn a_run_that_did_not_compile_has_failed() {
        let tally = read("", false);
        assert_eq!(tally.summary(), "0 passed, 1 failed, 0 skipped");
        assert!(tally.unexplained);
    }

    #[test]
    fn a_run_without_tests_is_not_good() {
        assert!(!read("", true).good());
        let all_ignored =
            "running 1 test\ntest a ... ignored\ntest result: ok. 0 passed; 0 failed; 1 ignored; 0 measured\n";
        assert!(!read(all_ignored, true).good());
        assert!(read(&all_ignored.replace("0 passed", "1 passed"), true).good());
    }

    #[test]
    fn what_a_failed_test_printed_is_not_counted() {
        let tally = read(
            "running 1 test\ntest a ... FAILED\n\nfailures:\n\n---- a stdout ----\n\
             test result: ok. 99 passed; 0 failed; 7 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n\
             test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
            false,
        );
        assert_eq!(tally.summary(), "0 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn other_lines_are_left_alone() {
        for line in
            ["running late", "running x tests", "test result: ok", "test a ... ok", "test result: ok. many passed"]
        {
            let mut tally = Tally::default();
            tally.line(line);
            assert_eq!(tally, Tally::default(), "{line}");
        }
    }
}
