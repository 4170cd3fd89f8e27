//! Derives a claim's verdict from its forms.

use crate::report::Verdict;

/// A form of a claim, and whether all its tests are met. A claim with a single form leaves it without a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// The name in words, such as "in the mean over the steps".
    pub name: String,
    /// Whether all its tests are met.
    pub met: bool,
}

/// The form of a statement as printed, where the print is false.
pub const PRINTED: &str = "as printed";
/// The form that the statement's proof shows.
pub const CORRECTED: &str = "as corrected";

/// The verdict on a claim whose runs could decide it. It is reproduced if all forms are met, and reproduced in part if some are. But if
/// [`CORRECTED`] is met and [`PRINTED`] is not, it is true as corrected.
pub fn verdict(forms: &[Form]) -> Verdict {
    let met = |name: &str| forms.iter().find(|form| form.name == name).map(|form| form.met);
    match (met(PRINTED), met(CORRECTED)) {
        _ if forms.iter().all(|form| form.met) => Verdict::Reproduced,
        (Some(_), Some(true)) => Verdict::Corrected,
        (Some(_), Some(false)) => Verdict::NotBorneOut,
        _ if forms.iter().any(|form| form.met) => Verdict::InPart,
        _ => Verdict::NotBorneOut,
    }
}

/// Which forms of a claim are met and which are not, in words.
pub fn in_part(forms: &[Form]) -> String {
    let named = |met: bool| {
        let names = forms.iter().filter(|form| form.met == met).map(|form| match form.name.as_str() {
            "" => "as its first rule has it",
            name => name,
        });
        names.collect::<Vec<_>>().join(", ")
    };
    format!("reproduced {}; not {}", named(true), named(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(forms: &[(&str, bool)]) -> Verdict {
        verdict(&forms.iter().map(|&(name, met)| Form { name: name.into(), met }).collect::<Vec<_>>())
    }

    #[test]
    fn forms_make_a_verdict() {
        assert_eq!((of(&[("", true)]), of(&[("", false)])), (Verdict::Reproduced, Verdict::NotBorneOut));
        let two = |share, mean| of(&[("at 60 % of the steps", share), ("in the mean over the steps", mean)]);
        assert_eq!((two(true, true), two(false, false)), (Verdict::Reproduced, Verdict::NotBorneOut));
        assert_eq!((two(true, false), two(false, true)), (Verdict::InPart, Verdict::InPart));
    }

    #[test]
    fn a_statement_that_only_its_correction_meets_is_true_as_corrected() {
        let theorem = |printed, corrected| of(&[(PRINTED, printed), (CORRECTED, corrected)]);
        assert_eq!((theorem(false, true), theorem(true, true)), (Verdict::Corrected, Verdict::Reproduced));
        // A correction that is not met corrects nothing.
        assert_eq!((theorem(true, false), theorem(false, false)), (Verdict::NotBorneOut, Verdict::NotBorneOut));
    }

    #[test]
    fn what_is_met_in_part_says_in_which() {
        let forms = [("in the mean", true), ("", false)].map(|(name, met)| Form { name: name.into(), met });
        assert_eq!(in_part(&forms), "reproduced in the mean; not as its first rule has it");
    }
}
