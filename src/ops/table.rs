//! The operators that users can call by name: one row each.

use super::activation::{self, Activation};
use super::backend::Backend;
use super::door::{Case, Inputs, Operator};
use super::{
    batch_norm, conv2d, cross_entropy, group_norm, linear, lp_norm, max_pool2d, noisy_batch_norm, squared_error,
    weight_norm,
};
use crate::files::Arrays;
use crate::{Error, Result};
use std::sync::LazyLock;

macro_rules! operators {
    ($($entry:path),+ $(,)?) => {
        /// The operators' names: those of the rows below, and the activations'.
        pub fn names() -> &'static [&'static str] {
            static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
                let activations = Activation::ALL.iter().map(|kind| kind.name());
                [$(<$entry as Operator>::NAME),+].into_iter().chain(activations).collect()
            });
            &NAMES
        }

        /// Runs operator `name` on the user's arrays. Errors: there is none of that name, or those of [`Operator::run`].
        pub fn run<B: Backend>(name: &str, backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
            match name {
                $(<$entry as Operator>::NAME => {
                    <$entry as Operator>::run(backend, inputs)
                })+
                _ => activation::door::run(activation(name)?, backend, inputs),
            }
        }

        /// The cases of operator `name`. Errors: there is none of that name.
        pub fn cases(name: &str) -> Result<Vec<Case>> {
            match name {
                $(<$entry as Operator>::NAME => Ok(<$entry as Operator>::cases()),)+
                _ => activation(name).map(|_| activation::cases::cases()),
            }
        }
    };
}

operators! {
    conv2d::door::Entry,
    linear::door::Entry,
    batch_norm::door::Entry,
    lp_norm::door::Entry,
    group_norm::door::Layer,
    group_norm::door::Group,
    group_norm::door::Instance,
    group_norm::door::Rms,
    noisy_batch_norm::door::Entry,
    max_pool2d::door::Entry,
    cross_entropy::door::Entry,
    squared_error::door::Entry,
    weight_norm::door::Entry,
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
