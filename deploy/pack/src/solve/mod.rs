//! Solving: stage by stage, each better than before or proved to be as good as can be.
//!
//! The stages of an [objective](crate::score::Objective) are solved in their order, and the value
//! of each is kept in the following ones ("Priority Matters", arXiv 2511.08373, section 3).
//! Whatever a back end returns is completed by pods of less urgent tiers, checked, and taken only
//! if it is better; so the answer is never worse than what was there before.
//!
//! | module | what it holds |
//! |---|---|
//! | [`deadline`] | budgets and clocks |
//! | [`back_end`] | one exact solver behind one trait |
//! | [`proof`] | why a value cannot be better |
//! | [`report`] | what came of each stage |
//! | [`certificate`] | an answer that others can check |
//! | [`verify`] | checking it |

pub mod back_end;
mod capacity;
pub mod certificate;
mod clearing;
mod columns;
pub mod deadline;
mod driver;
mod eject;
mod knapsack;
mod losses;
mod model;
mod near;
pub mod proof;
mod pumpkin;
mod refill;
pub mod report;
mod room;
mod search;
mod simplex;
mod start;
pub mod verify;

use self::back_end::BackEnd;
use self::deadline::Budget;
use self::report::Answer;
use crate::check::Violation;
use crate::placement::Placement;
use crate::problem::Problem;
use crate::score::Objective;

/// Which exact solver is asked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackEndChoice {
    /// The search of this crate.
    #[default]
    Search,
    /// The constraint solver Pumpkin, for pods without gangs.
    Pumpkin,
}

/// How to solve.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is better.
    pub objective: Objective,
    /// Which exact solver.
    pub back_end: BackEndChoice,
    /// Of whatever is random: same seed, same answer, if the budget was enough.
    pub seed: u64,
    /// How long it may take.
    pub budget: Budget,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SolveError {
    /// Pods that must stay break a rule, and no allowed placement was found.
    #[error("nothing allowed found to begin with; as it is: {as_it_is}")]
    NoStart {
        /// What is wrong with everything staying as it is.
        as_it_is: Box<Violation>,
    },
    /// A bug of a back end: it was noticed, and nothing was done with the placement.
    #[error("{back_end}: returned a placement that is not allowed: {violation}")]
    Wrong {
        /// Which back end.
        back_end: &'static str,
        /// What is wrong.
        violation: Box<Violation>,
    },
    /// A library failed. Another solver's answer would not be what was asked for.
    #[error(transparent)]
    Library(back_end::Unfit),
    /// A bug of a back end: it proved a bound that its own or an earlier placement is beyond.
    #[error("{back_end}: proved {bound} where {value} was found, tier {tier}")]
    FalseBound {
        /// Which back end.
        back_end: &'static str,
        /// The bound.
        bound: u32,
        /// The value.
        value: u32,
        /// Of which tier.
        tier: u32,
    },
}

/// The best placement within the budget: never worse than everything staying as it is, nor than any
/// allowed one of `starts` (what the default scheduler would do, for instance).
pub fn solve(
    problem: &Problem,
    options: &Options,
    starts: &[Placement],
) -> Result<Answer, SolveError> {
    match options.back_end {
        BackEndChoice::Search => solve_with(problem, options, starts, &mut search::Search),
        BackEndChoice::Pumpkin => solve_with(problem, options, starts, &mut pumpkin::Pumpkin),
    }
}

/// As [`solve`], with a back end of the caller's.
pub fn solve_with(
    problem: &Problem,
    options: &Options,
    starts: &[Placement],
    back_end: &mut dyn BackEnd,
) -> Result<Answer, SolveError> {
    driver::Driver::new(problem, options, starts)?.run(back_end)
}

#[cfg(test)]
pub(crate) mod tests;
