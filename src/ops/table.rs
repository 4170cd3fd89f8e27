//! The operators that users can call by name: one row each.

use super::activation::{self, Activation};
use super::backend::Backend;
use super::boundary::layered;
use super::boundary::losses::{CrossEntropy, SquaredError};
use super::boundary::weight_norm::WeightNorm;
use super::boundary::{Cases, Inputs, Operator};
use super::{conv2d, linear, max_pool2d, norm};
use crate::files::Arrays;
use crate::{Error, Result};
use std::sync::LazyLock;

macro_rules! operators {
    (layers { $($layer:path),+ $(,)? } others { $($other:path),+ $(,)? }) => {
        /// The operators' names: those of the rows below, and those of the activations.
        pub fn names() -> &'static [&'static str] {
            static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
                let activations = Activation::ALL.iter().map(|kind| kind.name());
                [$($layer.name,)+ $(<$other as Operator>::NAME),+].into_iter().chain(activations).collect()
            });
            &NAMES
        }

        /// Runs operator `name` on the user's arrays. Errors: no operator has that name, or those of [`Operator::run`].
        pub fn run<B: Backend>(name: &str, backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
            match name {
                $(_ if name == $layer.name => layered::run(&$layer, backend, inputs),)+
                $(<$other as Operator>::NAME => <$other as Operator>::run(backend, inputs),)+
                _ => layered::run(&activation::operator(activation(name)?), backend, inputs),
            }
        }

        /// The test cases of operator `name`. Errors: no operator has that name.
        pub fn cases(name: &str) -> Result<Cases> {
            match name {
                $(_ if name == $layer.name => Ok($layer.cases),)+
                $(<$other as Operator>::NAME => Ok(<$other as Operator>::CASES),)+
                _ => activation(name).map(|_| activation::cases::CASES),
            }
        }
    };
}

operators! {
    layers {
        conv2d::OPERATOR,
        linear::OPERATOR,
        norm::operators::BATCH,
        norm::operators::LP,
        norm::operators::LAYER,
        norm::operators::GROUP,
        norm::operators::INSTANCE,
        norm::operators::RMS,
        norm::operators::NOISY,
        norm::operators::RENORM,
        max_pool2d::OPERATOR,
    }
    others { CrossEntropy, SquaredError, WeightNorm }
}

/// The activation of that name. Errors: no activation, nor any other operator, has it.
fn activation(name: &str) -> Result<Activation> {
    let short: String = name.chars().take(64).collect();
    let place = format!("operator {}", short.escape_debug());
    name.parse().map_err(|_| Error::input(place, "is unknown", format!("there are {}", names().join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_name_that_is_not_there_is_told_what_there_is() {
        for name in ["convolve", "batchnorm", ""] {
            let error = cases(name).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(text.contains("is unknown") && text.contains("conv2d, linear"), "{text}");
        }
    }

    #[test]
    fn every_operator_has_cases_of_different_names() {
        for name in names() {
            let cases = (cases(name).unwrap().chosen)();
            let different: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
            assert!(!cases.is_empty() && different.len() == cases.len(), "{name}");
        }
    }
}
