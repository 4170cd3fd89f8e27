//! What a command leaves behind.

use crate::Error;

/// The end of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// For standard output.
    pub text: String,
    /// The result is in files: what is printed only tells of it, and that nobody could be told is no failure.
    pub in_files: bool,
    /// For standard error: one line, where something went wrong.
    pub problem: Option<String>,
    /// The process's exit code.
    pub code: u8,
}

impl Answer {
    /// A result, exit code 0. A line end is added where it lacks one.
    pub fn text(text: impl Into<String>) -> Answer {
        let mut text = text.into();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        Answer { text, ..Answer::default() }
    }

    /// A result as JSON.
    pub fn json(value: &serde_json::Value) -> Answer {
        Answer::text(format!("{value:#}"))
    }

    /// An error, with its exit code.
    pub fn failed(error: &Error) -> Answer {
        Answer::default().with(error.to_string(), error.exit_code())
    }

    /// The same, where the result is in files.
    pub fn in_files(self) -> Answer {
        Answer { in_files: true, ..self }
    }

    /// The same result, but with a problem and its exit code.
    pub fn with(self, problem: impl Into<String>, code: u8) -> Answer {
        Answer { problem: Some(problem.into()), code, ..self }
    }
}
