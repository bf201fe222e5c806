//! One plan each, by hand.

use std::time::Duration;

use super::world::{State, carry_out};
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
fn a_stop_releases_the_nodes_at_once() {
    let (mut state, plan) = moved();
    let mut execution = Execution::new(plan, Limits::default(), Duration::ZERO);
    for action in execution.poll(&state, Duration::ZERO) {
        let outcome = state.apply("p1", &action);
        if let Some(call) = super::world::call(&action) {
            execution.answer(call, outcome, Duration::ZERO);
        }
    }
    assert_eq!(state.reserved(), 2);
    execution.stop("told to end".to_owned(), Duration::ZERO);
    carry_out(&mut execution, &mut state, Duration::from_secs(1), |_, _, _| {});
    assert_eq!(abandoned(&execution), "told to end");
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
