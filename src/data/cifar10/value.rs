//! The values in a pickle, which refer to each other by number.

use std::borrow::Cow;

/// A value's number.
pub(super) type Id = usize;

/// What is wrong with a pickle, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) byte: usize,
    pub(super) problem: String,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Bytes(&'a [u8]),
    Text(&'a str),
    /// Bytes written as text: each character U+0000 to U+00FF is one byte.
    Latin1(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// A dtype, by its code such as `u1`, and its byte order once its state is set.
    Dtype(Id, Option<Id>),
    /// The array that `_reconstruct` makes, before its state is set.
    BlankArray,
    Array(Array),
    /// A number that is not an integer. Batches have none, but data added by others may.
    Number,
}

/// An array. It gives the numbers of its parts, whose kinds are not checked yet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Id,
    pub(super) dtype: Id,
    /// `True` or the text `F` where columns are contiguous; `False` or `C` where rows are.
    pub(super) order: Id,
    pub(super) data: Id,
}

/// The known globals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    Reconstruct,
    FromBuffer,
    NdArray,
    Dtype,
    Scalar,
    Encode,
    OrderedDict,
}

impl Global {
    pub(super) fn named(module: &str, name: &str) -> Option<Global> {
        match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Some(Global::Reconstruct),
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Some(Global::FromBuffer),
            // An array that lay in a file is pickled with its content, like any other.
            ("numpy", "ndarray" | "memmap") | ("numpy.core.memmap" | "numpy._core.memmap", "memmap") => {
                Some(Global::NdArray)
            }
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Some(Global::Scalar),
            ("numpy", "dtype") => Some(Global::Dtype),
            ("_codecs", "encode") => Some(Global::Encode),
            ("collections", "OrderedDict") => Some(Global::OrderedDict),
            _ => None,
        }
    }
}

/// The bytes of a value, in either encoding.
pub(super) fn bytes_of<'b>(value: &Value<'b>) -> Option<Cow<'b, [u8]>> {
    match value {
        Value::Bytes(bytes) => Some(Cow::Borrowed(bytes)),
        Value::Latin1(text) => text.chars().map(|c| u8::try_from(c).ok()).collect::<Option<Vec<u8>>>().map(Cow::Owned),
        _ => None,
    }
}

/// The integers in `data`, read as `dtype` says: one to eight bytes, signed or unsigned, in either byte order. `None` where `dtype` is no
/// such type or `data` does not hold a whole number of them. A value above the largest i64 becomes the largest i64.
pub(super) fn integers(values: &[Value<'_>], dtype: Id, data: Id) -> Option<Vec<i64>> {
    let Value::Dtype(code, order) = values[dtype] else { return None };
    let text = |id: Id| match values[id] {
        Value::Bytes(bytes) => str::from_utf8(bytes).ok(),
        Value::Text(text) => Some(text),
        _ => None,
    };
    let code = text(code)?;
    let (big, code) = match code.strip_prefix('>') {
        Some(rest) => (true, rest),
        None => (false, code.trim_start_matches(['<', '|', '='])),
    };
    let big = big || order.and_then(text) == Some(">");
    let (signed, size) = match code {
        "i1" | "i2" | "i4" | "i8" => (true, usize::from(code.as_bytes()[1] - b'0')),
        "u1" | "u2" | "u4" | "u8" => (false, usize::from(code.as_bytes()[1] - b'0')),
        _ => return None,
    };
    let bytes = bytes_of(&values[data])?;
    let items = bytes.chunks_exact(size);
    if !items.remainder().is_empty() {
        return None;
    }
    let unused = 64 - 8 * size as u32;
    let int = |item: &[u8]| {
        let join = |all: u64, &byte: &u8| all << 8 | u64::from(byte);
        let word = if big { item.iter().fold(0, join) } else { item.iter().rev().fold(0, join) };
        if signed { (word << unused) as i64 >> unused } else { i64::try_from(word).unwrap_or(i64::MAX) }
    };
    Some(items.map(int).collect())
}
