//! TensorBoard's event files: framed records of protocol buffers, in the format that `tensorboard` reads.
//!
//! A record is the message's length (u64), the masked CRC-32C of the length, the message, and the masked CRC-32C of the message; all
//! little-endian.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use super::disk;
use crate::{Error, Result};

/// The prefix of the file names that TensorBoard's own writers use; the seconds of the file's creation follow it.
const NAME: &str = "events.out.tfevents.";
/// The most names to try when others write into the same folder at the same moment.
const TRIES: u32 = 100;

/// `Event` of tensorflow/core/util/event.proto, with the fields that are used here.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    /// Set in the first event of a file, which has no other field but the time.
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    /// 1: a session starts at this step, and events that were logged before for this step and later ones are void.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// An event file that is being written.
pub struct EventLog {
    path: PathBuf,
    out: BufWriter<File>,
}

impl EventLog {
    /// Creates a file in a run's folder that sorts after the existing ones, whatever the clock says. It makes void what earlier files say
    /// about step `first` and later steps.
    ///
    /// # Errors
    /// [`Error::Io`] where the folder cannot be read, or the file cannot be created or written.
    pub fn create(folder: &Path, first: u64) -> Result<EventLog> {
        Self::create_at(folder, first, seconds())
    }

    /// The same at a given time, in seconds since 1970.
    fn create_at(folder: &Path, first: u64, now: f64) -> Result<EventLog> {
        let (path, file) = new_file(folder, now as u64)?;
        let mut log = EventLog { path, out: BufWriter::new(file) };
        let event = Event { wall_time: now, ..Event::default() };
        log.record(&Event { file_version: Some("brain.Event:2".into()), ..event.clone() })?;
        // From step 0 too: an earlier part may have ended before its first checkpoint, and TensorBoard passes over the first of them.
        log.record(&Event { step: first as i64, session_log: Some(SessionLog { status: 1 }), ..event })?;
        log.flush()?;
        Ok(log)
    }

    /// Adds named numbers of a step. `None` was not measured and is left out; a measured NaN is written as NaN.
    ///
    /// # Errors
    /// As [`EventLog::create`].
    pub fn scalars<'a>(&mut self, step: u64, scalars: impl IntoIterator<Item = (&'a str, Option<f64>)>) -> Result<()> {
        let measured = scalars.into_iter().filter_map(|(tag, value)| Some((tag, value?)));
        let value: Vec<Value> =
            measured.map(|(tag, value)| Value { tag: tag.into(), simple_value: Some(value as f32) }).collect();
        if value.is_empty() {
            return Ok(());
        }
        let summary = Some(Summary { value });
        self.record(&Event { wall_time: seconds(), step: step as i64, summary, ..Event::default() })
    }

    /// Hands the added events to the system, for a TensorBoard that is watching.
    ///
    /// # Errors
    /// As [`EventLog::create`].
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(|source| Error::io(&self.path, "write", source))
    }

    fn record(&mut self, event: &Event) -> Result<()> {
        self.out.write_all(&framed(&event.encode_to_vec())).map_err(|source| Error::io(&self.path, "write", source))
    }
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Creates a file that sorts last. TensorBoard reads the files of a folder in the order of their names, and never looks at a name that
/// sorts before one that it has read.
fn new_file(folder: &Path, now: u64) -> Result<(PathBuf, File)> {
    for _ in 0..TRIES {
        let path = folder.join(name_after(newest(folder)?.as_deref(), now));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(Error::io(&path, "create", source)),
        }
    }
    Err(Error::file(folder, "has no free name for an event file", "another program writes event files there; stop it"))
}

/// The name of the last event file in a folder, whoever wrote it, in TensorBoard's order. Names that are not text are ignored, and so are names that
/// do not begin as those of TensorBoard's own writers do.
fn newest(folder: &Path) -> Result<Option<String>> {
    let names = disk::list_dir(folder)?.into_iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    Ok(names.filter(|name| name.starts_with(NAME)).max())
}

/// A file name for the time `now` that sorts after `newest`. Where the clock went back, or another part began in the same second, it is the
/// second after that of `newest`.
fn name_after(newest: Option<&str>, now: u64) -> String {
    let name = |second: u64| format!("{NAME}{second:010}.normscape.0000");
    let Some(newest) = newest else { return name(now) };
    let digits = newest[NAME.len()..].split('.').next().and_then(|digits| digits.parse::<u64>().ok());
    let next = digits.and_then(|second| second.checked_add(1)).map_or(now, |next| now.max(next));
    // Names are compared as text: among other numbers of digits the larger need not come later.
    let after = [name(now), name(next)].into_iter().find(|name| name.as_str() > newest);
    after.unwrap_or_else(|| format!("{newest}.normscape"))
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(message.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked(&length).to_le_bytes());
    record.extend_from_slice(message);
    record.extend_from_slice(&masked(message).to_le_bytes());
    record
}

/// Masks a checksum, as the format does because data that contain their own checksums are a bad input for a CRC.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_framed_as_tensorflow_frames_it() {
        // The first record of every event file, without its time: bytes that TensorFlow 2 writes.
        let event = Event { file_version: Some("brain.Event:2".into()), ..Event::default() };
        let record = framed(&event.encode_to_vec());
        assert_eq!(&record[..8], &15u64.to_le_bytes());
        assert_eq!(&record[12..27], b"\x1a\x0dbrain.Event:2");
        // CRC-32C of "123456789" is 0xe3069283.
        assert_eq!(masked(b"123456789"), 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8));
    }

    #[test]
    fn every_part_of_a_run_has_a_file_that_comes_after_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let files = || disk::list_dir(folder.path()).unwrap();
        let (now, long_ago) = (1_700_000_000.25, 12.0);
        let mut last = PathBuf::new();
        // Twice in one second, after the clock went back, without any clock, and on.
        for (part, at) in [now, now, now - 30.0, long_ago, 0.0, now + 5.0, now + 5.0].into_iter().enumerate() {
            let mut log = EventLog::create_at(folder.path(), part as u64, at).unwrap();
            log.scalars(part as u64, [("loss", Some(1.5)), ("accuracy", None)]).unwrap();
            log.flush().unwrap();
            assert_eq!(files().len(), part + 1);
            let newest = files().pop().unwrap();
            assert!(newest > last, "part {part}: {} after {}", newest.display(), last.display());
            last = newest;
        }
        // The clock's second where it is free again, and the one after it for a second file within it.
        assert!(last.to_string_lossy().ends_with(".1700000006.normscape.0000"), "{}", last.display());
        assert!(EventLog::create(&folder.path().join("nowhere"), 0).is_err());
    }

    #[test]
    fn a_name_comes_after_any_event_file_that_is_there() {
        let now = 1_700_000_000;
        assert_eq!(name_after(None, now), format!("{NAME}1700000000.normscape.0000"));
        for newest in [
            "1600000000.host.1.0",
            "1700000000.host.1.0",
            "1700000000.normscape.9999",
            "1700000000.zebra",
            // Far ahead, and where one more has another digit.
            "4000000000.normscape.0000",
            "9999999999.normscape.0000",
            "9999999999.zebra",
            "18446744073709551615.normscape.0000",
            "99999999999999999999999.normscape.0000",
            "2.host",
            "no number",
            "",
        ] {
            let newest = format!("{NAME}{newest}");
            let mut name = newest.clone();
            for _ in 0..3 {
                let next = name_after(Some(&name), now);
                assert!(next > name && next.starts_with(NAME), "{next} after {name}");
                name = next;
            }
        }
    }

    #[test]
    fn what_was_not_measured_is_left_out_and_a_measured_nan_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = EventLog::create(folder.path(), 0).unwrap();
        log.scalars(3, [("train/loss", Some(f64::NAN)), ("test/loss", None), ("up", Some(f64::INFINITY))]).unwrap();
        log.scalars(4, [("test/loss", None)]).unwrap();
        log.flush().unwrap();
        let bytes = std::fs::read(disk::list_dir(folder.path()).unwrap().pop().unwrap()).unwrap();
        let (mut rest, mut events) = (&bytes[..], Vec::new());
        while let Some((length, _)) = rest.split_first_chunk::<8>() {
            let length = u64::from_le_bytes(*length) as usize;
            events.push(Event::decode(&rest[12..12 + length]).unwrap());
            rest = &rest[length + 16..];
        }
        let shown: Vec<_> = events.iter().filter_map(|event| Some((event.step, event.summary.as_ref()?))).collect();
        let [(3, Summary { value })] = &shown[..] else { panic!("{shown:?}") };
        let [loss, up] = &value[..] else { panic!("{value:?}") };
        assert!(loss.tag == "train/loss" && loss.simple_value.unwrap().is_nan(), "{loss:?}");
        assert_eq!((up.tag.as_str(), up.simple_value), ("up", Some(f32::INFINITY)));
    }
}
