//! One plan each, by hand.

use std::collections::BTreeSet;
use std::time::Duration;

use super::world::{State, call, carry_out};
use crate::scheduler::core::execution::{Action, End, Execution, Limits, Reason};
use crate::scheduler::core::plan::{Place, Plan, PlanError, Target, Victim};

const LONG: Duration = Duration::from_mins(5);

fn place(name: &str) -> Place {
    Place { name: name.to_owned(), uid: name.to_owned() }
}

fn target(state: &State, uid: &str, node: &str) -> Target {
    let pod = &state.pods[uid];
    let gang = pod.gang.as_ref().map(|(gang, _)| gang.clone());
    Target { pod: pod.name.clone(), node: node.to_owned(), priority: pod.priority, gang }
}

fn victim(state: &State, uid: &str, to: Option<&str>) -> Victim {
    let pod = &state.pods[uid];
    Victim {
        pod: pod.name.clone(),
        node: pod.node.clone().expect("it runs"),
        to: to.map(str::to_owned),
        priority: pod.priority,
        owner: Some(pod.owner.clone()),
        grace: Duration::from_secs(1),
    }
}

/// `a` and `b` of 10 each: 6 of `a` are used by a pod that is ours to move, 4 of `b` by another
/// one; a gang of two, of 5 each, waits and fits only when the first moves to `b`, and `low`
/// leaves `b`.
fn moved() -> (State, Plan) {
    let mut state = State::default();
    state.node("a", 10);
    state.node("b", 10);
    let mover = state.pod("mover", Some("a"), 6, 1);
    let low = state.pod("low", Some("b"), 4, 0);
    let gang: Vec<String> = ["g1", "g2"].iter().map(|name| state.pod(name, None, 5, 1)).collect();
    for uid in &gang {
        state.pods.get_mut(uid).expect("it is there").gang = Some(("g".to_owned(), 2));
    }
    state.pods.get_mut(&mover).expect("it is there").ours = true;
    let targets = gang.iter().map(|uid| target(&state, uid, "a")).collect();
    let victims = vec![victim(&state, &mover, Some("b")), victim(&state, &low, None)];
    let places = vec![place("a"), place("b")];
    let plan = Plan::new("p1".to_owned(), targets, victims, places).expect("a plan");
    (state, plan)
}

fn node_of(state: &State, name: &str) -> Option<String> {
    state.pods.values().find(|pod| pod.name.name == name).and_then(|pod| pod.node.clone())
}

fn abandoned(execution: &Execution) -> String {
    match execution.ended() {
        Some(End::Abandoned(why)) => why.clone(),
        other => panic!("not abandoned: {other:?}"),
    }
}

/// One poll, of which every request is made and answered at once.
fn step(execution: &mut Execution, seen: &State, state: &mut State, now: Duration) -> Vec<Action> {
    let actions = execution.poll(seen, now);
    for action in &actions {
        let outcome = state.apply("p1", action);
        if let Some(call) = call(action) {
            execution.answer(call, outcome, now);
        }
    }
    actions
}

#[test]
fn a_gang_gets_the_room_that_a_move_and_an_eviction_free() {
    let (mut state, plan) = moved();
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    let tales = carry_out(&mut execution, &mut state, LONG, |_, _, _| {});
    assert_eq!(execution.ended(), Some(&End::Done));
    assert_eq!(node_of(&state, "g1").as_deref(), Some("a"));
    assert_eq!(node_of(&state, "g2").as_deref(), Some("a"));
    assert_eq!(node_of(&state, "mover").as_deref(), Some("b"));
    assert_eq!(node_of(&state, "low"), None);
    assert_eq!(state.reserved(), 0);
    let reasons: Vec<Reason> = tales.iter().map(|tale| tale.reason).collect();
    assert_eq!(reasons[..4], [Reason::Planned, Reason::Planned, Reason::Evicted, Reason::Evicted]);
    assert_eq!(reasons[4..], [Reason::Bound; 3]);
}

#[test]
fn nothing_is_evicted_before_all_nodes_are_reserved_and_time_has_passed() {
    let (mut state, plan) = moved();
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    let mut reserved_at = None;
    carry_out(&mut execution, &mut state, LONG, |state, actions, now| {
        if state.reserved() == 2 {
            reserved_at.get_or_insert(now);
        }
        if actions.iter().any(|action| matches!(action, Action::Evict { .. })) {
            let at = reserved_at.expect("nodes are reserved first");
            assert!(
                now >= at + Duration::from_millis(900),
                "evicted at {now:?}, reserved at {at:?}"
            );
        }
    });
    assert_eq!(execution.ended(), Some(&End::Done));
}

#[test]
fn a_stale_plan_evicts_nobody_and_releases_its_nodes() {
    let (mut state, plan) = moved();
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    let mut evictions = 0;
    let tales = carry_out(&mut execution, &mut state, LONG, |state, actions, now| {
        let of = |action: &&Action| matches!(action, Action::Evict { .. });
        evictions += actions.iter().filter(of).count();
        // Somebody else takes the room while the nodes are being reserved.
        if now == Duration::from_millis(200) {
            state.pod("other", Some("b"), 6, 1);
        }
    });
    assert_eq!(abandoned(&execution), "b: 12 of 10");
    assert_eq!((evictions, state.reserved()), (0, 0));
    assert_eq!(tales.last().map(|tale| tale.reason), Some(Reason::Abandoned));
    assert_eq!(node_of(&state, "mover").as_deref(), Some("a"));
}

#[test]
fn an_eviction_that_a_budget_refuses_is_waited_for_and_then_the_plan_abandoned() {
    let (mut state, plan) = moved();
    let owner = state.pods.values().find(|pod| pod.name.name == "mover").map(|pod| &pod.owner);
    let owner = owner.expect("it is there").clone();
    state.budgets.insert(owner, 0);
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    let mut last = Duration::ZERO;
    carry_out(&mut execution, &mut state, LONG, |_, _, now| last = now);
    assert!(abandoned(&execution).contains("its disruption budget allows none"));
    assert!(last >= Limits::default().refused, "given up after {last:?}");
    assert_eq!(state.reserved(), 0);
    assert_eq!(node_of(&state, "g1"), None);
}

/// The owner of the one pod of this name.
fn owner_of(state: &State, name: &str) -> String {
    let pod = state.pods.values().find(|pod| pod.name.name == name);
    pod.expect("it is there").owner.clone()
}

#[test]
fn an_eviction_that_is_denied_ends_the_plan_before_anything_is_done() {
    let (mut state, plan) = moved();
    let low = state.pods.values().find(|pod| pod.name.name == "low").expect("it is there");
    let (uid, owner) = (low.name.uid.clone(), low.owner.clone());
    state.denied.insert(owner);
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    carry_out(&mut execution, &mut state, LONG, |_, actions, _| {
        let harmless =
            |action: &Action| matches!(action, Action::Rehearse { .. } | Action::Tell(_));
        assert!(actions.iter().all(harmless), "{actions:?}");
    });
    assert_eq!(abandoned(&execution), "default/low could not be evicted: a webhook denies it");
    assert_eq!(execution.unevictable(), &BTreeSet::from([uid]));
}

#[test]
fn an_eviction_that_is_denied_only_in_earnest_ends_the_plan_and_what_was_moved_has_a_node() {
    let (mut state, mut plan) = moved();
    // The one that is moved is evicted first.
    plan.victims.reverse();
    let (uid, owner) = (plan.victims[1].pod.uid.clone(), owner_of(&state, "low"));
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    carry_out(&mut execution, &mut state, LONG, |state, actions, _| {
        if actions.iter().any(|action| matches!(action, Action::Evict { .. })) {
            state.denied.insert(owner.clone());
        }
    });
    assert_eq!(abandoned(&execution), "default/low could not be evicted: a webhook denies it");
    assert_eq!(execution.unevictable(), &BTreeSet::from([uid]));
    assert!(node_of(&state, "mover").is_some() && node_of(&state, "low").is_some());
    assert_eq!(state.reserved(), 0);
}

#[test]
fn a_victim_that_does_not_end_is_awaited_for_its_grace_period_and_a_while_and_no_longer() {
    let (mut state, plan) = moved();
    let (limits, mut now) = (Limits::default(), Duration::ZERO);
    let mut execution = Execution::new(plan, limits, now);
    let mut evicted = None;
    while execution.ended().is_none() && now < LONG {
        step(&mut execution, &state.clone(), &mut state, now);
        if state.leaving().len() == 2 {
            evicted.get_or_insert(now);
        }
        now += Duration::from_millis(100);
    }
    assert!(abandoned(&execution).contains("was evicted and did not end in time"));
    let grace = Duration::from_secs(1);
    let most = evicted.expect("they were evicted") + grace + limits.leave + limits.restore;
    assert!(now <= most + Duration::from_secs(1), "nodes were reserved until {now:?}");
    assert_eq!(state.reserved(), 0);
}

#[test]
fn a_pod_that_is_on_a_node_and_not_seen_ends_the_plan_before_anybody_is_evicted() {
    let (mut state, plan) = moved();
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    let (mut now, mut evictions) = (Duration::ZERO, 0);
    let stranger = state.pod("stranger", Some("b"), 3, 1);
    while execution.ended().is_none() && now < LONG {
        // Changes of nodes are seen, those of pods are not.
        let mut seen = state.clone();
        seen.pods.remove(&stranger);
        for action in step(&mut execution, &seen, &mut state, now) {
            evictions += usize::from(matches!(action, Action::Evict { .. }));
        }
        now += Duration::from_millis(100);
    }
    assert_eq!(abandoned(&execution), format!("node b: {stranger} is on it and not seen yet"));
    assert_eq!((evictions, state.reserved()), (0, 0));
}

#[test]
fn a_pod_that_comes_to_a_node_during_the_evictions_and_is_not_seen_ends_the_plan_before_binding() {
    let (mut state, plan) = moved();
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    let (mut now, mut stranger) = (Duration::ZERO, None);
    while execution.ended().is_none() && now < LONG {
        let mut seen = state.clone();
        seen.pods.retain(|uid, _| Some(uid) != stranger.as_ref());
        step(&mut execution, &seen, &mut state, now);
        for uid in state.leaving() {
            state.finish(&uid);
            // A pod that tolerates every taint.
            stranger.get_or_insert_with(|| state.pod("stranger", Some("a"), 1, 9));
        }
        assert_eq!(state.overfull(), None);
        now += Duration::from_millis(100);
    }
    assert!(abandoned(&execution).contains("is on it and not seen yet"));
    assert_eq!((node_of(&state, "g1"), node_of(&state, "g2")), (None, None));
    assert_eq!(state.reserved(), 0);
}

#[test]
fn a_budget_that_allows_it_later_delays_the_plan_only() {
    let (mut state, plan) = moved();
    let owner = plan.victims[0].owner.clone().expect("it has one");
    state.budgets.insert(owner.clone(), 0);
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    carry_out(&mut execution, &mut state, LONG, |state, _, now| {
        if now == Duration::from_secs(10) {
            state.budgets.insert(owner.clone(), 1);
        }
    });
    assert_eq!(execution.ended(), Some(&End::Done));
}

#[test]
fn a_node_that_vanishes_after_the_evictions_puts_what_was_moved_back() {
    let (mut state, plan) = moved();
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    let mut begun = false;
    carry_out(&mut execution, &mut state, LONG, |state, actions, _| {
        if begun {
            state.nodes.remove("b");
        }
        begun |= actions.iter().any(|action| matches!(action, Action::Evict { .. }));
    });
    assert!(abandoned(&execution).contains("node b is gone"));
    assert_eq!(node_of(&state, "mover").as_deref(), Some("a"));
    assert_eq!(node_of(&state, "g1"), None);
    assert_eq!(state.reserved(), 0);
}

#[test]
fn a_gang_that_lost_a_member_is_not_bound_in_part() {
    let (mut state, plan) = moved();
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    carry_out(&mut execution, &mut state, LONG, |state, actions, _| {
        if actions.iter().any(|action| matches!(action, Action::Evict { .. })) {
            state.pods.retain(|_, pod| pod.name.name != "g2");
            state.version += 1;
        }
    });
    assert!(abandoned(&execution).contains("gang g"));
    assert_eq!(node_of(&state, "g1"), None);
    assert!(node_of(&state, "mover").is_some(), "it was put somewhere again");
    assert_eq!(state.reserved(), 0);
}

#[test]
fn a_more_urgent_pod_that_comes_before_the_first_eviction_ends_the_plan() {
    let (mut state, plan) = moved();
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    carry_out(&mut execution, &mut state, LONG, |state, _, now| {
        if now == Duration::from_millis(300) {
            state.pod("urgent", None, 5, 9);
        }
    });
    assert!(abandoned(&execution).contains("a pod of priority 9 waits"));
    assert_eq!(node_of(&state, "low").as_deref(), Some("b"));
    assert_eq!(state.reserved(), 0);
}

#[test]
fn a_more_urgent_pod_that_waited_before_and_fits_nowhere_does_not_end_the_plan() {
    let (mut state, plan) = moved();
    let hopeless = state.pod("hopeless", None, 50, 9);
    let plan = plan.considering(BTreeSet::from([hopeless]));
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    carry_out(&mut execution, &mut state, LONG, |_, _, _| {});
    assert_eq!(execution.ended(), Some(&End::Done));
    assert_eq!(node_of(&state, "g1").as_deref(), Some("a"));
}

#[test]
fn a_plan_whose_targets_go_while_victims_take_their_time_is_abandoned_at_once() {
    let (mut state, plan) = moved();
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    let mut now = Duration::ZERO;
    while state.leaving().len() < 2 {
        assert!(now < LONG, "nobody was evicted");
        step(&mut execution, &state.clone(), &mut state, now);
        now += Duration::from_millis(100);
    }
    state.pods.retain(|_, pod| pod.gang.is_none());
    state.version += 1;
    step(&mut execution, &state.clone(), &mut state, now);
    carry_out(&mut execution, &mut state, LONG, |_, _, _| {});
    assert_eq!(abandoned(&execution), "all pods that it was for are gone or have a node");
    assert!(node_of(&state, "mover").is_some(), "it was put somewhere again");
    assert_eq!(state.reserved(), 0);
}

#[test]
fn a_stop_releases_the_nodes_at_once() {
    let (mut state, plan) = moved();
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    // The evictions are rehearsed first.
    for _ in 0..2 {
        step(&mut execution, &state.clone(), &mut state, Duration::ZERO);
    }
    assert_eq!(state.reserved(), 2);
    execution.stop("told to end".to_owned(), Duration::ZERO);
    carry_out(&mut execution, &mut state, Duration::from_secs(1), |_, _, _| {});
    assert_eq!(abandoned(&execution), "told to end");
    assert_eq!(state.reserved(), 0);
}

#[test]
fn a_stop_between_the_bindings_of_a_gang_binds_the_rest_and_releases_the_nodes() {
    let (mut state, plan) = moved();
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    let bound = |state: &State| node_of(state, "g1").is_some();
    let mut now = Duration::ZERO;
    while !bound(&state) {
        assert!(now < LONG, "nothing was bound");
        step(&mut execution, &state.clone(), &mut state, now);
        for uid in state.leaving() {
            state.finish(&uid);
        }
        now += Duration::from_millis(100);
    }
    assert_eq!(node_of(&state, "g2"), None, "one at a time");
    execution.stop("told to end".to_owned(), now);
    let farewell = Limits::default().farewell;
    carry_out(&mut execution, &mut state, farewell, |_, _, _| {});
    assert_eq!(execution.ended(), Some(&End::Done));
    assert_eq!(node_of(&state, "g2").as_deref(), Some("a"));
    assert_eq!(state.reserved(), 0);
}

#[test]
fn a_plan_that_evicts_as_urgent_a_pod_for_nothing_or_reserves_too_little_is_refused() {
    let (state, plan) = moved();
    let mut victims = plan.victims.clone();
    for victim in &mut victims {
        victim.to = None;
    }
    let made = |victims, places| Plan::new("p".to_owned(), plan.targets.clone(), victims, places);
    let pod = "default/mover".to_owned();
    let error = PlanError::TooUrgent { pod: pod.clone(), priority: 1, most: 1 };
    assert_eq!(made(victims, plan.places.clone()), Err(error));
    let mut victims = plan.victims.clone();
    for victim in &mut victims {
        victim.owner = None;
    }
    assert_eq!(made(victims, plan.places.clone()), Err(PlanError::NoOwner { pod }));
    let short = made(plan.victims.clone(), vec![place("a")]);
    assert!(matches!(short, Err(PlanError::NotReserved { .. })), "{short:?}");
    let empty = Plan::new("p".to_owned(), Vec::new(), Vec::new(), Vec::new());
    assert_eq!(empty, Err(PlanError::Empty));
    assert!(state.overfull().is_none());
}
