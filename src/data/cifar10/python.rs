//! A batch as the Python version pickles it: a dictionary with `data`, a uint8 array of 10,000 × 3,072 (red, green and blue planes), and
//! `labels`, a list. Variants that NumPy writes are read too: `data` in Fortran order or from a memory map, and labels as an array or as
//! NumPy integers.

use super::batch_file::{At, Batch, IMAGES};
use super::pickle::Pickle;
use super::value::{Array, Flaw, Value, bytes_of};
use crate::data::image_set::{CLASSES, IMAGE};
use crate::{Error, Result};

/// The result of checking a field; the error says what is wrong with it.
type Checked = std::result::Result<(), String>;

/// Reads a batch from the bytes of its file.
pub(super) fn read(bytes: &[u8], at: At<'_>, to: Batch<'_>) -> Result<()> {
    let pickle = Pickle::parse(bytes)
        .map_err(|Flaw { byte, problem }| at.wrong_at(format_args!("byte {byte}"), format!("the pickle {problem}")))?;
    let Value::Dict(dict) = pickle.root() else { return Err(at.wrong("the pickle is not a dictionary")) };
    let field = |name| pickle.entry(dict, name).ok_or_else(|| at.wrong(format!("the dictionary has no `{name}`")));
    copy_labels(&pickle, field("labels")?, to.labels).map_err(|problem| wrong(at, "labels", problem))?;
    let Value::Array(array) = field("data")? else { return Err(wrong(at, "data", "is not a NumPy array".into())) };
    copy_pixels(&pickle, array, to.pixels).map_err(|problem| wrong(at, "data", problem))
}

fn wrong(at: At<'_>, field: &str, problem: String) -> Error {
    at.wrong_at(format_args!("field `{field}`"), problem)
}

fn copy_labels(pickle: &Pickle<'_>, list: &Value<'_>, to: &mut [u8]) -> Checked {
    let Some(labels) = pickle.ints(list) else { return Err("is neither a list nor an array of integers".into()) };
    if labels.len() != IMAGES {
        return Err(format!("has {} labels, not {IMAGES}", labels.len()));
    }
    for (i, (&label, to)) in labels.iter().zip(to).enumerate() {
        *to = u8::try_from(label)
            .ok()
            .filter(|&label| usize::from(label) < CLASSES)
            .ok_or_else(|| format!("the label of record {i} is {label}, not 0 to 9"))?;
    }
    Ok(())
}

fn copy_pixels(pickle: &Pickle<'_>, array: &Array, to: &mut [u8]) -> Checked {
    match pickle.value(array.dtype) {
        Value::Dtype(code, _) if pickle.reads(*code, "u1") || pickle.reads(*code, "|u1") => {}
        _ => return Err("is not of dtype uint8".into()),
    }
    let shape = pickle.ints(pickle.value(array.shape));
    if shape.as_deref() != Some(&[IMAGES as i64, IMAGE as i64]) {
        let shape = shape.filter(|shape| shape.len() <= 8).map_or("no shape".into(), |s| format!("shape {s:?}"));
        return Err(format!("has {shape}, not [{IMAGES}, {IMAGE}]"));
    }
    let is = |flag, letter| match pickle.value(array.order) {
        Value::Bool(fortran) => *fortran == flag,
        Value::Int(fortran) => *fortran == i64::from(flag),
        _ => pickle.reads(array.order, letter),
    };
    let fortran = is(true, "F");
    if !fortran && !is(false, "C") {
        return Err("is neither in C order nor in Fortran order".into());
    }
    let Some(bytes) = bytes_of(pickle.value(array.data)) else {
        return Err("has data that are not bytes".into());
    };
    if bytes.len() != to.len() {
        return Err(format!("has {} bytes of data, not {}", bytes.len(), IMAGES * IMAGE));
    }
    match fortran {
        true => copy_columns(&bytes, to),
        false => to.copy_from_slice(&bytes),
    }
    Ok(())
}

/// Turns columns into rows, in squares that fit into the first-level cache.
fn copy_columns(columns: &[u8], rows: &mut [u8]) {
    const SIDE: usize = 64;
    for (top, rows) in (0..IMAGES).step_by(SIDE).zip(rows.chunks_mut(SIDE * IMAGE)) {
        for left in (0..IMAGE).step_by(SIDE) {
            for (i, row) in (top..).zip(rows.chunks_exact_mut(IMAGE)) {
                for (j, to) in (left..).zip(&mut row[left..IMAGE.min(left + SIDE)]) {
                    *to = columns[j * IMAGES + i];
                }
            }
        }
    }
}
