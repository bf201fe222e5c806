//! One plan each. Three nodes of 10 processors with a pod of 3 on each, which can be moved, and a
//! gang of two pods of 10, as urgent: the default scheduler finds no node for it, since none is
//! empty and it moves nobody; put together on one node, the three make room for it.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::objects::{NAMESPACE, Want, budget, node, node_of, pod, set};
use super::stage::{Stage, eventually, on_a_plane};

pub(super) const NODES: [&str; 3] = ["a", "b", "c"];
pub(super) const GANG: [&str; 2] = ["gang-0", "gang-1"];
pub(super) const MOVER: Want<'static> = Want { cpu_m: 3_000, tier: 0, scheduler: "onepath" };
const MEMBER: Want<'static> = Want { cpu_m: 10_000, tier: 0, scheduler: "default-scheduler" };

/// The three nodes with a pod each, and the gang, which the default scheduler has refused.
pub(super) async fn stuck_gang(stage: &Stage) {
    for name in NODES {
        stage.make(&node(name, 10_000)).await;
        let app = format!("mover-{name}");
        stage.make(&set(&app, 1, &MOVER, false)).await;
        eventually("the pod is made", async || !stage.pods_of(&app).await.is_empty()).await;
        let pod = stage.pods_of(&app).await[0].name_any();
        stage.bind(&pod, name).await;
        eventually("it runs", async || runs(&stage.pods_of(&app).await[0])).await;
    }
    for name in GANG {
        stage.make(&pod(name, &MEMBER, Some(("gang", 2)))).await;
        eventually("the default scheduler refuses it", async || {
            stage.pods_of(name).await.iter().any(refused)
        })
        .await;
    }
}

fn runs(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
}

fn refused(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| {
        condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
    })
}

async fn mover_uids(stage: &Stage) -> BTreeSet<String> {
    let mut uids = BTreeSet::new();
    for name in NODES {
        let pods = stage.pods_of(&format!("mover-{name}")).await;
        uids.extend(pods.iter().filter_map(ResourceExt::uid));
    }
    uids
}

/// How many of the pods that can be moved have a node.
async fn movers_with_a_node(stage: &Stage) -> usize {
    let mut count = 0;
    for name in NODES {
        count += stage.nodes_of(&format!("mover-{name}")).await.len();
    }
    count
}

async fn gang_is_placed(stage: &Stage) -> bool {
    let mut nodes = BTreeSet::new();
    for name in GANG {
        nodes.extend(stage.nodes_of(name).await);
    }
    nodes.len() == 2
}

/// The gang is on two nodes, the others on the third, nothing is reserved, no node was ever too
/// full.
pub(super) async fn everything_is_placed(stage: &Stage) {
    eventually("the gang is placed", async || gang_is_placed(stage).await).await;
    eventually("what was moved is placed", async || movers_with_a_node(stage).await == 3).await;
    stage.until_released().await;
    stage.watchman.report();
}

/// The witness is asked, which forgets nobody who has gone meanwhile.
async fn until_an_eviction(stage: &Stage) -> Pod {
    eventually("a pod is evicted", async || stage.watchman.first_evicted().is_some()).await;
    stage.watchman.first_evicted().expect("it was seen")
}

/// Begins a plan, until it has reserved nodes; so many seconds pass before it looks further.
async fn until_a_plan_has_reserved(stage: &mut Stage, settle_s: &str) {
    stage.start_scheduler(&["--patience", "1", "--settle", settle_s]);
    stage.until_reserved().await;
}

/// Budgets come over pods that a plan would evict when it has reserved its nodes. That ends it, for
/// this reason, and nobody is evicted.
pub(super) async fn budgets_end_a_plan(stage: &mut Stage, budgets: &[Value], reason: &str) {
    stuck_gang(stage).await;
    let movers = mover_uids(stage).await;
    // The answer to an eviction tells, so this time passes.
    until_a_plan_has_reserved(stage, "15").await;
    for budget in budgets {
        stage.make(budget).await;
    }
    let why = stage.until_event(GANG[0], "PlanAbandoned").await;
    assert!(why.contains(reason), "{why}");
    stage.until_released().await;
    assert_eq!(mover_uids(stage).await, movers, "somebody was evicted");
    assert_eq!(stage.watchman.report(), 0);
}

#[test]
fn a_gang_that_the_default_scheduler_leaves_pending_is_placed() {
    on_a_plane(async |mut stage| {
        stuck_gang(&stage).await;
        stage.start_scheduler(&["--patience", "1"]);
        everything_is_placed(&stage).await;
        assert_eq!(stage.watchman.report(), 2, "as few as can be are moved");
        let bound = stage.until_event(GANG[0], "BoundByPlan").await;
        assert!(bound.starts_with("bound to "), "{bound}");
        stage.until_event(GANG[1], "PlacementPlanned").await;
        stage.end_scheduler().await;
    });
}

#[test]
fn a_dry_run_says_what_it_would_do_and_touches_nothing_and_once_does_it() {
    on_a_plane(async |stage| {
        stuck_gang(&stage).await;
        let versions = |pods: Vec<Pod>| -> Vec<Option<String>> {
            pods.iter().map(ResourceExt::resource_version).collect()
        };
        let before = versions(stage.pods().await);
        let output = stage.run_scheduler(&["--dry-run", "--once"]).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for part in ["bind default/gang-0 to ", "bind default/gang-1 to ", "move default/mover-"] {
            assert!(said.contains(part), "{part:?} is not in:\n{said}");
        }
        assert!(said.contains("priority 4000: 3 pods with a node before, 5 after"), "{said}");
        assert_eq!(versions(stage.pods().await), before, "pods were touched");
        assert_eq!(stage.reserved().await, Some(Vec::new()));
        assert!(stage.events_of(GANG[0]).await.is_empty());

        let output = stage.run_scheduler(&["--once"]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        everything_is_placed(&stage).await;
    });
}

#[test]
fn a_new_start_of_the_api_server_in_the_middle_of_a_plan_is_survived() {
    on_a_plane(async |mut stage| {
        stage.pods_end_after(10_000);
        stuck_gang(&stage).await;
        stage.start_scheduler(&["--patience", "1"]);
        until_an_eviction(&stage).await;
        stage.plane_does("restart-apiserver").await;
        everything_is_placed(&stage).await;
        stage.end_scheduler().await;
    });
}

#[test]
fn a_node_that_is_removed_in_the_middle_ends_the_plan_and_what_was_moved_runs_again() {
    on_a_plane(async |mut stage| {
        stage.pods_end_after(10_000);
        stuck_gang(&stage).await;
        stage.start_scheduler(&["--patience", "1"]);
        let evicted = until_an_eviction(&stage).await;
        let from = node_of(&evicted).expect("it ran").to_owned();
        let gone = NODES.into_iter().find(|name| *name != from).expect("there are three");
        let nodes: Api<Node> = Api::all(stage.client.clone());
        nodes.delete(gone, &DeleteParams::default()).await.expect("the node goes");
        let why = stage.until_event(GANG[0], "PlanAbandoned").await;
        assert!(why.contains(&format!("node {gone} is gone")), "{why}");
        stage.until_released().await;
        eventually("what was moved has a node that is there", async || {
            let mut placed = 0;
            for name in NODES.into_iter().filter(|name| *name != gone) {
                let nodes = stage.nodes_of(&format!("mover-{name}")).await;
                placed += usize::from(nodes.iter().any(|node| node != gone));
            }
            placed == 2
        })
        .await;
        assert!(!gang_is_placed(&stage).await);
        stage.watchman.report();
        stage.end_scheduler().await;
    });
}

#[test]
fn a_plan_that_is_stale_is_abandoned_before_anybody_is_evicted() {
    on_a_plane(async |mut stage| {
        stuck_gang(&stage).await;
        let movers = mover_uids(&stage).await;
        until_a_plan_has_reserved(&mut stage, "30").await;
        // Past the scheduler and all taints, as a daemon would come.
        let want = Want { cpu_m: 4_000, tier: 0, scheduler: "default-scheduler" };
        for name in NODES {
            let mut intruder = pod(&format!("intruder-{name}"), &want, None);
            intruder["spec"]["nodeName"] = json!(name);
            stage.make(&intruder).await;
        }
        stage.until_event(GANG[0], "PlanAbandoned").await;
        stage.until_released().await;
        assert_eq!(mover_uids(&stage).await, movers, "somebody was evicted");
        stage.until_event(GANG[0], "NoPlacement").await;
        assert_eq!(stage.watchman.report(), 0);
        stage.end_scheduler().await;
    });
}

#[test]
fn an_eviction_that_a_budget_refuses_ends_the_plan_in_time_and_evicts_nobody() {
    on_a_plane(async |mut stage| {
        let budgets = NODES.map(|name| budget(&format!("mover-{name}"), 0));
        budgets_end_a_plan(&mut stage, &budgets, "disruption budget").await;
        stage.end_scheduler().await;
    });
}

#[test]
fn reservations_of_a_killed_instance_are_removed_by_the_next_one() {
    on_a_plane(async |mut stage| {
        stuck_gang(&stage).await;
        until_a_plan_has_reserved(&mut stage, "30").await;
        stage.kill_scheduler();
        assert_ne!(stage.reserved().await, Some(Vec::new()), "it had no time to clean up");
        let pods: Api<Pod> = Api::namespaced(stage.client.clone(), NAMESPACE);
        for name in GANG {
            pods.delete(name, &DeleteParams::default()).await.expect("the pod goes");
        }
        stage.start_scheduler(&["--patience", "1"]);
        stage.until_released().await;
        stage.watchman.report();
        stage.end_scheduler().await;
    });
}

#[test]
fn a_signal_to_end_in_the_middle_of_a_plan_leaves_nothing_behind() {
    on_a_plane(async |mut stage| {
        stuck_gang(&stage).await;
        until_a_plan_has_reserved(&mut stage, "30").await;
        stage.end_scheduler().await;
        assert_eq!(stage.reserved().await, Some(Vec::new()));
        // The lease was given up: the next one need not wait for it to run out.
        let output = stage.run_scheduler(&["--once"]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        everything_is_placed(&stage).await;
    });
}

#[test]
fn pods_with_a_gate_of_ours_and_pods_for_our_scheduler_are_bound_without_being_refused_first() {
    on_a_plane(async |mut stage| {
        stage.make(&node("a", 10_000)).await;
        stage.start_scheduler(&["--patience", "1000"]);
        let gated = Want { scheduler: "default-scheduler", ..MOVER };
        stage.make(&set("gated", 1, &gated, true)).await;
        stage.make(&set("named", 2, &MOVER, false)).await;
        for (app, count) in [("gated", 1), ("named", 2)] {
            eventually(&format!("{app} is bound"), async || {
                stage.nodes_of(app).await.len() == count
            })
            .await;
        }
        stage.until_released().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        stage.watchman.report();
        stage.end_scheduler().await;
    });
}
