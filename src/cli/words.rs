//! Words of a shell's command line: split where a user gives several in one argument, and quoted where a shell is to read them back.

use crate::{Error, Result};

/// The words of `text`, split as a shell splits them: at blanks that are neither quoted nor escaped. Nothing is expanded.
///
/// Errors name `place`: a quotation mark has no second one.
pub fn split(place: &str, text: &str) -> Result<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(mark)) if c == mark => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(mark) = quote {
        return Err(Error::input(
            place,
            format!("a {mark} without a second one"),
            "close the quotation, or escape it with \\",
        ));
    }
    words.extend(word);
    Ok(words)
}

/// A word quoted so that a shell reads it back; a plain one stays as it is.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,%@".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', "'\\''")) }
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
        assert_eq!(quoted("it's"), r"'it'\''s'");
        for open in ["a 'b", "a \"b'"] {
            assert!(split("--on", open).unwrap_err().to_string().contains("without a second one"), "{open}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for word in ["plain", "", "a b", "it's", "$HOME `id` \\ \"", "*", "ä ö", "%a", "-x"] {
            let script = format!("printf %s {}", quoted(word));
            let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(out.stdout).unwrap(), word);
        }
    }
}
