//! The answer to the paper's question, built from the verdicts of its claims: one sentence for each part of the answer.

use super::headline::capitalised;
use crate::report::Verdict;

/// The paper's question.
pub const QUESTION: &str = "Does BatchNorm help because it reduces internal covariate shift, or because it makes the optimisation \
                            landscape smoother?";

/// One part of the answer.
struct Topic {
    /// The paper's statement, as a clause that can begin a sentence.
    clause: &'static str,
    /// The claims that the statement rests on.
    grounds: &'static [Ground],
}

/// Claims that together say one thing.
struct Ground {
    claims: &'static [&'static str],
    /// What is true if they hold.
    so: &'static str,
    /// What is true if none of them holds.
    not: &'static str,
}

const ANSWER: [Topic; 5] = [
    Topic {
        clause: "BatchNorm makes training faster and better",
        grounds: &[
            Ground {
                claims: &["fig1.faster"],
                so: "VGG's loss falls faster at both learning rates",
                not: "VGG's loss does not fall faster at both learning rates",
            },
            Ground {
                claims: &["fig1.training-accuracy", "fig1.test-accuracy"],
                so: "training and test accuracy end higher",
                not: "training and test accuracy do not end higher",
            },
        ],
    },
    Topic {
        clause: "less internal covariate shift is not the reason",
        grounds: &[
            Ground {
                claims: &["fig2.almost-as-well", "fig2.better-than-standard"],
                so: "noise that shifts every layer costs BatchNorm little",
                not: "noise that shifts every layer costs BatchNorm its advantage",
            },
            Ground {
                claims: &["fig3.vgg", "fig3.vgg-cosine", "fig3.dln-batch"],
                so: "its gradients shift no less than the standard network's",
                not: "its gradients shift less than the standard network's",
            },
            Ground {
                claims: &["fig3.dln-standard"],
                so: "the standard deep linear network has almost no shift",
                not: "the standard deep linear network has a shift too",
            },
        ],
    },
    Topic {
        clause: "BatchNorm makes the landscape smoother in loss, gradient and β",
        grounds: &[
            Ground {
                claims: &["fig4.a-range", "fig4.b-predictiveness", "fig4.c-beta"],
                so: "VGG's is smoother",
                not: "VGG's is not",
            },
            Ground {
                claims: &["fig9.a", "fig9.b", "fig9.c"],
                so: "the deep linear network's is smoother",
                not: "the deep linear network's is not",
            },
        ],
    },
    Topic {
        clause: "other norms do as well",
        grounds: &[
            Ground {
                claims: &["fig11.performance", "fig11.smoothing"],
                so: "with ℓ1, ℓ2 or ℓ∞ VGG trains better than without a norm, on a landscape as smooth as BatchNorm's",
                not: "with ℓ1, ℓ2 or ℓ∞ VGG neither trains better than without a norm nor is its landscape as smooth as BatchNorm's",
            },
            Ground {
                claims: &["fig12.trains"],
                so: "the deep linear network trains better with ℓ1 and ℓ2",
                not: "the deep linear network does not train better with ℓ1 and ℓ2",
            },
        ],
    },
    Topic {
        clause: "the theory of the smoother landscape holds",
        grounds: &[
            Ground {
                claims: &["theory.4.1", "theory.4.2", "theory.4.4"],
                so: "Theorems 4.1, 4.2 and 4.4 hold on random instances",
                not: "Theorems 4.1, 4.2 and 4.4 fail on random instances",
            },
            Ground {
                claims: &["theory.networks-4.1"],
                so: "the bound of 4.1 holds on the networks as they train",
                not: "the bound of 4.1 fails on the networks as they train",
            },
        ],
    },
];

/// The joint outcome of claims that say one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Held,
    /// They hold once corrected.
    Corrected,
    InPart,
    Not,
    Unknown,
}

/// One sentence for each part of the answer with a judged claim. `verdict` gives the verdict of a claim by its id.
pub fn answer(verdict: &dyn Fn(&str) -> Option<Verdict>, scale: &str) -> Vec<String> {
    ANSWER.iter().filter_map(|topic| sentence(topic, verdict, scale)).collect()
}

fn sentence(topic: &Topic, verdict: &dyn Fn(&str) -> Option<Verdict>, scale: &str) -> Option<String> {
    let verdicts = |ground: &Ground| ground.claims.iter().filter_map(|claim| verdict(claim)).collect::<Vec<_>>();
    let grounds: Vec<(&Ground, Outcome)> =
        topic.grounds.iter().filter_map(|ground| Some((ground, outcome(&verdicts(ground))?))).collect();
    let words = |wanted: Outcome| {
        let of = grounds.iter().filter(|(_, outcome)| *outcome == wanted);
        of.map(|(ground, outcome)| match outcome {
            Outcome::Corrected => format!("{} once corrected, not as printed", ground.so),
            Outcome::Not => ground.not.into(),
            _ => ground.so.to_owned(),
        })
        .collect::<Vec<String>>()
    };
    let (held, corrected) = (words(Outcome::Held), words(Outcome::Corrected));
    let (in_part, not, unknown) = (words(Outcome::InPart), words(Outcome::Not), words(Outcome::Unknown));
    let clause = topic.clause;
    if grounds.is_empty() {
        return None;
    }
    if unknown.len() == grounds.len() {
        return Some(format!("Whether {clause}, scale {scale} cannot tell."));
    }
    let borne_out = !held.is_empty() || !corrected.is_empty();
    let lead = match (borne_out, in_part.is_empty(), not.is_empty()) {
        (true, true, true) if corrected.is_empty() => capitalised(clause),
        (true, true, true) => format!("{}, with corrections", capitalised(clause)),
        (true, _, _) | (false, false, _) => format!("That {clause} is borne out in part at scale {scale}"),
        (false, true, _) => format!("That {clause} is not borne out at scale {scale}"),
    };
    let mut parts = Vec::new();
    parts.extend(joined([held, corrected].concat()));
    let each = if in_part.len() > 1 { "each" } else { "but" };
    parts.extend(joined(in_part).map(|of| format!("{of}, {each} only in part")));
    parts.extend(joined(not));
    parts.extend(joined(unknown).map(|of| format!("scale {scale} cannot tell whether {of}")));
    Some(format!("{lead}: {}.", parts.join("; ")))
}

/// The joint outcome of claims; `None` where none of them was asked for.
fn outcome(verdicts: &[Verdict]) -> Option<Outcome> {
    let unknown = |verdict: &Verdict| matches!(verdict, Verdict::LargerScale | Verdict::NotTested);
    let told: Vec<Verdict> = verdicts.iter().copied().filter(|verdict| !unknown(verdict)).collect();
    let all = |of: &[Verdict]| told.iter().all(|verdict| of.contains(verdict));
    match () {
        () if verdicts.is_empty() => None,
        () if told.is_empty() => Some(Outcome::Unknown),
        () if all(&[Verdict::Reproduced]) => Some(Outcome::Held),
        () if all(&[Verdict::Reproduced, Verdict::Corrected]) => Some(Outcome::Corrected),
        () if all(&[Verdict::NotBorneOut]) => Some(Outcome::Not),
        () => Some(Outcome::InPart),
    }
}

/// Joins words as in "a, b and c".
fn joined(mut words: Vec<String>) -> Option<String> {
    let last = words.pop()?;
    Some(if words.is_empty() { last } else { format!("{} and {last}", words.join(", ")) })
}

#[cfg(test)]
mod tests {
    use super::super::catalogue;
    use super::*;
    use Verdict::{Corrected, InPart, LargerScale, NotBorneOut, NotTested, Reproduced};

    const TOPIC: Topic = Topic {
        clause: "it works",
        grounds: &[
            Ground { claims: &["a", "b"], so: "A is so", not: "A is not so" },
            Ground { claims: &["c"], so: "C is so", not: "C is not so" },
        ],
    };

    /// The sentence for these verdicts of a, b and c.
    fn said(a: Option<Verdict>, b: Option<Verdict>, c: Option<Verdict>) -> Option<String> {
        sentence(&TOPIC, &|id| [a, b, c]["abc".find(id)?], "quick")
    }

    #[test]
    fn a_sentence_says_what_held_and_what_did_not() {
        for (verdicts, says) in [
            ([Reproduced, Reproduced, Reproduced], "It works: A is so and C is so."),
            (
                [Reproduced, Reproduced, Corrected],
                "It works, with corrections: A is so and C is so once corrected, not as printed.",
            ),
            (
                [Reproduced, NotBorneOut, Reproduced],
                "That it works is borne out in part at scale quick: C is so; A is so, but only in part.",
            ),
            (
                [InPart, NotBorneOut, InPart],
                "That it works is borne out in part at scale quick: A is so and C is so, each only in part.",
            ),
            (
                [InPart, InPart, NotBorneOut],
                "That it works is borne out in part at scale quick: A is so, but only in part; C is not so.",
            ),
            (
                [Reproduced, Reproduced, NotBorneOut],
                "That it works is borne out in part at scale quick: A is so; C is not so.",
            ),
            (
                [NotBorneOut, NotBorneOut, NotBorneOut],
                "That it works is not borne out at scale quick: A is not so and C is not so.",
            ),
            ([Reproduced, Reproduced, LargerScale], "It works: A is so; scale quick cannot tell whether C is so."),
            (
                [NotBorneOut, NotBorneOut, NotTested],
                "That it works is not borne out at scale quick: A is not so; scale quick cannot tell whether C is so.",
            ),
            ([LargerScale, NotTested, NotTested], "Whether it works, scale quick cannot tell."),
            // Of claims that say one thing together those that could be tested decide.
            ([Reproduced, LargerScale, Reproduced], "It works: A is so and C is so."),
        ] {
            assert_eq!(said(Some(verdicts[0]), Some(verdicts[1]), Some(verdicts[2])).unwrap(), says, "{verdicts:?}");
        }
    }

    #[test]
    fn what_was_not_asked_for_is_left_out() {
        assert_eq!(said(Some(Reproduced), None, None).unwrap(), "It works: A is so.");
        assert_eq!(
            said(None, None, Some(NotBorneOut)).unwrap(),
            "That it works is not borne out at scale quick: C is not so."
        );
        assert_eq!(said(None, None, None), None);
        assert!(answer(&|_| None, "quick").is_empty());
    }

    #[test]
    fn the_answer_has_five_sentences_of_claims_that_there_are() {
        let all = catalogue::find(&["all".into()]).unwrap();
        let known = |id: &str| all.iter().flat_map(|of| &of.shown.claims).any(|claim| claim.id == id);
        for claim in ANSWER.iter().flat_map(|topic| topic.grounds).flat_map(|ground| ground.claims) {
            assert!(known(claim), "{claim}");
        }
        for verdict in Verdict::ALL {
            let sentences = answer(&|_| Some(verdict), "quick");
            assert_eq!(sentences.len(), 5, "{verdict:?}");
            assert!(
                sentences.iter().all(|of| of.ends_with('.') && of.starts_with(char::is_uppercase)),
                "{sentences:?}"
            );
        }
    }
}
