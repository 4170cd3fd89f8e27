//! Whether the runs of a plan will have what panels, explorers and claims read of them: told before any is made, not hours later.

use super::file::{Form, PanelSpec, Pick};
use super::plan::{Part, Plan};
use super::runs::Group;
use super::scale::Scale;
use crate::train::probe_arrays::{self, Entry};
use crate::{Error, Result};

/// Looks at every value that a part of the plan shows or tests, on every group that it is taken from.
///
/// Errors name the experiment's file, the value and the run: a probe that the run has not; layers, units or points that it does not look at;
/// several numbers where one is needed; a setting that is no number; a spread of fewer than two runs.
pub fn check(plan: &Plan, part: &Part) -> Result<()> {
    let shown = &part.experiment.shown;
    let check = Check { part, scale: plan.request.scale };
    for panel in &shown.panels {
        let groups = plan.chosen(part, panel.runs.as_deref());
        for group in &groups {
            check.panel(panel, group)?;
        }
        let runs: usize = groups.iter().map(|group| group.runs.len()).sum();
        if panel.form == Form::Spread && runs == 1 {
            let problem = format!("panel \"{}\" shows the spread of one run", panel.title);
            return Err(check.bad(problem, "a spread is of two or more: more runs, or more seeds"));
        }
    }
    for explorer in &shown.explorers {
        for group in plan.chosen(part, explorer.runs.as_deref()) {
            if explorer.form == Form::Ridge && !group.settings().asks("activations") {
                let problem =
                    format!("explorer \"{}\" wants the probe activations of run {}", explorer.title, group.id);
                return Err(check.bad(problem, "the run's own `probe` names it"));
            }
            explorer.show.iter().try_for_each(|value| check.some(value, group).map(drop))?;
        }
    }
    for claim in &shown.claims {
        for test in &claim.tests {
            let mut counts = Vec::new();
            for measure in test.measures() {
                for group in plan.chosen(part, Some(std::slice::from_ref(&measure.run))) {
                    // Step by step several numbers may be compared, each with its like.
                    match test.share {
                        Some(_) => counts.push(check.some(&measure.value, group)?),
                        None => check.one(&measure.value, group)?,
                    }
                }
            }
            if let [left, right] = counts[..]
                && left != right
            {
                let problem = format!("claim {}: {left} numbers at a step are compared with {right}", claim.id);
                return Err(check.bad(problem, "as many on the right as on the left, or a number"));
            }
        }
    }
    Ok(())
}

struct Check<'a> {
    part: &'a Part,
    scale: Scale,
}

impl Check<'_> {
    fn bad(&self, problem: String, right: &str) -> Error {
        Error::input(&self.part.experiment.file, problem, right)
    }

    fn panel(&self, panel: &PanelSpec, group: &Group) -> Result<()> {
        match panel.form {
            Form::Against => {
                self.one(&panel.show, group)?;
                let setting = panel.setting.as_deref().unwrap_or_default();
                let all = toml::Table::try_from(group.settings()).unwrap_or_default();
                if !matches!(all.get(setting), Some(toml::Value::Float(_) | toml::Value::Integer(_))) {
                    let problem =
                        format!("panel \"{}\": setting {setting} is no number of run {}", panel.title, group.id);
                    return Err(self.bad(problem, "lr, width, eps and the like are"));
                }
                Ok(())
            }
            Form::Ridge => {
                self.probes(&panel.show, group)?;
                self.ridge(panel, group)
            }
            _ => self.some(&panel.show, group).map(drop),
        }
    }

    fn pick(&self, value: &str) -> Option<&Pick> {
        self.part.experiment.shown.values.get(value)
    }

    /// A value's probe must be one of the run's.
    fn probes(&self, value: &str, group: &Group) -> Result<()> {
        for quantity in self.pick(value).into_iter().flat_map(Pick::quantities) {
            if let Some((file, _)) = quantity.split_once('.').filter(|(file, _)| !group.settings().asks(file)) {
                let problem = format!("value {value} wants the probe {file} of run {}, which has none", group.id);
                return Err(self.bad(problem, "the run's own `probe` names it"));
            }
        }
        Ok(())
    }

    /// How many numbers a value has at a step of a run. Errors: none.
    fn some(&self, value: &str, group: &Group) -> Result<usize> {
        self.probes(value, group)?;
        let Some(pick) = self.pick(value) else { return Ok(1) };
        match self.count(pick, group)? {
            0 => {
                let problem = format!("value {value} picks nothing of run {}", group.id);
                Err(self.bad(problem, "`layer`, `unit` and `along` are among what the run's probes look at"))
            }
            _ if pick.over.is_some() => Ok(1),
            count => Ok(count),
        }
    }

    fn one(&self, value: &str, group: &Group) -> Result<()> {
        match self.some(value, group)? {
            1 => Ok(()),
            count => {
                let problem =
                    format!("value {value} has {count} numbers at a step of run {}, and one is needed", group.id);
                Err(self.bad(problem, "`over`, `layer` and `unit` make one of them"))
            }
        }
    }

    /// How many numbers a pick takes at each step, before `over` makes one of them.
    fn count(&self, pick: &Pick, group: &Group) -> Result<usize> {
        let settings = group.settings();
        let entry = entry(&pick.quantity);
        let layers = pick.layer.as_ref().and_then(|by| by.at(self.scale));
        let picked = |layer: usize| layers.is_none_or(|layers| layers.contains(&layer));
        Ok(match entry {
            None | Some(Entry::Number) => 1,
            Some(Entry::Points) => {
                let fits = |s: &f64| {
                    pick.along.is_none_or(|[low, high]| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(s))
                };
                settings.step_lengths()?.iter().map(|s| s / settings.lr).filter(fits).count()
            }
            Some(Entry::Layers) => {
                (1..=settings.network()?.weighted_layers().len()).filter(|&layer| picked(layer)).count()
            }
            Some(Entry::Units) => {
                let look = settings.look(&settings.network()?)?;
                let chosen = look.iter().flat_map(|look| &look.chosen).filter(|(layer, _)| picked(*layer));
                let units = |units: usize| pick.unit.map_or(units, |unit| usize::from(unit < units));
                chosen.map(|(_, of)| units(of.len())).sum()
            }
            // Told apart by their place alone.
            Some(Entry::Bins) => {
                let look = settings.look(&settings.network()?)?;
                look.map_or(0, |look| look.chosen.len() * look.units() * look.bins.max(2))
            }
        })
    }

    /// A ridge is of one unit that is looked at.
    fn ridge(&self, panel: &PanelSpec, group: &Group) -> Result<()> {
        let Some(pick) = self.pick(&panel.show) else { return Ok(()) };
        let settings = group.settings();
        let look = settings.look(&settings.network()?)?;
        let layers = pick.layer.as_ref().and_then(|by| by.at(self.scale)).cloned().unwrap_or_default();
        // Where there is a panel for each layer each is looked at, else the first.
        let shown = if panel.split.is_some() { layers.len() } else { 1 };
        let unit = pick.unit.unwrap_or(0);
        for layer in layers.iter().take(shown) {
            let there = look.iter().flat_map(|look| &look.chosen).any(|(of, units)| of == layer && unit < units.len());
            if !there {
                let problem =
                    format!("value {}: run {} does not look at layer {layer}, unit {unit}", panel.show, group.id);
                return Err(self.bad(problem, "the run's probe_layers and probe_units say what is looked at"));
            }
        }
        Ok(())
    }
}

/// What a quantity has for each step; `None` of what is logged at every row.
pub fn entry(quantity: &str) -> Option<Entry> {
    let (file, array) = quantity.split_once('.')?;
    probe_arrays::of(file).into_iter().find(|(name, _)| *name == array).map(|(_, entry)| entry)
}

#[cfg(test)]
mod tests {
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
[[claim.test]]
left = { run = "one-3", value = "beta" }
is = "<"
right = 1.0
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
            ("value = \"beta\" }", "value = \"shift\" }", ""),
            ("value = \"beta\" }", "value = \"counts\" }", "value counts has"),
            (
                "right = 1.0\n",
                "right = { run = \"one-4\", value = \"counts\" }\nshare = 0.5\n",
                "numbers at a step are compared",
            ),
            ("right = 1.0\n", "right = { run = \"one-4\", value = \"beta\" }\nshare = 0.5\n", ""),
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
        assert!(message.contains("explorer \"ridges\" wants the probe activations of run one-3"), "{message}");
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
}
