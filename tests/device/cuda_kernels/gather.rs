//! Batches gathered on a device equal the host's, to the bit: order, crops, flips, standardisation, labels.

use normscape::data::batch::Batches;
use normscape::data::images;
use normscape::ops::backend::Backend;
use normscape::ops::gather::ImageBytes;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::rounding::bf16_of;
use normscape::runtime::state::StepState;
use normscape::runtime::tensor::{DType, In, Out, Shape};
use std::sync::Arc;

fn gathered<B: Backend>(backend: &mut B, batches: &Batches, seed: u64, steps: &[u64]) -> Vec<(Vec<f64>, Vec<u32>)> {
    let (set, batch) = (&batches.set().train, batches.batch());
    let mut plan = backend.plan();
    let pixels = plan.view(Shape::new([set.len(), 3072]), DType::U8);
    let classes = plan.view(Shape::new([set.len()]), DType::U8);
    let table = plan.view(Shape::new([3, 256]), backend.dtype());
    let state = plan.view(StepState::shape(), StepState::DTYPE);
    let x = plan.view(Shape::new([32, 32, batch, 3]), backend.activation_dtype());
    let labels = plan.view(Shape::new([batch]), DType::U32);
    backend.commit(&plan).unwrap();
    backend.upload(&set.pixels, Out(pixels)).unwrap();
    backend.upload(&set.labels, Out(classes)).unwrap();
    backend.upload_f32(batches.table().as_flattened(), Out(table)).unwrap();
    let bytes = ImageBytes { pixels: In(pixels), labels: In(classes), table: In(table) };
    let batch_of = |&step: &u64| {
        backend.set_state(&StepState::new(seed, step, 0.1), Out(state)).unwrap();
        backend.gather(bytes, batches.augment(), In(state), Out(x), Out(labels)).unwrap();
        let mut found = vec![0u32; batch];
        backend.download(In(labels), &mut found).unwrap();
        (backend.download_f64(In(x)).unwrap(), found)
    };
    steps.iter().map(batch_of).collect()
}

#[test]
fn devices_gather_what_the_host_prepares() {
    let set = Arc::new(images::generate(4, 101, 3));
    for (batch, augment) in [(33, true), (40, false), (1, true)] {
        // Step 3 of 33 ends in the second epoch.
        let steps = [0, 2, 3, 1_000_003];
        let batches = Batches::new(set.clone(), 9, batch, augment).unwrap();
        let expected: Vec<_> = steps
            .iter()
            .map(|&step| {
                let (mut x, mut labels) = (vec![0.0f32; batch * 3072], vec![0; batch]);
                batches.fill(step, &mut x, &mut labels);
                (x.into_iter().map(f64::from).collect::<Vec<_>>(), labels)
            })
            .collect();
        assert!(gathered(&mut Cpu::<f32>::default(), &batches, 9, &steps) == expected, "CPU, batch {batch}");
        for order in [None, Some(2)] {
            let mut device = crate::shared::device(Mode::F32, order).unwrap();
            assert!(gathered(&mut device, &batches, 9, &steps) == expected, "device, batch {batch}");
        }
        let rounded = |(x, labels): &(Vec<f64>, Vec<u32>)| {
            let x: Vec<f64> = x.iter().map(|&v| bf16_of(v).to_f64()).collect();
            (x, labels.clone())
        };
        let mut device = crate::shared::device(Mode::Bf16, None).unwrap();
        assert!(gathered(&mut device, &batches, 9, &steps) == expected.iter().map(rounded).collect::<Vec<_>>());
    }
}
