//! From a snapshot to a plan: solving, and what changes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use onepath_pack::evictions::unjustified;
use onepath_pack::kubernetes::{Mapping, Snapshot, SnapshotError, SnapshotOptions};
use onepath_pack::placement::Placement;
use onepath_pack::problem::{PodId, Problem};
use onepath_pack::score::{Objective, Score};
use onepath_pack::solve::deadline::Budget;
use onepath_pack::solve::report::{Answer, Status};
use onepath_pack::solve::{BackEndChoice, Options, SolveError, solve};
use thiserror::Error;

use super::core::plan::{Place, Plan, PlanError, Target, Victim};
use super::core::world::PodName;

/// What is known of a pod beside what the packer knows.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) name: PodName,
    pub(crate) owner: Option<String>,
    pub(crate) grace: Duration,
}

/// Everything that thinking needs; it runs on a thread of its own.
#[derive(Clone, Debug)]
pub(crate) struct Matter {
    pub(crate) id: String,
    pub(crate) snapshot: Snapshot,
    pub(crate) options: SnapshotOptions,
    /// The pods of the snapshot, in its order.
    pub(crate) pods: Vec<Known>,
    /// Uids of pods that stay, since they could not be evicted a short time ago.
    pub(crate) held: BTreeSet<String>,
    /// Pods that may take longer to end stay too.
    pub(crate) max_grace: Duration,
    /// The first budget of time, and the second if the first was not enough.
    pub(crate) budgets: [Duration; 2],
    pub(crate) seed: u64,
    pub(crate) interrupt: Arc<AtomicBool>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Thought {
    /// None if nothing better was found.
    pub(crate) plan: Option<Plan>,
    /// How sure that is.
    pub(crate) status: Status,
    /// By tier: its priority, pods with a node before and after, running pods disturbed.
    pub(crate) tiers: Vec<TierChange>,
    /// Waiting pods that get no node: by uid, why.
    pub(crate) left: Vec<(PodName, String)>,
    pub(crate) notes: Vec<String>,
}

/// One tier before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TierChange {
    pub(crate) priority: i64,
    pub(crate) before: u32,
    pub(crate) after: u32,
    pub(crate) disturbed: u32,
}

/// Why there is neither a plan nor the knowledge that none is better.
#[derive(Debug, Error)]
pub(crate) enum ThinkError {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Solve(#[from] SolveError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("thinking ended without a result")]
    Ended,
    #[error("a plan keeps to no disruption budget after {tries} tries")]
    Budgets { tries: usize },
}

/// How often a plan may break disruption budgets, or evict for nobody more urgent, before it is
/// given up; from the middle on all pods stay if it is the latter.
const TRIES: usize = 8;

/// Looks for a better placement: shortly, and then longer if nothing was found and nothing proved.
pub(crate) fn think(mut matter: Matter) -> Result<Thought, ThinkError> {
    let mut held: BTreeSet<usize> = staying(&matter).collect();
    for number in 0..TRIES {
        let (mut problem, mapping) = matter.snapshot.problem(&matter.options)?;
        for (id, _) in (0..).map(PodId).zip(&mapping.pods).filter(|(_, pod)| held.contains(*pod)) {
            problem.hold(id);
        }
        let Some(answer) = answer(&matter, &problem)? else { break };
        let broken = broken_budgets(&problem, &mapping, &answer.placement);
        let unjustified = unjustified(&problem, &answer.placement);
        if broken.is_empty() && unjustified.is_empty() {
            return conclude(&matter, &problem, &mapping, &answer);
        }
        held.extend(unjustified.iter().map(|pod| mapping.pods[pod.index()]));
        if number >= TRIES / 2 && !unjustified.is_empty() {
            held.extend(&mapping.pods);
        }
        // Next time as if they allowed nothing: then their pods stay.
        for budget in &mut matter.snapshot.budgets {
            if broken.contains(&budget.metadata.full_name()) {
                budget.status.get_or_insert_default().disruptions_allowed = 0;
            }
        }
    }
    Err(ThinkError::Budgets { tries: TRIES })
}

/// Running pods that no plan may evict, by their places in the snapshot.
fn staying(matter: &Matter) -> impl Iterator<Item = usize> {
    let pods = matter.snapshot.pods.iter().zip(&matter.pods).enumerate();
    let running = pods.filter(|(_, (pod, _))| !pod.spec.node_name.is_empty());
    let stays =
        |known: &Known| known.grace > matter.max_grace || matter.held.contains(&known.name.uid);
    running.filter(move |(_, (_, known))| stays(known)).map(|(index, _)| index)
}

/// The best placement: of the first budget of time, or of the second.
fn answer(matter: &Matter, problem: &Problem) -> Result<Option<Answer>, SolveError> {
    let mut answer = None;
    for time in matter.budgets {
        let found = solve(problem, &options(matter, time), &[])?;
        let enough = is_better(problem, &found) || found.status == Status::Optimal;
        answer = Some(found);
        if enough {
            break;
        }
    }
    Ok(answer)
}

fn options(matter: &Matter, time: Duration) -> Options {
    let budget = Budget { interrupt: Arc::clone(&matter.interrupt), ..Budget::wall(time) };
    let (objective, back_end) = (Objective::TierByTier, BackEndChoice::default());
    Options { objective, back_end, seed: matter.seed, budget }
}

fn is_better(problem: &Problem, answer: &Answer) -> bool {
    let before = as_it_is(problem);
    Objective::TierByTier.compare(&answer.score, &before).is_gt()
}

/// The score of everything staying as it is.
fn as_it_is(problem: &Problem) -> Score {
    let mut tiers = vec![onepath_pack::score::TierScore::default(); problem.priorities().len()];
    for pod in problem.pods() {
        tiers[pod.tier.index()].placed += u32::from(pod.runs_on.is_some());
    }
    Score { tiers }
}

/// Budgets of which more pods would be evicted than they allow.
fn broken_budgets(problem: &Problem, mapping: &Mapping, placement: &Placement) -> HashSet<String> {
    let evicted = |pod: &&PodId| {
        let runs_on = problem.pods()[pod.index()].runs_on;
        runs_on.is_some() && runs_on != placement.node(**pod)
    };
    let budgets = mapping.budgets.iter();
    let broken = budgets.filter(|one| one.pods.iter().filter(evicted).count() as i64 > one.allowed);
    broken.map(|budget| budget.name.clone()).collect()
}

fn conclude(
    matter: &Matter,
    problem: &Problem,
    mapping: &Mapping,
    answer: &Answer,
) -> Result<Thought, ThinkError> {
    let before = as_it_is(problem);
    let tiers = problem.priorities().iter().zip(before.tiers).zip(&answer.score.tiers);
    let tiers = tiers.map(|((priority, before), after)| TierChange {
        priority: *priority,
        before: before.placed,
        after: after.placed,
        disturbed: after.disturbed,
    });
    let better = is_better(problem, answer);
    let staying = note_of_staying(matter, mapping);
    let plan = if better { Some(plan(matter, problem, mapping, &answer.placement)?) } else { None };
    Ok(Thought {
        plan,
        status: answer.status,
        tiers: tiers.collect(),
        left: left(matter, problem, mapping, answer),
        notes: mapping.notes.iter().cloned().chain(staying).collect(),
    })
}

fn plan(
    matter: &Matter,
    problem: &Problem,
    mapping: &Mapping,
    placement: &Placement,
) -> Result<Plan, ThinkError> {
    let (mut targets, mut victims) = (Vec::new(), Vec::new());
    let mut nodes = BTreeSet::new();
    for (id, pod) in problem.numbered_pods() {
        let to = placement.node(id);
        if to == pod.runs_on {
            continue;
        }
        nodes.extend(to.iter().chain(&pod.runs_on).map(|node| node.index()));
        let name = |node: onepath_pack::problem::NodeId| problem.nodes()[node.index()].name.clone();
        let known = matter.pods[mapping.pods[id.index()]].clone();
        let priority = problem.priorities()[pod.tier.index()];
        match (pod.runs_on, to) {
            (Some(at), to) => victims.push(Victim {
                pod: known.name,
                node: name(at),
                to: to.map(name),
                priority,
                owner: known.owner,
                grace: known.grace,
            }),
            (None, Some(to)) => targets.push(Target {
                pod: known.name,
                node: name(to),
                priority,
                gang: pod.gang.map(|gang| problem.gangs()[gang.index()].name.clone()),
            }),
            (None, None) => {}
        }
    }
    // Problem and snapshot have the same nodes in the same order.
    let places = nodes.into_iter().map(|index| Place {
        name: matter.snapshot.nodes[index].metadata.name.clone(),
        uid: matter.snapshot.nodes[index].metadata.uid.clone(),
    });
    let plan = Plan::new(matter.id.clone(), targets, victims, places.collect())?;
    Ok(plan.considering(waiting(matter)))
}

/// What is said of pods that stay, if any of the problem do.
fn note_of_staying(matter: &Matter, mapping: &Mapping) -> Option<String> {
    let staying: BTreeSet<usize> = staying(matter).collect();
    let mut staying = mapping.pods.iter().filter(|index| staying.contains(index));
    let first = &matter.pods[*staying.next()?].name;
    let others = staying.count();
    Some(format!("{first} and {others} others stay: they {}", why_they_stay(matter)))
}

fn why_they_stay(matter: &Matter) -> String {
    let most = matter.max_grace.as_secs_f64();
    format!("could not be evicted, or may take more than {most} s to end (--max-grace)")
}

/// Uids of the pods of the snapshot that have no node.
fn waiting(matter: &Matter) -> BTreeSet<String> {
    let pods = matter.snapshot.pods.iter().zip(&matter.pods);
    let waiting = pods.filter(|(pod, _)| pod.spec.node_name.is_empty());
    waiting.map(|(_, known)| known.name.uid.clone()).collect()
}

/// Waiting pods that get no node, and why.
fn left(
    matter: &Matter,
    problem: &Problem,
    mapping: &Mapping,
    answer: &Answer,
) -> Vec<(PodName, String)> {
    let sure = if answer.status == Status::Optimal {
        "proved: no placement that disturbs nothing more urgent has a node for it"
    } else {
        "no node for it was found in the time allowed, and nothing is proved"
    };
    let mut sure = sure.to_owned();
    if note_of_staying(matter, mapping).is_some() {
        sure = format!("{sure}, while pods stay that {}", why_they_stay(matter));
    }
    let unplaced = problem
        .numbered_pods()
        .filter(|(id, pod)| pod.runs_on.is_none() && answer.placement.node(*id).is_none());
    let name = |index: usize| matter.pods[index].name.clone();
    let unplaced = unplaced.map(|(id, _)| (name(mapping.pods[id.index()]), sure.clone()));
    let not_ours = mapping.left.iter().map(|(index, why)| (name(*index), why.to_string()));
    unplaced.chain(not_ours).collect()
}

/// A plan as text, for `--dry-run` and the log.
pub(crate) fn text(thought: &Thought) -> String {
    let mut lines = Vec::new();
    let tiers: BTreeMap<_, _> =
        thought.tiers.iter().map(|tier| (std::cmp::Reverse(tier.priority), tier)).collect();
    for tier in tiers.values() {
        let TierChange { priority, before, after, disturbed } = tier;
        lines.push(format!(
            "priority {priority}: {before} pods with a node before, {after} after, \
             {disturbed} running ones disturbed"
        ));
    }
    if let Some(plan) = &thought.plan {
        lines.insert(0, format!("plan {} ({:?})", plan.id, thought.status));
        for victim in &plan.victims {
            let what = match &victim.to {
                Some(to) => format!("move {} from {} to {to}", victim.pod, victim.node),
                None => format!("evict {} from {}", victim.pod, victim.node),
            };
            lines.push(what);
        }
        let bound = plan.targets.iter();
        lines.extend(bound.map(|target| format!("bind {} to {}", target.pod, target.node)));
    } else {
        lines.insert(0, format!("no better placement ({:?})", thought.status));
    }
    lines.extend(thought.left.iter().map(|(pod, why)| format!("left {pod}: {why}")));
    lines.extend(thought.notes.iter().map(|note| format!("note: {note}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Duration;

    use onepath_pack::kubernetes::{Snapshot, SnapshotOptions};

    use super::{Known, Matter, Thought, think};
    use crate::scheduler::core::world::PodName;

    /// A node of 2 CPUs, where a pod of 2 runs, and two waiting pods of 1.
    fn matter(waiting: &str) -> Matter {
        let pod = |name: &str, spec: &str, cpu: u32| {
            format!(
                "---\nkind: Pod\nmetadata: {{name: {name}, ownerReferences: [{{kind: ReplicaSet, \
                 name: {name}, controller: true}}]}}\nspec: {{schedulerName: onepath, {spec}, \
                 containers: [{{resources: {{requests: {{cpu: {cpu}}}}}}}]}}\n"
            )
        };
        let mut snapshot = Snapshot::default();
        let node = "kind: Node\nmetadata: {name: n, uid: n}\n\
            status: {allocatable: {cpu: 2, pods: 9}}\n";
        let running = pod("running", "nodeName: n, priority: 5", 2);
        let files = [node.to_owned(), running, pod("p", waiting, 1), pod("q", waiting, 1)];
        snapshot.read(&files.concat()).expect("the objects are right");
        let known = |name: &str| Known {
            name: PodName {
                namespace: "default".to_owned(),
                name: name.to_owned(),
                uid: name.to_owned(),
            },
            owner: Some(name.to_owned()),
            grace: Duration::from_secs(30),
        };
        Matter {
            id: "plan".to_owned(),
            snapshot,
            options: SnapshotOptions::default(),
            pods: ["running", "p", "q"].map(known).to_vec(),
            held: BTreeSet::new(),
            max_grace: Duration::from_secs(30),
            budgets: [Duration::from_mins(1); 2],
            seed: 1,
            interrupt: Arc::default(),
        }
    }

    fn thought(waiting: &str) -> Thought {
        think(matter(waiting)).expect("a thought")
    }

    #[test]
    fn two_waiting_pods_do_not_evict_one_that_is_as_urgent_and_nothing_else_fails() {
        let thought = thought("priority: 5");
        assert_eq!(thought.plan, None);
        assert_eq!(thought.left.len(), 2);
    }

    #[test]
    fn more_urgent_pods_evict_unless_their_policy_is_never() {
        let plan = thought("priority: 9").plan.expect("the pod that runs is less urgent");
        assert_eq!((plan.targets.len(), plan.victims.len()), (2, 1));
        assert_eq!(thought("priority: 9, preemptionPolicy: Never").plan, None);
    }

    #[test]
    fn a_pod_that_could_not_be_evicted_or_takes_too_long_to_end_stays_and_that_is_said() {
        let held = BTreeSet::from(["running".to_owned()]);
        let held = Matter { held, ..matter("priority: 9") };
        let slow = Matter { max_grace: Duration::from_secs(29), ..matter("priority: 9") };
        for (matter, most) in [(held, 30), (slow, 29)] {
            let thought = think(matter).expect("a thought");
            assert_eq!(thought.plan, None);
            let why = format!(
                "could not be evicted, or may take more than {most} s to end (--max-grace)"
            );
            let note = format!("default/running and 0 others stay: they {why}");
            assert!(thought.notes.contains(&note), "{:?}", thought.notes);
            let left: Vec<&str> = thought.left.iter().map(|(_, why)| why.as_str()).collect();
            assert!(left.iter().all(|said| said.ends_with(&why)), "{left:?}");
        }
    }

    #[test]
    fn a_waiting_pod_may_take_as_long_to_end_as_it_likes() {
        let mut matter = matter("priority: 9");
        for known in &mut matter.pods[1..] {
            known.grace = Duration::from_hours(1);
        }
        assert!(think(matter).expect("a thought").plan.is_some());
    }
}
