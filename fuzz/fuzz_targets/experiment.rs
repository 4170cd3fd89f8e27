//! An experiment's file, and the plan that it makes at every scale.
#![no_main]

use normscape::experiment::plan::Plan;
use normscape::experiment::runs::{Request, Shared};
use normscape::experiment::{Scale, catalogue};
use std::sync::OnceLock;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    let shared = SHARED.get_or_init(|| catalogue::shared().expect("what experiments share"));
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(experiment) = catalogue::read("fuzz", "fuzz.toml", text) else { return };
    for scale in [Scale::Smoke, Scale::Quick, Scale::Paper] {
        let (pictures, precision) = ("images".into(), "f32".into());
        let request = Request { scale, pictures, seed: 1, seeds: None, network: None, precision };
        let _ = Plan::new(vec![experiment.clone()], shared, request);
    }
});
