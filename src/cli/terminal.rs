//! Writing to standard output and standard error.

use super::answer::Answer;
use crate::Error;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Prints an answer and returns the exit code. A closed pipe is no error. A full disk or a lost terminal is an error only where the printed
/// text is itself the result.
pub fn deliver(answer: &Answer) -> u8 {
    let mut out = io::stdout().lock();
    let written = out.write_all(answer.text.as_bytes()).and_then(|()| out.flush());
    if let Some(problem) = &answer.problem {
        problem_line(problem);
        return answer.code;
    }
    match written {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            let error = Error::io(Path::new("standard output"), "write", e);
            if answer.in_files {
                line(&format!("warning: {error} (the command has done its work, and its files are whole)"));
                return answer.code;
            }
            problem_line(&error.to_string());
            error.exit_code()
        }
        _ => answer.code,
    }
}

fn problem_line(problem: &str) {
    line(&format!("error: {problem}"));
}

/// Writes a line to standard error. If that fails, the line is lost.
pub fn line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", one_line(text));
}

/// `text` with line ends and other control characters escaped; names and values from outside may contain them.
pub fn one_line(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_name_holds_it_stays_on_one_line() {
        assert_eq!(one_line("a\nb\u{1b}[31m ℓ"), "a\\nb\\u{1b}[31m ℓ");
    }
}
