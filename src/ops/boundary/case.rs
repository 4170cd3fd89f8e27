//! Test inputs as data: shapes, laws and settings, from which a seed draws the arrays.

use crate::files::{Array, Arrays, Values};
use crate::runtime::rng::{Purpose, normal, shuffled, word};

/// How the values of an array are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Law {
    /// Normally distributed.
    Normal {
        /// Mean.
        mean: f32,
        /// Standard deviation.
        scale: f32,
    },
    /// Normal, with 0.2 added to the magnitude: stays away from the kink of |x| and of the ReLU.
    Away,
    /// A shuffled lattice over (−2, 2): magnitudes all differ, by at least half a lattice step, so that maxima are unambiguous.
    Lattice,
    /// −1, 0 or 1, so that maxima are tied and kinks are hit.
    Ties,
    /// All zeros.
    Zero,
    /// Integers from 0 up to, but not including, this number.
    Labels(u32),
}

impl Law {
    /// The standard normal law.
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

/// How a device holds an array. This decides how the array is rounded before a result is compared with one in float64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Held in float32 in every precision but float64.
    Parameter,
    /// Held in the type of the activations, which is bfloat16 under bf16.
    Activation,
    /// Multiplied on tensor cores, so rounded to tf32 under tf32 and to bfloat16 under bf16.
    Factor,
}

/// One array of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Operand {
    /// Its name in a file.
    pub name: &'static str,
    /// Its shape in a file.
    pub shape: Vec<usize>,
    /// How its values are drawn.
    pub law: Law,
    /// How the device holds it.
    pub role: Role,
    /// Whether the operator also takes `tangent_NAME`.
    pub tangent: bool,
}

/// The means that a norm subtracts. Where they are far from 0, the subtraction magnifies rounding errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// One mean for each channel, over samples and pixels.
    Channels,
    /// This many means for each sample: one for each group of neighbouring channels, over their pixels.
    Groups(usize),
}

/// One operator's inputs, as data, and what bounds the errors of its results.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// A name for tests and tables, unique among the operator's cases.
    pub name: String,
    /// Its arrays.
    pub operands: Vec<Operand>,
    /// The settings `attr.*`, named without that prefix.
    pub settings: Vec<(&'static str, f64)>,
    /// Whether the operator is differentiable at these inputs; it is not on ties and at 0.
    pub smooth: bool,
    /// The number of terms in the longest sum of any of its passes: the rounding error of a sum of L terms grows as √L.
    pub longest_sum: usize,
    /// The means that are subtracted from `x`.
    pub means: Option<Means>,
}

/// The test cases of an operator.
#[derive(Debug, Clone, Copy)]
pub struct Cases {
    /// The hand-picked cases, which tests and benchmarks share.
    pub chosen: fn() -> Vec<Case>,
    /// A case with extents that a test has drawn. None where the operator does not take such extents.
    pub drawn: fn(&Drawn) -> Option<Case>,
}

/// Extents that a test has drawn at random; each operator uses those that apply to it.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// The case's name.
    pub name: String,
    /// The extents of a map `[N, C, H, W]`.
    pub map: [usize; 4],
    /// The number of outputs, for a layer that may have any number.
    pub outputs: usize,
    /// Which draw this is. Settings with few possible values, such as the power of an ℓp norm, are chosen by it.
    pub index: usize,
    /// Whether the optional parts are present: a bias, a ReLU.
    pub full: bool,
}

impl Case {
    /// A smooth case without arrays, which sums nothing.
    pub fn new(name: impl Into<String>) -> Self {
        let (operands, settings) = (Vec::new(), Vec::new());
        Case { name: name.into(), operands, settings, smooth: true, longest_sum: 1, means: None }
    }

    /// Adds an array.
    pub fn with(mut self, name: &'static str, role: Role, shape: &[usize], law: Law) -> Self {
        self.operands.push(Operand { name, shape: shape.to_vec(), law, role, tangent: true });
        self
    }

    /// Adds an array that has no tangent.
    pub fn with_still(self, name: &'static str, role: Role, shape: &[usize], law: Law) -> Self {
        let mut case = self.with(name, role, shape, law);
        case.operands.iter_mut().filter(|operand| operand.name == name).for_each(|operand| operand.tangent = false);
        case
    }

    /// Adds a setting.
    pub fn set(mut self, name: &'static str, value: f64) -> Self {
        self.settings.push((name, value));
        self
    }

    /// Marks the case as lying on a kink, where gradients are a convention.
    pub fn on_a_kink(mut self) -> Self {
        self.smooth = false;
        self
    }

    /// Sets the number of terms in the longest sum.
    pub fn summing(mut self, longest: usize) -> Self {
        self.longest_sum = longest;
        self
    }

    /// The case's arrays, in float32, as `seed` draws them.
    pub fn arrays(&self, seed: u64) -> Arrays {
        let array = |(i, operand): (usize, &Operand)| {
            let values = operand.law.draw(seed, i as u32, operand.shape.iter().product());
            (operand.name.to_owned(), Array { shape: operand.shape.clone(), values })
        };
        let setting = |&(name, value): &(&'static str, f64)| {
            (format!("attr.{name}"), Array { shape: Vec::new(), values: Values::F64(vec![value]) })
        };
        self.operands.iter().enumerate().map(array).chain(self.settings.iter().map(setting)).collect()
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
        let of = |case: Case, name| case.with(name, Role::Activation, &[20], Law::NORMAL);
        let case = of(of(Case::new("a"), "x"), "grad_y").set("eps", 0.1);
        let (one, again, other) = (case.arrays(1), case.arrays(1), case.arrays(2));
        assert_eq!(one, again);
        assert_ne!(one["x"], other["x"]);
        assert_ne!(one["x"], one["grad_y"]);
        assert_eq!(one["attr.eps"].as_f64_scalar(), Some(0.1));
        let labels = Case::new("b").with_still("labels", Role::Parameter, &[500], Law::Labels(3)).arrays(1);
        let Values::I64(labels) = &labels["labels"].values else { panic!("not integers") };
        assert!((0..3).all(|k| labels.contains(&k)) && labels.iter().all(|l| (0..3).contains(l)));
    }
}
