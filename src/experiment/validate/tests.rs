//! Tests that an impossible experiment is refused before any run is made.

use super::super::catalogue;
use super::super::runs::Request;
use super::*;

const OWN: &str = r#"
title = "own"
[value.loss]
quantity = "loss"
label = "loss"
[value.beta]
quantity = "landscape.beta"
label = "beta"
over = "max"
[value.shift]
quantity = "ics.cosine"
label = "shift"
layer = [2]
[value.counts]
quantity = "activations.count"
label = "counts"
layer = [1]
[[run]]
id = "one-{depth}"
base = "dln"
vary.depth = [3, 4]
smoke = { samples = 40, steps = 5, probe_layers = [1, 2], probe = ["landscape:1", "ics:1", "activations:1"] }
[[panel]]
title = "shift"
show = "shift"
[[panel]]
title = "beta"
show = "beta"
form = "against"
setting = "depth"
[[panel]]
title = "counts"
show = "counts"
form = "ridge"
[[panel]]
title = "apart"
show = "loss"
form = "spread"
[[explore]]
title = "ridges"
show = ["counts"]
form = "ridge"
[[claim]]
id = "own.a"
place = "nowhere"
statement = "It falls."
test = [{ run = "one-3", value = "beta", is = "<", than = 1.0 }]
"#;

fn plan(text: &str) -> Result<Plan> {
    let request = Request::at(Scale::Smoke);
    Plan::new(vec![catalogue::read("own", "own.toml", text)?], &catalogue::shared()?, request)
}

#[test]
fn what_a_run_will_not_have_is_told_before_it_is_made() {
    plan(OWN).unwrap();
    for (from, to, says) in [
        ("layer = [2]", "layer = [99]", "value shift picks nothing of run one-3"),
        ("over = \"max\"", "", "value beta has 10 numbers at a step of run one-3"),
        ("over = \"max\"", "over = \"max\"\nalong = [1e6, 1e7]", "value beta picks nothing"),
        ("setting = \"depth\"", "setting = \"norm\"", "setting norm is no number of run one-3"),
        ("setting = \"depth\"", "setting = \"eval_every\"", "setting eval_every is no number"),
        ("layer = [1]", "layer = [9]", "does not look at layer 9, unit 0"),
        ("vary.depth = [3, 4]", "vary.depth = [3]", "shows the spread of one run"),
        (", \"activations:1\"]", "]", "wants the probe activations of run one-3"),
        ("value = \"beta\", is", "value = \"shift\", is", ""),
        ("value = \"beta\", is", "value = \"counts\", is", "value counts has"),
        ("than = 1.0", "than = { run = \"one-4\", value = \"counts\" }, share = 0.5", "numbers at a step are compared"),
        ("than = 1.0", "than = \"one-4\", share = 0.5", ""),
    ] {
        assert!(OWN.contains(from), "{from}");
        let made = plan(&OWN.replacen(from, to, 1));
        match says {
            "" => assert!(made.is_ok(), "{to}: {made:?}"),
            says => {
                let message = made.unwrap_err().to_string();
                assert!(message.starts_with("own.toml: ") && message.contains(says), "{to}: {message}");
            }
        }
    }
    // Without the panel of histograms the explorer of them is what is left to refuse.
    let panel = "[[panel]]\ntitle = \"counts\"\nshow = \"counts\"\nform = \"ridge\"\n";
    let text = OWN.replacen(panel, "", 1).replacen("\"activations:1\"", "\"moments:1\"", 1);
    assert!(text.len() < OWN.len() - panel.len());
    let message = plan(&text).unwrap_err().to_string();
    assert!(
        message.contains("explorer \"ridges\": value counts wants the probe activations of run one-3"),
        "{message}"
    );
}

#[test]
fn every_experiment_fits_its_runs() {
    for scale in Scale::ALL {
        let request = |pictures: &str| Request { pictures: pictures.into(), ..Request::at(scale) };
        let experiments = catalogue::find(&["all".into(), "demo".into()]).unwrap();
        for pictures in ["images", "/cifar10"] {
            Plan::new(experiments.clone(), &catalogue::shared().unwrap(), request(pictures)).unwrap();
        }
    }
}

#[track_caller]
fn refused(text: &str, says: &str) {
    let message = plan(&format!("title = \"own\"\n{text}")).unwrap_err().to_string();
    assert!(message.starts_with("own.toml: ") && message.contains(says), "{message}");
}

#[test]
fn what_the_forms_of_panels_and_claims_cannot_show_is_refused() {
    let values = "[value.loss]\nquantity = \"loss\"\nlabel = \"\"\n[value.beta]\nquantity = \"landscape.beta\"\nlabel = \"\"\n\
                      [value.mean]\nquantity = \"moments.mean\"\nlabel = \"\"\n";
    let claim = "[[claim]]\nid = \"a\"\nplace = \"\"\nstatement = \"\"\n";
    for (text, says) in [
        ("[value.x]\nquantity = \"landscape.bta\"\nlabel = \"\"".into(), "landscape has no array bta"),
        ("[value.x]\nquantity = \"loss\"\nper = \"ics.s\"\nlabel = \"\"".into(), "there are l2, cosine, grad_norm"),
        (
            format!("{values}[[panel]]\ntitle = \"p\"\nshow = \"loss\"\nform = \"distance\""),
            "value loss has no distance",
        ),
        (
            format!("{values}[[explore]]\ntitle = \"p\"\nshow = [\"beta\", \"loss\"]\nform = \"distance\""),
            "value loss has no",
        ),
        (format!("{values}[[explore]]\ntitle = \"p\"\nshow = [\"loss\"]\nform = \"spread\""), "only panels have"),
        (
            format!("{values}[[panel]]\ntitle = \"p\"\nshow = \"beta\"\nsplit = \"layer\""),
            "split by the layers of beta",
        ),
        (
            format!("{values}[[panel]]\ntitle = \"p\"\nshow = \"mean\"\nsplit = \"layer\""),
            "split by the layers of mean",
        ),
        (format!("{values}[[panel]]\ntitle = \"a {{layer}}\"\nshow = \"mean\""), "has nothing for {layer}"),
        (format!("{values}[[panel]]\ntitle = \"{{run}}\"\nshow = \"loss\""), "has nothing for {run}"),
        (
            format!("{values}{claim}test = [{{ run = \"vgg-*\", value = \"loss\", is = \"<\", than = 1.0 }}]"),
            "run vgg-* is a pattern",
        ),
    ] {
        refused(&text, says);
    }
}

#[test]
fn statements_on_no_instances_or_too_large_ones_are_refused() {
    for (spec, says) in [
        ("instances = 0\nm = 8\nlambda = 1.0", "[theory] instances 0: no instance"),
        ("instances = { smoke = 5, paper = 2000000000 }\nm = 8\nlambda = 1.0", "too many instances"),
        ("instances = 10\nm = 100000\nlambda = 1.0", "[theory] m 100000: not so many samples; 2 to 256"),
        ("instances = 10\nm = 1\nlambda = 1.0", "[theory] m 1"),
        ("instances = 10\nm = 8\nlambda = nan", "[theory] lambda NaN"),
    ] {
        refused(&format!("[theory]\n{spec}"), says);
    }
    plan("title = \"own\"\n[theory]\ninstances = 1\nm = 2\nlambda = 1.0").unwrap();
}
