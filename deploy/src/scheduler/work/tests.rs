//! Steps of the loop; the requests that they begin are never sent.

use std::cell::Cell;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, NodeSpec, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Client, Config};

use super::{Scheduler, Settings};
use crate::scheduler::cluster::{Change, RESERVED};
use crate::scheduler::core::plan::{Place, Plan, Target};
use crate::scheduler::core::world::PodName;

fn settings() -> Settings {
    Settings {
        patience: Duration::from_secs(5),
        budgets: [Duration::from_secs(1); 2],
        max_grace: Duration::from_mins(2),
        settle: Duration::from_secs(1),
        dry_run: false,
        once: false,
        namespace: "onepath-system".to_owned(),
        identity: "test".to_owned(),
        name: "onepath".to_owned(),
        seed: 0,
        run: "test".to_owned(),
    }
}

/// A node, reserved for a plan or not.
fn node(name: &str, plan: Option<&str>) -> Node {
    let taint = plan.map(|plan| Taint {
        key: RESERVED.to_owned(),
        value: Some(plan.to_owned()),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    });
    let (name, uid) = (Some(name.to_owned()), Some(name.to_owned()));
    Node {
        metadata: ObjectMeta { name, uid, ..ObjectMeta::default() },
        spec: Some(NodeSpec { taints: taint.map(|taint| vec![taint]), ..NodeSpec::default() }),
        ..Node::default()
    }
}

/// A scheduler that knows one free node `a`, and nothing else.
fn scheduler() -> Scheduler {
    // Nobody listens there.
    let config = Config::new("http://127.0.0.1:9".parse().expect("an address"));
    let mut scheduler = Scheduler::new(Client::try_from(config).expect("a client"), settings());
    let cluster = &mut scheduler.cluster;
    for event in [Event::Init, Event::InitApply(node("a", None)), Event::InitDone] {
        cluster.apply(Change::Node(Box::new(event)));
    }
    for event in [Event::Init, Event::InitDone] {
        cluster.apply(Change::Pod(Box::new(event)));
    }
    for event in [Event::Init, Event::InitDone] {
        cluster.apply(Change::Budget(Box::new(event)));
    }
    scheduler
}

#[tokio::test]
async fn a_reservation_that_appears_without_a_plan_is_removed_after_a_second() {
    let mut scheduler = scheduler();
    scheduler.step(&|| true);
    assert!(!scheduler.dirty, "there is nothing to clean up");
    let late = Event::Apply(node("a", Some("test-1")));
    scheduler.cluster.apply(Change::Node(Box::new(late)));
    scheduler.step(&|| true);
    assert_eq!(scheduler.cleaning.len(), 0, "it may be one that goes by itself");
    scheduler.clean_again = Instant::now();
    scheduler.step(&|| true);
    assert_eq!(scheduler.cleaning.len(), 1);
}

#[tokio::test]
async fn a_lease_that_runs_out_during_a_step_lets_go_before_a_request_is_made() {
    let mut scheduler = scheduler();
    let pod = PodName { uid: "p".to_owned(), namespace: "n".to_owned(), name: "p".to_owned() };
    let target = Target { pod, node: "a".to_owned(), priority: 0, gang: None };
    let place = Place { name: "a".to_owned(), uid: "a".to_owned() };
    let plan = Plan::new("test-1".to_owned(), vec![target], Vec::new(), vec![place]);
    scheduler.begin(plan.expect("a plan"), Duration::ZERO);
    let looks = Cell::new(0);
    let held = || {
        looks.set(looks.get() + 1);
        looks.get() < 2
    };
    scheduler.step(&held);
    assert_eq!(looks.get(), 2);
    assert!(scheduler.execution.is_none() && scheduler.calls.is_empty());
}
