//! Against trying everything, on tiny problems. Without the library they say so and check nothing.

use std::io::Write as _;
use std::time::Duration;

use super::CpSat;
use crate::check::check;
use crate::placement::Placement;
use crate::problem::{Builder, Level, Mobility, Node, NodeId, PodSpec, Problem, Resource, Rule};
use crate::random::Random;
use crate::score::{Objective, Score};
use crate::solve::deadline::Budget;
use crate::solve::report::Status;
use crate::solve::tests::random::cases;
use crate::solve::{Options, solve_with};

const NODES: u32 = 3;

/// The library, or why nothing is tested.
fn library() -> Option<CpSat> {
    CpSat::open(None)
        .inspect_err(|error| drop(writeln!(std::io::stderr(), "skipped: {error}")))
        .ok()
}

fn options(objective: Objective) -> Options {
    let budget = Budget::wall(Duration::from_mins(1));
    Options { objective, seed: 1, budget, back_end: crate::solve::BackEndChoice::default() }
}

/// Two resources, three nodes below two leaves, a gang with a part, and single pods of sets of two.
fn tiny(random: &mut Random) -> Option<Problem> {
    let kinds = ["cpu", "memory"].map(|name| Resource { name: name.to_owned(), unit: "" });
    let domains = vec!["a".to_owned(), "b".to_owned()];
    let mut builder = Builder::new(kinds.to_vec(), vec![Level { label: "leaf".into(), domains }]);
    for number in 0..NODES {
        let domains = Box::new([Some(number / 2)]);
        let capacity = Box::new([random.between(4, 8), random.between(4, 8)]);
        builder.node(Node { name: format!("node-{number}"), capacity, domains });
    }
    let gang = builder.gang("gang".to_owned(), random.between(1, 2) as u32);
    let rule = [Rule::Together(0), Rule::AtMost { level: 0, pods: 1 }][random.below(2) as usize];
    let part = builder.part("part".to_owned(), gang, rule);
    let all = builder.class(Box::new([true; NODES as usize]));
    let some = builder.class(Box::new([true, false, true]));
    let of_gang = random.between(1, 3);
    let gang_priority = random.between(1, 2);
    let gang_request = Box::new([random.between(1, 5), random.between(1, 5)]);
    let kinds = [Mobility::Movable, Mobility::Movable, Mobility::Evictable, Mobility::Fixed];
    let mut requests = Vec::new();
    for number in 0..6 {
        let in_gang = number < of_gang;
        if number % 2 == 0 {
            requests.push(Box::new([random.between(1, 5), random.between(1, 5)]));
        }
        let request = requests[number as usize / 2].clone();
        let runs = random.below(3) > 0;
        builder.pod(PodSpec {
            name: format!("pod-{number}"),
            owner: if in_gang { "gang".into() } else { format!("owner-{}", number / 2) },
            priority: if in_gang { gang_priority } else { 1 + number / 2 % 2 },
            request: if in_gang { gang_request.clone() } else { request },
            class: if number == 4 { some } else { all },
            runs_on: runs.then(|| NodeId(random.below(u64::from(NODES)) as u32)),
            mobility: kinds[random.below(4) as usize],
            gang: in_gang.then_some(gang),
            part: in_gang.then_some(part),
        });
    }
    builder.finish().ok()
}

/// The best score of all placements.
fn best(problem: &Problem, objective: Objective) -> Option<Score> {
    let pods = problem.pods().len() as u32;
    let choices = NODES + 1;
    let all = (0..choices.pow(pods)).filter_map(|number| {
        let node = |pod: u32| (number / choices.pow(pod) % choices).checked_sub(1).map(NodeId);
        check(problem, &Placement::from_nodes((0..pods).map(node).collect())).ok()
    });
    all.reduce(|a, b| if objective.compare(&b, &a).is_gt() { b } else { a })
}

#[test]
fn what_it_proves_is_what_trying_everything_finds() {
    let Some(mut back_end) = library() else { return };
    let seed = 11;
    let mut random = Random::new(seed);
    let mut compared = 0;
    let cases = cases(60);
    while compared < cases {
        let Some(problem) = tiny(&mut random) else { continue };
        for objective in [Objective::TierByTier, Objective::PlacementFirst] {
            let Ok(answer) = solve_with(&problem, &options(objective), &[], &mut back_end) else {
                continue;
            };
            let best = best(&problem, objective).expect("the answer at least");
            assert_eq!(answer.score, best, "seed {seed}, case {compared}: {problem:#?}");
            assert_eq!(answer.status, Status::Optimal, "seed {seed}, case {compared}");
            compared += 1;
        }
    }
    println!("seed {seed}: {compared} answers equal to brute force");
}

#[test]
fn an_interrupted_search_gives_the_present_state() {
    let Some(mut back_end) = library() else { return };
    let setup = crate::instances::paper::Setup {
        nodes: 32,
        pods_per_node: 8,
        priorities: 4,
        utilisation: 105,
    };
    let problem = crate::instances::paper::problem(setup, 1).expect("a problem");
    let options = options(Objective::TierByTier);
    options.budget.interrupt.store(true, std::sync::atomic::Ordering::Relaxed);
    let answer = solve_with(&problem, &options, &[], &mut back_end).expect("an answer");
    assert_eq!(answer.score, answer.start);
}

#[test]
fn a_file_that_is_no_library_is_refused_by_its_name() {
    let error = CpSat::open(Some(std::path::Path::new("/etc/passwd"))).expect_err("no library");
    assert!(error.to_string().starts_with("/etc/passwd: cannot be loaded: "), "{error}");
}
