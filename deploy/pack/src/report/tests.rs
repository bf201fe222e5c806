//! Reports of a small case.

use serde_json::{Value, json};

use super::{Case, Change, Report, csv, page, text};
use crate::default_scheduler::{Arrival, Settings, schedule};
use crate::kubernetes::{MovablePods, Snapshot, SnapshotOptions};
use crate::score::Objective;
use crate::solve::deadline::Budget;
use crate::solve::{BackEndChoice, Options, solve};

/// Two nodes of 4 CPUs with 2 and 1 in use, a gang of 4 + 1 CPUs, one pod that suits nothing and
/// one that is too large.
fn objects() -> Vec<Value> {
    let node = |name: &str| {
        json!({"kind": "Node", "metadata": {"name": name},
            "status": {"allocatable": {"cpu": 4, "memory": "8Gi", "pods": 10}}})
    };
    let pod = |name: &str, cpu: &str, on: Option<&str>, priority: i64| {
        json!({"kind": "Pod", "metadata": {"name": name, "annotations": {},
                "ownerReferences": [{"kind": "ReplicaSet", "name": name, "controller": true}]},
            "spec": {"nodeName": on, "priority": priority,
                "containers": [{"resources": {"requests": {"cpu": cpu}}}]}})
    };
    let member = |name: &str, cpu: &str| {
        let mut pod = pod(name, cpu, None, 10);
        pod["metadata"]["annotations"] = json!({"onepath.io/gang": "g<&>"});
        pod
    };
    let mut astray = pod("astray", "1", None, 0);
    astray["spec"]["nodeSelector"] = json!({"no": "where"});
    vec![
        node("a"),
        node("b"),
        pod("web", "2", Some("a"), 0),
        pod("db", "1", Some("b"), 0),
        member("w0", "4"),
        member("w1", "1"),
        astray,
        pod("huge", "9", None, 0),
    ]
}

fn with_report(objects: Vec<Value>, look: impl FnOnce(&Case<'_>, &Report)) {
    let mut snapshot = Snapshot::default();
    for object in objects {
        snapshot.add(object).unwrap();
    }
    let options = SnapshotOptions { movable: MovablePods::Owned, ..SnapshotOptions::default() };
    let (problem, mapping) = snapshot.problem(&options).unwrap();
    let settings = Settings { arrival: Arrival::AllAtOnce, preemption: false, seed: 1 };
    let default = schedule(&problem, &settings);
    let budget = Budget::wall(std::time::Duration::from_secs(10));
    let objective = Objective::default();
    let options = Options { objective, back_end: BackEndChoice::Search, seed: 1, budget };
    let answer = solve(&problem, &options, &[]).unwrap();
    let case = Case {
        snapshot: &snapshot,
        problem: &problem,
        mapping: &mapping,
        default: &default,
        answer: &answer,
        objective,
    };
    look(&case, &Report::new(&case));
}

#[test]
fn a_gang_that_the_default_leaves_is_placed_by_a_move_that_all_forms_show() {
    with_report(objects(), |case, report| {
        let [high, low] = report.tiers[..] else { panic!("two tiers") };
        assert_eq!((high.pods, high.before, high.placed), (2, 0, 2));
        assert_eq!((low.placed, low.disturbed), (2, 1));
        assert_eq!((high.default, high.default_useless), (1, 1));
        let text = text(report);
        for expected in [
            "6 pods on 2 nodes, tier by tier: optimal",
            "1 (1 in gangs not whole)",
            "default/astray  no node suits it (taints, labels, affinity, anti-affinity of pods \
             that stay)",
            "default/huge    asks for 9000m of cpu, no node has more than 4000m beside \
             pods that stay",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
        let csv = csv(report);
        assert_eq!(csv.lines().count(), 7);
        assert!(csv.contains("moved,\n"), "{csv}");
        assert!(
            csv.contains(
                "\"asks for 9000m of cpu, no node has more than 4000m beside pods that stay\""
            ),
            "{csv}"
        );
        let page = page(case, report);
        assert!(page.contains("g&lt;&amp;&gt;") && !page.contains("g<&>"));
        assert!(page.contains("class=\"mark\"") && page.contains("class=\"pod gang t0\""));
        for outside in ["http:", "https:", "<script", "url(h", "@import"] {
            let page = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!page.contains(outside), "{outside}");
        }
        let json = serde_json::to_value(report).unwrap();
        assert_eq!(json["format"], "onepath-pack/1");
        assert_eq!(json["pods"].as_array().map(Vec::len), Some(6));
    });
}

#[test]
fn a_budget_that_lets_moves_happen_one_by_one_is_noted() {
    let mut objects = objects();
    objects[2]["metadata"]["labels"] = json!({"app": "x"});
    objects[3]["metadata"]["labels"] = json!({"app": "x"});
    // Both must leave: three CPUs are asked for on each node.
    objects[4] = objects[4].clone();
    objects.truncate(6);
    objects.push(json!({"kind": "PodDisruptionBudget", "metadata": {"name": "b"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "maxUnavailable": 1}}));
    let more = json!({"requests": {"cpu": "4"}});
    objects[5]["spec"]["containers"][0]["resources"] = more;
    with_report(objects, |_, report| {
        let note = "PodDisruptionBudget default/b allows 1 of 2 disruptions at a time: one after \
            another, as replacements become ready";
        assert_eq!(report.notes, [note]);
    });
}

#[test]
fn a_pod_that_never_preempts_waits_and_is_told_what_it_lacks() {
    let mut objects = objects();
    objects.truncate(4);
    let mut polite = json!({"kind": "Pod", "metadata": {"name": "polite"}, "spec": {"priority": 10,
        "preemptionPolicy": "Never", "containers": [{"resources": {"requests": {"cpu": "4"}}}]}});
    objects.push(polite.clone());
    polite["metadata"]["name"] = json!("small");
    polite["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("3");
    objects.push(polite);
    with_report(objects, |_, report| {
        let changes: Vec<Change> = report.pods.iter().map(|pod| pod.change).collect();
        assert_eq!(changes, [Change::Stays, Change::Stays, Change::Pending, Change::Placed]);
        let reason = report.pods[2].reason.as_deref();
        let expected = "asks for 4000m of cpu that is free now, no node has more than 3000m for a \
            pod that never preempts";
        assert_eq!(reason, Some(expected));
    });
}
