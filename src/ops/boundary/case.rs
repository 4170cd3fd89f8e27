//! Inputs as data: shapes, laws and settings, from which a seed draws the arrays.

use crate::files::{Array, Arrays, Values};
use crate::runtime::rng::{Purpose, normal, shuffled, word};

/// How the values of an array are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Law {
    /// Normal.
    Normal {
        /// Mean.
        mean: f32,
        /// Standard deviation.
        scale: f32,
    },
    /// Normal with 0.2 added to the magnitude: away from the kink of |x| and of the ReLU.
    Away,
    /// A shuffled lattice over (−2, 2): all magnitudes differ, and by a step at least, so maxima are clear.
    Lattice,
    /// −1, 0 or 1: maxima are tied and kinks are met.
    Ties,
    /// All 0.
    Zero,
    /// Integers 0 to this, exclusive.
    Labels(u32),
}

impl Law {
    /// Standard normal.
    pub const NORMAL: Law = Law::Normal { mean: 0.0, scale: 1.0 };

    fn draw(self, seed: u64, array: u32, count: usize) -> Values {
        let word = |i: usize| word(seed, Purpose::Case, array, 0, i as u64);
        let floats = |of: &dyn Fn(usize) -> f32| Values::F32((0..count).map(of).collect());
        match self {
            Law::Normal { mean, scale } => floats(&|i| normal(word(i)).mul_add(scale, mean)),
            Law::Away => floats(&|i| {
                let z = normal(word(i));
                z + 0.2f32.copysign(z)
            }),
            Law::Lattice => {
                let place = |i: usize| f64::from(shuffled(seed, array, i as u32, count as u32));
                // A quarter off the middle: no value is 0, and no two have one magnitude.
                floats(&|i| ((place(i) + 0.25 - (count / 2) as f64) * 4.0 / count as f64) as f32)
            }
            Law::Ties => floats(&|i| (word(i) % 3) as f32 - 1.0),
            Law::Zero => floats(&|_| 0.0),
            Law::Labels(classes) => Values::I64((0..count).map(|i| i64::from(word(i) % classes)).collect()),
        }
    }
}

/// Inputs of one operator, as data.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What it is about, for test names and tables: unique among the operator's cases.
    pub name: String,
    /// Name, shape outside and law of every array.
    pub tensors: Vec<(&'static str, Vec<usize>, Law)>,
    /// `attr.*`, without that prefix.
    pub settings: Vec<(&'static str, f64)>,
    /// Whether the operator can be differentiated there; not so on ties and at 0.
    pub smooth: bool,
}

impl Case {
    /// A case without arrays, smooth.
    pub fn new(name: impl Into<String>) -> Self {
        Case { name: name.into(), tensors: Vec::new(), settings: Vec::new(), smooth: true }
    }

    /// With one more array.
    pub fn with(mut self, name: &'static str, shape: &[usize], law: Law) -> Self {
        self.tensors.push((name, shape.to_vec(), law));
        self
    }

    /// With one more setting.
    pub fn set(mut self, name: &'static str, value: f64) -> Self {
        self.settings.push((name, value));
        self
    }

    /// On a kink, where gradients are a convention.
    pub fn on_a_kink(mut self) -> Self {
        self.smooth = false;
        self
    }

    /// Its arrays under `seed`, in float32; another seed draws other values.
    pub fn arrays(&self, seed: u64) -> Arrays {
        let tensor = |(i, (name, shape, law)): (usize, &(&'static str, Vec<usize>, Law))| {
            let values = law.draw(seed, i as u32, shape.iter().product());
            ((*name).to_owned(), Array { shape: shape.clone(), values })
        };
        let setting = |&(name, value): &(&'static str, f64)| {
            (format!("attr.{name}"), Array { shape: Vec::new(), values: Values::F64(vec![value]) })
        };
        self.tensors.iter().enumerate().map(tensor).chain(self.settings.iter().map(setting)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(law: Law, count: usize) -> Vec<f32> {
        match law.draw(3, 1, count) {
            Values::F32(values) => values,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lattice_has_no_ties_in_magnitude_and_no_zero() {
        for count in [1, 2, 3, 8, 1_000, 10_001] {
            let mut sizes: Vec<f32> = floats(Law::Lattice, count).iter().map(|v| v.abs()).collect();
            sizes.sort_by(f32::total_cmp);
            let step = 4.0 / count as f32;
            assert!(sizes[0] > 0.2 * step, "{count}");
            assert!(sizes.windows(2).all(|w| w[1] - w[0] > 0.4 * step), "{count}");
        }
    }

    #[test]
    fn away_is_away_from_0_on_both_sides() {
        let values = floats(Law::Away, 1_000);
        assert!(values.iter().all(|v| v.abs() >= 0.2));
        assert!(values.iter().any(|&v| v > 0.0) && values.iter().any(|&v| v < 0.0));
    }

    #[test]
    fn seeds_and_arrays_draw_apart_and_again() {
        let case = Case::new("a").with("x", &[20], Law::NORMAL).with("grad_y", &[20], Law::NORMAL).set("eps", 0.1);
        let (one, again, other) = (case.arrays(1), case.arrays(1), case.arrays(2));
        assert_eq!(one, again);
        assert_ne!(one["x"], other["x"]);
        assert_ne!(one["x"], one["grad_y"]);
        assert_eq!(one["attr.eps"].as_f64_scalar(), Some(0.1));
        let labels = Case::new("b").with("labels", &[500], Law::Labels(3)).arrays(1);
        let Values::I64(labels) = &labels["labels"].values else { panic!("not integers") };
        assert!((0..3).all(|k| labels.contains(&k)) && labels.iter().all(|l| (0..3).contains(l)));
    }
}
