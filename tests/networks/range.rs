//! The ends of the numbers' range, on the CPU in both precisions and on the kernels: numbers close to 0, numbers whose square is infinite,
//! NaN, and PyTorch's conventions at ties and kinks.
//!
//! Norms are tested by their own law. If x and ε are multiplied by one number (ε by its square where it is added to a variance), y stays
//! the same and the gradient of x is divided by that number. So a precision's results at an end of its range are compared with f64 in the
//! middle of it.

use normscape::files::{Array, Arrays};
use normscape::ops::boundary::relative_error;
use normscape::ops::weight_norm::{Parts, WeightNorm};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::rounding::bf16_of;
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape};

/// Where an operator runs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum On {
    Single,
    Double,
    Kernels(Mode),
}

/// The settings of an operator, by name.
type Settings = &'static [(&'static str, f64)];

const ALL: [On; 3] = [On::Single, On::Double, On::Kernels(Mode::F32)];

fn run(on: On, op: &str, arrays: &Arrays) -> Arrays {
    let found = match on {
        On::Single => crate::shared::run(op, &mut Cpu::<f32>::default(), arrays),
        On::Double => crate::shared::run(op, &mut Cpu::<f64>::default(), arrays),
        On::Kernels(mode) => {
            crate::shared::device(mode, None).and_then(|mut device| crate::shared::run(op, &mut device, arrays))
        }
    };
    found.unwrap_or_else(|e| panic!("{op} on {on:?}: {}", e.message().unwrap_or("failed")))
}

fn values(arrays: &Arrays, name: &str) -> Vec<f64> {
    arrays.get(name).and_then(Array::to_f64).unwrap_or_else(|| panic!("there is no {name}"))
}

fn drawn(stream: u32, len: usize) -> Vec<f64> {
    (0..len).map(|i| f64::from(normal(word(21, Purpose::Case, stream, 0, i as u64)))).collect()
}

/// A norm's arrays: x as given, the others drawn, each with a tangent (of x `moving` times as large). These are small: ẋ/s is to be a number even
/// where s is the least there is.
fn norm(shape: &[usize], x: Vec<f64>, moving: f64, settings: &[(&str, f64)]) -> Arrays {
    let (len, units) = (x.len(), shape[1]);
    let single = |values: Vec<f64>| values.into_iter().map(|v| f64::from(v as f32)).collect::<Vec<_>>();
    let mut all = Arrays::new();
    let mut put = |name: &str, shape: &[usize], values: Vec<f64>| {
        all.insert(name.into(), Array::f64(shape, values));
    };
    put("weight", &[units], single(drawn(2, units).iter().map(|v| 1.0 + 0.25 * v).collect()));
    put("bias", &[units], single(drawn(3, units)));
    put("grad_y", shape, single(drawn(4, len)));
    let little = |values: Vec<f64>, by: f64| single(values).into_iter().map(|v| v * by * 2f64.powi(-60)).collect();
    put("tangent_x", shape, little(drawn(5, len), moving));
    put("tangent_weight", &[units], little(drawn(6, units), 1.0));
    put("tangent_bias", &[units], little(drawn(7, units), 1.0));
    put("tangent_grad_y", shape, little(drawn(8, len), 1.0));
    put("x", shape, x);
    for (name, value) in settings {
        all.insert(format!("attr.{name}"), Array::scalar_f64(*value));
    }
    all
}

fn without_tangents(mut arrays: Arrays) -> Arrays {
    arrays.retain(|name, _| !name.starts_with("tangent_"));
    arrays
}

/// Numbers of this size that the precision has: the ones that it rounds others to.
fn of_size(on: On, size: f64, len: usize) -> Vec<f64> {
    let held = |v: f64| if on == On::Double { v } else { f64::from(v as f32) };
    drawn(1, len).into_iter().map(|v| held(v * size)).collect()
}

#[test]
fn an_lp_norm_of_next_to_nothing_has_the_gradients_of_its_multiple() {
    let eps = 1e-5;
    for (on, lift, sizes, bound) in [
        (On::Single, 2f64.powi(100), &[1e-30, 1e-37, 3e-39, 1e-40, 1e-44, 1.5e-45, 0.0][..], 1e-5),
        (On::Double, 2f64.powi(900), &[1e-290, 1e-307, 3e-309, 1e-315, 1e-322, 5e-324, 0.0][..], 1e-11),
        (On::Kernels(Mode::F32), 2f64.powi(100), &[1e-30, 1e-37, 3e-39, 1e-40][..], 1e-5),
    ] {
        for (p, &size) in
            [1.0, 1.5, 2.0, 3.0, 7.5, f64::INFINITY].into_iter().flat_map(|p| sizes.iter().map(move |s| (p, s)))
        {
            let (shape, x) = ([12, 3, 1, 1], of_size(on, size, 36));
            let multiple = x.iter().map(|v| v * lift).collect();
            let of = |x, eps, moving| norm(&shape, x, moving, &[("p", p), ("eps", eps)]);
            let found = run(on, "lp_norm", &of(x, eps, 1.0));
            let exact = run(On::Double, "lp_norm", &of(multiple, eps * lift, lift));
            // Second derivatives are made of dγ and s. The kernels hold these in f32; and the multiple's u, which is x/ε too, is in f64 a subnormal
            // number below 1e-313: so many digits there are.
            let digits = match on {
                _ if size == 0.0 => 0.0,
                On::Single => 0.0,
                On::Double => f64::from_bits(1) / (size / eps) * 64.0,
                On::Kernels(_) => 2f64.powi(-149) / size * 64.0,
            };
            for (name, by, bound) in [
                ("y", 1.0, bound),
                ("grad_x", lift, bound),
                ("grad_bias", 1.0, bound),
                ("tangent_y", 1.0, bound),
                ("tangent_grad_bias", 1.0, bound),
                ("tangent_grad_weight", 1.0, bound * 10.0),
                ("tangent_grad_x", lift, bound * 2.0 + digits),
            ] {
                let expected: Vec<f64> = values(&exact, name).into_iter().map(|v| v * by).collect();
                let error = relative_error(&values(&found, name), &expected);
                assert!(error <= bound, "p {p}, x near {size:e} on {on:?}: {name} {error:e}");
            }
        }
    }
}

#[test]
fn a_norm_near_an_end_of_the_range_is_as_good_as_in_its_middle() {
    let norms: [(&str, Settings, i32); 8] = [
        ("batch_norm", &[], 2),
        ("noisy_batch_norm", &[], 2),
        ("layer_norm", &[], 2),
        ("group_norm", &[("groups", 2.0)], 2),
        ("instance_norm", &[], 2),
        ("lp_norm", &[("p", 1.0)], 1),
        ("lp_norm", &[("p", 2.0)], 1),
        ("lp_norm", &[("p", 64.0)], 1),
    ];
    for (on, single) in ALL.into_iter().map(|on| (on, on != On::Double)) {
        // The largest whose variance the precision has, and the least.
        let ends = if single { [2f64.powi(60), 2f64.powi(-58)] } else { [2f64.powi(508), 2f64.powi(-500)] };
        for ((op, settings, power), size) in norms.into_iter().flat_map(|norm| ends.map(move |size| (norm, size))) {
            let (shape, x) = ([40, 4, 2, 2], of_size(on, size, 640));
            let of = |x, eps: f64| {
                let all = [settings, &[("eps", eps)]].concat();
                without_tangents(norm(&shape, x, 0.0, &all))
            };
            let middle = x.iter().map(|v| v / size).collect();
            let eps = if size < 1.0 { 0.0 } else { 1e-5 };
            let found = run(on, op, &of(x, eps));
            let exact = run(On::Double, op, &of(middle, eps / size.powi(power)));
            let spread = if op == "lp_norm" { "scale" } else { "var" };
            for (name, by) in [("y", 0), ("mean", 1), (spread, power), ("grad_x", -1), ("grad_weight", 0)] {
                let expected: Vec<f64> = values(&exact, name).into_iter().map(|v| v * size.powi(by)).collect();
                let error = relative_error(&values(&found, name), &expected);
                let bound = if single { 1e-5 } else { 1e-12 };
                assert!(error <= bound, "{op} {settings:?} of {size:e} on {on:?}: {name} {error:e}");
            }
        }
    }
}

#[test]
fn sums_leave_no_range_where_their_result_does_not() {
    // Of one unit, so that every 64th row shares a lane: the sums of a piece are infinite, of all of x they are 0.
    let x: Vec<f64> = (0..256).map(|i| if i < 128 { 3e38 } else { -3e38 }).map(|v| f64::from(v as f32)).collect();
    for on in ALL {
        for p in [1.0, f64::INFINITY] {
            let found = run(on, "lp_norm", &without_tangents(norm(&[256, 1], x.clone(), 0.0, &[("p", p)])));
            assert_eq!(values(&found, "mean"), [0.0], "p {p} on {on:?}");
            assert!(relative_error(&values(&found, "scale"), &[x[0]]) < 1e-6, "p {p} on {on:?}");
        }
        let mut arrays = without_tangents(norm(&[256, 1], drawn(1, 256), 0.0, &[]));
        arrays.insert("grad_y".into(), Array::f64([256, 1], x.clone()));
        assert_eq!(values(&run(on, "batch_norm", &arrays), "grad_bias"), [0.0], "{on:?}");
    }
}

/// Which statistics of 3×4×1×3 see the sample 1 and channel 2.
fn statistics_of(op: &str) -> (usize, usize) {
    match op {
        "layer_norm" => (3, 1),
        "group_norm" => (6, 3),
        "instance_norm" => (12, 6),
        _ => (4, 2),
    }
}

#[test]
fn what_is_no_number_shows_in_its_own_group_alone() {
    for (op, settings) in [
        ("batch_norm", &[][..]),
        ("noisy_batch_norm", &[]),
        ("layer_norm", &[]),
        ("group_norm", &[("groups", 2.0)]),
        ("instance_norm", &[]),
    ] {
        let (count, hit) = statistics_of(op);
        let (plain, at) = (drawn(1, 36), (4 + 2) * 3 + 1);
        for on in ALL {
            let of = |x: Vec<f64>| run(on, op, &norm(&[3, 4, 1, 3], x, 1.0, settings));
            let expected = of(plain.clone());
            for (what, mean) in
                [(f64::NAN, f64::NAN), (f64::INFINITY, f64::INFINITY), (f64::NEG_INFINITY, f64::NEG_INFINITY)]
            {
                let mut x = plain.clone();
                x[at] = what;
                let found = of(x.clone());
                let (means, vars) = (values(&found, "mean"), values(&found, "var"));
                // As PyTorch: the mean is the sum's, and about it there is no variance.
                assert!(vars[hit].is_nan(), "{op} of a {what} on {on:?}: var {}", vars[hit]);
                assert!(means[hit] == mean || means[hit].is_nan() && mean.is_nan(), "{op} of a {what} on {on:?}");
                for name in ["mean", "var"] {
                    let (found, expected) = (values(&found, name), values(&expected, name));
                    assert!((0..count).all(|i| i == hit || found[i] == expected[i]), "{op} on {on:?}: {name}");
                }
                let (y, whole) = (values(&found, "y"), values(&expected, "y"));
                let own = |i: usize| match op {
                    "layer_norm" => i / 12 == 1,
                    "group_norm" => i / 12 == 1 && i / 6 % 2 == 1,
                    "instance_norm" => i / 3 == 6,
                    _ => i / 3 % 4 == 2,
                };
                let right = |i: usize| if own(i) { y[i].is_nan() } else { y[i] == whole[i] };
                assert!((0..36).all(right), "{op} of a {what} on {on:?}: y");
                // Both infinities have no mean.
                if what.is_infinite() {
                    x[at + 1] = -what;
                    let found = of(x);
                    let at_hit = |name| values(&found, name)[hit].is_nan();
                    assert!(at_hit("mean") && at_hit("var"), "{op} of both infinities on {on:?}");
                }
            }
        }
    }
}

#[test]
fn an_lp_norm_with_an_infinity_has_an_infinite_scale() {
    for (on, p) in ALL.into_iter().flat_map(|on| [1.0, 1.5, 2.0, 3.0, f64::INFINITY].map(|p| (on, p))) {
        for (what, expected) in [(f64::INFINITY, f64::INFINITY), (f64::NAN, f64::NAN)] {
            let mut x = drawn(1, 24);
            x[4] = what;
            let found = run(on, "lp_norm", &without_tangents(norm(&[8, 3], x, 0.0, &[("p", p)])));
            let scale = values(&found, "scale");
            assert_eq!(scale[1].is_nan(), expected.is_nan(), "p {p} on {on:?}: {scale:?}");
            assert!(expected.is_nan() || scale[1] == expected, "p {p} on {on:?}: {scale:?}");
            assert!(scale[0].is_finite() && scale[2].is_finite(), "p {p} on {on:?}: {scale:?}");
        }
    }
}

#[test]
fn tied_maxima_share_the_gradient() {
    // y = x/2 − μ/2 of (1, −2, 2, ½) with ε = 0; dγ = Σ dy u. PyTorch's amax gives each of the two largest a half of it.
    let mut arrays = norm(&[4, 1], vec![1.0, -2.0, 2.0, 0.5], 1.0, &[("p", f64::INFINITY), ("eps", 0.0)]);
    let mut put = |name: &str, values: &[f64]| arrays.insert(name.into(), Array::f64([4, 1], values.to_vec()));
    put("grad_y", &[1.0, 2.0, 4.0, 8.0]);
    put("tangent_x", &[1.0, 10.0, 100.0, 1000.0]);
    put("tangent_grad_y", &[0.0; 4]);
    for (name, value) in [("weight", 1.0), ("bias", 0.0), ("tangent_weight", 0.0), ("tangent_bias", 0.0)] {
        arrays.insert(name.into(), Array::f64([1], vec![value]));
    }
    let u = [0.3125, -1.1875, 0.8125, 0.0625];
    let grad_gain: f64 = [1.0, 2.0, 4.0, 8.0].iter().zip(u).map(|(dy, u)| dy * u).sum();
    let share = [0.0, -grad_gain / 2.0, grad_gain / 2.0, 0.0];
    let grad: Vec<f64> = [1.0, 2.0, 4.0, 8.0].iter().zip(share).map(|(dy, share)| (dy - 3.75 - share) / 2.0).collect();
    // ṡ = (−10 + 100)/2, as PyTorch's jvp of amax has it.
    let xt = [1.0, 10.0, 100.0, 1000.0];
    let tangent: Vec<f64> = xt.iter().zip(u).map(|(xt, u)| (xt - 277.75 - u * 45.0) / 2.0).collect();
    for on in ALL {
        let found = run(on, "lp_norm", &arrays);
        assert!(relative_error(&values(&found, "grad_x"), &grad) < 1e-6, "{on:?}: {:?}", values(&found, "grad_x"));
        assert!(relative_error(&values(&found, "tangent_y"), &tangent) < 1e-6, "{on:?}");
    }
}

#[test]
fn at_0_elu_and_selu_have_pytorchs_derivatives() {
    let tensor = |values: &[f64]| Array::f64([1, values.len()], values.to_vec());
    let arrays: Arrays = [
        ("x", tensor(&[-1e-3, -0.0, 0.0, 1e-3])),
        ("grad_y", tensor(&[1.0; 4])),
        ("tangent_x", tensor(&[1.0; 4])),
        ("tangent_grad_y", tensor(&[0.0; 4])),
    ]
    .map(|(name, array)| (name.to_owned(), array))
    .into();
    // By torch 2.15 in float64, twice differentiated.
    for (op, first, second) in [
        ("elu", [0.999_000_499_833_375, 1.0, 1.0, 1.0], [0.999_000_499_833_375, 0.0, 0.0, 0.0]),
        (
            "selu",
            [1.756_342_120_263_256_3, 1.758_099_340_847_376_6, 1.758_099_340_847_376_6, 1.050_700_987_355_480_5],
            [1.756_342_120_263_256_3, 0.0, 0.0, 0.0],
        ),
    ] {
        for on in ALL {
            let found = run(on, op, &arrays);
            for (name, expected) in [("grad_x", first), ("tangent_grad_x", second)] {
                let error = relative_error(&values(&found, name), &expected);
                assert!(error < 2e-7, "{op} on {on:?}: {name} {:?}", values(&found, name));
            }
        }
    }
}

#[test]
fn what_is_stored_in_bf16_is_rounded_once() {
    // A middle between two neighbours, and a hair beside it that f32 does not have.
    let (middle, hair) = (1.0 + 2f64.powi(-8), 2f64.powi(-40));
    let x = [middle, middle + hair, middle - hair, middle + 2f64.powi(-7), 2f64.powi(-134) + 2f64.powi(-180), 3.4e38];
    let expected = [1.0, 1.0 + 2f64.powi(-7), 1.0, 1.0 + 2f64.powi(-6), 2f64.powi(-133), f64::INFINITY];
    let on = On::Kernels(Mode::Bf16);
    let relu = Arrays::from([("x".into(), Array::f64([1, 6], x.to_vec()))]);
    assert_eq!(values(&run(on, "relu", &relu), "y"), expected);
}

#[test]
fn a_kernels_double_is_rounded_to_bf16_once() {
    // w = g/√2, for gains that bring it as near to a middle as f32 allows.
    let gains: Vec<f32> = (0..128).map(|k| ((1.0 + f64::from(2 * k + 1) / 256.0) * 2f64.sqrt()) as f32).collect();
    let mut b =
        crate::shared::device(Mode::Bf16, None).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("no device")));
    let mut plan = b.plan();
    let [v, w] = [DType::F32, DType::Bf16].map(|dtype| plan.view(Shape::new([2, 128]), dtype));
    let g = plan.view(Shape::new([128]), DType::F32);
    b.commit(&plan).unwrap();
    b.upload(&[1f32; 256], Out(v)).unwrap();
    b.upload(&gains, Out(g)).unwrap();
    b.weight_norm(Parts { direction: In(v), gain: In(g) }, Out(w)).unwrap();
    let exact: Vec<f64> = gains.iter().map(|&g| f64::from(g) * (1.0 / 2f64.sqrt())).collect();
    let once: Vec<f64> = exact.iter().map(|&w| bf16_of(w).to_f64()).collect();
    let twice: Vec<f64> = exact.iter().map(|&w| f64::from(half::bf16::from_f32(w as f32))).collect();
    assert_ne!(once, twice, "no gain tells one rounding from two");
    assert_eq!(b.download_f64(In(w)).unwrap(), once.repeat(2));
}
