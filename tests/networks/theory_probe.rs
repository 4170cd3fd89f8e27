//! The theory probe: its equalities hold on real networks, in f64 up to rounding; every backend gives the same; what does not fit is refused.

use normscape::network::{Activation, Dln, Engine, Network, Norm, Normalisation, dln, initial_parameters, vgg};
use normscape::ops::backend::Backend;
use normscape::ops::noise::NoiseOptions;
use normscape::ops::norm::Grouping;
use normscape::probe::theory::{self, Statements};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::state::StepState;
use normscape::runtime::tensor::{In, Out};
use std::sync::Arc;

fn drawn(stream: u32, len: usize) -> Vec<f64> {
    (0..len).map(|i| f64::from(normal(word(41, Purpose::Case, stream, 0, i as u64)))).collect()
}

fn engine<B: Backend>(backend: B, network: &Network, n: usize) -> Engine<B> {
    let mut engine = Engine::new(backend, network.clone(), n, Arc::default()).unwrap();
    let len = network.input(n).len();
    if network.input(1).hwnc()[0] == 1 {
        engine.set_batch_f64(&drawn(1, len), Some(&drawn(2, len)), None).unwrap();
    } else {
        let labels: Vec<u32> = (0..n as u32).map(|i| i * 3 % 10).collect();
        engine.set_batch_f64(&drawn(1, len), None, Some(&labels)).unwrap();
    }
    engine.set_state(&StepState::new(5, 2, 0.1)).unwrap();
    engine
}

fn statements<B: Backend>(backend: B, of: &Case) -> Vec<Statements> {
    let Case { network, n, chosen, eps, .. } = of;
    let (n, eps) = (*n, *eps);
    let mut engine = engine(backend, network, n);
    let theta = engine.vector().unwrap();
    // γ and β away from where they start.
    let start = initial_parameters(network, 3);
    let theta0: Vec<f64> =
        start.iter().zip(drawn(4, start.len())).map(|(&t, z)| f64::from((f64::from(t) + 0.1 * z) as f32)).collect();
    engine.backend().upload_f64(&theta0, Out(theta)).unwrap();
    let room = theory::Workspace::new(&mut engine, chosen, eps).unwrap();
    let entries: usize = chosen.iter().map(|(_, units)| units.len()).sum();
    assert_eq!(room.entries().len(), entries);
    theory::ask(&mut engine, In(theta), &room).unwrap();
    // What has moved since then is not looked at.
    engine.backend().upload_f64(&vec![0.5; theta0.len()], Out(theta)).unwrap();
    theory::read(&mut engine, &room).unwrap()
}

/// A network, a batch, and the units of two of its layers.
struct Case {
    name: String,
    network: Network,
    n: usize,
    chosen: Vec<(usize, Vec<usize>)>,
    eps: f64,
}

fn cases() -> Vec<Case> {
    let noisy = |norm| Normalisation { noise: Some(NoiseOptions::default()), ..Normalisation::new(norm) };
    let of = |(name, normalisation): (&str, Normalisation)| {
        let deep = Dln { depth: 4, dim: 5, norm_last: true, ..Dln::default() };
        let image = vgg("vgg11", 0.0625, normalisation).unwrap();
        let case = |kind: &str, network, n, chosen| Case {
            name: format!("{kind} {name}"),
            network,
            n,
            chosen,
            eps: normalisation.eps,
        };
        [
            case("vgg", image, 3, vec![(1, vec![0, 2]), (4, vec![7])]),
            case("dln", dln(deep, normalisation).unwrap(), 12, vec![(2, vec![1]), (4, vec![0, 4])]),
        ]
    };
    let all = [
        ("batch", Normalisation::new(Norm::Batch)),
        ("noisy", noisy(Norm::Batch)),
        ("none", Normalisation::new(Norm::None)),
        ("noise alone", noisy(Norm::None)),
    ];
    // A non-linearity that curves by itself; and weights that are made, after which nothing follows, as in the standard network.
    let curves = Normalisation { activation: Activation::Elu, ..Normalisation::new(Norm::Batch) };
    let network = vgg("vgg11", 0.0625, curves).unwrap();
    let chosen = vec![(1, vec![0, 2]), (4, vec![7])];
    let bent = Case { name: "vgg elu batch".into(), network, n: 3, chosen, eps: curves.eps };
    let [_, made] = of(("weight, none after it", Normalisation::new(Norm::Weight)));
    all.into_iter().flat_map(of).chain([bent, made]).collect()
}

#[test]
fn equalities_hold_in_f64() {
    for case in cases() {
        let (name, mut curved) = (&case.name, 0);
        for found in statements(Cpu::<f64>::default(), &case) {
            let [v, said, apart] = found.fact_c1;
            assert!(v > 0.0 && apart < 1e-11 * v && (said / v - 1.0).abs() < 1e-11, "{name}: {:?}", found.fact_c1);
            let [is, equal, printed] = found.theorem_4_1;
            assert!(
                (is / equal - 1.0).abs() < 1e-10 && is <= printed * (1.0 + 1e-12),
                "{name}: {:?}",
                found.theorem_4_1
            );
            let [is, equal, printed] = found.theorem_4_2;
            let scale = is.abs().max(found.v_h_v.abs() * found.gain * found.gain).max(printed.abs());
            assert!((is - equal).abs() < 1e-9 * scale, "{name}: {:?}", found.theorem_4_2);
            curved += usize::from(found.v_h_v.abs() > 1e-12 * found.theorem_4_1[0]);
            if case.eps > 1e-3 {
                assert!((is - printed).abs() > 1e-5 * scale, "{name}: ε makes no difference: {:?}", found.theorem_4_2);
                continue;
            }
            // With an ε so small the printed one is as good.
            assert!((is - printed).abs() < 1e-2 * scale, "{name}: {:?}", found.theorem_4_2);
            // 4.2's second form holds exactly where vᵀHv ≤ gᵀHg, up to the ε in it.
            let [left, right] = found.second_form;
            let slack = found.gain * found.gain * (found.g_h_g - found.v_h_v);
            assert!((right - left - slack).abs() < 1e-2 * scale.max(slack.abs()), "{name}: {left} {right} {slack}");
            assert!((0.0..=1.0).contains(&found.mean_share) && (0.0..=1.0).contains(&found.along_share), "{name}");
            if name.contains("none") || name.contains("alone") {
                assert!((found.gain - 1.0).abs() < 1e-12, "{name}: γ = S");
            }
        }
        assert!(curved > 0, "{name}: H was nothing everywhere");
    }
}

#[test]
fn every_backend_finds_the_same() {
    for case in cases() {
        let name = &case.name;
        let device =
            |order| crate::shared::device(Mode::F32, order).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("")));
        let exact = statements(Cpu::<f64>::default(), &case);
        let cpu = statements(Cpu::<f32>::default(), &case);
        let kernels = statements(device(None), &case);
        let again = statements(device(Some(6)), &case);
        assert_eq!(format!("{kernels:?}"), format!("{again:?}"), "{name}: other bits in another order");
        for (found, exact) in cpu.iter().zip(&exact).chain(kernels.iter().zip(&exact)) {
            let scale = found.theorem_4_2.iter().fold(found.v_h_v.abs(), |m, v| m.max(v.abs()));
            let pairs = [
                (found.theorem_4_1[0], exact.theorem_4_1[0], exact.theorem_4_1[0]),
                (found.theorem_4_1[1], exact.theorem_4_1[1], exact.theorem_4_1[0]),
                (found.theorem_4_2[0], exact.theorem_4_2[0], scale),
                (found.theorem_4_2[1], exact.theorem_4_2[1], scale),
                (found.gain, exact.gain, exact.gain),
                (found.mean_share, exact.mean_share, 1.0),
                (found.along_share, exact.along_share, 1.0),
            ];
            for (found, exact, scale) in pairs {
                assert!((found - exact).abs() <= 1e-3 * scale.abs(), "{name}: {found} and {exact}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |norm, chosen: &[(usize, Vec<usize>)]| {
        let network = dln(Dln { depth: 3, dim: 4, ..Dln::default() }, Normalisation::new(norm)).unwrap();
        theory::Workspace::new(&mut engine(Cpu::<f32>::default(), &network, 8), chosen, 1e-5).unwrap_err().to_string()
    };
    let says = |text: String, words: &[&str]| assert!(words.iter().all(|word| text.contains(word)), "{text}");
    says(refused(Norm::Lp(2.0), &[(1, vec![0])]), &["ℓp norm", "--norm batch"]);
    says(refused(Norm::Grouped(Grouping::Groups(2)), &[(1, vec![0])]), &["each sample by itself", "--norm batch"]);
    says(refused(Norm::Batch, &[(4, vec![0])]), &["--probe-layers 4", "3 layers with weights", "from 1"]);
    says(refused(Norm::Batch, &[(0, vec![0])]), &["--probe-layers 0"]);
    says(refused(Norm::Batch, &[(1, vec![4])]), &["unit 4", "4 units"]);
}
