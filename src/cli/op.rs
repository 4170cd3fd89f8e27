//! `normscape op NAME`

use super::case::{self, Files};
use super::device::Job;
use super::{Answer, Globals};
use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::boundary::Inputs;
use crate::ops::table;

/// Options of `op`.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help())]
pub struct Options {
    /// The operator
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    files: Files,
}

fn after_help() -> String {
    format!("Operators: {}.\nWith grad_y in the input the gradients are computed too.", table::names().join(", "))
}

/// Runs the operator.
pub fn run(options: &Options, globals: &Globals) -> Result<Answer> {
    let direct = options.files.direct_convolution;
    case::run(
        &options.files,
        None,
        globals,
        |_| false,
        |device, inputs| device.run(Op { name: &options.name, direct, inputs }),
    )
}

struct Op<'a> {
    name: &'a str,
    direct: bool,
    inputs: &'a mut Inputs,
}

impl Job for Op<'_> {
    type Output = Arrays;
    fn run<B: Backend>(self, mut backend: B) -> Result<Arrays> {
        if self.direct {
            backend.convolve_directly();
        }
        table::run(self.name, &mut backend, self.inputs)
    }
}
