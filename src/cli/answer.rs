//! What a command returns.

use crate::Error;

/// The outcome of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// For standard output.
    pub text: String,
    /// The result is in files, and the printed text only reports it. So it is no failure if the text cannot be printed.
    pub in_files: bool,
    /// For standard error: one line that says what went wrong.
    pub problem: Option<String>,
    /// The process's exit code.
    pub code: u8,
}

impl Answer {
    /// A result, with exit code 0. A line end is added where it is missing.
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

    /// The same answer, for a command whose result is in files.
    pub fn in_files(self) -> Answer {
        Answer { in_files: true, ..self }
    }

    /// The same answer, with a problem and its exit code.
    pub fn with(self, problem: impl Into<String>, code: u8) -> Answer {
        Answer { problem: Some(problem.into()), code, ..self }
    }
}
