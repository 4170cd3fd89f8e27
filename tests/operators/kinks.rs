//! Keeps inputs away from kinks, so that derivatives can be measured by differences.

use crate::shared;
use libtest_mimic::Failed;
use normscape::files::{Array, Arrays, Values};
use normscape::runtime::cpu::Cpu;

/// The values of a float array, widened.
pub fn floats(arrays: &Arrays, name: &str) -> Result<Vec<f64>, Failed> {
    let array = arrays.get(name).and_then(Array::to_f64);
    array.ok_or_else(|| format!("{name} is not there, or not of floats").into())
}

/// Gives an array other values.
pub fn put(arrays: &mut Arrays, name: &str, values: Vec<f64>) {
    if let Some(array) = arrays.get_mut(name) {
        array.values = Values::F64(values);
    }
}

/// Puts the biases of a norm into gaps of what it gives without them, so that the ReLU after it is nowhere near its kink.
///
/// `γ ŷ + β` (with noise `s (γ ŷ + β) + m`) is 0 where β is minus `γ ŷ` (`γ ŷ + m/s`): the widest gap of those, among
/// the middle half, takes it.
pub fn leave_the_kink(op: &str, arrays: &mut Arrays) -> Result<(), Failed> {
    let mut plain = arrays.clone();
    plain.insert("attr.relu".into(), Array::scalar_i64(0));
    plain.remove("grad_y");
    let mut bias = floats(arrays, "bias")?;
    put(&mut plain, "bias", vec![0.0; bias.len()]);
    let outputs = shared::run(op, &mut Cpu::<f64>::default(), &plain)?;
    let mut u = floats(&outputs, "y")?;
    if outputs.contains_key("shift") {
        u.iter_mut().zip(floats(&outputs, "scale")?).for_each(|(u, s)| *u /= s);
    }
    let shape = &outputs["y"].shape;
    let pixels: usize = shape[2..].iter().product();
    for (c, bias) in bias.iter_mut().enumerate() {
        let mut unit: Vec<f64> = (0..u.len()).filter(|i| i / pixels % shape[1] == c).map(|i| u[i]).collect();
        unit.sort_by(f64::total_cmp);
        let middle = &unit[unit.len() / 4..=(3 * unit.len() / 4).min(unit.len() - 1)];
        let widest = middle.windows(2).map(|w| (w[1] - w[0], (w[0] + w[1]) / 2.0)).max_by(|a, b| a.0.total_cmp(&b.0));
        let (gap, at) = widest.unwrap_or((1.0, unit[0] - 0.5));
        if gap < 1e-3 {
            return Err(format!("unit {c} has no gap for the ReLU's kink").into());
        }
        *bias = -at;
    }
    put(arrays, "bias", bias);
    Ok(())
}
