//! The plan of a reproduction: experiments, the groups of runs that they use, and every run once.

use super::catalogue::Experiment;
use super::runs::{Group, Request, RunSpec, Shared};
use super::vary::filled;
use crate::train::Settings;
use crate::{Error, Result};

/// Experiments and their runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What was asked for.
    pub request: Request,
    /// The experiments, in the paper's order.
    pub parts: Vec<Part>,
    /// Their groups of runs, each once.
    pub groups: Vec<Group>,
}

/// An experiment and its groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The experiment.
    pub experiment: Experiment,
    /// The indices of its groups in [`Plan::groups`].
    pub groups: Vec<usize>,
}

impl Plan {
    /// Adds an experiment, and returns the ids of the groups of runs that it has at some scale. Runs that two experiments share are made once.
    ///
    /// Errors name the experiment's file: it names a run that does not exist; a setting is one that `train` would refuse; two runs have one
    /// name and different settings.
    pub(super) fn add(&mut self, experiment: Experiment, shared: &Shared) -> Result<Vec<String>> {
        check_count(&experiment, &self.request)?;
        let mut groups = Vec::new();
        for spec in &shared.runs {
            if experiment.shown.uses.iter().any(|pattern| names(spec).iter().any(|name| matches(pattern, name))) {
                let of = spec.groups("experiments/runs.toml", shared, &self.request)?;
                let used = |group: &Group| experiment.shown.uses.iter().any(|pattern| matches(pattern, &group.id));
                groups.extend(of.into_iter().filter(used));
            }
        }
        for spec in &experiment.shown.runs {
            groups.extend(spec.groups(&experiment.file, shared, &self.request)?);
        }
        let there = there(&experiment, shared)?;
        let groups = groups.into_iter().map(|group| self.place(&experiment.file, group)).collect::<Result<_>>()?;
        self.parts.push(Part { experiment, groups });
        Ok(there)
    }

    /// The group's index. A group that is already there keeps its index.
    fn place(&mut self, file: &str, group: Group) -> Result<usize> {
        let taken = |other: &Group| group.runs.iter().any(|(name, _)| other.runs.iter().any(|(of, _)| of == name));
        match self.groups.iter().position(|other| other.id == group.id || taken(other)) {
            Some(at) if self.groups[at] == group => Ok(at),
            Some(at) => {
                let problem = format!("run {} is another than run {} of the plan", group.id, self.groups[at].id);
                Err(Error::input(file, problem, "runs of one name must have the same settings"))
            }
            None => {
                self.groups.push(group);
                Ok(self.groups.len() - 1)
            }
        }
    }

    /// The groups of a part that match `patterns`, in the part's order; all of them without patterns.
    pub fn chosen<'a>(&'a self, part: &Part, patterns: Option<&[String]>) -> Vec<&'a Group> {
        let fits =
            |group: &&Group| patterns.is_none_or(|patterns| patterns.iter().any(|pattern| matches(pattern, &group.id)));
        part.groups.iter().map(|&at| &self.groups[at]).filter(fits).collect()
    }

    /// Every run: group, folder's name, settings.
    pub fn runs(&self) -> impl Iterator<Item = (&Group, &str, &Settings)> {
        self.groups.iter().flat_map(|group| group.runs.iter().map(move |(name, of)| (group, name.as_str(), of)))
    }
}

/// Every id that a run's description can expand to.
fn names(spec: &RunSpec) -> Vec<String> {
    spec.vary.iter().fold(vec![spec.id.clone()], |names, (key, values)| {
        names.iter().flat_map(|name| values.iter().map(move |value| filled(name, key, value))).collect()
    })
}

/// The most runs that an experiment may define itself.
const MOST_RUNS: u64 = 10_000;

/// Refuses an experiment that comes to no runs, or to more than the limit, before the runs' settings take memory.
fn check_count(experiment: &Experiment, request: &Request) -> Result<()> {
    let mut all = 0u64;
    for spec in &experiment.shown.runs {
        all = all.saturating_add(spec.count(&experiment.file, request)?);
        if all > MOST_RUNS {
            let problem = format!("with run {} it comes to more than {MOST_RUNS} runs", spec.id);
            return Err(Error::input(&experiment.file, problem, "vary fewer options, or over fewer values"));
        }
    }
    Ok(())
}

/// The ids of all groups of runs that an experiment has at some scale. Errors: it uses a group that does not exist.
fn there(experiment: &Experiment, shared: &Shared) -> Result<Vec<String>> {
    let shown = &experiment.shown;
    let all: Vec<String> = shared.runs.iter().flat_map(names).collect();
    if let Some(pattern) = shown.uses.iter().find(|pattern| !all.iter().any(|name| matches(pattern, name))) {
        return Err(Error::input(&experiment.file, format!("no run {pattern}"), "`uses` names runs of runs.toml"));
    }
    let used = all.into_iter().filter(|name| shown.uses.iter().any(|pattern| matches(pattern, name)));
    Ok(used.chain(shown.runs.iter().flat_map(names)).collect())
}

/// Whether a name matches the pattern, in which `*` stands for any letters.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, between)) = pieces.split_last() else { return rest.is_empty() };
    for piece in between {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::super::catalogue;
    use super::super::runs::LARGEST_SEED;
    use super::super::scale::Scale;
    use super::*;

    #[test]
    fn a_star_stands_for_any_letters() {
        for (pattern, name, fits) in [
            ("vgg-none", "vgg-none", true),
            ("vgg-none", "vgg-none-1", false),
            ("vgg-*", "vgg-none", true),
            ("*", "", true),
            ("rate-*-0.1", "rate-batch-0.1", true),
            ("rate-*-0.1", "rate-batch-0.01", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    fn request() -> Request {
        Request::at(Scale::Smoke)
    }

    /// A plan of one run that the user defines.
    fn own(run: &str, request: Request) -> Result<Plan> {
        let text = format!("title = \"own\"\n[[run]]\nbase = \"dln\"\n{run}");
        let experiment = catalogue::read("own", "own.toml", &text)?;
        Plan::new(vec![experiment], &catalogue::shared()?, request)
    }

    #[track_caller]
    fn refused(run: &str, request: Request, says: &str) {
        let message = own(run, request).unwrap_err().to_string();
        assert!(message.contains(says), "{run}: {message}");
    }

    #[test]
    fn a_seed_beside_seeds_is_refused_and_alone_it_is_the_runs() {
        let plan = own("id = \"a\"\nseed = 7", request()).unwrap();
        assert_eq!(plan.runs().map(|(_, _, of)| of.seed).collect::<Vec<_>>(), [7]);
        refused("id = \"a\"\nseed = 7\nseeds = 5", request(), "own.toml: run a: seed: a seed beside seeds");
        refused("id = \"a\"\nseeds = 5\nsmoke = { seed = 7 }", request(), "a seed beside seeds");
        refused("id = \"a\"\nprecision = \"f64\"", request(), "own.toml, line 5: run a: a precision of its own");
    }

    #[test]
    fn a_seed_that_leaves_no_room_for_others_is_refused() {
        for seed in [u64::MAX, LARGEST_SEED + 1] {
            refused("id = \"a\"\nseeds = 5", Request { seed, ..request() }, "--seed");
        }
        let plan = own("id = \"a\"\nseeds = 5", Request { seed: LARGEST_SEED, ..request() }).unwrap();
        assert_eq!(plan.runs().count(), 5);
    }

    #[test]
    fn what_comes_to_no_runs_or_to_too_many_is_refused_before_it_is_made() {
        refused("id = \"a-{norm}\"\nvary.norm = []", request(), "run a-{norm}: vary.norm has no value");
        // 2^30 groups, were they made.
        let keys =
            ["samples", "steps", "depth", "dim", "batch", "lr", "momentum", "weight_decay", "eps", "probe_points"];
        let more = ["noise_mean", "noise_scale", "noise_spread", "probe_lanczos", "probe_hutchinson"];
        let more = more.iter().chain(&["probe_units", "probe_bins", "seed", "keep_checkpoints", "probe_every"]);
        let last = ["width", "limit_train", "limit_test", "eval_every", "checkpoint_every", "model", "norm", "data"];
        let all = keys.iter().chain(more).chain(&last).chain(&["activation", "probe_spacing"]);
        let vary: String = all.clone().map(|key| format!("vary.{key} = [1, 2]\n")).collect();
        let id: String = all.map(|key| format!("{{{key}}}")).collect();
        refused(&format!("id = \"{id}\"\n{vary}"), request(), "more than 10000 runs");
        let many = format!("id = \"a-{{steps}}\"\nseeds = 1000\nvary.steps = {:?}", (1..=11).collect::<Vec<_>>());
        refused(&many, request(), "more than 10000 runs");
    }

    #[test]
    fn an_id_that_is_no_folder_of_its_own_is_refused() {
        for id in [".", "..", ":", "", ":.", ".hidden"] {
            refused(&format!("id = \"{id}\""), request(), "not a folder's name");
        }
        assert!(own("id = \"1.5:2\"", request()).is_ok());
    }

    #[test]
    fn a_batch_that_its_images_do_not_fill_is_refused() {
        let run =
            |more: &str| format!("id = \"a\"\nmodel = \"vgg11\"\nwidth = 0.1\ndata = \"pictures\"\nsteps = 3\n{more}");
        let small = |more: &str| own(&run(more), request()).map(drop);
        small("batch = 16\nlimit_train = 16").unwrap();
        for (more, says) in [
            ("batch = 17\nlimit_train = 16", "--batch: is 17"),
            ("batch = 50001", "--batch: is 50001"),
            ("limit_test = 2001", "limit_test: 2001 images were asked for"),
        ] {
            let message = small(more).unwrap_err().to_string();
            assert!(message.starts_with("own.toml: run a: ") && message.contains(says), "{message}");
        }
    }
}
