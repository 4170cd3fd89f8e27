//! Hessian-vector products of whole networks: against differences of gradients, against the full Hessian, and on the kernels.

use crate::shared;
use normscape::network::{
    Activation, Dln, Engine, Network, Norm, Normalisation, Reduction, Scalar, dln, initial_parameters, vgg,
};
use normscape::ops::backend::Backend;
use normscape::ops::noise::NoiseOptions;
use normscape::ops::norm::Grouping;
use normscape::ops::norm::renorm::RenormLimits;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::state::StepState;
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{In, Out, View};
use std::sync::Arc;

fn normals(n: usize, stream: u32) -> Vec<f64> {
    (0..n).map(|i| f64::from(normal(word(21, Purpose::Case, stream, 0, i as u64)))).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn apart(a: &[f64], b: &[f64]) -> f64 {
    let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    (dot(&difference, &difference) / dot(b, b)).sqrt()
}

/// Parameters away from where they start: γ and β are not 1 and 0.
fn parameters(network: &Network) -> Vec<f64> {
    let start = initial_parameters(network, 5);
    start.iter().zip(normals(start.len(), 1)).map(|(&t, z)| f64::from(t) + 0.05 * z).collect()
}

fn engine<B: Backend>(backend: B, network: &Network, n: usize) -> Engine<B> {
    let mut engine = Engine::new(backend, network.clone(), n, Arc::default()).unwrap();
    let x = normals(network.input(n).len(), 2);
    if network.input(1).hwnc()[0] == 1 {
        engine.set_batch_f64(&x, Some(&normals(x.len(), 3)), None).unwrap();
    } else {
        let labels: Vec<u32> = (0..n as u32).map(|i| i * 7 % 10).collect();
        engine.set_batch_f64(&x, None, Some(&labels)).unwrap();
    }
    engine.set_state(&StepState::new(9, 4, 0.1)).unwrap();
    engine
}

fn vector<B: Backend>(engine: &mut Engine<B>, values: &[f64]) -> View {
    let view = engine.vector().unwrap();
    engine.backend().upload_f64(values, Out(view)).unwrap();
    view
}

/// `∇²L(θ) v` for each v, and ∇L(θ) as it was linearised.
fn products<B: Backend>(engine: &mut Engine<B>, theta: &[f64], vs: &[Vec<f64>]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let (at, out) = (vector(engine, theta), engine.vector().unwrap());
    let room = engine.tangents().unwrap();
    let (loss, correct) = (engine.slot(Scalar::Aside), engine.slot(Scalar::AsideCorrect));
    engine.linearise(&room, In(at), Out(loss), Out(correct)).unwrap();
    let found = vs.iter().map(|v| {
        let v = vector(engine, v);
        engine.hessian_vector(&room, In(at), In(v), Out(out)).unwrap();
        engine.read(out).unwrap()
    });
    let found = found.collect();
    let grad = engine.linearised_grad(&room).0;
    (found, engine.read(grad).unwrap())
}

fn gradient<B: Backend>(engine: &mut Engine<B>, theta: &[f64]) -> Vec<f64> {
    let (at, grad) = (vector(engine, theta), engine.vector().unwrap());
    let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
    engine.loss_and_grad(In(at), Out(grad), Out(loss), Out(correct)).unwrap();
    engine.read(grad).unwrap()
}

/// `(∇L(θ + h v) − ∇L(θ − h v)) / 2h`
fn differences<B: Backend>(engine: &mut Engine<B>, theta: &[f64], v: &[f64], h: f64) -> Vec<f64> {
    let mut at = |by: f64| {
        let moved: Vec<f64> = theta.iter().zip(v).map(|(t, v)| t + by * v).collect();
        gradient(engine, &moved)
    };
    let (up, down) = (at(h), at(-h));
    up.iter().zip(down).map(|(u, d)| (u - d) / (2.0 * h)).collect()
}

/// Every choice of norm and noise, with its name.
fn normalisations() -> Vec<(&'static str, Normalisation)> {
    let noisy = |norm| Normalisation { noise: Some(NoiseOptions::default()), ..Normalisation::new(norm) };
    let plain = Normalisation::new;
    vec![
        ("none", plain(Norm::None)),
        ("batch", plain(Norm::Batch)),
        ("noisy", noisy(Norm::Batch)),
        ("noise alone", noisy(Norm::None)),
        ("l1", plain(Norm::Lp(1.0))),
        ("l2", plain(Norm::Lp(2.0))),
        ("linf", plain(Norm::Lp(f64::INFINITY))),
        ("lp:3", plain(Norm::Lp(3.0))),
        ("lp:2.5 with noise", noisy(Norm::Lp(2.5))),
        // Bounds that r and d meet in every channel: there they are constants, as curvature takes them.
        ("renorm", plain(Norm::Renorm(RenormLimits { r_max: 1.000_001, d_max: 1e-6 }))),
        ("weight", plain(Norm::Weight)),
        ("weight with noise", noisy(Norm::Weight)),
        ("layer", plain(Norm::Grouped(Grouping::Layer))),
        ("group:2", plain(Norm::Grouped(Grouping::Groups(2)))),
        ("group:2 with noise", noisy(Norm::Grouped(Grouping::Groups(2)))),
    ]
}

fn networks() -> Vec<(String, Network, usize)> {
    let of = |(name, normalisation): (&str, Normalisation)| {
        let deep = Dln { depth: 4, dim: 6, ..Dln::default() };
        [
            (format!("vgg11 {name}"), vgg("vgg11", 0.0625, normalisation).unwrap(), 3),
            (format!("dln {name}"), dln(deep, normalisation).unwrap(), 12),
            (
                format!("dln mean {name}"),
                dln(Dln { loss: Reduction::Mean, norm_last: true, ..deep }, normalisation).unwrap(),
                12,
            ),
        ]
    };
    // ELU and SELU curve by themselves.
    let bent = |(name, activation, norm)| {
        let normalisation = Normalisation { activation, ..Normalisation::new(norm) };
        (format!("vgg11 {name}"), vgg("vgg11", 0.0625, normalisation).unwrap(), 3)
    };
    let rms = Norm::Rms;
    let bends = [
        ("elu", Activation::Elu, Norm::None),
        ("selu batch", Activation::Selu, Norm::Batch),
        ("gelu rms", Activation::Gelu, rms),
        ("silu", Activation::Silu, Norm::None),
    ];
    let bends = bends.map(bent);
    let instance = vgg("vgg11", 0.0625, Normalisation::new(Norm::Grouped(Grouping::Instance))).unwrap();
    normalisations().into_iter().flat_map(of).chain(bends).chain([("vgg11 instance".into(), instance, 3)]).collect()
}

#[test]
fn products_are_the_derivatives_of_gradients() {
    for (name, network, n) in networks() {
        let mut engine = engine(Cpu::<f64>::default(), &network, n);
        let theta = parameters(&network);
        let vs: Vec<_> = [7, 8].map(|stream| normals(theta.len(), stream)).into();
        let (found, grad) = products(&mut engine, &theta, &vs);
        let own = gradient(&mut engine, &theta);
        assert!(apart(&grad, &own) < 1e-12, "{name}: linearised at another gradient: {:e}", apart(&grad, &own));
        // Small beside the distance to the next kink, large beside rounding: of the truncation h² is left.
        for (v, found) in vs.iter().zip(&found) {
            let measured = differences(&mut engine, &theta, v, 1e-7);
            assert!(apart(found, &measured) < 1e-5, "{name}: {:e}", apart(found, &measured));
        }
        let (across, back) = (dot(&vs[0], &found[1]), dot(&vs[1], &found[0]));
        let scale = (dot(&found[0], &found[0]) * dot(&vs[1], &vs[1])).sqrt();
        assert!((across - back).abs() <= 1e-11 * scale, "{name}: not symmetric: {across} and {back}");
    }
}

#[test]
fn columns_make_the_full_hessian() {
    let network = dln(Dln { depth: 3, dim: 3, ..Dln::default() }, Normalisation::new(Norm::Batch)).unwrap();
    let theta = parameters(&network);
    let mut engine = engine(Cpu::<f64>::default(), &network, 8);
    let unit = |i: usize| (0..theta.len()).map(|k| f64::from(u8::from(k == i))).collect::<Vec<f64>>();
    let units: Vec<_> = (0..theta.len()).map(unit).collect();
    let (hessian, _) = products(&mut engine, &theta, &units);
    let largest = hessian.iter().flatten().fold(0.0f64, |m, h| m.max(h.abs()));
    for (i, column) in hessian.iter().enumerate() {
        // A column may be small beside the others, and rounding of the gradient is as large as ever.
        for (h, measured) in column.iter().zip(differences(&mut engine, &theta, &units[i], 1e-5)) {
            assert!((h - measured).abs() < 1e-7 * largest, "column {i}: {h} and {measured} of {largest}");
        }
        for (k, h) in column.iter().enumerate() {
            assert!((h - hessian[k][i]).abs() < 1e-12 * largest, "{i}, {k}");
        }
    }
    // And a product is the columns', put together.
    let v = normals(theta.len(), 9);
    let (found, _) = products(&mut engine, &theta, std::slice::from_ref(&v));
    let sum: Vec<f64> = (0..theta.len()).map(|i| (0..theta.len()).map(|k| hessian[k][i] * v[k]).sum()).collect();
    assert!(apart(&found[0], &sum) < 1e-12);
}

#[test]
fn of_what_enters_a_layer_it_is_that_of_the_weights_before_on_the_unit_batch() {
    // With the unit matrix for a batch, the first layer's output is its weight.
    let dim = 6;
    // But for weights that are made of parameters.
    for (name, normalisation) in normalisations().into_iter().filter(|(_, of)| of.norm != Norm::Weight) {
        let network = dln(Dln { depth: 3, dim, ..Dln::default() }, normalisation).unwrap();
        let mut engine = engine(Cpu::<f64>::default(), &network, dim);
        let identity: Vec<f64> = (0..dim * dim).map(|i| f64::from(u8::from(i % (dim + 1) == 0))).collect();
        engine.set_batch_f64(&identity, Some(&normals(dim * dim, 3)), None).unwrap();
        let theta = parameters(&network);
        let direction = normals(dim * dim, 4);
        let mut v = vec![0.0; theta.len()];
        v[..dim * dim].copy_from_slice(&direction);
        let (found, _) = products(&mut engine, &theta, &[v]);
        let (at, room) = (vector(&mut engine, &theta), engine.tangents().unwrap());
        let (loss, correct) = (engine.slot(Scalar::Aside), engine.slot(Scalar::AsideCorrect));
        engine.linearise(&room, In(at), Out(loss), Out(correct)).unwrap();
        let mut plan = engine.backend().plan();
        let shape = engine.linearised(&room, 1).x.0.shape;
        let dtype = engine.backend().dtype();
        let [from, to] = [0; 2].map(|_| plan.view(shape, dtype));
        engine.backend().commit(&plan).unwrap();
        engine.backend().upload_f64(&direction, Out(from)).unwrap();
        engine.hessian_vector_at(&room, 1, In(at), In(from), Out(to)).unwrap();
        let own = engine.read(to).unwrap();
        assert!(apart(&own, &found[0][..dim * dim]) < 1e-11, "{name}: {:e}", apart(&own, &found[0][..dim * dim]));
    }
}

#[test]
fn kernels_agree_with_f64() {
    for (name, network, n) in networks() {
        // Rounded at once, so that all are at the same θ, batch and direction.
        let round = |values: Vec<f64>| values.into_iter().map(|v| f64::from(v as f32)).collect::<Vec<f64>>();
        let theta = round(parameters(&network));
        let v = vec![round(normals(theta.len(), 7))];
        let (exact, _) = products(&mut engine(Cpu::<f64>::default(), &network, n), &theta, &v);
        let (cpu, _) = products(&mut engine(Cpu::<f32>::default(), &network, n), &theta, &v);
        let device =
            |order| shared::device(Mode::F32, order).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("")));
        let (kernels, _) = products(&mut engine(device(None), &network, n), &theta, &v);
        println!(
            "{name}: f32 on the CPU {:e}, on the kernels {:e}",
            apart(&cpu[0], &exact[0]),
            apart(&kernels[0], &exact[0])
        );
        // As for a network's gradient.
        let allowed = 1e-4;
        assert!(apart(&cpu[0], &exact[0]) < allowed, "{name}: {:e}", apart(&cpu[0], &exact[0]));
        assert!(apart(&kernels[0], &exact[0]) < allowed, "{name}: {:e}", apart(&kernels[0], &exact[0]));
        let (shuffled, _) = products(&mut engine(device(Some(3)), &network, n), &theta, &v);
        assert!(kernels[0].iter().zip(&shuffled[0]).all(|(a, b)| a.to_bits() == b.to_bits()), "{name}");
    }
}

#[test]
fn bf16_has_none_and_says_so() {
    let network = dln(Dln { depth: 2, dim: 3, ..Dln::default() }, Normalisation::new(Norm::Batch)).unwrap();
    let device = shared::device(Mode::Bf16, None).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("")));
    let error = engine(device, &network, 8).tangents().unwrap_err().to_string();
    assert!(error.contains("bf16") && error.contains("f32, tf32 and f64"), "{error}");
}
