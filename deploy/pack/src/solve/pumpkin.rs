//! Pumpkin, a constraint solver that learns clauses (Delft), on counts of equal pods by node.

use std::ops::ControlFlow;

use pumpkin_solver::Solver;
use pumpkin_solver::conflict_resolvers::resolvers::ResolutionResolver;

use pumpkin_solver::core::DefaultBrancher;
use pumpkin_solver::core::optimisation::OptimisationDirection;
use pumpkin_solver::core::optimisation::linear_sat_unsat::LinearSatUnsat;
use pumpkin_solver::core::results::{
    OptimisationResult, ProblemSolution, Solution, SolutionReference,
};
use pumpkin_solver::core::termination::TerminationCondition;
use pumpkin_solver::core::variables::{AffineView, DomainId, TransformableVariable};

use super::back_end::{BackEnd, Found, Stage, Unfit};
use super::deadline::Deadline;
use super::model::Model;
use super::proof::Proof;
use crate::number::gcd;
use crate::score::Goal;

/// Counts that are written down at most.
const MOST_COUNTS: usize = 20_000;
const NAME: &str = "pumpkin";

/// Knows no gangs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pumpkin;

struct Until<'d> {
    deadline: &'d Deadline,
    polls: u64,
}

impl TerminationCondition for Until<'_> {
    fn should_stop(&mut self) -> bool {
        self.polls += 1;
        self.polls.is_multiple_of(16) && self.deadline.passed()
    }
}

type Term = AffineView<DomainId>;

/// A model in the solver.
struct Written {
    solver: Solver,
    /// By spot and offer how many pods.
    counts: Vec<Vec<DomainId>>,
    objective: DomainId,
}

impl BackEnd for Pumpkin {
    fn name(&self) -> &'static str {
        NAME
    }

    fn solve(&mut self, stage: &Stage<'_>) -> Result<Found, Unfit> {
        let model = Model::of(stage);
        if model.has_gangs() {
            return Err(Unfit::Rule { back_end: NAME, what: "gangs" });
        }
        let size = model.spots.iter().map(|spot| spot.offers.len()).sum();
        if size > MOST_COUNTS {
            return Err(Unfit::Size { back_end: NAME, what: "counts", size, most: MOST_COUNTS });
        }
        let (known, most) = (model.worth(stage.value), model.worth(stage.bound));
        let Some(mut written) = write(&model, known + 1, most)? else {
            return Ok(proved(stage, stage.value));
        };
        let mut brancher = written.solver.default_brancher();
        let mut resolver = ResolutionResolver::default();
        let mut until = Until { deadline: stage.deadline, polls: 0 };
        let goes_on = |_: &Solver,
                       _: SolutionReference<'_>,
                       _: &DefaultBrancher,
                       _: &ResolutionResolver|
         -> ControlFlow<()> { ControlFlow::Continue(()) };
        let procedure =
            LinearSatUnsat::new(OptimisationDirection::Maximise, written.objective, goes_on);
        let result = written.solver.optimise(&mut brancher, &mut until, &mut resolver, procedure);
        let placement = |solution: &Solution| {
            let count = |id: &DomainId| solution.get_integer_value(*id) as u32;
            let patterns: Vec<Vec<u32>> =
                written.counts.iter().map(|counts| counts.iter().map(count).collect()).collect();
            model.placement(&patterns)
        };
        Ok(match result {
            OptimisationResult::Optimal(solution) => {
                let worth = i64::from(solution.get_integer_value(written.objective));
                Found { placement: Some(placement(&solution)), ..proved(stage, model.value(worth)) }
            }
            OptimisationResult::Satisfiable(solution)
            | OptimisationResult::Stopped(solution, ()) => {
                Found { placement: Some(placement(&solution)), ..open(stage) }
            }
            OptimisationResult::Unsatisfiable => proved(stage, stage.value),
            OptimisationResult::Unknown => open(stage),
        })
    }
}

fn open(stage: &Stage<'_>) -> Found {
    Found { placement: None, bound: stage.bound, proof: Proof::default() }
}

fn proved(stage: &Stage<'_>, bound: u32) -> Found {
    let proof = Proof::Exhausted { solver: NAME.to_owned(), steps: 0, seed: stage.seed };
    Found { placement: None, bound, proof }
}

/// The model, for a worth in a range; none if it is contradictory.
fn write(model: &Model<'_>, least: i64, most: i64) -> Result<Option<Written>, Unfit> {
    let mut solver = Solver::default();
    let objective = solver.new_bounded_integer(small(least)?, small(most)?);
    let (mut counts, mut stays) = (Vec::new(), Vec::new());
    let mut sums: Vec<(Vec<Term>, i32)> = Vec::new();
    for spot in &model.spots {
        let (mut of_spot, mut staying) = (Vec::new(), Vec::new());
        for offer in &spot.offers {
            let count = solver.new_bounded_integer(0, small(i64::from(offer.most))?);
            of_spot.push(count);
            staying.push(if offer.here > 0 {
                let stays = solver.new_bounded_integer(0, small(i64::from(offer.here))?);
                sums.push((vec![stays.scaled(1), count.scaled(-1)], 0));
                Some(stays)
            } else {
                None
            });
        }
        counts.push(of_spot);
        stays.push(staying);
    }
    capacities(model, &counts, &mut sums)?;
    let terms = |item: &dyn Fn(usize) -> bool, goal: Goal, scale: i32| -> Vec<Term> {
        let spots = model.spots.iter().zip(counts.iter().zip(&stays));
        let all = spots
            .flat_map(|(spot, (counts, stays))| spot.offers.iter().zip(counts.iter().zip(stays)));
        let wanted = all.filter(|(offer, _)| item(offer.item));
        let terms = wanted.filter_map(|(_, (count, stays))| match goal {
            Goal::Placed => Some(count.scaled(scale)),
            Goal::Disturbed => stays.map(|stays| stays.scaled(scale)),
        });
        terms.collect()
    };
    for (index, item) in model.items.iter().enumerate().filter(|(_, item)| item.moves) {
        sums.push((terms(&|it| it == index, Goal::Placed, 1), small(item.pods.len() as i64)?));
    }
    for row in &model.rows {
        let of_tier = |it: usize| model.items[it].tier == row.tier;
        sums.push((terms(&of_tier, row.goal, -1), small(-row.least)?));
    }
    let mut worth = terms(&|it| model.items[it].tier == model.tier, model.goal, -1);
    worth.push(objective.scaled(1));
    sums.push((worth, 0));
    for (terms, limit) in sums {
        // The solver takes no sum of nothing.
        if terms.is_empty() && limit >= 0 {
            continue;
        }
        if terms.is_empty() {
            return Ok(None);
        }
        let tag = solver.new_constraint_tag();
        solver.add_constraint(pumpkin_solver::less_than_or_equals(terms, limit, tag)).post();
        if solver.is_inconsistent() {
            return Ok(None);
        }
    }
    Ok(Some(Written { solver, counts, objective }))
}

/// What pods ask for fits, in units of the greatest common divisor.
fn capacities(
    model: &Model<'_>,
    counts: &[Vec<DomainId>],
    sums: &mut Vec<(Vec<Term>, i32)>,
) -> Result<(), Unfit> {
    for kind in 0..model.problem.resources().len() {
        let unit = model.items.iter().fold(0, |unit, item| gcd(unit, item.size[kind]));
        if unit == 0 {
            continue;
        }
        for (spot, counts) in model.spots.iter().zip(counts) {
            let term = |(offer, count): (&super::model::Offer, &DomainId)| {
                let size = small(model.items[offer.item].size[kind] / unit)?;
                Ok(count.scaled(size))
            };
            // The solver takes no variable 0 times.
            let asks = |(offer, _): &(&super::model::Offer, &DomainId)| {
                model.items[offer.item].size[kind] > 0
            };
            let terms = spot.offers.iter().zip(counts).filter(asks).map(term);
            let terms = terms.collect::<Result<_, _>>()?;
            sums.push((terms, small(spot.room[kind] / unit)?));
        }
    }
    Ok(())
}

/// A number that the solver can add up without overflow.
fn small(number: i64) -> Result<i32, Unfit> {
    const MOST: usize = 1 << 22;
    let size = number.unsigned_abs() as usize;
    if size > MOST {
        return Err(Unfit::Size { back_end: NAME, what: "units of a resource", size, most: MOST });
    }
    Ok(number as i32)
}
