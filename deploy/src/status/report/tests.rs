//! States of a job, from objects as a server has them.

use serde_json::{Value, json};

use super::*;

/// A Job of three ranks, two a pod.
fn job(conditions: &Value) -> Job {
    let value = json!({
        "metadata": { "name": "j-s0", "uid": "J", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": { "onepath.io/job": "j", "onepath.io/stage": "0" } },
        "spec": { "completions": 2, "template": { "metadata": { "annotations": {
            "onepath.io/first-rank": "4", "onepath.io/stage-ranks": "3",
            "onepath.io/ranks-per-pod": "2" } } } },
        "status": { "conditions": conditions },
    });
    serde_json::from_value(value).expect("a Job")
}

fn pod(name: &str, place: u32, made: u32, status: &Value) -> Pod {
    let value = json!({
        "metadata": { "name": name, "uid": name,
            "creationTimestamp": format!("2026-01-01T00:00:{made:02}Z"),
            "labels": { "batch.kubernetes.io/job-completion-index": place.to_string() },
            "ownerReferences": [
                { "apiVersion": "batch/v1", "kind": "Job", "name": "j-s0", "uid": "J" }] },
        "spec": { "nodeName": "n", "containers": [] },
        "status": status,
    });
    serde_json::from_value(value).expect("a pod")
}

fn report(conditions: &Value, pods: Vec<Pod>) -> Report {
    Report::new(&Collected { jobs: vec![job(conditions)], pods, events: Vec::new() })
}

fn running() -> Value {
    json!({ "phase": "Running", "containerStatuses": [{ "name": "ranks", "image": "", "imageID": "",
        "ready": true, "restartCount": 0,
        "state": { "running": { "startedAt": "2026-01-01T00:01:00Z" } } }] })
}

#[test]
fn a_place_without_a_pod_is_pending_and_ranks_follow_from_places() {
    let report = report(&json!([]), vec![pod("a", 0, 1, &running())]);
    assert_eq!(report.state, State::Pending);
    let ranks: Vec<(u32, u32)> =
        report.pods.iter().map(|row| (row.first_rank, row.last_rank)).collect();
    assert_eq!(ranks, [(4, 5), (6, 6)]);
    assert_eq!(report.pods[0].since, "2026-01-01T00:01:00Z".parse().ok());
    assert_eq!(
        (&*report.pods[1].phase, &*report.pods[1].why),
        ("None", "no pod has been made yet")
    );
}

#[test]
fn the_newest_pod_of_a_place_counts_and_those_before_it_are_restarts() {
    let failed = json!({ "phase": "Failed", "reason": "Evicted", "message": "no memory" });
    let pods =
        vec![pod("new", 0, 9, &running()), pod("old", 0, 1, &failed), pod("b", 1, 1, &running())];
    let report = report(&json!([]), pods);
    assert_eq!(report.state, State::Running);
    assert_eq!(report.pods[0].pod.as_deref(), Some("new"));
    assert_eq!((report.pods[0].restarts, report.pods[1].restarts), (1, 0));
}

#[test]
fn why_a_pod_does_not_run_is_said_in_one_line() {
    let waiting = json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled",
        "status": "False", "reason": "Unschedulable", "message": "0/4 nodes\nare available" }] });
    let image = json!({ "phase": "Pending", "containerStatuses": [{ "name": "ranks", "image": "",
        "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": { "reason": "ErrImagePull" } } }] });
    let ended = json!({ "phase": "Failed", "containerStatuses": [{ "name": "ranks", "image": "",
        "imageID": "", "ready": false, "restartCount": 0, "state": { "terminated": { "exitCode": 7,
            "message": "rank 3 exited", "finishedAt": "2026-01-01T00:02:00Z" } } }] });
    let evicted = json!({ "phase": "Failed", "conditions": [{ "type": "DisruptionTarget",
        "status": "True", "reason": "EvictionByEvictionAPI" }] });
    for (status, expected) in [
        (waiting, "Unschedulable: 0/4 nodes are available"),
        (image, "ErrImagePull"),
        (ended, "exit status 7: rank 3 exited"),
        (evicted, "EvictionByEvictionAPI"),
        (running(), ""),
    ] {
        assert_eq!(report(&json!([]), vec![pod("a", 0, 1, &status)]).pods[0].why, expected);
    }
}

#[test]
fn conditions_of_the_jobs_say_how_it_ended() {
    let condition = |kind: &str| json!([{ "type": kind, "status": "True" }]);
    for (kind, expected) in [("Failed", State::Failed), ("Complete", State::Succeeded)] {
        assert_eq!(report(&condition(kind), Vec::new()).state, expected);
    }
}
