//! The user's arrays, taken by name and checked one by one.

use super::layout::Layout;
use crate::files::{Array, Arrays, Values};
use crate::{Error, Result};
use std::collections::BTreeSet;

/// The prefix of arrays that hold expected outputs.
const EXPECT: &str = "expect.";
/// The prefix of an operator's settings.
const ATTRIBUTE: &str = "attr.";

/// A float tensor that the user supplied.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// The extents in the file; each is at least 1.
    pub shape: Vec<usize>,
    /// The order of its elements.
    pub layout: Layout,
    /// The values, in the file's order.
    pub(super) values: Floats,
}

impl Tensor {
    /// A tensor of zeros with the same shape and order.
    pub fn zero(&self) -> Tensor {
        let values = Floats::F32(vec![0.0; self.shape.iter().product()]);
        Tensor { shape: self.shape.clone(), layout: self.layout, values }
    }

    /// The values in the inside order, widened to f64.
    pub fn inside(&self) -> Vec<f64> {
        match &self.values {
            Floats::F32(values) => {
                self.layout.enter(&self.shape, &values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>())
            }
            Floats::F64(values) => self.layout.enter(&self.shape, values),
        }
    }
}

/// The values of a [`Tensor`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Floats {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// A requirement on a tensor's extents.
#[derive(Debug, Clone, Copy)]
pub enum Extents<'a> {
    /// Exactly these.
    Exact(&'a [usize]),
    /// One of these two, which mean the same.
    Either(&'a [usize], &'a [usize]),
    /// This many axes, with a description such as "4 axes, N×C×H×W".
    Axes(usize, &'static str),
    /// Two axes or more, N×C×….
    Activations,
    /// Anything but a scalar.
    Any,
}

impl Extents<'_> {
    fn met_by(self, shape: &[usize]) -> bool {
        match self {
            Extents::Exact(exact) => shape == exact,
            Extents::Either(one, other) => shape == one || shape == other,
            Extents::Axes(axes, _) => shape.len() == axes,
            Extents::Activations => shape.len() >= 2,
            Extents::Any => !shape.is_empty(),
        }
    }

    fn words(self) -> String {
        match self {
            Extents::Exact(exact) => format!("the shape {}", extents(exact)),
            Extents::Either(one, other) if one == other => Extents::Exact(one).words(),
            Extents::Either(one, other) => format!("the shape {} or {}", extents(one), extents(other)),
            Extents::Axes(axes, letters) => format!("{axes} axes, {letters}"),
            Extents::Activations => "two axes or more, N×C×…".into(),
            Extents::Any => "one axis or more".into(),
        }
    }
}

/// Formats extents, as in `[2,3]`.
fn extents(shape: &[usize]) -> String {
    let words: Vec<_> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", words.join(","))
}

/// The arrays of one operator call. It remembers every name that is asked for, so that [`Inputs::finish`] can refuse arrays that the operator does
/// not take.
#[derive(Debug)]
pub struct Inputs {
    source: String,
    given: Arrays,
    asked: BTreeSet<String>,
}

impl Inputs {
    /// Wraps the arrays that came from `source`, which is a file's path, for messages.
    pub fn new(source: impl Into<String>, given: Arrays) -> Self {
        Inputs { source: source.into(), given, asked: BTreeSet::new() }
    }

    /// The expected values that came with the arrays, under the names of their outputs.
    pub fn expected(&self) -> Arrays {
        let expectations = self.given.iter().filter_map(|(name, array)| Some((name.strip_prefix(EXPECT)?, array)));
        expectations.map(|(name, array)| (name.to_owned(), array.clone())).collect()
    }

    /// The error for array `name`: what is wrong with it, and what would be right.
    pub fn refuse(&self, name: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Error {
        Error::input(format!("{}: array {}", self.source, shown(name)), problem, remedy)
    }

    fn find(&mut self, name: &str) -> Option<Array> {
        self.asked.insert(name.to_owned());
        self.given.get(name).cloned()
    }

    fn missing(&self, name: &str) -> Error {
        let there: Vec<_> = self.given.keys().filter(|n| !n.starts_with(EXPECT)).map(|n| shown(n)).collect();
        let there = if there.is_empty() { "it has none".into() } else { format!("it has {}", there.join(", ")) };
        self.refuse(name, "is missing", format!("it is needed; {there}"))
    }

    /// Whether an array of this name was supplied.
    pub fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The first extent of an array, looked up before the array is taken as a tensor. Errors: the array is missing, or a scalar.
    pub fn first_extent(&mut self, name: &str) -> Result<usize> {
        let Some(array) = self.find(name) else { return Err(self.missing(name)) };
        self.check(name, &array, Extents::Any)?;
        Ok(array.shape[0])
    }

    /// Takes a required float tensor.
    pub fn tensor(&mut self, name: &str, layout: Layout, wanted: Extents<'_>) -> Result<Tensor> {
        self.optional(name, layout, wanted)?.ok_or_else(|| self.missing(name))
    }

    /// Takes an optional float tensor.
    pub fn optional(&mut self, name: &str, layout: Layout, wanted: Extents<'_>) -> Result<Option<Tensor>> {
        let Some(array) = self.find(name) else { return Ok(None) };
        self.check(name, &array, wanted)?;
        let values = match array.values {
            Values::F32(values) => Floats::F32(values),
            Values::F64(values) => Floats::F64(values),
            other => {
                let found = format!("is {}", other.kind());
                return Err(self.refuse(name, found, "float16, float32 or float64 is taken"));
            }
        };
        Ok(Some(Tensor { shape: array.shape, layout, values }))
    }

    /// Takes `n` labels: integers, each at least 0 and below `classes`.
    pub fn labels(&mut self, name: &str, n: usize, classes: usize) -> Result<Vec<u32>> {
        let Some(array) = self.find(name) else { return Err(self.missing(name)) };
        let Values::I64(values) = &array.values else {
            return Err(self.refuse(name, format!("is {}", array.kind()), "any integer type is taken"));
        };
        self.check(name, &array, Extents::Exact(&[n]))?;
        let label = |(i, &value): (usize, &i64)| match u32::try_from(value) {
            Ok(label) if (label as usize) < classes => Ok(label),
            _ => Err(self.refuse(
                name,
                format!("is {value} at index {i}"),
                format!("labels are 0 to {} here", classes.saturating_sub(1)),
            )),
        };
        values.iter().enumerate().map(label).collect()
    }

    fn check(&self, name: &str, array: &Array, wanted: Extents<'_>) -> Result<()> {
        if !wanted.met_by(&array.shape) {
            return Err(self.refuse(name, format!("is {}", array.kind()), format!("{} fits", wanted.words())));
        }
        if array.shape.contains(&0) {
            return Err(self.refuse(name, format!("is {}", array.kind()), "every extent must be at least 1"));
        }
        let count = array.shape.iter().try_fold(1usize, |n, &e| n.checked_mul(e));
        if count == Some(array.len()) {
            return Ok(());
        }
        let problem = format!("is {} with {} values", array.kind(), array.len());
        Err(self.refuse(name, problem, "the product of the extents is their number"))
    }

    /// The text `attr.name`, if it was supplied.
    pub fn text(&mut self, name: &str) -> Result<Option<String>> {
        let name = format!("{ATTRIBUTE}{name}");
        let Some(array) = self.find(&name) else { return Ok(None) };
        match array.as_text_scalar() {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(self.refuse(&name, format!("is {}", array.kind()), "a string is taken")),
        }
    }

    /// The text `attr.name`, which is required.
    pub fn required_text(&mut self, name: &str) -> Result<String> {
        self.text(name)?.ok_or_else(|| self.missing(&format!("{ATTRIBUTE}{name}")))
    }

    /// The numbers `attr.name`, an array of one axis, if they were supplied.
    pub fn numbers(&mut self, name: &str) -> Result<Option<Vec<f64>>> {
        let name = format!("{ATTRIBUTE}{name}");
        let Some(array) = self.find(&name) else { return Ok(None) };
        let values = match &array.values {
            Values::I64(values) => Some(values.iter().map(|&v| v as f64).collect()),
            _ => array.to_f64(),
        };
        match values.filter(|values: &Vec<f64>| array.shape.len() == 1 && !values.is_empty()) {
            Some(values) => Ok(Some(values)),
            None => Err(self.refuse(&name, format!("is {}", array.kind()), "one axis of one number or more is taken")),
        }
    }

    /// The number `attr.name`, if it was supplied.
    pub fn number(&mut self, name: &str, remedy: &str, fits: impl Fn(f64) -> bool) -> Result<Option<f64>> {
        let name = format!("{ATTRIBUTE}{name}");
        let Some(array) = self.find(&name) else { return Ok(None) };
        match array.as_f64_scalar() {
            Some(value) if fits(value) => Ok(Some(value)),
            Some(value) => Err(self.refuse(&name, format!("is {value}"), remedy)),
            None => Err(self.refuse(&name, format!("is {}", array.kind()), remedy)),
        }
    }

    /// `attr.eps`, or 1e-5 if it was not supplied.
    pub fn eps(&mut self) -> Result<f64> {
        let eps = self.number("eps", "a finite number, 0 or larger, is taken", |v| v.is_finite() && v >= 0.0)?;
        Ok(eps.unwrap_or(1e-5))
    }

    /// `attr.p`, which is required.
    pub fn p(&mut self) -> Result<f64> {
        let p = self.number("p", "a number of at least 1, or inf, is taken", |v| v >= 1.0)?;
        p.ok_or_else(|| self.missing("attr.p"))
    }

    /// The integer `attr.name`, from 0 to `most`; `default` if it was not supplied.
    pub fn integer(&mut self, name: &str, most: u64, default: u64) -> Result<u64> {
        let name = format!("{ATTRIBUTE}{name}");
        let Some(array) = self.find(&name) else { return Ok(default) };
        match array.as_i64_scalar().and_then(|v| u64::try_from(v).ok()).filter(|&v| v <= most) {
            Some(value) => Ok(value),
            None => {
                let found = array.as_f64_scalar().map_or_else(|| array.kind(), |v| v.to_string());
                Err(self.refuse(&name, format!("is {found}"), format!("an integer from 0 to {most} is taken")))
            }
        }
    }

    /// The integer `attr.name`, from `least` to `most`, which is required.
    pub fn required_integer(&mut self, name: &str, least: u64, most: u64) -> Result<u64> {
        let whole = format!("{ATTRIBUTE}{name}");
        let Some(array) = self.find(&whole) else { return Err(self.missing(&whole)) };
        match array.as_i64_scalar().and_then(|v| u64::try_from(v).ok()).filter(|v| (least..=most).contains(v)) {
            Some(value) => Ok(value),
            None => {
                let found = array.as_f64_scalar().map_or_else(|| array.kind(), |v| v.to_string());
                Err(self.refuse(&whole, format!("is {found}"), format!("an integer from {least} to {most} is taken")))
            }
        }
    }

    /// `attr.relu`: whether the ReLU follows; 0 (no) if it was not supplied.
    pub fn relu(&mut self) -> Result<bool> {
        Ok(self.integer("relu", 1, 0)? == 1)
    }

    /// Refuses arrays that operator `op` did not ask for. Call it after everything has been taken.
    pub fn finish(&self, op: &'static str) -> Result<()> {
        let stray = self.given.keys().find(|name| !name.starts_with(EXPECT) && !self.asked.contains(*name));
        let Some(name) = stray else { return Ok(()) };
        let asked: Vec<_> = self.asked.iter().map(String::as_str).collect();
        Err(self.refuse(name, "is unknown", format!("{op} takes {}, and expect.* of its outputs", asked.join(", "))))
    }
}

/// A name from a file, made fit to print on one line.
fn shown(name: &str) -> String {
    name.chars().take(64).collect::<String>().escape_debug().to_string()
}
