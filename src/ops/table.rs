//! The operators that users can call by name: one row each.

use super::activation::{self, Activation};
use super::backend::Backend;
use super::door::{Case, Inputs, Operator};
use crate::files::Arrays;
use crate::{Error, Result};
use std::sync::LazyLock;

macro_rules! operators {
    ($($room:ident),+ $(,)?) => {
        /// The operators' names: those of the rows below, and the activations'.
        pub fn names() -> &'static [&'static str] {
            static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
                let activations = Activation::ALL.iter().map(|kind| kind.name());
                [$(<super::$room::door::Entry as Operator>::NAME),+].into_iter().chain(activations).collect()
            });
            &NAMES
        }

        /// Runs operator `name` on the user's arrays. Errors: there is none of that name, or those of [`Operator::run`].
        pub fn run<B: Backend>(name: &str, backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
            match name {
                $(<super::$room::door::Entry as Operator>::NAME => {
                    <super::$room::door::Entry as Operator>::run(backend, inputs)
                })+
                _ => activation::door::run(activation(name)?, backend, inputs),
            }
        }

        /// The cases of operator `name`. Errors: there is none of that name.
        pub fn cases(name: &str) -> Result<Vec<Case>> {
            match name {
                $(<super::$room::door::Entry as Operator>::NAME => Ok(<super::$room::door::Entry as Operator>::cases()),)+
                _ => activation(name).map(|_| activation::cases::cases()),
            }
        }
    };
}

operators! {
    conv2d,
    linear,
    batch_norm,
    lp_norm,
    layer_norm,
    group_norm,
    instance_norm,
    noisy_batch_norm,
    max_pool2d,
    cross_entropy,
    squared_error,
    weight_norm,
}

/// The activation of that name. Errors: it is none, nor any other operator.
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
            let cases = cases(name).unwrap();
            let different: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
            assert!(!cases.is_empty() && different.len() == cases.len(), "{name}");
        }
    }
}
