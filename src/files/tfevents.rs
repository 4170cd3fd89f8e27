//! TensorBoard's event files: framed records of protocol buffers, as `tensorboard` reads them.
//!
//! A record is its length (u64), the masked CRC-32C of that, the message, and the masked CRC-32C of that; all little-endian.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::{Error, Result};

/// Names that are tried: another part of the same run may have begun in the same second.
const TRIES: u32 = 10_000;

/// `Event` of tensorflow/core/util/event.proto: the fields that are used here.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    /// The first event of a file has this alone.
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
    /// 1: a session starts at this step, and what others have logged from it on is void.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// An event file that is being written.
pub struct EventLog {
    path: PathBuf,
    out: BufWriter<File>,
}

impl EventLog {
    /// A new file in a run's folder. What files of earlier parts say of step `first` and later ones is void.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be made or written.
    pub fn create(folder: &Path, first: u64) -> Result<EventLog> {
        let now = seconds();
        let (path, file) = new_file(folder, now as u64)?;
        let mut log = EventLog { path, out: BufWriter::new(file) };
        let event = Event { wall_time: now, ..Event::default() };
        log.record(&Event { file_version: Some("brain.Event:2".into()), ..event.clone() })?;
        // From step 0 too: an earlier part may have ended before its first checkpoint, and TensorBoard passes over the first of them.
        log.record(&Event { step: first as i64, session_log: Some(SessionLog { status: 1 }), ..event })?;
        log.flush()?;
        Ok(log)
    }

    /// Adds named numbers of a step; what is NaN was not measured and is left out.
    ///
    /// # Errors
    /// As [`EventLog::create`].
    pub fn scalars<'a>(&mut self, step: u64, scalars: impl IntoIterator<Item = (&'a str, f64)>) -> Result<()> {
        let there = scalars.into_iter().filter(|(_, value)| !value.is_nan());
        let value: Vec<Value> =
            there.map(|(tag, value)| Value { tag: tag.into(), simple_value: Some(value as f32) }).collect();
        if value.is_empty() {
            return Ok(());
        }
        let summary = Some(Summary { value });
        self.record(&Event { wall_time: seconds(), step: step as i64, summary, ..Event::default() })
    }

    /// Hands what was added to the system, for a TensorBoard that looks on.
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

/// TensorBoard looks for names of this form, and reads those of one folder in their order.
fn new_file(folder: &Path, second: u64) -> Result<(PathBuf, File)> {
    for number in 0..TRIES {
        let path = folder.join(format!("events.out.tfevents.{second:010}.normscape.{number:04}"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(Error::io(&path, "create", source)),
        }
    }
    Err(Error::file(folder, "has no free name for an event file", "remove old ones"))
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

/// The mask keeps a checksum of data that hold checksums from being easy to hit.
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
    fn two_parts_of_a_run_have_files_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        for first in [0, 5] {
            let mut log = EventLog::create(folder.path(), first).unwrap();
            log.scalars(first, [("loss", 1.5), ("accuracy", f64::NAN)]).unwrap();
            log.flush().unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(EventLog::create(&folder.path().join("nowhere"), 0).is_err());
    }
}
