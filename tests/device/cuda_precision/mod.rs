//! Whole networks in tf32 and bf16, compared with an f64 run that rounds where the device does. For tf32 it rounds the operands of matrix
//! products; for bf16 it rounds activations, their gradients and the weights of products.
//!
//! Two runs that round at the same places can still diverge where a number is next to a rounding boundary or a ReLU's kink: f32 arithmetic
//! may put it on the other side, and the difference grows through the layers. The size of this effect is measured: the reference runs again
//! with every stored number disturbed by an f32 rounding error. The device may be four times as far off, or within the bounds for networks
//! without the effect.

mod rounding;

use crate::shared;
use normscape::network::{Activation, Dln, Engine, Network, Norm, Normalisation, Scalar, dln, initial_parameters, vgg};
use normscape::ops::backend::Backend;
use normscape::ops::boundary::relative_error;
use normscape::ops::noise::NoiseOptions;
use normscape::ops::norm::Grouping;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::state::StepState;
use normscape::runtime::tensor::{In, Out};
use rounding::Rounding;
use std::sync::Arc;

/// Loss and gradient at the initial parameters; the batch is of bf16 numbers, so that both runs have the same one.
fn loss_and_grad<B: Backend>(backend: B, network: Network, batch: usize) -> (f64, Vec<f64>) {
    let start = initial_parameters(&network, 5);
    let input = network.input(batch);
    let of = |i: usize| half::bf16::from_f32(normal(word(9, Purpose::Case, 0, 0, i as u64))).to_f32();
    let x: Vec<f32> = (0..input.len()).map(of).collect();
    let mut engine = Engine::new(backend, network, batch, Arc::default()).unwrap();
    let (theta, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
    engine.backend().upload_f32(&start, Out(theta)).unwrap();
    if input.hwnc()[0] > 1 {
        let labels: Vec<u32> = (0..batch as u32).map(|i| i * 7 % 10).collect();
        engine.set_labelled(&x, &labels).unwrap();
    } else {
        let target: Vec<f32> = x.iter().map(|v| half::bf16::from_f32(0.5 - v * v).to_f32()).collect();
        engine.set_target(&x, &target).unwrap();
    }
    engine.set_state(&StepState::new(1, 4, 0.1)).unwrap();
    let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
    engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct)).unwrap();
    let loss = engine.scalar(Scalar::Loss).unwrap();
    (loss, engine.backend().download_f64(In(grad)).unwrap())
}

#[test]
fn networks_follow_an_f64_run_that_rounds_at_the_same_places() {
    let small = |norm, noise: bool| {
        let noise = noise.then(NoiseOptions::default);
        vgg("vgg11", 0.0625, Normalisation { noise, ..Normalisation::new(norm) }).unwrap()
    };
    let bent =
        |activation, norm| vgg("vgg11", 0.0625, Normalisation { activation, ..Normalisation::new(norm) }).unwrap();
    let deep = |norm| dln(Dln { depth: 6, ..Dln::default() }, Normalisation::new(norm)).unwrap();
    for (name, network, batch) in [
        ("vgg none", small(Norm::None, false), 6),
        ("vgg batch", small(Norm::Batch, false), 16),
        ("vgg noisy", small(Norm::Batch, true), 16),
        ("vgg l2", small(Norm::Lp(2.0), false), 6),
        ("vgg elu", bent(Activation::Elu, Norm::None), 6),
        ("vgg selu batch", bent(Activation::Selu, Norm::Batch), 16),
        ("vgg weight", small(Norm::Weight, false), 6),
        ("dln none", deep(Norm::None), 100),
        ("dln weight", deep(Norm::Weight), 100),
        ("vgg group", small(Norm::Grouped(Grouping::Groups(2)), false), 6),
        ("dln layer", deep(Norm::Grouped(Grouping::Layer)), 100),
        ("dln batch", deep(Norm::Batch), 100),
    ] {
        for (mode, loss_bound, grad_bound) in [(Mode::Tf32, 1e-3, 5e-3), (Mode::Bf16, 1e-2, 5e-2)] {
            let (loss, grad) = loss_and_grad(shared::plain_device(mode).unwrap(), network.clone(), batch);
            let reference = |disturbance| Rounding { cpu: Cpu::default(), mode, disturbance };
            let (exact_loss, exact_grad) = loss_and_grad(reference(None), network.clone(), batch);
            let errors =
                |loss: f64, grad: &[f64]| [(loss - exact_loss).abs() / exact_loss, relative_error(grad, &exact_grad)];
            let found = errors(loss, &grad);
            // The worst of eight: of a network that flips something in one draw out of three, three draws may all miss it.
            let mut calm = [0.0f64; 2];
            for seed in 0..8 {
                let (loss, grad) = loss_and_grad(reference(Some(seed << 40)), network.clone(), batch);
                calm = [0, 1].map(|i| calm[i].max(errors(loss, &grad)[i]));
            }
            println!(
                "{name} {mode:?}: loss {:.1e} ({:.1e}), gradient {:.1e} ({:.1e})",
                found[0], calm[0], found[1], calm[1]
            );
            for (i, bound) in [loss_bound, grad_bound].into_iter().enumerate() {
                let allowed = (4.0 * calm[i]).max(bound);
                assert!(
                    found[i] <= allowed,
                    "{name} {mode:?}: {} {:e} beyond {allowed:e}",
                    ["loss", "gradient"][i],
                    found[i]
                );
            }
        }
    }
}
