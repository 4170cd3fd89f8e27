//! `@FILE`: arguments read from a file, one per line.

use crate::files::disk;
use crate::{Error, Result};
use std::ffi::OsString;
use std::path::Path;

/// The most bytes of an argument file.
const CAP: u64 = 1 << 20;

/// The command line with every `@FILE` replaced by the lines of that file. Blank lines are skipped, and a file must not name another one. A
/// path that itself begins with `@` is written `./@…`.
///
/// Errors: the file is missing, cannot be read, is too large, or names another file.
pub fn expand(args: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>> {
    let mut args = args.into_iter();
    let mut all: Vec<OsString> = args.next().into_iter().collect();
    for arg in args {
        match arg.as_encoded_bytes().strip_prefix(b"@") {
            Some([]) => return Err(Error::input("@", "names no file", "give the file's name behind it: @FILE")),
            Some(_) => {
                let name = decode(arg.as_encoded_bytes()[1..].to_vec(), Path::new("@FILE"))?;
                all.extend(lines(Path::new(&name))?);
            }
            None => all.push(arg),
        }
    }
    Ok(all)
}

fn lines(file: &Path) -> Result<Vec<OsString>> {
    let bytes = disk::read_to_end_capped(file, CAP)?;
    let mut found = Vec::new();
    for (i, line) in bytes.split(|&b| b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if line.starts_with(b"@") {
            let place = format!("{}, line {}", file.display(), i + 1);
            return Err(Error::input(
                place,
                "names another file",
                "a file of arguments holds the arguments themselves",
            ));
        }
        found.push(decode(line.to_vec(), file)?);
    }
    Ok(found)
}

/// Decodes bytes into an argument of this platform.
#[cfg(unix)]
fn decode(bytes: Vec<u8>, _: &Path) -> Result<OsString> {
    Ok(std::os::unix::ffi::OsStringExt::from_vec(bytes))
}

/// Decodes bytes into an argument of this platform.
#[cfg(not(unix))]
fn decode(bytes: Vec<u8>, file: &Path) -> Result<OsString> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err(Error::file(file, "is not text", "it must be UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(args: &[&str]) -> Result<Vec<OsString>> {
        expand(args.iter().map(OsString::from))
    }

    #[test]
    fn a_files_lines_stand_where_it_was_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("args");
        std::fs::write(&file, "--out\r\n\n  \nmy run\n--quiet").unwrap();
        let at = format!("@{}", file.display());
        assert_eq!(
            expanded(&["n", "train", &at, "--json"]).unwrap(),
            ["n", "train", "--out", "my run", "--quiet", "--json"]
        );
        // The program's own name is none of its arguments.
        assert_eq!(expanded(&["@none"]).unwrap(), ["@none"]);
    }

    #[test]
    fn what_is_no_file_of_arguments_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("args");
        std::fs::write(&file, "a\n@b\n").unwrap();
        for (arg, says) in [
            (format!("@{}", file.display()), "line 2"),
            (format!("@{}/none", dir.path().display()), "does not exist"),
            (format!("@{}", dir.path().display()), "is a folder"),
            ("@".into(), "names no file"),
        ] {
            let message = expanded(&["n", &arg]).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
        std::fs::write(&file, vec![b'x'; CAP as usize + 1]).unwrap();
        assert!(expanded(&["n", &format!("@{}", file.display())]).is_err());
    }
}
