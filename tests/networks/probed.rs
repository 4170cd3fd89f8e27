//! Networks with every norm, and the inputs of their activation functions by definition: the output of a network cut off there.

use normscape::network::layer::Layer;
use normscape::network::{
    Activation, Dln, Engine, Loss, Network, Norm, Normalisation, Reduction, Scalar, dln, initial_parameters, vgg,
};
use normscape::ops::backend::Backend;
use normscape::ops::noise::NoiseOptions;
use normscape::ops::norm::Grouping;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::state::StepState;
use normscape::runtime::tensor::{In, Out, View};
use std::sync::Arc;

/// Every norm, and noise with and without one: what `--norm` and `--noise` make.
pub fn norms() -> Vec<(&'static str, Normalisation)> {
    let noisy = |norm| Normalisation { noise: Some(NoiseOptions::default()), ..Normalisation::new(norm) };
    vec![
        ("none", Normalisation::new(Norm::None)),
        ("batch", Normalisation::new(Norm::Batch)),
        ("noisy", noisy(Norm::Batch)),
        ("l1", Normalisation::new(Norm::Lp(1.0))),
        ("l2", Normalisation::new(Norm::Lp(2.0))),
        ("linf", Normalisation::new(Norm::Lp(f64::INFINITY))),
        ("lp:3", Normalisation::new(Norm::Lp(3.0))),
        ("lp:3 with noise", noisy(Norm::Lp(3.0))),
        ("layer", Normalisation::new(Norm::Grouped(Grouping::Layer))),
        ("group:2", Normalisation::new(Norm::Grouped(Grouping::Groups(2)))),
        ("group:2 with noise", noisy(Norm::Grouped(Grouping::Groups(2)))),
        ("noise without norm", noisy(Norm::None)),
        ("weight", Normalisation::new(Norm::Weight)),
        ("weight with noise", noisy(Norm::Weight)),
    ]
}

/// The other non-linearities, alone, after a norm and after noise.
pub fn activations() -> Vec<(&'static str, Normalisation)> {
    let with = |activation, norm: Normalisation| Normalisation { activation, ..norm };
    let noise = Some(NoiseOptions::default());
    vec![
        ("elu", with(Activation::Elu, Normalisation::new(Norm::None))),
        ("selu batch", with(Activation::Selu, Normalisation::new(Norm::Batch))),
        ("elu l1 with noise", with(Activation::Elu, Normalisation { noise, ..Normalisation::new(Norm::Lp(1.0)) })),
    ]
}

/// A small VGG and a small deep linear network with each norm, the small VGG with each non-linearity, and the size of a batch.
pub fn networks() -> Vec<(String, Network, usize)> {
    let of = |(name, normalisation): (&str, Normalisation)| {
        let deep = Dln { depth: 4, dim: 6, ..Dln::default() };
        [
            (format!("vgg {name}"), vgg("vgg11", 0.0625, normalisation).unwrap(), 4),
            (format!("dln {name}"), dln(deep, normalisation).unwrap(), 30),
        ]
    };
    let bent = activations().into_iter().map(|of| (format!("vgg {}", of.0), vgg("vgg11", 0.0625, of.1).unwrap(), 4));
    // On a deep linear network each channel has one value.
    let instance = vgg("vgg11", 0.0625, Normalisation::new(Norm::Grouped(Grouping::Instance))).unwrap();
    norms().into_iter().flat_map(of).chain(bent).chain([("vgg instance".into(), instance, 4)]).collect()
}

/// A network on a backend, with a batch and θ; γ and β away from where they start.
pub struct At<B> {
    pub engine: Engine<B>,
    pub theta: View,
}

/// Of a network that is the first part of another, the same θ as far as it goes.
pub fn at<B: Backend>(backend: B, network: &Network, n: usize) -> At<B> {
    let mut engine = Engine::new(backend, network.clone(), n, Arc::default()).unwrap();
    let drawn = |stream: u32, len: usize| -> Vec<f64> {
        (0..len).map(|i| f64::from(normal(word(11, Purpose::Case, stream, 0, i as u64)))).collect()
    };
    let len = network.input(n).len();
    let (x, labels) = (drawn(1, len), (0..n as u32).map(|i| i * 3 % 10).collect::<Vec<_>>());
    match network.loss() {
        Loss::CrossEntropy => engine.set_batch_f64(&x, None, Some(&labels)).unwrap(),
        Loss::SquaredError(_) => {
            let target = engine.output().unwrap().shape.len();
            engine.set_batch_f64(&x, Some(&drawn(2, target)), None).unwrap();
        }
    }
    engine.set_state(&StepState::new(5, 2, 0.1)).unwrap();
    let theta = engine.vector().unwrap();
    let start = initial_parameters(network, 3);
    let moved = drawn(3, start.len()).into_iter().zip(start).map(|(z, t)| f64::from(t + 0.1 * z as f32));
    engine.backend().upload_f64(&moved.collect::<Vec<_>>(), Out(theta)).unwrap();
    At { engine, theta }
}

impl<B: Backend> At<B> {
    /// One pass forward and backward, its gradient in a vector of its own.
    pub fn pass(&mut self) -> View {
        let grad = self.engine.vector().unwrap();
        let (loss, correct) = (self.engine.slot(Scalar::Loss), self.engine.slot(Scalar::Correct));
        self.engine.loss_and_grad(In(self.theta), Out(grad), Out(loss), Out(correct)).unwrap();
        grad
    }
}

/// What enters the non-linearity of weighted layer `number` (from 1), or leaves the layer before its norm: `[samples, C]`, and C; in f64. The
/// network is cut off there, and no ReLU left at its end.
pub fn values(network: &Network, n: usize, number: usize, pre_norm: bool) -> (Vec<f64>, usize) {
    let layer = &network.weighted_layers()[number - 1];
    let end = match pre_norm {
        true => layer.links.start,
        false => {
            let part_of_it =
                |&link: &usize| !matches!(network.links()[link].layer, Layer::Activation(_) | Layer::MaxPool2d(_));
            layer.links.clone().rev().find(part_of_it).unwrap()
        }
    };
    let mut layers: Vec<_> =
        network.links()[..=end].iter().map(|link| (link.name.clone(), link.layer.clone())).collect();
    match &mut layers[end].1 {
        Layer::Norm(layer) => layer.spec.relu = false,
        Layer::Noise(layer) => layer.relu = false,
        _ => {}
    }
    let cut = Network::new(layers, network.input(1), Loss::SquaredError(Reduction::Sum)).unwrap();
    let At { mut engine, theta } = at(Cpu::<f64>::default(), &cut, n);
    engine.forward_part(0..cut.links().len(), In(theta)).unwrap();
    let y = engine.output().unwrap();
    (engine.read(y).unwrap(), y.shape.matrix().1)
}
