//! Arrays in memory: the content of `.npz` files, and what the command line passes to operators and networks.

use std::collections::BTreeMap;

/// Named arrays, in name order: the content of one `.npz` file.
pub type Arrays = BTreeMap<String, Array>;

/// A dense array in C (row-major) order. `shape` is empty for a scalar; its product is the number of values.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Extent of each axis, outermost first.
    pub shape: Vec<usize>,
    /// The values, row-major.
    pub values: Values,
}

/// The values of an [`Array`], by type. float16 is widened to f32 when read, every integer type to i64.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// float32
    F32(Vec<f32>),
    /// float64
    F64(Vec<f64>),
    /// Any integer type.
    I64(Vec<i64>),
    /// Strings, NumPy's `<U…`.
    Text(Vec<String>),
}

impl Values {
    /// The number of values.
    pub fn len(&self) -> usize {
        match self {
            Values::F32(values) => values.len(),
            Values::F64(values) => values.len(),
            Values::I64(values) => values.len(),
            Values::Text(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type's name for messages, as NumPy says it.
    pub fn kind(&self) -> &'static str {
        match self {
            Values::F32(_) => "float32",
            Values::F64(_) => "float64",
            Values::I64(_) => "int64",
            Values::Text(_) => "str",
        }
    }
}

impl Array {
    /// A float32 array; `shape`'s product is the number of values.
    pub fn f32(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        Self::new(shape.into(), Values::F32(values))
    }

    /// A float64 array; `shape`'s product is the number of values.
    pub fn f64(shape: impl Into<Vec<usize>>, values: Vec<f64>) -> Self {
        Self::new(shape.into(), Values::F64(values))
    }

    /// An int64 array; `shape`'s product is the number of values.
    pub fn i64(shape: impl Into<Vec<usize>>, values: Vec<i64>) -> Self {
        Self::new(shape.into(), Values::I64(values))
    }

    /// An array of strings; `shape`'s product is the number of values.
    pub fn text(shape: impl Into<Vec<usize>>, values: Vec<String>) -> Self {
        Self::new(shape.into(), Values::Text(values))
    }

    /// A 0-d float32 array.
    pub fn scalar_f32(value: f32) -> Self {
        Self::f32([], vec![value])
    }

    /// A 0-d float64 array.
    pub fn scalar_f64(value: f64) -> Self {
        Self::f64([], vec![value])
    }

    /// A 0-d int64 array.
    pub fn scalar_i64(value: i64) -> Self {
        Self::i64([], vec![value])
    }

    /// A 0-d array of one string.
    pub fn scalar_text(value: impl Into<String>) -> Self {
        Self::text([], vec![value.into()])
    }

    fn new(shape: Vec<usize>, values: Values) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len(), "shape {shape:?} does not fit its values");
        Self { shape, values }
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no values (some extent is 0).
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Type and shape for messages, as in `float32[2,3]`; a scalar has `[]`.
    pub fn kind(&self) -> String {
        let extents: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        format!("{}[{}]", self.values.kind(), extents.join(","))
    }

    /// The values as f64, or `None` where they are not floats.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        match &self.values {
            Values::F32(values) => Some(values.iter().copied().map(f64::from).collect()),
            Values::F64(values) => Some(values.clone()),
            Values::I64(_) | Values::Text(_) => None,
        }
    }

    /// The values as f32 (float64 is rounded), or `None` where they are not floats.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        match &self.values {
            Values::F32(values) => Some(values.clone()),
            Values::F64(values) => Some(values.iter().map(|&value| value as f32).collect()),
            Values::I64(_) | Values::Text(_) => None,
        }
    }

    /// The one number of a scalar (shape `[]` or `[1]`), integers included.
    pub fn as_f64_scalar(&self) -> Option<f64> {
        if !self.is_scalar() {
            return None;
        }
        match &self.values {
            Values::F32(values) => values.first().copied().map(f64::from),
            Values::F64(values) => values.first().copied(),
            Values::I64(values) => values.first().map(|&value| value as f64),
            Values::Text(_) => None,
        }
    }

    /// The one integer of a scalar (shape `[]` or `[1]`). A float counts if it is integral and fits an i64.
    pub fn as_i64_scalar(&self) -> Option<i64> {
        if !self.is_scalar() {
            return None;
        }
        if let Values::I64(values) = &self.values {
            return values.first().copied();
        }
        // -2^63 is an i64 and a float, 2^63 is only a float: the upper bound is open.
        let value = self.as_f64_scalar()?;
        (value.fract() == 0.0 && (-(2f64.powi(63))..2f64.powi(63)).contains(&value)).then_some(value as i64)
    }

    /// The one string of a scalar (shape `[]` or `[1]`).
    pub fn as_text_scalar(&self) -> Option<&str> {
        match &self.values {
            Values::Text(values) if self.is_scalar() => values.first().map(String::as_str),
            _ => None,
        }
    }

    fn is_scalar(&self) -> bool {
        matches!(self.shape.as_slice(), [] | [1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_read_from_0d_and_from_one_element() {
        assert_eq!(Array::scalar_f64(2.5).as_f64_scalar(), Some(2.5));
        assert_eq!(Array::f32([1], vec![2.5]).as_f64_scalar(), Some(2.5));
        assert_eq!(Array::scalar_i64(3).as_f64_scalar(), Some(3.0));
        assert_eq!(Array::scalar_text("vgg11").as_text_scalar(), Some("vgg11"));
        assert_eq!(Array::f64([2], vec![1.0, 2.0]).as_f64_scalar(), None);
        assert_eq!(Array::f64([1, 1], vec![1.0]).as_f64_scalar(), None);
        assert_eq!(Array::scalar_text("1").as_f64_scalar(), None);
        assert_eq!(Array::scalar_f64(1.0).as_text_scalar(), None);
    }

    #[test]
    fn an_integer_may_come_as_an_integral_float() {
        assert_eq!(Array::scalar_f64(-7.0).as_i64_scalar(), Some(-7));
        assert_eq!(Array::scalar_i64(i64::MAX).as_i64_scalar(), Some(i64::MAX));
        assert_eq!(Array::scalar_f64(-(2f64.powi(63))).as_i64_scalar(), Some(i64::MIN));
        for bad in [0.5, f64::NAN, f64::INFINITY, 2f64.powi(63), 1e300] {
            assert_eq!(Array::scalar_f64(bad).as_i64_scalar(), None, "{bad}");
        }
    }

    #[test]
    fn floats_convert_and_others_do_not() {
        assert_eq!(Array::f32([2], vec![0.5, 1.0]).to_f64(), Some(vec![0.5, 1.0]));
        assert_eq!(Array::f64([1], vec![0.1]).to_f32(), Some(vec![0.1f32]));
        assert_eq!(Array::scalar_i64(1).to_f64(), None);
        assert_eq!(Array::scalar_text("1").to_f32(), None);
    }

    #[test]
    fn kinds_name_type_and_shape() {
        assert_eq!(Array::f32([2, 3], vec![0.0; 6]).kind(), "float32[2,3]");
        assert_eq!(Array::scalar_text("a").kind(), "str[]");
        assert_eq!(Array::i64([0], vec![]).kind(), "int64[0]");
    }
}
