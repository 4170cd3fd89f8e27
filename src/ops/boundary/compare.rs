//! The distance between outputs and their expected values.

use crate::files::{Array, Arrays};
use crate::{Error, Result};

/// The relative L2 error `‖got − expected‖/‖expected‖` of every output that has an expected value, in order of name. Where the expected value's norm
/// is 0, the error is absolute.
///
/// The error is infinite where only one of two values is NaN, or where an infinity is not matched by the same infinity. Outputs without an expected
/// value are skipped. Errors: an expected value for something that was not computed, of another shape, or not of floats; `source` names where the
/// expected values came from.
pub fn compare(source: &str, outputs: &Arrays, expected: &Arrays) -> Result<Vec<(String, f64)>> {
    let error = |(name, expected): (&String, &Array)| {
        let refuse = |problem: String, remedy: String| {
            Err(Error::input(format!("{source}: array expect.{}", name.escape_debug()), problem, remedy))
        };
        let Some(got) = outputs.get(name) else {
            let names: Vec<_> = outputs.keys().map(String::as_str).collect();
            return refuse("is of no output".into(), format!("the outputs are {}", names.join(", ")));
        };
        if got.shape != expected.shape {
            return refuse(format!("is {}", expected.kind()), format!("the output is {}", got.kind()));
        }
        match (got.to_f64(), expected.to_f64()) {
            (Some(got), Some(wanted)) => Ok((name.clone(), relative_error(&got, &wanted))),
            _ => refuse(format!("is {}", expected.kind()), "floats are compared".into()),
        }
    };
    expected.iter().map(error).collect()
}

/// `‖got − expected‖/‖expected‖`, or the absolute error where `expected` is 0. It is infinite where the lengths differ, or where values that are not
/// finite differ.
pub fn relative_error(got: &[f64], expected: &[f64]) -> f64 {
    if got.len() != expected.len() {
        return f64::INFINITY;
    }
    let agree = |(g, e): (&f64, &f64)| g == e || (g.is_nan() && e.is_nan());
    let differ = got.iter().zip(expected).any(|pair| !(agree(pair) || pair.0.is_finite() && pair.1.is_finite()));
    if differ {
        return f64::INFINITY;
    }
    // The difference of two equal infinities is no number; it counts as 0, and so does the infinity.
    let difference = norm(got.iter().zip(expected).map(|(&g, &e)| if agree((&g, &e)) { 0.0 } else { g - e }));
    let scale = norm(expected.iter().copied().filter(|e| e.is_finite()));
    if scale == 0.0 { difference } else { difference / scale }
}

/// The L2 norm, computed so that no square overflows or underflows.
fn norm(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = values.clone().map(f64::abs).fold(0.0, f64::max);
    if most == 0.0 || most.is_infinite() {
        return most;
    }
    most * values.map(|v| (v / most) * (v / most)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn error_of(got: &[f64], expected: &[f64]) -> f64 {
        let (got, expected) = (Array::f64([got.len()], got.to_vec()), Array::f64([expected.len()], expected.to_vec()));
        let one = |array| BTreeMap::from([("y".to_owned(), array)]);
        compare("case.npz", &one(got), &one(expected)).unwrap()[0].1
    }

    #[test]
    fn the_error_is_relative_to_the_expectation_on_either_side_of_it() {
        assert_eq!(error_of(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert_eq!(error_of(&[3.0, 9.0], &[3.0, 4.0]), 1.0);
        assert_eq!(error_of(&[3.0, -1.0], &[3.0, 4.0]), 1.0);
        // Relative to what was expected, not to what came out.
        assert_eq!(error_of(&[0.0], &[2.0]), 1.0);
        assert_eq!(error_of(&[8.0], &[2.0]), 3.0);
        // No square overflows, none vanishes.
        assert_eq!(error_of(&[3e200, 9e200], &[3e200, 4e200]), 1.0);
        assert!((error_of(&[3e-200, 9e-200], &[3e-200, 4e-200]) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn an_expectation_of_norm_0_is_judged_by_the_absolute_error() {
        assert_eq!(error_of(&[0.0, 0.0], &[0.0, 0.0]), 0.0);
        assert_eq!(error_of(&[3e-7, 4e-7], &[0.0, 0.0]), 5e-7);
    }

    #[test]
    fn what_is_not_finite_agrees_with_itself_only() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        assert_eq!(error_of(&[nan, 1.0], &[1.0, 1.0]), inf);
        assert_eq!(error_of(&[1.0, 1.0], &[1.0, nan]), inf);
        assert_eq!(error_of(&[inf, 1.0], &[-inf, 1.0]), inf);
        assert_eq!(error_of(&[1.0], &[inf]), inf);
        assert_eq!(error_of(&[inf], &[nan]), inf);
        assert_eq!(error_of(&[nan, inf, 2.0], &[nan, inf, 1.0]), 1.0);
    }

    #[test]
    fn a_missing_output_another_shape_and_another_type_are_errors() {
        let outputs = Arrays::from([("y".into(), Array::f32([2], vec![1.0, 2.0]))]);
        let of = |name: &str, array| compare("case.npz", &outputs, &Arrays::from([(name.to_owned(), array)]));
        let said = |result: Result<Vec<(String, f64)>>| result.unwrap_err().to_string();
        let text = said(of("z", Array::f64([2], vec![1.0, 2.0])));
        assert!(text.starts_with("case.npz: array expect.z: is of no output") && text.contains("are y"), "{text}");
        let text = said(of("y", Array::f64([2, 1], vec![1.0, 2.0])));
        assert!(text.contains("float64[2,1]") && text.contains("float32[2]"), "{text}");
        assert!(said(of("y", Array::i64([2], vec![1, 2]))).contains("floats are compared"));
        assert_eq!(of("y", Array::f32([2], vec![1.0, 2.0])).unwrap(), [("y".to_owned(), 0.0)]);
        // Expectations may be of some outputs only.
        assert!(compare("case.npz", &outputs, &Arrays::new()).unwrap().is_empty());
        assert_eq!(relative_error(&[1.0], &[1.0, 2.0]), f64::INFINITY);
    }
}
