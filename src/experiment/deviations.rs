//! Differences between the runs and the paper's setting, in words; every figure prints them.

use super::plan::{Part, Plan};
use super::results::MANY;
use super::runs::{Group, Kind};
use crate::report::significant;
use crate::train::{Settings, probe_entry};

/// A sentence for each kind of network whose runs differ from the paper's setting.
pub fn of(plan: &Plan, part: &Part) -> Vec<String> {
    let groups: Vec<&Group> = part.groups.iter().map(|&at| &plan.groups[at]).collect();
    let landscapes = part.experiment.shown.values.values().any(|pick| pick.quantity.starts_with("landscape."));
    [Kind::Vgg, Kind::Dln].into_iter().filter_map(|kind| of_kind(kind, &groups, landscapes)).collect()
}

fn of_kind(kind: Kind, groups: &[&Group], landscapes: bool) -> Option<String> {
    let groups: Vec<&&Group> = groups.iter().filter(|group| Kind::of(group.settings()) == kind).collect();
    groups.first()?;
    let paper = Settings::defaults(if kind == Kind::Dln { "dln" } else { "vgg16" });
    let each = |of: &dyn Fn(&Settings) -> String| {
        let mut all: Vec<String> = Vec::new();
        groups.iter().map(|group| of(group.settings())).for_each(|value| {
            if !all.contains(&value) {
                all.push(value);
            }
        });
        all.join(", ")
    };
    let mut here = vec![format!("{} steps", each(&|s| grouped(s.steps)))];
    let mut there = vec![format!("{} steps", grouped(paper.steps))];
    let mut differs = here != there;
    let mut compare = |what: &str, is: String, was: String| {
        if is != was {
            differs = true;
            here.push(format!("{what} {is}"));
            there.push(format!("{what} {was}"));
        }
    };
    if kind == Kind::Vgg {
        compare("model", each(&|s| s.model.clone()), paper.model.clone());
        compare("width", each(&|s| significant(s.width, 3)), significant(paper.width, 3));
        let data = |s: &Settings| if s.data == "images" { "generated images" } else { "CIFAR-10" };
        compare("data", each(&|s| data(s).into()), "CIFAR-10".into());
        let images = |limit: Option<usize>| limit.map_or("all".into(), |n| grouped(n as u64));
        compare("training images", each(&|s| images(s.limit_train)), "all".into());
        compare("test images", each(&|s| images(s.limit_test)), "all".into());
    } else {
        compare("layers", each(&|s| s.depth.to_string()), paper.depth.to_string());
        compare("units a layer", each(&|s| s.dim.to_string()), paper.dim.to_string());
        compare("samples", each(&|s| grouped(s.samples as u64)), grouped(paper.samples as u64));
    }
    if kind == Kind::Vgg {
        compare("batch", each(&|s| s.batch.to_string()), paper.batch.to_string());
    }
    // The rates that the paper trains at; 0.5 stands in figure 1.
    let rates: &[f64] = if kind == Kind::Vgg { &[0.1, 0.5] } else { &[1e-6] };
    let lr = each(&|s| significant(s.lr, 3));
    let at_the_papers = groups.iter().all(|group| rates.contains(&group.settings().lr));
    if !at_the_papers {
        compare("learning rate", lr.clone(), significant(rates[0], 3));
    }
    if landscapes {
        let mut every: Vec<u64> = groups.iter().filter_map(|group| landscape_every(group.settings())).collect();
        every.sort_unstable();
        every.dedup();
        if every.iter().any(|&n| n > 1) {
            let words = every.iter().map(|&n| grouped(n)).collect::<Vec<_>>().join(", ");
            compare("landscapes every", format!("{words} steps"), "1 step".into());
        }
    }
    let seeds = groups.iter().map(|group| group.runs.len()).max().unwrap_or(1);
    let seeds = match seeds {
        1 => "one seed".into(),
        ..MANY => format!("up to {seeds} seeds; the middle one, bands over all"),
        _ => format!("up to {seeds} seeds; the middle one, bands over the middle half (of fewer than {MANY} over all)"),
    };
    let name = if kind == Kind::Vgg { "VGG" } else { "DLN" };
    let setting = if differs {
        format!("{}; the paper: {}", here.join(", "), there.join(", "))
    } else {
        format!("the paper's setting, {}", here.join(", "))
    };
    let rate = if at_the_papers { format!("learning rate {lr}; ") } else { String::new() };
    Some(format!("{name}: {setting}; {rate}{seeds}."))
}

/// The interval of a run's landscapes, in steps.
fn landscape_every(settings: &Settings) -> Option<u64> {
    let of = |entry: &String| probe_entry::parts(entry).1.and_then(|every| every.parse().ok()).or(settings.probe_every);
    settings.probe.iter().find(|entry| probe_entry::parts(entry).0 == "landscape").and_then(of)
}

/// A number with its thousands grouped: 15,000.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([7, 999, 1000, 15_000, 1_234_567].map(grouped), ["7", "999", "1,000", "15,000", "1,234,567"]);
    }
}
