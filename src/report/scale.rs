//! Maps values to places on an axis, and places the axis's ticks.

use super::plot::{Axis, Scale};

/// Values beyond this are treated as infinite, so that differences of values are finite.
const LARGEST: f64 = 1e300;

/// Differences below this are treated as 0, and so are values on a logarithmic axis, so that no step is subnormal.
const SMALLEST: f64 = 1e-290;

/// An axis with known ends. It maps a value to a fraction of the axis, 0 at the low end and 1 at the high end.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    scale: Scale,
    /// The ends, as logarithms to base 10 on a logarithmic axis. `low < high`, both finite.
    low: f64,
    high: f64,
}

/// The ticks of an axis.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ticks {
    /// The ticks, from the low end to the high end.
    pub ticks: Vec<Tick>,
    /// Labels are in units of 10 to this power; 0 means plain numbers.
    pub multiplier: i32,
}

/// One tick.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// The place, as a fraction of the axis.
    pub at: f64,
    /// The label; `None` for a minor tick.
    pub label: Option<Label>,
}

/// A tick's text: `text`, followed by `power` raised.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    pub text: String,
    pub power: Option<i32>,
}

impl Mapping {
    /// The axis's own range, or the range of `values` extended by the fraction `pad` at both ends.
    pub fn new(axis: &Axis, values: impl Iterator<Item = f64>, pad: f64) -> Mapping {
        Mapping::padded(axis, values, (pad, pad))
    }

    /// Like [`new`](Self::new), with separate fractions for the low and the high end.
    pub fn padded(axis: &Axis, values: impl Iterator<Item = f64>, pad: (f64, f64)) -> Mapping {
        let scale = axis.scale;
        let given = axis.range.and_then(|(a, b)| Some((place(scale, a)?, place(scale, b)?)));
        if let Some((a, b)) = given
            && a != b
        {
            let (low, high) = widened(scale, a.min(b), a.max(b), (0.0, 0.0));
            return Mapping { scale, low, high };
        }
        let (low, high) = values
            .filter_map(|v| place(scale, v))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        // Nothing to show: an axis all the same.
        let (low, high) = if low > high { (0.0, 1.0) } else { widened(scale, low, high, pad) };
        Mapping { scale, low, high }
    }

    /// The ends, as values.
    pub fn range(&self) -> (f64, f64) {
        match self.scale {
            Scale::Linear => (self.low, self.high),
            Scale::Log => (10f64.powf(self.low), 10f64.powf(self.high)),
        }
    }

    /// The place of a value as a fraction of the axis, limited to ten axis lengths; `None` where it has no place.
    pub fn at(&self, value: f64) -> Option<f64> {
        place(self.scale, value).map(|v| self.fraction(v))
    }

    /// Like [`at`](Self::at), for the end of a band: a value without a place that is beyond an end is placed at that end.
    pub fn edge(&self, value: f64) -> Option<f64> {
        if value.is_nan() {
            None
        } else if let Some(at) = self.at(value) {
            Some(at)
        } else {
            Some(if value > LARGEST { 1.0 } else { 0.0 })
        }
    }

    /// Ticks, with about `about` labels.
    pub fn ticks(&self, about: usize) -> Ticks {
        match self.scale {
            Scale::Linear => self.linear_ticks(about.max(2)),
            Scale::Log => self.log_ticks(about.max(2)),
        }
    }

    fn fraction(&self, placed: f64) -> f64 {
        ((placed - self.low) / (self.high - self.low)).clamp(-10.0, 11.0)
    }

    fn linear_ticks(&self, about: usize) -> Ticks {
        let (digit, power, range) = steps(self.low, self.high, about);
        let largest = self.low.abs().max(self.high.abs());
        let exponent = largest.log10().floor() as i32;
        // Long labels share a factor, which the axis label carries.
        let multiplier = if (-3..=4).contains(&exponent) { 0 } else { exponent };
        let decimals = usize::try_from(multiplier - power).unwrap_or(0).min(15);
        let ticks = range.map(|i| {
            // The index over again, so that 3 × 0.1 reads 0.3.
            let shown = (i * digit) as f64 * 10f64.powi(power - multiplier);
            let at = self.fraction((i * digit) as f64 * 10f64.powi(power));
            Tick { at, label: Some(Label { text: format!("{shown:.decimals$}"), power: None }) }
        });
        Ticks { ticks: ticks.collect(), multiplier }
    }

    fn log_ticks(&self, about: usize) -> Ticks {
        let (first, last) = ((self.low - 1e-9).ceil() as i32, (self.high + 1e-9).floor() as i32);
        let powers = last - first + 1;
        // Powers alone where there are three; else 1, 2 and 5 times the powers; else, within a factor of a few, as if linear.
        let mantissas: &[i32] = if powers >= 3 { &[1] } else { &[1, 2, 5] };
        let stride = if powers >= 3 { (powers + about as i32 - 1) / about as i32 } else { 1 };
        let written_out = first >= -3 && last <= 4 && self.low >= -3.5 && self.high < 5.0;
        let mut ticks = Vec::new();
        for power in first - 1..=last {
            for mantissa in 1..10 {
                let log = f64::from(power) + f64::from(mantissa).log10();
                let labelled = mantissas.contains(&mantissa) && (power - first).rem_euclid(stride) == 0;
                // Minor ticks would be a grey bar where decades are narrow.
                let shown = labelled || (stride == 1 && powers <= 8) || mantissa == 1;
                if !shown || log < self.low - 1e-9 || log > self.high + 1e-9 {
                    continue;
                }
                let label = labelled.then(|| match (written_out, mantissa) {
                    (true, _) => Label { text: power_of_ten_times(mantissa, power), power: None },
                    (false, 1) => Label { text: "10".into(), power: Some(power) },
                    (false, _) => Label { text: format!("{mantissa}×10"), power: Some(power) },
                });
                ticks.push(Tick { at: self.fraction(log), label });
            }
        }
        if ticks.iter().filter(|tick| tick.label.is_some()).count() >= 2 {
            return Ticks { ticks, multiplier: 0 };
        }
        let (low, high) = (10f64.powf(self.low), 10f64.powf(self.high));
        let linear = Mapping { scale: Scale::Linear, low, high };
        let mut ticks = linear.linear_ticks(about);
        for tick in &mut ticks.ticks {
            let value = linear.low + tick.at * (linear.high - linear.low);
            tick.at = self.fraction(value.log10());
        }
        ticks
    }
}

/// The value on the scale, where it has a place.
fn place(scale: Scale, value: f64) -> Option<f64> {
    match scale {
        Scale::Linear => (value.abs() <= LARGEST).then_some(value),
        Scale::Log => (SMALLEST..=LARGEST).contains(&value).then(|| value.log10()),
    }
}

/// A range that can be divided by: padded, and widened where it is a single value.
fn widened(scale: Scale, low: f64, high: f64, pad: (f64, f64)) -> (f64, f64) {
    let span = high - low;
    let smallest = match scale {
        Scale::Linear => (1e-9 * low.abs().max(high.abs())).max(SMALLEST),
        Scale::Log => 1e-6,
    };
    if span > smallest {
        (low - pad.0 * span, high + pad.1 * span)
    } else {
        let half = match scale {
            Scale::Linear if low == 0.0 && high == 0.0 => 0.5,
            Scale::Linear => 0.1 * low.abs().max(high.abs()),
            Scale::Log => 0.5,
        };
        (low - half.max(SMALLEST), high + half.max(SMALLEST))
    }
}

/// A step of 1, 2 or 5 times a power of ten that divides the range into about `about` parts. Returns its digit, its power, and the
/// multiples of the step in the range.
fn steps(low: f64, high: f64, about: usize) -> (i64, i32, std::ops::RangeInclusive<i64>) {
    let rough = (high - low) / about as f64;
    let mut power = (rough.log10().floor() as i32).clamp(-300, 300);
    let mut digit = match rough / 10f64.powi(power) {
        r if r < 1.4 => 1,
        r if r < 2.8 => 2,
        r if r < 7.0 => 5,
        _ => 10,
    };
    if digit == 10 {
        (digit, power) = (1, power + 1);
    }
    let step = digit as f64 * 10f64.powi(power);
    // An end that is a multiple but for rounding is meant.
    let first = (low / step - 1e-6).ceil() as i64;
    let last = (high / step + 1e-6).floor() as i64;
    (digit, power, first..=last.min(first.saturating_add(50)))
}

/// `mantissa × 10^power` in plain digits.
fn power_of_ten_times(mantissa: i32, power: i32) -> String {
    let decimals = usize::try_from(-power).unwrap_or(0);
    format!("{:.decimals$}", f64::from(mantissa) * 10f64.powi(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(axis: Axis, values: &[f64]) -> Mapping {
        Mapping::new(&axis, values.iter().copied(), 0.0)
    }

    fn labels(ticks: &Ticks) -> Vec<String> {
        let labels = ticks.ticks.iter().filter_map(|tick| tick.label.as_ref());
        labels
            .map(|label| format!("{}{}", label.text, label.power.map_or(String::new(), |p| format!("^{p}"))))
            .collect()
    }

    #[test]
    fn linear_ticks_are_round_numbers() {
        let ticks = mapping(Axis::linear("x"), &[0.0, 15000.0]).ticks(5);
        assert_eq!(labels(&ticks), ["0", "5000", "10000", "15000"]);
        assert_eq!((ticks.ticks[0].at, ticks.ticks[3].at, ticks.multiplier), (0.0, 1.0, 0));
        assert_eq!(
            labels(&mapping(Axis::linear("x"), &[-0.3, 0.3]).ticks(6)),
            ["-0.3", "-0.2", "-0.1", "0.0", "0.1", "0.2", "0.3"]
        );
    }

    #[test]
    fn large_and_small_linear_labels_share_a_factor() {
        let ticks = mapping(Axis::linear("x"), &[0.0, 2.5e6]).ticks(5);
        assert_eq!(
            (labels(&ticks), ticks.multiplier),
            (["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"].map(String::from).to_vec(), 6)
        );
        let ticks = mapping(Axis::linear("x"), &[1e-6, 3e-6]).ticks(3);
        assert_eq!(
            (labels(&ticks), ticks.multiplier),
            (["1.0", "1.5", "2.0", "2.5", "3.0"].map(String::from).to_vec(), -6)
        );
    }

    #[test]
    fn log_ticks_stand_at_powers_with_minor_ones_between() {
        let ticks = mapping(Axis::log("y"), &[1e-6, 1e-2]).ticks(5);
        assert_eq!(labels(&ticks), ["10^-6", "10^-5", "10^-4", "10^-3", "10^-2"]);
        assert_eq!(ticks.ticks.len(), 5 + 4 * 8);
        let power = ticks.ticks.iter().filter(|tick| tick.label.is_some()).map(|tick| tick.at);
        for (i, at) in power.enumerate() {
            assert!((at - i as f64 / 4.0).abs() < 1e-12);
        }
    }

    #[test]
    fn log_labels_thin_out_over_many_decades_and_fill_in_over_few() {
        assert_eq!(labels(&mapping(Axis::log("y"), &[1e-20, 1e20]).ticks(5)).len(), 5);
        assert_eq!(labels(&mapping(Axis::log("y"), &[0.9, 30.0]).ticks(5)), ["1", "2", "5", "10", "20"]);
        // Within a decade as on a linear axis.
        let ticks = mapping(Axis::log("y"), &[1.1e6, 3e6]).ticks(5);
        assert_eq!((labels(&ticks), ticks.multiplier), (["1.5", "2.0", "2.5", "3.0"].map(String::from).to_vec(), 6));
        assert_eq!(labels(&mapping(Axis::log("y"), &[0.01, 100.0]).ticks(5)), ["0.01", "0.1", "1", "10", "100"]);
    }

    #[test]
    fn values_without_a_place_have_none() {
        let log = mapping(Axis::log("y"), &[0.0, -3.0, f64::NAN, f64::INFINITY, 1.0, 100.0]);
        assert_eq!((log.at(1.0), log.at(10.0), log.at(100.0)), (Some(0.0), Some(0.5), Some(1.0)));
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(log.at(value), None);
        }
        assert_eq!((log.edge(0.0), log.edge(f64::INFINITY), log.edge(f64::NAN)), (Some(0.0), Some(1.0), None));
        assert_eq!(log.edge(5e-324), Some(0.0));
    }

    #[test]
    fn every_range_gives_a_usable_axis() {
        let cases: [&[f64]; 8] = [
            &[],
            &[f64::NAN],
            &[0.0],
            &[7.0],
            &[-1e308, 1e308],
            &[-1e300, 1e300],
            &[5e-324, 1e-323],
            &[1e16, 1e16 + 2.0],
        ];
        for values in cases {
            for scale in [Scale::Linear, Scale::Log] {
                for range in [None, Some((0.0, 0.0)), Some((f64::NAN, 1.0)), Some((-1.0, 1.0)), Some((5.0, 2.0))] {
                    let m = mapping(Axis { label: String::new(), scale, range }, values);
                    assert!(m.low < m.high && (m.high - m.low).is_finite(), "{m:?}");
                    let ticks = m.ticks(5).ticks;
                    assert!(!ticks.is_empty() && ticks.len() < 120, "{m:?}: {ticks:?}");
                    assert!(ticks.iter().all(|t| t.at > -1e-5 && t.at < 1.0 + 1e-5), "{m:?}: {ticks:?}");
                }
            }
        }
    }

    #[test]
    fn a_given_range_is_kept_in_either_order() {
        let m = mapping(Axis::linear("x").with_range(5.0, 1.0), &[0.0, 100.0]);
        assert_eq!((m.low, m.high), (1.0, 5.0));
        assert_eq!(m.at(3.0), Some(0.5));
    }
}
