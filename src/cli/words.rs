//! Words of a shell's command line: split where a user gives several in one argument, and quoted where a shell is to read them back.

use crate::{Error, Result};
use std::borrow::Cow;

/// The words of `text`, split as a shell splits them: at blanks that are neither quoted nor escaped. Nothing is expanded.
///
/// Errors name `place`: a quotation is not closed, or the text ends with a backslash.
pub fn split(place: &str, text: &str) -> Result<Vec<String>> {
    shlex::split(text).ok_or_else(|| {
        Error::input(
            place,
            "a quotation without its end, or a \\ before nothing",
            "close it, or escape the mark with \\",
        )
    })
}

/// A word quoted so that a shell reads it back; a plain one stays as it is. (A word with a zero byte, which no shell takes, stays as it is too.)
pub fn quoted(word: &str) -> Cow<'_, str> {
    // An option with its value is easier to read without quotes; before `=` a shell wants them only where a command's first word could be an assignment.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-=_/.,:+@%".contains(c);
    if word.starts_with("--") && word.chars().all(plain) {
        return Cow::Borrowed(word);
    }
    shlex::try_quote(word).unwrap_or(Cow::Borrowed(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_splits_them_and_quoted_back() {
        let text = r#" slurm  -p gpu --comment='a  b' "c \"d\" $e" f\ g '' h"#;
        let words = split("--on", text).unwrap();
        assert_eq!(words, ["slurm", "-p", "gpu", "--comment=a  b", "c \"d\" $e", "f g", "", "h"]);
        let again = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        assert_eq!(split("--on", &again).unwrap(), words);
        assert_eq!(split("--on", " ").unwrap(), [""; 0]);
        assert_eq!(["a/b-c.toml", "a b", "it's"].map(quoted), ["a/b-c.toml", "'a b'", "\"it's\""]);
        let options = ["--time=4:00:00", "--gres=gpu:1", "--comment=a b", "A=b"];
        assert_eq!(options.map(quoted), ["--time=4:00:00", "--gres=gpu:1", "'--comment=a b'", "'A=b'"]);
        for open in ["a 'b", "a \"b'", "a\\"] {
            assert!(split("--on", open).unwrap_err().to_string().contains("a quotation without its end"), "{open}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for word in ["plain", "", "a b", "it's", "$HOME `id` \\ \"", "*", "ä ö", "%a", "-x", "--a=b,c:d"] {
            let script = format!("printf %s {}", quoted(word));
            let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(out.stdout).unwrap(), word);
        }
    }
}
