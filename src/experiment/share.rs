//! A share of a plan's runs, for one of several machines that know nothing of each other.
//!
//! All runs are sorted by their cost, costliest first, and then dealt in turn. This looks at the plan alone and not at what is finished, so a
//! share has the same runs whenever and wherever it is started, every run is in exactly one share, and shares take about equally long.

use super::cost::Costs;
use super::plan::Plan;
use super::runs::Group;
use crate::Result;
use std::fmt;
use std::str::FromStr;

/// The most shares of a plan.
const MOST: usize = 10_000;

/// One of several shares, written `I/N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which share, from 1.
    number: usize,
    /// How many there are.
    of: usize,
}

impl FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Share, String> {
        let right = || format!("I/N is needed, with I from 1 to N and N up to {MOST}, as in 3/12");
        let (number, of) = text.split_once('/').ok_or_else(right)?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let (number, of) = digits(number).zip(digits(of)).ok_or_else(right)?;
        let there = (1..=of).contains(&number) && of <= MOST;
        there.then_some(Share { number, of }).ok_or_else(right)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl Plan {
    /// The runs of one share as a plan that shows nothing. Errors: the settings of a run make no network.
    pub fn share(&self, share: Share) -> Result<Plan> {
        let mut mine = vec![false; self.runs().count()];
        dealt(&dealing(self)?, share).for_each(|run| mine[run] = true);
        let mut mine = mine.into_iter();
        let kept = |group: &Group| Group {
            runs: group.runs.iter().filter(|_| mine.next() == Some(true)).cloned().collect(),
            ..group.clone()
        };
        let mut groups: Vec<Group> = self.groups.iter().map(kept).collect();
        groups.retain(|group| !group.runs.is_empty());
        Ok(Plan { request: self.request.clone(), parts: Vec::new(), groups })
    }
}

/// The indices of a plan's runs in the order in which they are dealt: the costliest first, among equals in the plan's order.
fn dealing(plan: &Plan) -> Result<Vec<usize>> {
    let costs = plan.runs().map(|(_, _, of)| Ok(Costs::of(of)?.run(of))).collect::<Result<Vec<f64>>>()?;
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_by(|a, b| costs[*b].total_cmp(&costs[*a]));
    Ok(order)
}

/// What a share gets of the runs in `order`.
fn dealt(order: &[usize], share: Share) -> impl Iterator<Item = usize> {
    order.iter().copied().skip(share.number - 1).step_by(share.of)
}

#[cfg(test)]
mod tests {
    use super::super::catalogue;
    use super::super::runs::Request;
    use super::super::scale::Scale;
    use super::*;
    use std::collections::BTreeSet;

    fn plan(scale: Scale) -> Plan {
        let experiments = catalogue::find(&["all".into()]).unwrap();
        Plan::new(experiments, &catalogue::shared().unwrap(), Request::at(scale)).unwrap()
    }

    const SCALES: [Scale; 4] = [Scale::Smoke, Scale::Quick, Scale::Overnight, Scale::Paper];

    #[test]
    fn shares_of_any_number_are_disjoint_and_complete_at_every_scale() {
        for scale in SCALES {
            let plan = plan(scale);
            let (order, count) = (dealing(&plan).unwrap(), plan.runs().count());
            for of in 1..=300 {
                let mut all: Vec<usize> = (1..=of).flat_map(|number| dealt(&order, Share { number, of })).collect();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..count), "{scale:?} {of}");
            }
        }
    }

    #[test]
    fn a_share_is_a_plan_of_its_runs_with_their_names_and_settings() {
        let plan = plan(Scale::Smoke);
        let all: BTreeSet<_> = plan.runs().map(|(_, name, of)| (name.to_owned(), format!("{of:?}"))).collect();
        for of in [1, 7, 84, 300] {
            let mut found = BTreeSet::new();
            for number in 1..=of {
                let share = plan.share(Share { number, of }).unwrap();
                let runs: Vec<_> = share.runs().map(|(_, name, of)| (name.to_owned(), format!("{of:?}"))).collect();
                assert!(runs.len().abs_diff(all.len() / of) <= 1, "{number}/{of}: {}", runs.len());
                assert!(runs.into_iter().all(|run| found.insert(run)), "{number}/{of} has a run of another share");
            }
            assert_eq!(found, all);
        }
    }

    #[test]
    fn shares_take_about_equally_long() {
        let plan = plan(Scale::Paper);
        let cost = |plan: &Plan| -> f64 { plan.runs().map(|(_, _, of)| Costs::of(of).unwrap().run(of)).sum() };
        let costliest = plan.runs().map(|(_, _, of)| Costs::of(of).unwrap().run(of)).fold(0.0, f64::max);
        for of in [2, 8, 30] {
            let shares: Vec<f64> = (1..=of).map(|number| cost(&plan.share(Share { number, of }).unwrap())).collect();
            let (least, most) = shares.iter().fold((f64::MAX, 0.0_f64), |(l, m), c| (l.min(*c), m.max(*c)));
            assert!(most - least <= costliest, "{of}: {least:e} to {most:e}");
        }
    }

    #[test]
    fn only_shares_that_exist_are_read() {
        assert_eq!("3/12".parse(), Ok(Share { number: 3, of: 12 }));
        assert_eq!("1/1".parse::<Share>().unwrap().to_string(), "1/1");
        for text in [
            "0/3", "4/3", "1/0", "0/0", "1", "/", "1/", "/2", "a/b", "-1/3", "+1/3", "1/3/5", "1.0/2", " 1/2",
            "1/10001",
        ] {
            assert!(text.parse::<Share>().unwrap_err().contains("as in 3/12"), "{text}");
        }
    }
}
