//! Histograms and moments of a unit: the CPU against values worked out by hand, and a device against the CPU's counts.

use normscape::ops::backend::Backend;
use normscape::ops::distribution::Bins;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::tensor::{DType, In, Out, Shape};

fn of<B: Backend>(
    b: &mut B,
    x: &[f32],
    units: usize,
    bins: Bins,
    many: usize,
) -> normscape::Result<(Vec<u32>, Vec<f64>)> {
    let mut plan = b.plan();
    let values = plan.view(Shape::new([x.len() / units, units]), b.activation_dtype());
    let (count, moments) = (plan.view(Shape::new([many + 2]), DType::U32), plan.view(Shape::new([2]), DType::F64));
    b.commit(&plan)?;
    b.upload_f32(x, Out(values))?;
    b.distribution(In(values), bins, Out(count), Out(moments))?;
    let mut counts = vec![0; many + 2];
    b.download(In(count), &mut counts)?;
    Ok((counts, b.download_f64(In(moments))?))
}

#[test]
fn bins_are_closed_below_and_the_last_one_above() {
    // Unit 1 of two: −2, −1, −½, 0, ½, 1, 1¼.
    let unit = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.25];
    let x: Vec<f32> = unit.iter().flat_map(|&v| [100.0, v]).collect();
    let bins = Bins { unit: 1, low: -1.0, high: 1.0 };
    let mut devices = [Mode::F32, Mode::Bf16].map(|mode| crate::shared::device(mode, None).unwrap());
    let expected = vec![1, 1, 1, 1, 2, 1];
    let (mean, variance) = (-0.75 / 7.0, (4.0 + 1.0 + 0.25 + 0.25 + 1.0 + 1.5625) / 7.0 - (0.75f64 / 7.0).powi(2));
    let check = |(counts, moments): (Vec<u32>, Vec<f64>)| {
        assert_eq!(counts, expected);
        assert!((moments[0] - mean).abs() < 1e-15 && (moments[1] - variance).abs() < 1e-14, "{moments:?}");
    };
    check(of(&mut Cpu::<f64>::default(), &x, 2, bins, 4).unwrap());
    check(of(&mut Cpu::<f32>::default(), &x, 2, bins, 4).unwrap());
    for device in &mut devices {
        check(of(device, &x, 2, bins, 4).unwrap());
        // A NaN is in no bin, and shows.
        let mut with_nan = x.clone();
        with_nan[5] = f32::NAN;
        for (counts, moments) in
            [of(device, &with_nan, 2, bins, 4), of(device, &with_nan, 2, bins, 4)].map(|r| r.unwrap())
        {
            assert_eq!(counts, [1, 1, 0, 1, 2, 1]);
            assert!(moments.iter().all(|m| m.is_nan()));
        }
    }
    for bad in [Bins { unit: 2, ..bins }, Bins { low: 1.0, ..bins }, Bins { high: f64::NAN, ..bins }] {
        assert!(of(&mut Cpu::<f32>::default(), &x, 2, bad, 4).is_err());
        assert!(of(&mut devices[0], &x, 2, bad, 4).is_err());
    }
    assert!(of(&mut devices[0], &x, 2, bins, 513).is_err());
}

#[test]
fn devices_count_what_the_cpu_counts() {
    for (rows, units, unit, many) in [(1, 1, 0, 1), (255, 3, 2, 20), (20_000, 2, 0, 512), (4_097, 5, 4, 300)] {
        let x: Vec<f32> = (0..rows * units).map(|i| normal(word(2, Purpose::Case, 0, 0, i as u64))).collect();
        let bins = Bins { unit, low: -1.7, high: 2.1 };
        let (expected, moments) = of(&mut Cpu::<f32>::default(), &x, units, bins, many).unwrap();
        assert_eq!(expected.iter().sum::<u32>() as usize, rows);
        for order in [None, Some(3)] {
            let (counts, found) =
                of(&mut crate::shared::device(Mode::F32, order).unwrap(), &x, units, bins, many).unwrap();
            assert!(counts == expected, "{rows} rows");
            for (a, b) in found.iter().zip(&moments) {
                assert!((a - b).abs() <= 1e-12, "{rows} rows: {found:?} for {moments:?}");
            }
        }
        let rounded: Vec<f32> = x.iter().map(|&v| half::bf16::from_f32(v).to_f32()).collect();
        let (expected, _) = of(&mut Cpu::<f32>::default(), &rounded, units, bins, many).unwrap();
        let (counts, _) = of(&mut crate::shared::device(Mode::Bf16, None).unwrap(), &x, units, bins, many).unwrap();
        assert!(counts == expected, "{rows} rows in bf16");
    }
}
