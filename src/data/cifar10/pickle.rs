//! What a pickle of NumPy arrays in plain containers holds. It is only described: nothing is executed.
//!
//! The machine behind it takes the opcodes that Python 2's and Python 3's picklers write for such data (protocols 2 to
//! 5) and a few globals; any other is an error with its byte offset. Values live in one list and name each other by
//! number, so shared and even cyclic values cost nothing and nothing recurses; strings point into the input. Every
//! opcode makes at most one value and one reference, and their number is bounded.
//!
//! Format: Python's `pickletools`.

use super::machine;

/// A value's number.
pub(super) type Id = usize;

/// What is wrong with a pickle, and the byte where.
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
    /// Bytes that are written as text: each character is one, U+0000 to U+00FF.
    Latin1(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// A dtype by its code, such as `u1`.
    Dtype(Id),
    /// `_reconstruct`'s array, before its state is set.
    BlankArray,
    Array(Array),
}

/// An array: the numbers of its parts, which may be of any kind still.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Id,
    pub(super) dtype: Id,
    /// `True`, or the text `F`, where columns lie together.
    pub(super) order: Id,
    pub(super) data: Id,
}

/// The globals that are known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    Reconstruct,
    FromBuffer,
    NdArray,
    Dtype,
    Encode,
}

impl Global {
    pub(super) fn named(module: &str, name: &str) -> Option<Global> {
        match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Some(Global::Reconstruct),
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Some(Global::FromBuffer),
            ("numpy", "ndarray") => Some(Global::NdArray),
            ("numpy", "dtype") => Some(Global::Dtype),
            ("_codecs", "encode") => Some(Global::Encode),
            _ => None,
        }
    }
}

/// A pickle's values.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a whole pickle: nothing may follow it.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Flaw> {
        let (values, root) = machine::run(bytes)?;
        Ok(Pickle { values, root })
    }

    /// The value that was pickled.
    pub(super) fn root(&self) -> &Value<'a> {
        self.value(self.root)
    }

    pub(super) fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id]
    }

    /// The value of `key` in a dictionary; Python 2's keys are bytes, Python 3's may be text. Of two, the later.
    pub(super) fn entry(&self, dict: &[(Id, Id)], key: &str) -> Option<&Value<'a>> {
        let found = dict.iter().rev().find(|(k, _)| self.reads(*k, key));
        found.map(|&(_, value)| self.value(value))
    }

    /// Whether a value is the string `text`.
    pub(super) fn reads(&self, id: Id, text: &str) -> bool {
        match self.value(id) {
            Value::Bytes(bytes) => *bytes == text.as_bytes(),
            Value::Text(found) | Value::Latin1(found) => *found == text,
            _ => false,
        }
    }

    /// The integers of a tuple or list; `None` where it is neither or holds anything else.
    pub(super) fn ints(&self, value: &Value<'a>) -> Option<Vec<i64>> {
        let (Value::Tuple(items) | Value::List(items)) = value else { return None };
        let int = |&id: &Id| match self.value(id) {
            Value::Int(int) => Some(*int),
            _ => None,
        };
        items.iter().map(int).collect()
    }
}

#[cfg(test)]
#[path = "pickle_tests.rs"]
mod tests;
