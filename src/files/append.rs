//! A log of lines that grows during a run and is cut back to the checkpoint when the run is resumed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::atomic;
use super::disk::open_read;
use crate::{Error, Result};

/// Bytes of lines gathered before they are written, so that one row per step does not cost one system call per step.
const BUFFER: usize = 1 << 16;

/// The longest line that is read. A longer line is not one of ours, so reading stops instead of taking memory for it.
const MAX_LINE: u64 = 1 << 20;

/// An append-only text file with a header line, such as `metrics.csv`. Whenever no write is in progress, the file on disk ends with a whole
/// line; a failed write is undone.
#[derive(Debug)]
pub struct AppendLog {
    path: PathBuf,
    file: File,
    /// Bytes on disk, which are all whole lines.
    whole: u64,
    pending: Vec<u8>,
}

impl AppendLog {
    /// Starts a log with its header line.
    ///
    /// # Errors
    /// [`Error::Input`] where the file exists, else as [`atomic::write`].
    pub fn create(path: &Path, header: &str) -> Result<Self> {
        if path.symlink_metadata().is_ok() {
            return Err(Error::file(path, "already exists", "give another folder, or resume the run in this one"));
        }
        let first = format!("{header}\n");
        atomic::write_bytes(path, first.as_bytes())?;
        Ok(Self {
            path: path.to_owned(),
            file: atomic::open_append(path)?,
            whole: first.len() as u64,
            pending: Vec::new(),
        })
    }

    /// Reopens a log. The lines after the header are kept up to the first for which `keep` is false. That line, everything after it, and a
    /// last line without its end are cut off. Also returns how many lines (without the header) were kept.
    ///
    /// # Errors
    /// [`Error::Input`] where the file is missing, starts with another header, or is not text; [`Error::Io`] where the file system refuses.
    pub fn reopen(path: &Path, header: &str, mut keep: impl FnMut(&str) -> bool) -> Result<(Self, u64)> {
        let mut reader = BufReader::new(open_read(path)?);
        let mut line = Vec::new();
        let (mut whole, mut kept) = (0u64, 0u64);
        for number in 1u64.. {
            line.clear();
            let length = (&mut reader)
                .take(MAX_LINE)
                .read_until(b'\n', &mut line)
                .map_err(|source| Error::io(path, "read", source))? as u64;
            if line.pop_if(|last| *last == b'\n').is_none() {
                if length == MAX_LINE {
                    let problem = format!("line {number} has more than {MAX_LINE} bytes");
                    return Err(Error::file(path, problem, "remove it and what follows"));
                }
                if number == 1 {
                    return Err(Error::file(path, "line 1 is not complete", format!("it must be \"{header}\"")));
                }
                break;
            }
            let text = str::from_utf8(&line).map_err(|bad| {
                let at = whole + bad.valid_up_to() as u64;
                Error::file(path, format!("line {number} is not text at byte {at}"), "remove it and what follows")
            })?;
            if number == 1 && text != header {
                return Err(Error::file(path, "line 1 is another header", format!("it must be \"{header}\"")));
            }
            if number > 1 {
                if !keep(text) {
                    break;
                }
                kept += 1;
            }
            whole += length;
        }
        let file = atomic::open_append(path)?;
        let cut = || {
            file.set_len(whole)?;
            file.sync_all()
        };
        cut().map_err(|source| Error::io(path, "shorten", source))?;
        Ok((Self { path: path.to_owned(), file, whole, pending: Vec::new() }, kept))
    }

    /// Adds a line (given without its end). It reaches the disk with the next [`AppendLog::flush`], or once enough lines have gathered.
    ///
    /// # Errors
    /// As [`AppendLog::flush`].
    pub fn append(&mut self, line: &str) -> Result<()> {
        debug_assert!(!line.contains('\n'), "one line at a time");
        self.pending.extend_from_slice(line.as_bytes());
        self.pending.push(b'\n');
        if self.pending.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Hands all lines to the operating system, so that they survive the end of this process.
    ///
    /// # Errors
    /// [`Error::Io`], as on a full disk. Then none of the gathered lines is in the file, and they remain gathered.
    pub fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if let Err(source) = self.file.write_all(&self.pending) {
            // A part may have been written: readers must not find half a line. That it cannot be taken back is no
            // second error: the first one is told, and reopening drops a partial line.
            let _ = self.file.set_len(self.whole);
            return Err(Error::io(&self.path, "write", source));
        }
        self.whole += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Flushes and makes the lines durable, so that they survive a crash of the machine.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.file.sync_all().map_err(|source| Error::io(&self.path, "write", source))
    }
}

impl Drop for AppendLog {
    /// Tries to write the gathered lines, ignoring errors; call [`AppendLog::flush`] to see them.
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

/// The last whole line of a text file, of which only the end is read; `None` where there is no whole line in the last `BUFFER` bytes.
///
/// # Errors
/// As [`open_read`]; [`Error::Io`] where the file system refuses.
pub fn last_line(path: &Path) -> Result<Option<String>> {
    let mut file = open_read(path)?;
    let mut read = || {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(BUFFER as u64)))?;
        let mut end = Vec::new();
        (&mut file).take(BUFFER as u64).read_to_end(&mut end)?;
        Ok(end)
    };
    let end = read().map_err(|source| Error::io(path, "read", source))?;
    let Some(whole) = end.iter().rposition(|byte| *byte == b'\n') else { return Ok(None) };
    let start = end[..whole].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Ok(String::from_utf8(end[start..whole].to_vec()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn step(line: &str) -> u64 {
        line.split(',').next().and_then(|field| field.parse().ok()).unwrap_or(u64::MAX)
    }

    #[test]
    fn lines_arrive_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        let mut log = AppendLog::create(&path, "step,loss").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "step,loss\n");
        let mut expected = String::from("step,loss\n");
        for i in 0..20_000 {
            log.append(&format!("{i},0.5")).unwrap();
            expected += &format!("{i},0.5\n");
        }
        let early = fs::read_to_string(&path).unwrap();
        assert!(early.len() > 1000 && early.ends_with('\n') && expected.starts_with(&early));
        log.sync().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        log.append("last,1").unwrap();
        drop(log);
        assert!(fs::read_to_string(&path).unwrap().ends_with("\nlast,1\n"));
        assert!(matches!(AppendLog::create(&path, "step,loss"), Err(Error::Input { .. })));
    }

    #[test]
    fn resuming_drops_later_lines_and_half_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        for (resume_at, kept, expected) in
            [(0, 0, "step\nnew\n"), (2, 2, "step\n0\n1\nnew\n"), (9, 4, "step\n0\n1\n2\n3\nnew\n")]
        {
            fs::write(&path, "step\n0\n1\n2\n3\n4,ha").unwrap();
            let (mut log, lines) = AppendLog::reopen(&path, "step", |line| step(line) < resume_at).unwrap();
            assert_eq!(lines, kept);
            log.append("new").unwrap();
            log.flush().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        }
    }

    #[test]
    fn another_file_is_not_taken_for_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        assert!(matches!(AppendLog::reopen(&path, "step", |_| true), Err(Error::Input { .. })));
        for content in ["", "step", "other\n1\n"] {
            fs::write(&path, content).unwrap();
            let error = AppendLog::reopen(&path, "step", |_| true).unwrap_err();
            assert!(matches!(error, Error::Input { .. }), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        fs::write(&path, b"step\n0\n1\xff\n").unwrap();
        let message = AppendLog::reopen(&path, "step", |_| true).unwrap_err().to_string();
        assert!(message.contains("line 3 is not text at byte 8"), "{message}");
        fs::write(&path, [b"step\n".as_slice(), &vec![b'0'; MAX_LINE as usize + 5]].concat()).unwrap();
        assert!(matches!(AppendLog::reopen(&path, "step", |_| true), Err(Error::Input { .. })));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told() {
        let full = std::fs::OpenOptions::new().append(true).open("/dev/full").unwrap();
        let mut log = AppendLog { path: "/dev/full".into(), file: full, whole: 0, pending: Vec::new() };
        log.append("0,1").unwrap();
        assert!(matches!(log.flush(), Err(Error::Io { .. })));
        assert!(matches!(log.sync(), Err(Error::Io { .. })));
        let mut failed = false;
        for _ in 0..BUFFER {
            failed |= log.append("0,1").is_err();
        }
        assert!(failed);
    }
}
