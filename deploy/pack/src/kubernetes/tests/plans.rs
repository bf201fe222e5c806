//! Worker pods of a planned job.

use serde_json::{Value, json};

use super::{find, node, pod, snapshot};
use crate::kubernetes::SnapshotOptions;
use crate::kubernetes::plan::PlanRules;
use crate::problem::Rule;

/// Two stages of 16 ranks, 8 in a pod.
fn plan() -> Value {
    let stage = |number: usize| json!({"stage": number, "first_rank": 16 * number, "ranks": 16});
    json!({"format": "onepath-placement/1", "name": "llama", "constraints": [stage(0), stage(1)]})
}

fn worker(index: usize) -> Value {
    pod(
        &format!("w{index}"),
        json!({
        "metadata": {"labels": {"onepath.io/job": "llama",
            "batch.kubernetes.io/job-completion-index": index.to_string()}},
        "spec": {"containers": [{"resources": {"requests": {"nvidia.com/gpu": 8}}}]}}),
    )
}

#[test]
fn worker_pods_of_a_stage_lie_under_the_nearest_label_that_has_room() {
    let leaf = "network.topology.nvidia.com/leaf";
    let zone = "topology.kubernetes.io/zone";
    for (leaves, expected) in [(["1", "1", "2", "2"], leaf), (["1", "2", "3", "4"], zone)] {
        let nodes = leaves
            .iter()
            .enumerate()
            .map(|(index, value)| node(&format!("n{index}"), &json!({leaf: value, zone: "z"})));
        let snapshot = snapshot(nodes.chain((0..4).map(worker)));
        let rules = PlanRules::from_json(&plan().to_string()).unwrap();
        let options = SnapshotOptions { plan: Some(rules), ..SnapshotOptions::default() };
        let (problem, mapping) = snapshot.problem(&options).unwrap();
        assert_eq!(mapping.notes, [format!("each stage of llama lies within one {expected}")]);
        assert_eq!(problem.gangs()[0].minimum, 4);
        let part = |index: usize| find(&problem, &format!("w{index}")).part.unwrap();
        assert_eq!(part(0), part(1));
        assert_ne!(part(1), part(2));
        assert_eq!(problem.parts()[part(0).index()].rule, Rule::Together(0));
        assert_eq!(problem.levels()[0].label, expected);
    }
}

#[test]
fn workers_that_the_plan_does_not_know_or_that_are_missing_are_named() {
    let why = |pods: Vec<Value>| {
        let snapshot = snapshot([node("a", &json!({}))].into_iter().chain(pods));
        let rules = PlanRules::from_json(&plan().to_string()).unwrap();
        let options = SnapshotOptions { plan: Some(rules), ..SnapshotOptions::default() };
        let (_, mapping) = snapshot.problem(&options).unwrap();
        mapping.left[0].1.to_string()
    };
    assert_eq!(why(vec![worker(0), worker(1)]), "gang default/llama has 2 of 4 pods");
    let expected =
        "batch.kubernetes.io/job-completion-index: is \"4\": a rank of the plan would be right";
    assert_eq!(why(vec![worker(4)]), expected);
}

#[test]
fn what_is_no_plan_is_refused() {
    let change = |change: &dyn Fn(&mut Value)| {
        let mut plan = plan();
        change(&mut plan);
        PlanRules::from_json(&plan.to_string()).unwrap_err().to_string()
    };
    assert!(PlanRules::from_json("{").unwrap_err().to_string().starts_with("line 1: EOF"));
    assert!(change(&|plan| plan["format"] = json!("x")).starts_with("format is \"x\""));
    assert!(change(&|plan| plan["constraints"] = json!([])).contains("no stage"));
    let gap = change(&|plan| plan["constraints"][1]["first_rank"] = json!(17));
    assert_eq!(gap, "constraints: stage 1 has ranks from 17, 16 would be right");
    assert!(change(&|plan| plan["name"] = json!(1)).contains("invalid type"));
    assert!(change(&|plan| plan["constraints"][0]["ranks"] = json!(-1)).contains("invalid value"));
}
