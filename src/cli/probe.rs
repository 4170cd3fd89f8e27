//! `normscape probe`

use super::case::{self, Files};
use super::device::Job;
use super::{Answer, Globals};
use crate::Result;
use crate::files::{Array, Arrays};
use crate::ops::backend::Backend;
use crate::ops::boundary::Inputs;
use crate::probe::boundary;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Options of `probe`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    files: Files,
}

/// Evaluates the network.
pub fn run(options: &Options, globals: &Globals) -> Result<Answer> {
    // There is nothing to save: a signal ends it as it ends any program.
    let stop = Arc::default();
    let direct = options.files.direct_convolution;
    let deep_linear = |given: &Arrays| given.get("attr.model").and_then(Array::as_text_scalar) == Some("dln");
    case::run(&options.files, Some("grad."), globals, deep_linear, |device, inputs| {
        device.run(Probe { inputs, direct, stop })
    })
}

struct Probe<'a> {
    inputs: &'a mut Inputs,
    direct: bool,
    stop: Arc<AtomicBool>,
}

impl Job for Probe<'_> {
    type Output = Arrays;
    fn run<B: Backend>(self, mut backend: B) -> Result<Arrays> {
        if self.direct {
            backend.convolve_directly();
        }
        boundary::run(backend, self.inputs, self.stop)
    }
}
