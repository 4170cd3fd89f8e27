//! Tests that the boundary refuses what does not fit, in one line that names the file and the array.

use super::{Case, Inputs};
use crate::files::{Array, Arrays};
use crate::ops::table;
use crate::runtime::cpu::Cpu;

/// The operator's error message for the case after `change`.
fn refused(op: &str, case: &Case, change: impl Fn(&mut Arrays)) -> String {
    let mut arrays = case.arrays(1);
    change(&mut arrays);
    let mut inputs = Inputs::new("case.npz", arrays);
    let error = table::run(op, &mut Cpu::<f32>::default(), &mut inputs).expect_err("refused");
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    assert!(text.starts_with("case.npz: array ") && !text.contains('\n'), "{text}");
    text
}

fn check(op: &str, case: &Case, name: &str, array: Option<Array>, words: &[&str]) {
    let text = refused(op, case, |arrays| {
        arrays.remove(name);
        if let Some(array) = array.clone() {
            arrays.insert(name.to_owned(), array);
        }
    });
    assert!(text.contains(&format!("array {name}: ")), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} not in: {text}");
    }
}

fn floats(shape: &[usize]) -> Option<Array> {
    Some(Array::f32(shape, vec![0.5; shape.iter().product()]))
}

fn conv2d() -> Case {
    let map = crate::ops::conv2d::Map { h: 5, w: 6, n: 2, c: 3, k: 4 };
    crate::ops::conv2d::cases::case("small", map, true)
}

fn norm() -> Case {
    crate::ops::norm::cases::case("small", &[2, 3, 4, 5], super::Law::NORMAL, false)
}

#[test]
fn missing_arrays_are_named_with_those_that_are_there() {
    check("conv2d", &conv2d(), "weight", None, &["is missing", "it has bias, grad_y, x"]);
    check("batch_norm", &norm(), "bias", None, &["is missing"]);
    check("lp_norm", &norm(), "attr.p", None, &["is missing"]);
    check("group_norm", &norm(), "attr.groups", None, &["is missing"]);
    check("cross_entropy", &crate::ops::cross_entropy::cases::case("c", 4, 3, 1.0), "labels", None, &["is missing"]);
    let text = refused("relu", &conv2d(), Arrays::clear);
    assert!(text.contains("array x: is missing") && text.contains("it has none"), "{text}");
}

#[test]
fn unknown_arrays_and_settings_are_named_with_those_that_are_taken() {
    let taken = "conv2d takes bias, grad_y, tangent_bias, tangent_grad_y, tangent_weight, tangent_x, weight, x";
    check("conv2d", &conv2d(), "biass", floats(&[4]), &["is unknown", taken]);
    check("conv2d", &conv2d(), "attr.eps", Some(Array::scalar_f64(0.1)), &["is unknown"]);
    check("batch_norm", &norm(), "attr.seed", Some(Array::scalar_i64(1)), &["is unknown", "attr.eps"]);
    check("relu", &(crate::ops::activation::cases::CASES.chosen)()[0], "Expect.y", floats(&[1]), &["is unknown"]);
    let losses = crate::ops::squared_error::cases::case("s", &[2, 3]);
    check("squared_error", &losses, "grad_y", floats(&[2, 3]), &["is unknown"]);
    // A name may hold anything; the message stays one line.
    let text = refused("conv2d", &conv2d(), |arrays| {
        arrays.insert("a\nb".into(), Array::scalar_f64(0.0));
    });
    assert!(text.contains("a\\nb"), "{text}");
}

#[test]
fn expectations_are_no_inputs() {
    let mut arrays = conv2d().arrays(1);
    arrays.insert("expect.y".into(), Array::scalar_f64(0.0));
    arrays.insert("expect.anything".into(), Array::scalar_text("a"));
    let mut inputs = Inputs::new("case.npz", arrays);
    assert!(table::run("conv2d", &mut Cpu::<f32>::default(), &mut inputs).is_ok());
    assert_eq!(inputs.expected().into_keys().collect::<Vec<_>>(), ["anything", "y"]);
}

#[test]
fn shapes_must_fit_together() {
    check("conv2d", &conv2d(), "x", floats(&[3, 5, 6]), &["float32[3,5,6]", "N×C×H×W"]);
    check("conv2d", &conv2d(), "x", floats(&[0, 3, 5, 6]), &["float32[0,3,5,6]", "at least 1"]);
    check("conv2d", &conv2d(), "weight", floats(&[4, 2, 3, 3]), &["float32[4,2,3,3]", "the shape [4,3,3,3]"]);
    check("conv2d", &conv2d(), "weight", floats(&[4, 3, 5, 5]), &["the shape [4,3,3,3]"]);
    check("conv2d", &conv2d(), "bias", floats(&[3]), &["the shape [4]"]);
    check("conv2d", &conv2d(), "grad_y", floats(&[2, 3, 5, 6]), &["the shape [2,4,5,6]"]);
    check("batch_norm", &norm(), "x", floats(&[3]), &["two axes or more"]);
    check("batch_norm", &norm(), "weight", floats(&[1]), &["the shape [3]"]);
    check("batch_norm", &norm(), "grad_y", floats(&[2, 3, 5, 4]), &["the shape [2,3,4,5]"]);
    let linear = crate::ops::linear::cases::case("l", crate::ops::linear::Extents { n: 2, i: 3, o: 4 }, false);
    check("linear", &linear, "weight", floats(&[3, 4]), &["the shape [3,3]"]);
    check("linear", &linear, "grad_y", floats(&[4, 2]), &["the shape [2,4]"]);
    let pool = crate::ops::max_pool2d::cases::case("p", [1, 1, 3, 3], super::Law::NORMAL);
    check("max_pool2d", &pool, "x", floats(&[1, 1, 1, 3]), &["a map of 1×3", "2×2"]);
    check("max_pool2d", &pool, "grad_y", floats(&[1, 1, 3, 3]), &["the shape [1,1,1,1]"]);
    check("relu", &pool, "x", floats(&[]), &["one axis or more"]);
    check(
        "squared_error",
        &crate::ops::squared_error::cases::case("s", &[2, 3]),
        "target",
        floats(&[3, 2]),
        &["[2,3]"],
    );
    // A product of extents that overflows cannot describe the values that came.
    let huge = Array { shape: vec![1 << 40, 1 << 40, 1, 1], values: crate::files::Values::F32(vec![0.0; 4]) };
    check("conv2d", &conv2d(), "x", Some(huge), &["4 values"]);
}

#[test]
fn types_and_values_must_be_what_they_stand_for() {
    check("conv2d", &conv2d(), "bias", Some(Array::i64([4], vec![0; 4])), &["int64", "float32"]);
    let loss = crate::ops::cross_entropy::cases::case("c", 4, 3, 1.0);
    check("cross_entropy", &loss, "labels", floats(&[4]), &["float32[4]", "integer"]);
    check("cross_entropy", &loss, "labels", Some(Array::i64([3], vec![0; 3])), &["the shape [4]"]);
    check("cross_entropy", &loss, "labels", Some(Array::i64([4], vec![0, 1, 3, 0])), &["3 at index 2", "0 to 2"]);
    check("cross_entropy", &loss, "labels", Some(Array::i64([4], vec![0, -1, 2, 0])), &["-1 at index 1"]);
    check("cross_entropy", &loss, "labels", Some(Array::i64([4], vec![1 << 32, 0, 0, 0])), &["4294967296 at index 0"]);
    for p in [0.5, f64::NAN, f64::NEG_INFINITY, 0.0] {
        check("lp_norm", &norm(), "attr.p", Some(Array::scalar_f64(p)), &["at least 1, or inf"]);
    }
    check("lp_norm", &norm(), "attr.p", Some(Array::f64([2], vec![1.0, 2.0])), &["float64[2]"]);
    check("lp_norm", &norm(), "attr.p", Some(Array::scalar_text("two")), &["str[]"]);
    for groups in [0.0, -1.0, 1.5, f64::NAN] {
        check("group_norm", &norm(), "attr.groups", Some(Array::scalar_f64(groups)), &["an integer from 1"]);
    }
    check("group_norm", &norm(), "attr.groups", Some(Array::scalar_i64(2)), &["3 channels do not make 2 groups"]);
    // One value is its own mean.
    for (op, shape) in [("instance_norm", [2, 3]), ("layer_norm", [2, 1])] {
        let case = crate::ops::norm::cases::case("one", &shape, super::Law::NORMAL, false);
        let text = refused(op, &case, |_| {});
        assert!(text.contains("array x: a group would have one value"), "{text}");
    }
    for eps in [-1e-9, f64::NAN, f64::INFINITY] {
        check("batch_norm", &norm(), "attr.eps", Some(Array::scalar_f64(eps)), &["a finite number"]);
    }
    for relu in [2.0, -1.0, 0.5] {
        check("batch_norm", &norm(), "attr.relu", Some(Array::scalar_f64(relu)), &["an integer from 0 to 1"]);
    }
    for (name, value) in [("seed", -1), ("step", 1 << 32), ("layer", 1 << 24)] {
        let name = format!("attr.{name}");
        check("noisy_batch_norm", &norm(), &name, Some(Array::scalar_i64(value)), &["an integer from 0 to"]);
    }
}

#[test]
fn gradients_come_only_where_they_are_asked_for() {
    let names = |op: &str, mut arrays: Arrays, without: &str| {
        arrays.remove(without);
        let outputs = table::run(op, &mut Cpu::<f64>::default(), &mut Inputs::new("case.npz", arrays)).unwrap();
        outputs.into_keys().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("conv2d", conv2d().arrays(1), ""), "grad_bias grad_weight grad_x y");
    assert_eq!(names("conv2d", conv2d().arrays(1), "bias"), "grad_weight grad_x y");
    assert_eq!(names("conv2d", conv2d().arrays(1), "grad_y"), "y");
    assert_eq!(names("batch_norm", norm().arrays(1), "grad_y"), "mean var y");
    assert_eq!(names("noisy_batch_norm", norm().arrays(1), "grad_y"), "mean scale shift var y");
    let lp = norm().set("p", 2.0);
    assert_eq!(names("lp_norm", lp.arrays(1), ""), "grad_bias grad_weight grad_x mean scale y");
    assert_eq!(names("layer_norm", norm().arrays(1), "grad_y"), "mean var y");
    assert_eq!(names("max_pool2d", (crate::ops::max_pool2d::cases::CASES.chosen)()[0].arrays(1), ""), "grad_x y");
    assert_eq!(names("relu", (crate::ops::activation::cases::CASES.chosen)()[0].arrays(1), "grad_y"), "y");
    assert_eq!(
        names("cross_entropy", (crate::ops::cross_entropy::cases::CASES.chosen)()[0].arrays(1), ""),
        "grad_logits loss"
    );
    assert_eq!(
        names("squared_error", (crate::ops::squared_error::cases::CASES.chosen)()[0].arrays(1), ""),
        "grad_x loss"
    );
}

#[test]
fn the_backends_precision_decides_the_outputs_type_and_defaults_are_the_documented_ones() {
    let mut arrays = norm().arrays(1);
    let run = |arrays: &Arrays| {
        let mut inputs = Inputs::new("case.npz", arrays.clone());
        table::run("noisy_batch_norm", &mut Cpu::<f64>::default(), &mut inputs).unwrap()
    };
    let all = [("eps", 1e-5), ("relu", 0.0), ("seed", 0.0), ("step", 0.0), ("layer", 1.0)];
    arrays.remove("attr.relu");
    let plain = run(&arrays);
    for (name, value) in all {
        arrays.insert(format!("attr.{name}"), Array::scalar_f64(value));
    }
    assert_eq!(plain, run(&arrays));
    for (name, value) in [("eps", 1e-3), ("relu", 1.0), ("seed", 1.0), ("step", 1.0), ("layer", 2.0)] {
        let mut other = arrays.clone();
        other.insert(format!("attr.{name}"), Array::scalar_f64(value));
        assert_ne!(plain["y"], run(&other)["y"], "{name}");
    }
    assert_eq!(plain["y"].kind(), "float64[2,3,4,5]");
    let mut inputs = Inputs::new("case.npz", arrays);
    let narrow = table::run("noisy_batch_norm", &mut Cpu::<f32>::default(), &mut inputs).unwrap();
    assert_eq!(narrow["y"].kind(), "float32[2,3,4,5]");
    assert_eq!(narrow["mean"].kind(), "float32[3]");
}

#[test]
fn results_that_are_not_finite_are_results() {
    // One x = 0 and no ε: 0/0.
    let case = crate::ops::norm::cases::case("zero", &[2, 3], super::Law::Zero, false).set("eps", 0.0);
    let outputs = table::run("batch_norm", &mut Cpu::<f32>::default(), &mut Inputs::new("case.npz", case.arrays(1)));
    assert!(outputs.unwrap()["y"].to_f64().unwrap().iter().all(|v| v.is_nan()));
    let nan = Arrays::from([("x".to_owned(), Array::f64([2], vec![f64::NAN, f64::INFINITY]))]);
    let outputs = table::run("relu", &mut Cpu::<f32>::default(), &mut Inputs::new("case.npz", nan)).unwrap();
    let y = outputs["y"].to_f64().unwrap();
    assert!(y[0].is_nan() && y[1] == f64::INFINITY);
}

#[test]
fn noisy_batch_norm_is_batch_norm_under_the_noise_that_it_reports() {
    let case = crate::ops::norm::cases::case("noise", &[64, 40, 5, 5], super::Law::NORMAL, false);
    let (mut plain, mut noisy) = (case.arrays(1), case.arrays(1));
    plain.remove("grad_y");
    noisy.insert("attr.step".into(), Array::scalar_i64(12));
    let run = |op: &str, arrays: Arrays| {
        table::run(op, &mut Cpu::<f64>::default(), &mut Inputs::new("case.npz", arrays)).unwrap()
    };
    let of = |arrays: &Arrays, name: &str| arrays[name].to_f64().unwrap();
    let (plain, noisy) = (run("batch_norm", plain), run("noisy_batch_norm", noisy));
    assert_eq!((&plain["mean"], &plain["var"]), (&noisy["mean"], &noisy["var"]));
    let (shift, scale) = (of(&noisy, "shift"), of(&noisy, "scale"));
    let expected: Vec<f64> = of(&plain, "y").iter().zip(&scale).zip(&shift).map(|((y, s), m)| s * y + m).collect();
    assert!(super::relative_error(&of(&noisy, "y"), &expected) < 1e-14);

    // Algorithm 1's two levels: of each unit, mean and spread over its 1600 samples; then those over the 40 units.
    let units = |values: &[f64]| {
        let unit = |c: usize| values.chunks(25).skip(c).step_by(40).flatten().copied().collect::<Vec<_>>();
        let moments = |v: Vec<f64>| {
            let mean = v.iter().sum::<f64>() / v.len() as f64;
            (mean, (v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / v.len() as f64).sqrt())
        };
        (0..40).map(|c| moments(unit(c))).collect::<Vec<_>>()
    };
    // m_ij ~ U(μ_j − 0.1, μ_j + 0.1) has a spread of 0.2/√12; s_ij ~ N(σ_j, 0.1). Bounds: five standard errors.
    for &(_, spread) in &units(&shift) {
        assert!((spread - 0.2 / 12f64.sqrt()).abs() < 0.004, "{spread}");
    }
    for &(mean, spread) in &units(&scale) {
        assert!((spread - 0.1).abs() < 0.009 && (0.987..=1.263).contains(&mean), "{mean} {spread}");
    }
    // μ_j ~ U(−0.5, 0.5) has a spread of 1/√12, σ_j ~ U(1, 1.25) one of 0.25/√12.
    let over_units = |moments: &[(f64, f64)]| {
        let mean = moments.iter().map(|m| m.0).sum::<f64>() / 40.0;
        (mean, (moments.iter().map(|m| (m.0 - mean).powi(2)).sum::<f64>() / 40.0).sqrt())
    };
    let (mean, spread) = over_units(&units(&shift));
    assert!(mean.abs() < 0.23 && (spread - 0.289).abs() < 0.11, "{mean} {spread}");
    let (mean, spread) = over_units(&units(&scale));
    assert!((mean - 1.125).abs() < 0.06 && (spread - 0.072).abs() < 0.028, "{mean} {spread}");
}

#[test]
fn gains_of_pytorchs_shapes_do_what_those_of_one_axis_do() {
    for shape in [&[3, 2, 3, 3][..], &[3, 4], &[3, 2, 5], &[3]] {
        let run = |gain: Option<&[usize]>, tangent: Option<&[usize]>| {
            let mut arrays = crate::ops::weight_norm::cases::case("c", shape, super::Law::NORMAL).arrays(1);
            arrays.insert("tangent_gain".into(), arrays["gain"].clone());
            for (name, shape) in [("gain", gain), ("tangent_gain", tangent)] {
                if let Some(shape) = shape {
                    arrays.get_mut(name).unwrap().shape = shape.to_vec();
                }
            }
            let mut inputs = Inputs::new("case.npz", arrays);
            table::run("weight_norm", &mut Cpu::<f64>::default(), &mut inputs)
        };
        let ones: Vec<usize> = std::iter::once(3).chain(vec![1; shape.len() - 1]).collect();
        let flat = run(None, None).unwrap();
        assert_eq!(flat["grad_gain"].shape, [3]);
        for (gain, tangent) in [(Some(&ones[..]), None), (None, Some(&ones[..])), (Some(&ones[..]), Some(&ones[..]))] {
            let mut found = run(gain, tangent).unwrap();
            for name in ["grad_gain", "tangent_grad_gain"] {
                let array = found.get_mut(name).unwrap();
                assert_eq!(array.shape, gain.unwrap_or(&[3]), "{name}");
                array.shape = vec![3];
            }
            assert_eq!(found, flat, "{shape:?}");
        }
        for wrong in [&[1, 3][..], &[1, 3, 1, 1], &[3, 1, 1], &[]] {
            if wrong != ones {
                let text = run(Some(wrong), None).unwrap_err().to_string();
                assert!(text.starts_with("case.npz: array gain: ") && text.contains("[3"), "{text}");
            }
        }
    }
}
