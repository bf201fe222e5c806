//! Against brute force on tiny cases.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::back_end::{BackEnd, Found, Stage, Unfit};
use super::certificate::Certificate;
use super::deadline::Budget;
use super::proof::Proof;
use super::report::Status;
use super::verify::verify;
use super::{BackEndChoice, Options, SolveError, solve, solve_with};
use crate::check::check;
use crate::instances::paper::{Setup, instances};
use crate::placement::Placement;
use crate::problem::{
    Builder, GangId, Level, Mobility, Node, NodeId, PartId, PodSpec, Problem, Resource, Rule,
};
use crate::score::{Goal, Objective, Score};

/// What a random case may have.
#[derive(Clone, Copy)]
struct Kind {
    gangs: bool,
    fixed: bool,
}

/// None where a gang wants more pods than it came to have.
fn random(rng: &mut SmallRng, kind: Kind) -> Option<Problem> {
    let resource = |name: &str| Resource { name: name.to_owned(), unit: "" };
    let level = Level { label: "leaf".to_owned(), domains: vec!["a".to_owned(), "b".to_owned()] };
    let mut builder = Builder::new(vec![resource("cpu"), resource("memory")], vec![level]);
    let nodes = rng.random_range(1..=3_usize);
    let mut room = Vec::new();
    for number in 0..nodes {
        let capacity: Box<[i64]> = [rng.random_range(4..=10), rng.random_range(4..=10)].into();
        room.push(capacity.clone());
        let domain = rng.random_bool(0.9).then(|| rng.random_range(0..2));
        builder.node(Node { name: format!("n{number}"), capacity, domains: [domain].into() });
    }
    let gangs: Vec<(GangId, i64, Option<PartId>)> = (0..rng.random_range(0..=2))
        .filter(|_| kind.gangs)
        .map(|number| {
            let gang = builder.gang(format!("g{number}"), rng.random_range(0..=3));
            let rule = if rng.random_bool(0.5) {
                Rule::Together(0)
            } else {
                Rule::AtMost { level: 0, pods: rng.random_range(1..=2) }
            };
            let part = rng.random_bool(0.5).then(|| builder.part("p".to_owned(), gang, rule));
            (gang, rng.random_range(0..3), part)
        })
        .collect();
    for number in 0..rng.random_range(1..=5) {
        let request: Box<[i64]> = [rng.random_range(1..=6), rng.random_range(1..=6)].into();
        let gang = if rng.random_bool(0.6) { gangs.choose(rng).copied() } else { None };
        let priority = gang.map_or_else(|| rng.random_range(0..3), |(_, priority, _)| priority);
        let suits: Box<[bool]> = (0..nodes).map(|_| rng.random_bool(0.8)).collect();
        let class = builder.class(suits);
        for copy in 0..rng.random_range(1..=2) {
            let runs_on = rng.random_bool(0.6).then(|| rng.random_range(0..nodes)).filter(|node| {
                let fits = room[*node].iter().zip(&request).all(|(room, asked)| asked <= room);
                if fits {
                    room[*node].iter_mut().zip(&request).for_each(|(room, asked)| *room -= asked);
                }
                fits
            });
            let mobility = match rng.random_range(0..6) {
                0 if kind.fixed => Mobility::Fixed,
                1 if kind.fixed => Mobility::Evictable,
                _ => Mobility::Movable,
            };
            builder.pod(PodSpec {
                name: format!("p{number}-{copy}"),
                owner: format!("p{number}"),
                priority,
                request: request.clone(),
                class,
                runs_on: runs_on.map(|node| NodeId(node as u32)),
                mobility,
                gang: gang.map(|(gang, ..)| gang),
                part: gang.and_then(|(_, _, part)| part),
            });
        }
    }
    builder.finish().ok()
}

/// The best score of all placements.
fn brute_force(problem: &Problem, objective: Objective) -> Option<Score> {
    let nodes = problem.nodes().len() as u32;
    let mut placement = Placement::from_nodes(vec![None; problem.pods().len()]);
    let mut best: Option<Score> = None;
    loop {
        if let Ok(score) = check(problem, &placement)
            && best.as_ref().is_none_or(|best| objective.compare(&score, best).is_gt())
        {
            best = Some(score);
        }
        let mut carried = true;
        for (pod, _) in problem.numbered_pods() {
            let next = placement.node(pod).map_or(0, |node| node.0 + 1);
            carried = next == nodes;
            placement.put(pod, (!carried).then_some(NodeId(next)));
            if !carried {
                break;
            }
        }
        if carried {
            return best;
        }
    }
}

fn options(objective: Objective, back_end: BackEndChoice) -> Options {
    Options { objective, back_end, seed: 1, budget: Budget::cpu(Duration::from_mins(1)) }
}

fn compare(kind: Kind, cases: u64, back_end: BackEndChoice) {
    for seed in 0..cases {
        let mut rng = SmallRng::seed_from_u64(seed);
        let Some(problem) = random(&mut rng, kind) else { continue };
        for objective in [Objective::TierByTier, Objective::PlacementFirst] {
            let best = brute_force(&problem, objective);
            let answer = match solve(&problem, &options(objective, back_end), &[]) {
                Ok(answer) => answer,
                Err(SolveError::NoStart { .. }) => {
                    assert!(best.is_none(), "seed {seed}: {best:?}");
                    continue;
                }
                Err(error) => panic!("seed {seed}: {error}"),
            };
            let best = best.unwrap_or_else(|| panic!("seed {seed}: brute force found none"));
            assert_eq!(answer.score, best, "seed {seed}, {objective:?}: {problem:#?} {answer:#?}");
            assert_eq!(answer.status, Status::Optimal, "seed {seed}, {objective:?}: {answer:#?}");
        }
    }
}

#[test]
fn pods_alone_are_placed_as_well_as_by_brute_force() {
    compare(Kind { gangs: false, fixed: false }, 400, BackEndChoice::Search);
}

#[test]
fn pods_that_must_stay_are_respected_and_the_rest_is_as_good_as_by_brute_force() {
    compare(Kind { gangs: false, fixed: true }, 400, BackEndChoice::Search);
}

#[test]
fn gangs_with_parts_are_placed_as_well_as_by_brute_force() {
    compare(Kind { gangs: true, fixed: false }, 400, BackEndChoice::Search);
}

#[test]
fn a_certificate_survives_json_and_a_false_bound_is_noticed() {
    let kind = Kind { gangs: true, fixed: true };
    for seed in 0..200 {
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
    compare(Kind { gangs: false, fixed: true }, 100, BackEndChoice::Pumpkin);
    compare(Kind { gangs: true, fixed: false }, 100, BackEndChoice::Pumpkin);
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
