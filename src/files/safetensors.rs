//! Parameters as safetensors files, which `safetensors.torch.load_file` reads.
//!
//! The safetensors crate parses and checks the header. The guard here bounds the header's length, and compares the declared sizes with the
//! file's length before any memory is taken. The writer adds a fixed order, so that the same tensors give the same bytes.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::atomic;
use super::disk::open_read;
use super::{Array, Arrays, Values};
use crate::{Error, Result};

/// The longest header. Names and shapes of a network take a few kilobytes.
const MAX_HEADER: u64 = 1 << 20;

const REMEDY: &str = "save it with safetensors.torch.save_file";

/// Writes tensors (float32, float64, int64) and free-form metadata, whole or not at all.
///
/// # Errors
/// [`Error::Input`] for strings, a repeated name, or a shape that does not fit its values; otherwise as [`atomic::write`].
pub fn write<S: AsRef<str>>(path: &Path, tensors: &[(S, Array)], metadata: &BTreeMap<String, String>) -> Result<()> {
    let mut ordered: Vec<(&str, Dtype, &Array)> = Vec::with_capacity(tensors.len());
    for (name, array) in tensors {
        let dtype = dtype(&array.values).ok_or_else(|| {
            Error::input(place(path, name.as_ref()), "holds strings", "give float32, float64 or int64 values")
        })?;
        ordered.push((name.as_ref(), dtype, array));
    }
    // Wider types first, so that each tensor is aligned; then by name.
    ordered.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let mut infos: Vec<(String, TensorInfo)> = Vec::with_capacity(ordered.len());
    let mut end = 0;
    for &(name, dtype, array) in &ordered {
        if name == "__metadata__" || infos.iter().any(|(other, _)| other == name) {
            return Err(Error::input(place(path, name), "is a name that is taken", "give each tensor its own name"));
        }
        let start = end;
        end += array.len() * dtype.bitsize() / 8;
        infos.push((name.to_owned(), TensorInfo { dtype, shape: array.shape.clone(), data_offsets: (start, end) }));
    }
    let free: HashMap<String, String> = metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let header = Metadata::new((!free.is_empty()).then_some(free), infos)
        .map_err(|error| Error::file(path, error.to_string(), "each shape's product must be the number of values"))?;
    // Through a `Value`, whose maps are in key order, which the crate's hash maps are not.
    let header = serde_json::to_value(&header)
        .map_err(|error| Error::file(path, format!("cannot describe its tensors: {error}"), "give other names"))?;
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() as u64 > MAX_HEADER {
        let problem = format!("would need a header of {} bytes", header.len());
        return Err(Error::file(path, problem, format!("names and metadata may take {MAX_HEADER} bytes")));
    }
    atomic::write(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        ordered.iter().try_for_each(|(_, _, array)| write_values(out, &array.values))
    })
}

/// Reads all tensors and the metadata.
///
/// # Errors
/// [`Error::Input`] naming the file and the tensor or byte, where the file is not exactly a safetensors file of float32, float64 and int64
/// tensors, or its length differs; [`Error::Io`] where the file system refuses.
pub fn read(path: &Path) -> Result<(Arrays, BTreeMap<String, String>)> {
    let mut file = open_read(path)?;
    let failed = |source| Error::io(path, "read", source);
    let length = file.metadata().map_err(failed)?.len();
    let damaged = |problem: String| Error::file(path, problem, REMEDY);
    if length < 8 {
        return Err(damaged(format!("has {length} bytes, too few for a safetensors file")));
    }
    let mut start = [0; 8];
    file.read_exact(&mut start).map_err(failed)?;
    let header_length = u64::from_le_bytes(start);
    if header_length > MAX_HEADER || header_length > length - 8 {
        return Err(damaged(format!("is not a safetensors file: bytes 0 to 7 give a header of {header_length} bytes")));
    }
    let mut header = vec![0; header_length as usize];
    file.read_exact(&mut header).map_err(failed)?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|error| {
        let what: String = error.to_string().chars().take(200).collect();
        damaged(format!("has a damaged header: {}", what.escape_debug()))
    })?;
    let (needs, has) = (header.data_len() as u64, length - 8 - header_length);
    if needs != has {
        return Err(damaged(format!("needs {needs} bytes for its tensors and has {has}")));
    }
    let mut arrays = Arrays::new();
    for name in header.offset_keys() {
        let Some(info) = header.info(&name) else { continue };
        let bytes = info.data_offsets.1 - info.data_offsets.0;
        let values = read_values(&mut file, info.dtype, bytes).map_err(failed)?.ok_or_else(|| {
            Error::input(place(path, &name), format!("holds {}", info.dtype), "give float32, float64 or int64 values")
        })?;
        arrays.insert(name, Array { shape: info.shape.clone(), values });
    }
    let metadata = header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok((arrays, metadata))
}

fn dtype(values: &Values) -> Option<Dtype> {
    match values {
        Values::F32(_) => Some(Dtype::F32),
        Values::F64(_) => Some(Dtype::F64),
        Values::I64(_) => Some(Dtype::I64),
        Values::Text(_) => None,
    }
}

fn write_values(out: &mut dyn atomic::WriteSeek, values: &Values) -> io::Result<()> {
    match values {
        Values::F32(values) => values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes())),
        Values::F64(values) => values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes())),
        Values::I64(values) => values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes())),
        Values::Text(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// The next `bytes` of the file as values; `None` for an unsupported type.
fn read_values(file: &mut File, dtype: Dtype, bytes: usize) -> io::Result<Option<Values>> {
    if !matches!(dtype, Dtype::F32 | Dtype::F64 | Dtype::I64) {
        return Ok(None);
    }
    let mut raw = Vec::new();
    raw.try_reserve_exact(bytes).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    if file.take(bytes as u64).read_to_end(&mut raw)? != bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(match dtype {
        Dtype::F32 => Some(Values::F32(raw.as_chunks().0.iter().map(|&item| f32::from_le_bytes(item)).collect())),
        Dtype::F64 => Some(Values::F64(raw.as_chunks().0.iter().map(|&item| f64::from_le_bytes(item)).collect())),
        Dtype::I64 => Some(Values::I64(raw.as_chunks().0.iter().map(|&item| i64::from_le_bytes(item)).collect())),
        _ => None,
    })
}

/// The file and the tensor, on one line whatever characters the name contains.
fn place(path: &Path, name: &str) -> String {
    let short: String = name.chars().take(64).collect();
    format!("{}: tensor {}", path.display(), short.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn sample() -> Vec<(String, Array)> {
        vec![
            ("fc.weight".into(), Array::f32([2, 3], (0..6).map(|i| i as f32 / 3.0).collect())),
            ("step".into(), Array::scalar_i64(-7)),
            ("fc.bias".into(), Array::f64([2], vec![f64::NAN, 1e-300])),
            ("empty".into(), Array::f32([0, 4], vec![])),
        ]
    }

    fn bytes(header: &str, data: usize) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
    }

    #[test]
    fn tensors_come_back_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let metadata = BTreeMap::from([("model".to_owned(), "vgg11".to_owned()), ("a".to_owned(), "\"\n".to_owned())]);
        write(&path, &sample(), &metadata).unwrap();
        let first = fs::read(&path).unwrap();
        let (arrays, back) = read(&path).unwrap();
        assert_eq!(back, metadata);
        assert_eq!(arrays.len(), 4);
        for (name, array) in sample() {
            // As text, in which NaN equals NaN.
            assert_eq!(format!("{:?}", arrays[&name]), format!("{array:?}"));
        }
        let mut other_order = sample();
        other_order.reverse();
        write(&path, &other_order, &metadata).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
        write(&path, &sample()[..0], &BTreeMap::new()).unwrap();
        assert_eq!(read(&path).unwrap(), (Arrays::new(), BTreeMap::new()));
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let none = BTreeMap::new();
        let scalar = || Array::scalar_f32(1.0);
        for bad in [
            vec![("a", Array::scalar_text("x"))],
            vec![("a", scalar()), ("a", scalar())],
            vec![("__metadata__", scalar())],
            vec![("a", Array { shape: vec![2], values: Values::F32(vec![0.0; 3]) })],
        ] {
            assert!(matches!(write(&path, &bad, &none), Err(Error::Input { .. })));
        }
        let long = BTreeMap::from([("k".to_owned(), "x".repeat(MAX_HEADER as usize))]);
        assert!(matches!(write(&path, &[("a", scalar())], &long), Err(Error::Input { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn malformed_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let tensor = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        fs::write(&path, bytes(tensor, 8)).unwrap();
        read(&path).unwrap();
        // A byte more than a header may have, of blanks that may follow it, and more than the file has.
        let padded = |length: u64| bytes(&format!("{tensor}{}", " ".repeat(length as usize - tensor.len())), 8);
        fs::write(&path, padded(MAX_HEADER)).unwrap();
        read(&path).unwrap();
        let longer = [&(tensor.len() as u64 + 9).to_le_bytes()[..], tensor.as_bytes(), &[0; 8]].concat();
        // One level more than serde_json goes down.
        let nested = "[".repeat(129);
        for bad in [
            vec![],
            vec![0; 7],
            padded(MAX_HEADER + 1),
            longer,
            bytes(tensor, 7),
            bytes(tensor, 9),
            bytes(&tensor.replace("F32", "F16").replace("8]", "4]"), 4),
            bytes(&tensor.replace("F32", "F99"), 8),
            bytes(&tensor.replace("[2]", "[3]"), 8),
            bytes(&tensor.replace("[2]", "[-2]"), 8),
            bytes(&tensor.replace("[2]", "[4294967296,4294967296,2]"), 8),
            bytes(&tensor.replace("[2]", "[18446744073709551615]"), 8),
            bytes(&tensor.replace("[0,8]", "[8,0]"), 8),
            bytes(&tensor.replace("[0,8]", "[1,9]"), 9),
            bytes(&tensor.replace("[0,8]", "[0,18446744073709551615]"), 8),
            bytes("{}", 8),
            bytes("[]", 0),
            bytes("", 0),
            bytes(&nested, 0),
            bytes(&format!(r#"{{"a":{nested}"#), 0),
            bytes(r#"{"a":1}"#, 0),
            bytes(r#"{"__metadata__":{"a":1}}"#, 0),
        ] {
            fs::write(&path, &bad).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, Error::Input { .. }), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_mutated_file_is_read_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        write(&path, &sample(), &BTreeMap::from([("k".into(), "v".into())])).unwrap();
        let good = fs::read(&path).unwrap();
        super::super::npz::fixture::mutations(&good, 3000, |bytes| {
            fs::write(&path, bytes).unwrap();
            if let Err(error) = read(&path) {
                assert!(matches!(error, Error::Input { .. }), "{error}");
            }
        });
    }
}
