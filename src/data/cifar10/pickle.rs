//! Reads a pickle of NumPy arrays in plain containers. The pickle is only described; nothing in it is executed.
//!
//! The machine behind it accepts the opcodes that Python 2's and Python 3's picklers write for such data (protocols 2 to 5) and a few
//! globals. Anything else is an error with its byte offset. All values are in one list and refer to each other by number, so shared and
//! even cyclic values cost nothing and nothing recurses. Strings point into the input. Every opcode makes at most one value and one
//! reference, and the number of opcodes is bounded.
//!
//! Format: Python's `pickletools`.

use super::machine;
use super::value::{Array, Flaw, Id, Value, integers};

/// A pickle's values.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a whole pickle; nothing may follow it.
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

    /// The value of `key` in a dictionary. Python 2's keys are bytes, Python 3's may be text. If a key occurs twice, the later entry counts.
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

    /// The integers of a tuple, a list, or a NumPy array of one axis (or one column). `None` for any other value, or where it holds
    /// anything but integers.
    pub(super) fn ints(&self, value: &Value<'a>) -> Option<Vec<i64>> {
        let items = match value {
            Value::Tuple(items) | Value::List(items) => items,
            Value::Array(array) => return self.column(array),
            _ => return None,
        };
        let int = |&id: &Id| match self.value(id) {
            Value::Int(int) => Some(*int),
            _ => None,
        };
        items.iter().map(int).collect()
    }

    /// The integers of an array of shape `[n]` or `[n, 1]`.
    fn column(&self, array: &Array) -> Option<Vec<i64>> {
        let (Value::Tuple(shape) | Value::List(shape)) = self.value(array.shape) else { return None };
        let extents: Vec<i64> = shape
            .iter()
            .map(|&id| match self.value(id) {
                Value::Int(extent) => Some(*extent),
                _ => None,
            })
            .collect::<Option<_>>()?;
        let ([n] | [n, 1]) = extents[..] else { return None };
        let ints = integers(&self.values, array.dtype, array.data)?;
        (i64::try_from(ints.len()) == Ok(n)).then_some(ints)
    }
}

#[cfg(test)]
#[path = "pickle_tests.rs"]
mod tests;
