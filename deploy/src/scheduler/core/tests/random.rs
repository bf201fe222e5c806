//! Random plans against an adversary: views that are late, answers that get lost, other schedulers,
//! nodes and pods that vanish, budgets that refuse. Each prints its seed when it fails.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::world::{State, call};
use crate::scheduler::core::execution::{Action, Call, End, Execution, Limits, Outcome};
use crate::scheduler::core::plan::{Place, Plan, Target, Victim};

const STEP: Duration = Duration::from_millis(100);
/// Views are at most so many steps late; less than nodes settle.
const LATEST: usize = 6;
/// Of pods where they are seen later than nodes.
const STALEST: usize = 40;
const ROOM: i64 = 10;

/// How nasty the world is.
#[derive(Clone, Copy, Debug)]
struct Adversary {
    /// Pods are bound by another scheduler, made, and freed by budgets.
    arrivals: bool,
    /// Nodes and pods vanish, answers get lost.
    faults: bool,
    /// Pods are seen far later than nodes.
    stale: bool,
}

/// The nodes of one state, and the pods of an older one.
fn mixed(nodes: &State, pods: &State) -> State {
    let version = (nodes.version << 32) + pods.version;
    State { version, pods: pods.pods.clone(), ..nodes.clone() }
}

/// A random cluster in which everything runs that fits, and some pods wait.
fn cluster(random: &mut StdRng) -> State {
    let mut state = State::default();
    for number in 0..random.random_range(2..6) {
        state.node(&format!("n{number}"), ROOM);
    }
    for number in 0..random.random_range(4..16) {
        let (size, priority) = (random.random_range(1..7), random.random_range(0..4));
        let node = format!("n{}", random.random_range(0..state.nodes.len()));
        let fits = state.used(&node) + size <= ROOM;
        let uid = state.pod(&format!("p{number}"), fits.then_some(&node), size, priority);
        let owner = state.pods[&uid].owner.clone();
        state.pods.get_mut(&uid).expect("it is there").ours = random.random_bool(0.5);
        if random.random_bool(0.2) {
            state.budgets.insert(owner, random.random_range(0..2));
        }
    }
    state
}

/// For the most urgent waiting pod that can be helped: some node, from which less urgent pods go,
/// and ours to another node with room.
fn plan(state: &State, random: &mut StdRng) -> Option<Plan> {
    let mut waiting: Vec<_> = state.pods.values().filter(|pod| pod.node.is_none()).collect();
    waiting.sort_by_key(|pod| std::cmp::Reverse(pod.priority));
    for pod in waiting {
        let start = random.random_range(0..state.nodes.len());
        let nodes = state.nodes.keys().cycle().skip(start).take(state.nodes.len());
        for node in nodes {
            if let Some((victims, mut nodes)) = make_room(state, node, pod.size, pod.priority) {
                nodes.push(node.clone());
                nodes.sort_unstable();
                nodes.dedup();
                let places = nodes.into_iter().map(|name| Place { uid: name.clone(), name });
                let target = Target {
                    pod: pod.name.clone(),
                    node: node.clone(),
                    priority: pod.priority,
                    gang: None,
                };
                let plan = Plan::new("p".to_owned(), vec![target], victims, places.collect());
                return Some(plan.expect("it keeps to the rules"));
            }
        }
    }
    None
}

/// Who leaves a node so that so much is free, and the nodes that some of them go to.
fn make_room(
    state: &State,
    node: &str,
    size: i64,
    priority: i64,
) -> Option<(Vec<Victim>, Vec<String>)> {
    let mut used: BTreeMap<&String, i64> =
        state.nodes.keys().map(|name| (name, state.used(name))).collect();
    let (mut victims, mut nodes) = (Vec::new(), Vec::new());
    for pod in state.pods.values().filter(|pod| pod.node.as_deref() == Some(node)) {
        if state.used(node) - freed(state, &victims) + size <= ROOM {
            break;
        }
        let mut others = used.iter_mut().filter(|(name, _)| name.as_str() != node);
        let to = match others.find(|(_, used)| **used + pod.size <= ROOM) {
            Some((name, used)) if pod.ours => {
                *used += pod.size;
                nodes.push((*name).clone());
                Some((*name).clone())
            }
            _ if pod.priority < priority => None,
            _ => continue,
        };
        victims.push(Victim {
            pod: pod.name.clone(),
            node: node.to_owned(),
            to,
            priority: pod.priority,
            owner: Some(pod.owner.clone()),
            grace: Duration::from_secs(1),
        });
    }
    let enough = state.used(node) - freed(state, &victims) + size <= ROOM;
    enough.then_some((victims, nodes))
}

fn freed(state: &State, victims: &[Victim]) -> i64 {
    victims.iter().map(|victim| state.pods[&victim.pod.uid].size).sum()
}

/// The world goes on by itself: another scheduler, which sees nodes late, kubelets, and the
/// adversary.
fn live(state: &mut State, late: &State, random: &mut StdRng, adversary: Adversary) {
    for uid in state.leaving() {
        if random.random_bool(0.3) {
            state.finish(&uid);
        }
    }
    if adversary.arrivals {
        if random.random_bool(0.05) {
            let (size, priority) = (random.random_range(1..5), random.random_range(0..4));
            state.pod("arrived", None, size, priority);
        }
        let others = state.pods.values().filter(|pod| pod.node.is_none() && !pod.ours);
        let others: Vec<_> = others.map(|pod| (pod.name.uid.clone(), pod.size)).collect();
        for (uid, size) in others {
            // It knows its own bindings at once, and everything else late.
            let open = late.nodes.iter().filter(|(name, node)| {
                node.reserved_for.is_none()
                    && late.used(name).max(state.used(name)) + size <= node.room
            });
            let open: Vec<String> = open.map(|(name, _)| name.clone()).collect();
            if let Some(node) = open.first().filter(|_| random.random_bool(0.3)) {
                state.bind(&uid, node);
            }
        }
    }
    if adversary.faults {
        if random.random_bool(0.005) {
            let node = state.nodes.keys().next().cloned();
            node.map(|node| state.nodes.remove(&node));
            state.version += 1;
        }
        if random.random_bool(0.01) {
            let uid =
                state.pods.keys().nth(random.random_range(0..state.pods.len().max(1))).cloned();
            uid.map(|uid| state.pods.remove(&uid));
            state.version += 1;
        }
    }
}

/// The request is made, made without an answer, or lost.
fn request(
    state: &mut State,
    action: &Action,
    random: &mut StdRng,
    adversary: Adversary,
) -> Outcome {
    if adversary.faults && random.random_bool(0.1) {
        if random.random_bool(0.5) {
            state.apply("p", action);
        }
        return Outcome::Unclear("no answer".to_owned());
    }
    state.apply("p", action)
}

fn carry_out(seed: u64, adversary: Adversary) -> Option<End> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut state = cluster(&mut random);
    let plan = plan(&state, &mut random)?;
    let before = placed(&state);
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    let mut views: VecDeque<State> = VecDeque::from([state.clone()]);
    let mut older = views.clone();
    let mut answers: VecDeque<(Call, Outcome)> = VecDeque::new();
    let mut now = Duration::ZERO;
    while execution.ended().is_none() {
        assert!(now < Duration::from_mins(10), "seed {seed}: no end, {execution:?}");
        // What the scheduler sees never goes back in time.
        while views.len() > 1 && random.random_bool(0.6) {
            views.pop_front();
        }
        while older.len() > 1 && (!adversary.stale || random.random_bool(0.1)) {
            older.pop_front();
        }
        let view = if adversary.stale { mixed(&views[0], &older[0]) } else { views[0].clone() };
        let actions = execution.poll(&view, now);
        for action in &actions {
            let outcome = request(&mut state, action, &mut random, adversary);
            answers.extend(call(action).map(|call| (call, outcome)));
        }
        while random.random_bool(0.7) {
            let Some((call, outcome)) = answers.pop_front() else { break };
            execution.answer(call, outcome, now);
        }
        let late = views[0].clone();
        live(&mut state, &late, &mut random, adversary);
        assert_eq!(state.overfull(), None, "seed {seed}: over capacity");
        assert!(state.budgets.values().all(|left| *left >= 0), "seed {seed}: a budget is broken");
        views.push_back(state.clone());
        older.push_back(state.clone());
        for (views, latest) in [(&mut views, LATEST), (&mut older, STALEST)] {
            while views.len() > latest {
                views.pop_front();
            }
        }
        now += STEP;
    }
    assert_eq!(state.reserved(), 0, "seed {seed}: nodes are left reserved");
    if !adversary.arrivals && !adversary.faults {
        default_scheduler(&mut state);
        let after = placed(&state);
        let first = (0..4).rev().find(|tier| before.get(tier) != after.get(tier));
        if let Some(tier) = first {
            assert!(after.get(&tier) > before.get(&tier), "seed {seed}: {before:?} {after:?}");
        }
    }
    execution.ended().cloned()
}

/// Places what waits where it fits, the most urgent first: what an abandoned plan evicted comes
/// back.
fn default_scheduler(state: &mut State) {
    for uid in state.leaving() {
        state.finish(&uid);
    }
    let waiting = state.pods.values().filter(|pod| pod.node.is_none());
    let mut waiting: Vec<_> =
        waiting.map(|pod| (-pod.priority, pod.name.uid.clone(), pod.size)).collect();
    waiting.sort();
    for (_, uid, size) in waiting {
        let open = state.nodes.iter().find(|(name, node)| state.used(name) + size <= node.room);
        if let Some(node) = open.map(|(name, _)| name.clone()) {
            state.bind(&uid, &node);
        }
    }
}

/// Pods with a node by priority.
fn placed(state: &State) -> BTreeMap<i64, usize> {
    let mut placed = BTreeMap::new();
    for pod in state.pods.values().filter(|pod| pod.node.is_some() && !pod.leaving) {
        *placed.entry(pod.priority).or_default() += 1;
    }
    placed
}

/// Runs many seeds; gives how many plans were done and how many abandoned.
fn many(adversary: Adversary) -> (usize, usize) {
    let (mut done, mut abandoned) = (0, 0);
    for seed in 0..2_000 {
        match carry_out(seed, adversary) {
            Some(End::Done) => done += 1,
            Some(End::Abandoned(_)) => abandoned += 1,
            None => {}
        }
    }
    (done, abandoned)
}

#[test]
fn in_a_quiet_world_no_tier_loses_a_pod_unless_a_more_urgent_one_gains() {
    let (done, _) = many(Adversary { arrivals: false, faults: false, stale: false });
    assert!(done > 300, "only {done} plans were done");
}

#[test]
fn with_another_scheduler_alive_no_node_is_ever_too_full_and_all_is_cleaned_up() {
    let (done, abandoned) = many(Adversary { arrivals: true, faults: false, stale: false });
    assert!(done > 200 && abandoned > 20, "{done} plans done, {abandoned} abandoned");
}

#[test]
fn with_lost_answers_and_vanishing_nodes_all_is_cleaned_up_and_no_node_is_ever_too_full() {
    let (done, abandoned) = many(Adversary { arrivals: true, faults: true, stale: false });
    assert!(done > 200 && abandoned > 20, "{done} plans done, {abandoned} abandoned");
}

#[test]
fn with_pods_seen_far_later_than_nodes_no_node_is_ever_too_full_and_all_is_cleaned_up() {
    for faults in [false, true] {
        let (done, abandoned) = many(Adversary { arrivals: true, faults, stale: true });
        assert!(done > 100 && abandoned > 20, "{done} plans done, {abandoned} abandoned");
    }
}
