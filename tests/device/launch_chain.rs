//! How many launches a training step is: each costs a device a moment in which it does nothing.

use normscape::bench::kind::StepKind;
use normscape::bench::step::Bench;
use normscape::runtime::cuda::driver::Properties;
use normscape::runtime::cuda::ledger::{Dry, Ledger};
use normscape::runtime::cuda::{Cuda, Mode};

/// The kernels of one step of VGG-16 with BatchNorm at full width, batch 128, in bf16; a device that does nothing takes them.
fn launches(hopper: bool) -> Vec<&'static str> {
    let properties = Properties { name: "dry".into(), capability: 90, multiprocessors: 132, shared: 227 << 10, hopper };
    let kind: StepKind = "vgg16-1-batch".parse().unwrap();
    let backend = Cuda::new(Ledger::new(Dry::new(properties), false), Mode::Bf16).unwrap();
    let mut bench = Bench::new(backend, kind.network().unwrap(), 128, kind.rate(), 1).unwrap();
    for _ in 0..2 {
        // The first step rounds θ for itself; from the second on the update has done so.
        bench.step().unwrap();
    }
    bench.engine.observe().driver().last_work().iter().map(|entry| entry.kernel).collect()
}

#[test]
fn a_step_of_vgg_16_is_at_most_56_launches() {
    for hopper in [false, true] {
        at_most_56(&launches(hopper));
    }
    // Layers 8 and 11 to 13 have so few tiles that clusters share them, but where warpgroups multiply.
    let of = |hopper: bool, name: &str| launches(hopper).iter().filter(|kernel| **kernel == name).count();
    let kinds = ["64", "128", "mixed", "split", "line"];
    assert_eq!(kinds.map(|kind| of(false, &format!("gradients_tile_{kind}_bf16"))), [2, 3, 3, 4, 0]);
    assert_eq!(kinds.map(|kind| of(true, &format!("gradients_wgmma_{kind}"))), [1, 3, 7, 0, 1]);
    assert_eq!(of(true, "gradients_tile_split_bf16"), 0);
}

fn at_most_56(all: &[&str]) {
    assert!(all.len() <= 56, "{} launches: {all:?}", all.len());
    // Sums of BatchNorm, of a bias, of the loss and of a weight gradient's splits are merged by the launch that makes them.
    let merges = |name: &&&str| ["_finish", "_sum", "_splits"].iter().any(|end| name.ends_with(end));
    let merging: Vec<_> = all.iter().filter(merges).collect();
    assert!(merging.is_empty(), "{merging:?}");
    // What is left is work: a product forward for each convolution, two passes of each norm, and what makes both gradients of each convolution but the
    // first, those of the norm below too. The head and its loss are one launch, and its gradients another.
    let count = |part: &str| all.iter().filter(|name| name.contains(part)).count();
    let products = [count("product") + count("stem_bf16"), count("gradients_"), count("head")];
    let norms = [count("gradient_sums"), count("norm_apply"), count("batch_norm_gradient")];
    assert_eq!((products, norms), ([13, 13, 2], [0, 13, 13]));
}
