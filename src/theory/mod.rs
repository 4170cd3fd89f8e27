//! The paper's statements (section 4, appendix C) as things to compute: on random instances of one unit and one batch, in f64.
//!
//! The derivatives v = ∂L̂/∂y and Ĥ = ∂²L̂/∂y² come from differentiating through the normalisation, never from a formula under test. Every statement
//! is evaluated with L's derivatives g and H at z, as its proof needs. The paper prints them at y; that reading is evaluated too, and the result says
//! on what share of the instances it fails.
//!
//! - the quantities: [`instance`] (random y, γ, β, L), [`loss`], [`jet`] (derivatives), [`case`](mod@case) (all quantities in one place)
//! - the statements: [`facts`] (C.1, C.2, (41)–(42)), [`theorem_4_1`], [`theorem_4_2`], [`observation_4_3`], [`theorem_4_4`], [`lemma_4_5`],
//!   [`theorem_c1`]; [`layer`]: the layer at its minimum that two of them need
//! - the results: [`row`], [`tally`], [`search`] (the worst instance)
//! - [`own`]: the same on a backend's BatchNorm and its tangents
//! - the mathematics that they use: [`dense`], [`symmetric`]

pub mod case;
pub mod dense;
pub mod facts;
pub mod instance;
pub mod jet;
pub mod layer;
pub mod lemma_4_5;
pub mod loss;
pub mod observation_4_3;
pub mod own;
pub mod row;
pub mod search;
pub mod symmetric;
pub mod tally;
pub mod theorem_4_1;
pub mod theorem_4_2;
pub mod theorem_4_4;
pub mod theorem_c1;

use crate::Error;
use case::Case;
use instance::Instance;
use loss::Family;
use rayon::prelude::*;
use row::{Kind, Row, Statement};
use search::Found;
use std::sync::atomic::{AtomicBool, Ordering};
use tally::Tally;

/// Every statement, in the paper's order.
pub static STATEMENTS: [Statement; 10] = [
    facts::FACT_C1,
    facts::FACT_C2,
    facts::HESSIAN,
    theorem_4_1::STATEMENT,
    theorem_4_2::FIRST,
    theorem_4_2::SECOND,
    observation_4_3::STATEMENT,
    theorem_4_4::STATEMENT,
    lemma_4_5::STATEMENT,
    theorem_c1::STATEMENT,
];

/// The choice of instances.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The number of instances.
    pub instances: u64,
    /// The number of samples of each, m ≥ 2.
    pub m: usize,
    /// λ > 0, the bound on ‖X‖.
    pub lambda: f64,
    /// The family of losses, or all families in turn.
    pub family: Option<Family>,
    /// The seed.
    pub seed: u64,
}

impl Choice {
    /// Refuses numbers out of range: those that take more memory or time than anyone has, and those with which nothing would be tested. `named` gives
    /// the user's name for a number, such as `--m`.
    pub fn check(&self, named: impl Fn(&str) -> String) -> crate::Result<()> {
        let Choice { instances, m, lambda, .. } = self;
        let bad = |name: &str, value: String, problem: &str, right: &str| {
            Err(Error::input(format!("{} {value}", named(name)), problem, right))
        };
        if !(1..=1_000_000_000).contains(instances) {
            let problem = if *instances == 0 { "no instance" } else { "too many instances" };
            return bad("instances", instances.to_string(), problem, "1 to 1000000000 are taken");
        }
        if !(2..=256).contains(m) {
            return bad("m", m.to_string(), "not so many samples", "2 to 256 are taken");
        }
        if !(1e-3..=1e3).contains(lambda) {
            return bad("lambda", lambda.to_string(), "no bound on a layer", "a number from 1e-3 to 1e3 is");
        }
        Ok(())
    }

    /// Instance number `index`.
    pub fn instance(&self, index: u64) -> Instance {
        Instance::draw(self.seed, index, self.m, self.family)
    }
}

/// The result for one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Result {
    /// The row.
    pub row: Row,
    /// The result over the instances.
    pub tally: Tally,
    /// The result of the search, for identities.
    pub found: Option<Found>,
}

impl Result {
    /// Whether the statement held wherever its premise did, in the search too.
    pub fn holds(&self) -> bool {
        self.tally.failed == 0 && self.found.is_none_or(|f| f.residual <= row::TOLERANCE)
    }

    /// The share of instances on which the statement fails, among those that meet its premise. These are the random instances and the one at which
    /// the search ended. NaN if no instance meets the premise.
    pub fn failing_share(&self) -> f64 {
        let found = self.found.map_or([0.0, 0.0], |f| [f64::from(u8::from(f.residual > row::TOLERANCE)), 1.0]);
        (self.tally.failed as f64 + found[0]) / (self.tally.premise_held as f64 + found[1])
    }
}

/// The number of instances in one piece of work.
const PIECE: u64 = 64;

/// Evaluates every statement on the chosen instances. The result does not depend on the number of threads.
pub fn run(choice: &Choice) -> Vec<Result> {
    // Nothing stops it, so there is always a result.
    run_until(choice, &AtomicBool::new(false)).unwrap_or_default()
}

/// The same, but `stop` can end it early, since a billion instances take hours. Errors: [`Error::Interrupted`].
pub fn run_until(choice: &Choice, stop: &AtomicBool) -> crate::Result<Vec<Result>> {
    let go_on = || if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) };
    let rows: usize = STATEMENTS.iter().map(|s| s.rows.len()).sum();
    let pieces = choice.instances.div_ceil(PIECE);
    let tallies = (0..pieces)
        .into_par_iter()
        .try_fold(
            || vec![Tally::default(); rows],
            |mut tallies, piece| {
                go_on()?;
                for index in piece * PIECE..choice.instances.min((piece + 1) * PIECE) {
                    let of = choice.instance(index);
                    let case = Case::new(&of, choice.lambda);
                    let mut tally = tallies.iter_mut();
                    for statement in &STATEMENTS {
                        let outcomes = (statement.evaluate)(&case);
                        outcomes.iter().zip(tally.by_ref().take(statement.rows.len())).for_each(|(outcome, tally)| {
                            tally.add(index, outcome);
                        });
                    }
                }
                Ok(tallies)
            },
        )
        .try_reduce(
            || vec![Tally::default(); rows],
            |mut all, part| {
                all.iter_mut().zip(&part).for_each(|(all, part)| all.merge(part));
                Ok(all)
            },
        )?;
    let places = STATEMENTS.iter().flat_map(|s| (0..s.rows.len()).map(move |row| (s, row)));
    let tries = tries(choice.instances);
    places
        .zip(tallies)
        .map(|((statement, row), tally)| {
            go_on()?;
            // At m = 2 residuals are absolute: climbing would only make the instance larger.
            let found = (statement.rows[row].kind == Kind::Identity && choice.m > 2)
                .then(|| climb(choice, statement, row, &tally, tries))
                .flatten();
            Ok(Result { row: statement.rows[row], tally, found })
        })
        .collect()
}

/// The number of tries of each climb, for this many instances.
pub fn tries(instances: u64) -> u32 {
    (instances / 50).clamp(10, 200) as u32
}

/// Climbs from each of the worst instances, and returns the worst that was reached.
fn climb(choice: &Choice, statement: &Statement, row: usize, tally: &Tally, tries: u32) -> Option<Found> {
    let climbs: Vec<Found> = tally
        .worst
        .par_iter()
        .map(|&(_, index)| search::climb(statement, row, &choice.instance(index), choice.lambda, tries))
        .collect();
    climbs.into_iter().reduce(|a, b| if b.residual > a.residual { b } else { a })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stopped_ends_at_once_and_what_is_not_gives_every_row() {
        let choice = Choice { instances: 1_000_000_000, m: 8, lambda: 1.0, family: None, seed: 0 };
        assert!(matches!(run_until(&choice, &AtomicBool::new(true)), Err(Error::Interrupted)));
        let rows: usize = STATEMENTS.iter().map(|statement| statement.rows.len()).sum();
        assert_eq!(run(&Choice { instances: 3, ..choice }).len(), rows);
    }
}
