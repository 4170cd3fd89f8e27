//! The experiments that come with the program: each is a valid plan at every scale, and together they judge the paper's claims.

use normscape::experiment::plan::Plan;
use normscape::experiment::runs::{Kind, Request};
use normscape::experiment::{Scale, catalogue};
use normscape::report::STYLES;
use normscape::train::Settings;
use std::collections::{BTreeMap, BTreeSet};

fn all(targets: &[&str], scale: Scale, network: Option<Kind>, pictures: &str) -> Plan {
    let targets: Vec<String> = targets.iter().map(|&t| t.into()).collect();
    let (precision, precision_of_dln) = ("f32".into(), "f64".into());
    let request =
        Request { scale, pictures: pictures.into(), seed: 1, seeds: None, network, precision, precision_of_dln };
    Plan::new(catalogue::find(&targets).unwrap(), &catalogue::shared().unwrap(), request).unwrap()
}

#[test]
fn every_experiment_is_a_plan_at_every_scale() {
    for scale in Scale::ALL {
        for pictures in ["images", "/data/cifar"] {
            for network in [None, Some(Kind::Dln), Some(Kind::Vgg)] {
                let plan = all(&["all", "demo"], scale, network, pictures);
                assert_eq!(plan.parts.len(), catalogue::names().len());
                // Runs have folders of their own.
                let names: Vec<&str> = plan.runs().map(|(_, name, _)| name).collect();
                assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{scale}");
                let kinds: Vec<Kind> = plan.runs().map(|(_, _, of)| Kind::of(of)).collect();
                assert!(network.is_none_or(|asked| kinds.iter().all(|&kind| kind == asked)) && !kinds.is_empty());
            }
        }
    }
}

#[test]
fn the_scale_paper_is_the_papers_protocol() {
    let plan = all(&["fig1", "fig3", "fig4", "fig9", "fig13", "accuracy"], Scale::Paper, None, "/data/cifar");
    for (group, _, s) in plan.runs() {
        let paper = Settings::defaults(if s.deep_linear() { "dln" } else { "vgg16" });
        assert_eq!((&s.model, s.width, s.depth, s.dim), (&paper.model, 1.0, 25, 10), "{}", group.id);
        assert_eq!((s.steps, s.batch), (paper.steps, if s.deep_linear() { 1000 } else { 128 }), "{}", group.id);
        assert_eq!((s.momentum, s.weight_decay, s.limit_train), (0.0, 0.0, None), "{}", group.id);
        assert_eq!(s.augment, group.id.ends_with("augmented"), "{}", group.id);
    }
    // At quick the deep linear networks are the paper's too.
    for (group, _, s) in all(&["fig9", "fig12"], Scale::Quick, Some(Kind::Dln), "images").runs() {
        assert_eq!((s.depth, s.dim, s.samples, s.steps), (25, 10, 1000, 10_000), "{}", group.id);
    }
}

#[test]
fn no_two_variants_of_the_design_space_look_alike() {
    let plan = all(&["design_space"], Scale::Quick, Some(Kind::Vgg), "images");
    let looks: BTreeMap<&str, usize> =
        plan.groups.iter().map(|group| (group.label.as_str(), group.style % STYLES.len())).collect();
    let different: BTreeSet<usize> = looks.values().copied().collect();
    assert!(looks.len() >= 16 && different.len() == looks.len(), "{looks:?}");
}

#[test]
fn shared_runs_are_made_once() {
    let runs = |targets: &[&str]| -> BTreeMap<String, Settings> {
        all(targets, Scale::Quick, None, "images").runs().map(|(_, name, of)| (name.into(), of.clone())).collect()
    };
    let (fig1, fig4, both) = (runs(&["fig1"]), runs(&["fig4"]), runs(&["fig1", "fig4"]));
    assert!(fig4.keys().all(|name| fig1.contains_key(name)));
    assert_eq!(both, fig1, "a run does not depend on what else was asked for");
}

#[test]
fn every_place_of_the_paper_that_claims_something_has_a_verdict() {
    let experiments = catalogue::find(&["all".into()]).unwrap();
    let claims: Vec<_> = experiments.iter().flat_map(|of| &of.shown.claims).collect();
    let ids: BTreeSet<_> = claims.iter().map(|claim| &claim.id).collect();
    assert_eq!(ids.len(), claims.len(), "ids are unique");
    for place in [
        "Figure 1",
        "Figure 2",
        "Figure 3",
        "Figure 4 (a)",
        "Figure 4 (b)",
        "Figure 4 (c)",
        "Figure 6",
        "Figure 7",
        "Figure 9 (a)",
        "Figure 9 (b)",
        "Figure 9 (c)",
        "Figure 10",
        "Figure 11",
        "Figure 12",
        "Figure 13",
        "Figure 14",
        "section 2.1",
        "section 3.1",
        "section 3.2",
        "section 3.3",
        "section 4.2",
        "A.1",
        "A.2.2",
        "Theorem 4.1",
        "Theorem 4.2",
        "Observation 4.3",
        "Theorem 4.4",
        "Lemma 4.5",
        "Theorem C.1",
        "Fact C.1",
        "Fact C.2",
    ] {
        assert!(claims.iter().any(|claim| claim.place.contains(place)), "no claim of {place}");
    }
    // What can be wrong about training cannot be told from a few steps.
    for of in experiments.iter().filter(|of| of.name != "theory") {
        for claim in &of.shown.claims {
            assert!(claim.from() > Scale::Smoke || claim.untested.is_some(), "{} would be judged at smoke", claim.id);
        }
    }
}
