//! A training step allocates nothing, on any thread. This holds for layers of up to 1,024 units; logs, tests, probes' records and
//! checkpoints may allocate.

use crate::ALLOCATOR;
use normscape::data::batch::Batches;
use normscape::data::images;
use normscape::data::prefetch::Prefetch;
use normscape::network::{Activation, Dln, Engine, Norm, Normalisation, Scalar, dln, initial_parameters, vgg};
use normscape::ops::noise::NoiseOptions;
use normscape::ops::norm::Grouping;
use normscape::ops::norm::renorm::RenormLimits;
use normscape::ops::sgd::{Descent, Sgd};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::state::StepState;
use normscape::runtime::tensor::{In, Out};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Allocations of ten steps, after ten that fill every pool and cache.
fn count(pool: &rayon::ThreadPool, mut step: impl FnMut(u64) + Send) -> u64 {
    pool.install(|| {
        // A thread's own start allocates, and may come late: wait until every one has run something.
        rayon::broadcast(|_| ());
        (0..10).for_each(&mut step);
        let before = ALLOCATOR.asked.load(Ordering::Relaxed);
        (10..20).for_each(&mut step);
        ALLOCATOR.asked.load(Ordering::Relaxed) - before
    })
}

pub fn a_training_step_allocates_nothing() {
    // One pool for all networks, to the end. A pool that is dropped does not wait for its threads; their ends allocate (what
    // crossbeam's collector was handed), and on a busy machine come in the middle of the next network's steps.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let noise = Some(NoiseOptions::default());
    for normalisation in [
        Normalisation::new(Norm::None),
        Normalisation::new(Norm::Batch),
        Normalisation { noise, ..Normalisation::new(Norm::Batch) },
        Normalisation::new(Norm::Lp(f64::INFINITY)),
        Normalisation::new(Norm::Lp(1.0)),
        Normalisation::new(Norm::Lp(1.5)),
        Normalisation::new(Norm::Lp(2.0)),
        Normalisation::new(Norm::Weight),
        Normalisation { activation: Activation::Selu, ..Normalisation::new(Norm::Batch) },
        Normalisation::new(Norm::Grouped(Grouping::Layer)),
        Normalisation::new(Norm::Grouped(Grouping::Instance)),
        Normalisation { activation: Activation::Gelu, ..Normalisation::new(Norm::Rms) },
        Normalisation::new(Norm::Renorm(RenormLimits::default())),
    ] {
        let network = vgg("vgg11", 0.1, normalisation).unwrap();
        let theta0 = initial_parameters(&network, 1);
        let mut engine = Engine::new(Cpu::<f32>::default(), network, 16, Arc::default()).unwrap();
        let (theta, grad, velocity) = (engine.vector().unwrap(), engine.vector().unwrap(), engine.vector().unwrap());
        normscape::runtime::storage::Storage::upload_f32(engine.backend(), &theta0, Out(theta)).unwrap();
        let set = Arc::new(images::generate(1, 64, 8));
        let batches = Arc::new(Batches::new(set, 1, 16, true).unwrap());
        let mut prefetch = Prefetch::start(batches, 0).unwrap();
        let found = count(&pool, |t| {
            engine.set_state(&StepState::new(1, t, 0.01)).unwrap();
            let batch = prefetch.next_batch().unwrap();
            engine.set_labelled(&batch.x, &batch.labels).unwrap();
            let (loss, correct, state) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct), engine.state());
            engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct)).unwrap();
            engine.move_running(0.1).unwrap();
            let (velocity, plain) = (Some(Out(velocity)), Descent::plain(Out(theta), In(state)));
            let update = Descent { velocity, momentum: 0.9, weight_decay: 1e-4, ..plain };
            engine.backend().sgd(In(grad), update).unwrap();
            assert!(engine.scalar(Scalar::Loss).unwrap().is_finite());
        });
        assert_eq!(found, 0, "VGG with {:?}", normalisation.norm);
    }
    // On coordinates, with another batch at every step too; and by samples.
    for (norm, layers) in [(Norm::Batch, false), (Norm::Lp(1.0), false), (Norm::None, false), (Norm::Batch, true)] {
        let network = dln(Dln::default(), Normalisation::new(norm)).unwrap();
        let theta0 = initial_parameters(&network, 1);
        let mut engine = Engine::new(Cpu::<f64>::default(), network, 100, Arc::default()).unwrap();
        if layers {
            engine.take_layers();
        }
        let (theta, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
        normscape::runtime::storage::Storage::upload_f32(engine.backend(), &theta0, Out(theta)).unwrap();
        let x: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.7).sin()).collect();
        let found = count(&pool, |t| {
            engine.set_state(&StepState::new(1, t, 1e-6)).unwrap();
            engine.set_target(&x, &x).unwrap();
            let (loss, correct, state) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct), engine.state());
            engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct)).unwrap();
            engine.move_running(0.1).unwrap();
            engine.backend().sgd(In(grad), Descent::plain(Out(theta), In(state))).unwrap();
            assert!(engine.scalar(Scalar::Loss).unwrap().is_finite());
        });
        assert_eq!(found, 0, "DLN with {norm}");
    }
}
