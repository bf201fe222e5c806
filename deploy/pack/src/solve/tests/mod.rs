//! Against brute force on tiny cases: a few of each kind, or as many as `ONEPATH_PACK_CASES` says.

pub(crate) mod random;

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use self::random::{Kind, all_scores, best, cases, random};
use super::back_end::{BackEnd, Found, Stage, Unfit};
use super::certificate::Certificate;
use super::deadline::Budget;
use super::proof::Proof;
use super::report::Status;
use super::verify::verify;
use super::{BackEndChoice, Options, SolveError, solve, solve_with};
use crate::instances::paper::{Setup, instances};
use crate::placement::Placement;
use crate::score::{Goal, Objective};

fn options(objective: Objective, back_end: BackEndChoice) -> Options {
    Options { objective, back_end, seed: 1, budget: Budget::cpu(Duration::from_mins(1)) }
}

/// Solves so many random problems; prints seeds, and panics with the first whose score is not that
/// of the best of all placements.
fn compare(kind: Kind, cases: u64, back_end: BackEndChoice) {
    let (mut compared, mut impossible) = (0, 0);
    for seed in 0..cases {
        let mut rng = SmallRng::seed_from_u64(seed);
        let Some(problem) = random(&mut rng, kind) else { continue };
        let scores = all_scores(&problem);
        for objective in [Objective::TierByTier, Objective::PlacementFirst] {
            let best = best(&scores, objective);
            let answer = match solve(&problem, &options(objective, back_end), &[]) {
                Ok(answer) => answer,
                Err(SolveError::NoStart { .. }) => {
                    assert!(best.is_none(), "seed {seed}: {best:?}");
                    impossible += 1;
                    continue;
                }
                Err(error) => panic!("seed {seed}: {error}"),
            };
            let best = best.unwrap_or_else(|| panic!("seed {seed}: brute force found none"));
            assert_eq!(answer.score, *best, "seed {seed}, {objective:?}: {problem:#?} {answer:#?}");
            assert_eq!(answer.status, Status::Optimal, "seed {seed}, {objective:?}: {answer:#?}");
            compared += 1;
        }
    }
    println!(
        "{kind:?}, {back_end:?}: seeds 0 to {}: {compared} answers equal to brute force, \
         {impossible} problems without an allowed placement",
        cases.saturating_sub(1)
    );
}

#[test]
fn pods_alone_are_placed_as_well_as_by_brute_force() {
    compare(Kind::default(), cases(400), BackEndChoice::Search);
}

#[test]
fn pods_that_must_stay_are_respected_and_the_rest_is_as_good_as_by_brute_force() {
    compare(Kind { fixed: true, ..Kind::default() }, cases(400), BackEndChoice::Search);
}

#[test]
fn gangs_with_parts_are_placed_as_well_as_by_brute_force() {
    compare(Kind { gangs: true, ..Kind::default() }, cases(400), BackEndChoice::Search);
}

#[test]
fn pods_that_never_preempt_are_placed_as_well_as_by_brute_force_and_evict_nobody() {
    compare(Kind { polite: true, ..Kind::default() }, cases(400), BackEndChoice::Search);
}

#[test]
fn gangs_pods_that_stay_and_pods_that_never_preempt_together_are_placed_as_by_brute_force() {
    let all = Kind { gangs: true, fixed: true, polite: true };
    compare(all, cases(400), BackEndChoice::Search);
}

#[test]
fn a_certificate_survives_json_and_a_false_bound_is_noticed() {
    let kind = Kind { gangs: true, fixed: true, polite: true };
    for seed in 0..cases(200) {
        let Some(problem) = random(&mut SmallRng::seed_from_u64(seed), kind) else { continue };
        let options = options(Objective::TierByTier, BackEndChoice::Search);
        let Ok(answer) = solve(&problem, &options, &[]) else { continue };
        let certificate = Certificate::new(&problem, Objective::TierByTier, &answer);
        let text = serde_json::to_string(&certificate).expect("it is plain data");
        let read: Certificate = serde_json::from_str(&text).expect("as it was written");
        assert_eq!(read, certificate);
        verify(&problem, &read).unwrap_or_else(|error| panic!("seed {seed}: {error}: {text}"));
        for number in 0..read.stages.len() {
            let mut false_one = read.clone();
            let stage = &mut false_one.stages[number];
            let solver = matches!(stage.proof, Proof::Exhausted { .. });
            match stage.goal {
                Goal::Placed if stage.bound > 0 => stage.bound -= 1,
                Goal::Placed => continue,
                Goal::Disturbed => stage.bound += 1,
            }
            stage.status = Status::Feasible;
            false_one.status = Status::Feasible;
            let verdict = verify(&problem, &false_one);
            assert!(verdict.is_err() || solver, "seed {seed}, stage {number}: {verdict:?}");
        }
    }
}

#[test]
fn pumpkin_places_as_well_as_brute_force_and_leaves_gangs_to_the_search() {
    let fixed = Kind { fixed: true, polite: true, ..Kind::default() };
    compare(fixed, cases(100), BackEndChoice::Pumpkin);
    compare(Kind { gangs: true, ..Kind::default() }, cases(100), BackEndChoice::Pumpkin);
}

/// A library that fails at every stage.
struct Broken;

impl BackEnd for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn solve(&mut self, _: &Stage<'_>) -> Result<Found, Unfit> {
        Err(Unfit::Library { back_end: "broken", reason: "no memory".to_owned() })
    }
}

#[test]
fn a_library_that_fails_is_an_error_and_nobody_answers_in_its_name() {
    let setup = Setup { nodes: 4, pods_per_node: 4, priorities: 2, utilisation: 100 };
    let instance = &instances(setup, 1, 1).expect("instances")[0];
    let options = options(Objective::TierByTier, BackEndChoice::Search);
    let error = solve_with(&instance.problem, &options, &[], &mut Broken).expect_err("it fails");
    let expected = Unfit::Library { back_end: "broken", reason: "no memory".to_owned() };
    assert_eq!(error, SolveError::Library(expected));
}

#[test]
fn interrupted_at_once_the_answer_is_the_best_start() {
    let setup = Setup { nodes: 8, pods_per_node: 8, priorities: 4, utilisation: 100 };
    for instance in instances(setup, 1, 3).expect("instances") {
        let options = options(Objective::TierByTier, BackEndChoice::Search);
        options.budget.interrupt.store(true, Ordering::Relaxed);
        let answer = solve(&instance.problem, &options, &[]).expect("it is allowed as it is");
        let as_it_is = Placement::as_it_is(&instance.problem);
        assert_eq!(answer.placement, as_it_is, "seed {}", instance.seed);
        assert_ne!(answer.status, Status::Optimal, "seed {}", instance.seed);
    }
}

#[test]
fn an_answer_is_not_worse_than_any_start_and_the_same_for_the_same_seed() {
    let setup = Setup { nodes: 8, pods_per_node: 4, priorities: 4, utilisation: 95 };
    for instance in instances(setup, 1, 4).expect("instances") {
        let problem = &instance.problem;
        let options = options(Objective::TierByTier, BackEndChoice::Search);
        let first = solve(problem, &options, &[]).expect("it is allowed as it is");
        assert_eq!(first.status, Status::Optimal, "seed {}", instance.seed);
        let again = solve(problem, &options, &[]).expect("it is allowed as it is");
        assert_eq!(again, first, "seed {}", instance.seed);
        options.budget.interrupt.store(true, Ordering::Relaxed);
        let starts = [first.placement.clone()];
        let kept = solve(problem, &options, &starts).expect("it is allowed as it is");
        assert_eq!(kept.score, first.score, "seed {}", instance.seed);
    }
}
