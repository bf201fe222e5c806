//! Gangs, their parts and what is wrong with them.

use serde_json::{Value, json};

use super::{find, node, pod, problem, why};
use crate::problem::{Mobility, Rule};

fn member(name: &str, marks: &[(&str, &str)], over: Value) -> Value {
    let mut pod = pod(name, json!({"metadata": {"annotations": {"onepath.io/gang": "g"}}}));
    for (key, value) in marks {
        pod["metadata"]["annotations"][format!("onepath.io/{key}")] = json!(value);
    }
    super::merge(&mut pod, over);
    pod
}

#[test]
fn a_gang_is_of_all_its_pods_unless_its_minimum_is_less() {
    for (marks, minimum) in [(&[][..], 3), (&[("gang-minimum", "2")][..], 2)] {
        let pods = ["p", "q", "r"].map(|name| member(name, marks, json!({})));
        let (problem, _) = problem([node("a", &json!({}))].into_iter().chain(pods));
        let gang = &problem.gangs()[0];
        assert_eq!((gang.name.as_str(), gang.minimum, gang.pods.len()), ("default/g", minimum, 3));
    }
}

#[test]
fn groups_of_other_schedulers_are_gangs_too() {
    let group = json!({"kind": "PodGroup", "apiVersion": "scheduling.x-k8s.io/v1alpha1",
        "metadata": {"name": "g"}, "spec": {"minMember": 2}});
    for marks in [
        json!({"labels": {"scheduling.x-k8s.io/pod-group": "g"}}),
        json!({"annotations": {"scheduling.k8s.io/group-name": "g"}}),
    ] {
        let pods = ["p", "q", "r"].map(|name| pod(name, json!({"metadata": marks})));
        let objects = [node("a", &json!({})), group.clone()].into_iter().chain(pods);
        let (problem, _) = problem(objects);
        assert_eq!(problem.gangs()[0].minimum, 2, "{marks}");
    }
    let kueue = json!({"metadata": {"labels": {"kueue.x-k8s.io/pod-group-name": "g"},
        "annotations": {"kueue.x-k8s.io/pod-group-total-count": "2"}}});
    let objects = [node("a", &json!({})), pod("p", kueue)];
    assert_eq!(why(&objects, "p").as_deref(), Some("gang default/g has 1 of 2 pods"));
}

#[test]
fn parts_have_rules_by_labels_of_nodes() {
    let part = |name: &str, part: &str, rule: &str| {
        member(name, &[("part", part), ("part-rule", rule)], json!({}))
    };
    let objects = [
        node("a", &json!({"leaf": "l1"})),
        node("b", &json!({"leaf": "l2"})),
        node("c", &json!({})),
        part("p", "s0", "together:leaf"),
        part("q", "s0", "together:leaf"),
        part("r", "s1", "at-most:1:kubernetes.io/hostname"),
    ];
    let (problem, _) = problem(objects);
    assert_eq!(problem.levels().len(), 2);
    let level = &problem.levels()[1];
    assert_eq!(
        (level.label.as_str(), &level.domains[..]),
        ("leaf", &["l1".into(), "l2".into()][..])
    );
    let domains =
        |level: usize| problem.nodes().iter().map(|n| n.domains[level]).collect::<Vec<_>>();
    assert_eq!(domains(1), [Some(0), Some(1), None]);
    let rule = |name: &str| problem.parts()[find(&problem, name).part.unwrap().index()].rule;
    assert_eq!(rule("p"), Rule::Together(1));
    assert_eq!(rule("r"), Rule::AtMost { level: 0, pods: 1 });
    assert_eq!(find(&problem, "p").part, find(&problem, "q").part);
}

#[test]
fn what_is_wrong_with_a_gang_is_said_with_the_mark_and_what_would_be_right() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("gang-size", "3")], "gang default/g has 2 of 3 pods"),
        (&[("gang-minimum", "x")], "onepath.io/gang-minimum: is \"x\": a whole number from 1 on"),
        (&[("gang-size", "0")], "onepath.io/gang-size: is \"0\": a whole number from 1 on"),
        (
            &[("gang-minimum", "3"), ("gang-size", "2")],
            "onepath.io/gang-minimum: is 3, above the gang's size 2",
        ),
        (&[("part", "s")], "onepath.io/part-rule: is missing beside onepath.io/part"),
        (&[("part-rule", "together:x")], "onepath.io/part: is missing beside onepath.io/part-rule"),
        (
            &[("part", "s"), ("part-rule", "near:x")],
            "onepath.io/part-rule: is \"near:x\": together:LABEL or at-most:N:LABEL",
        ),
        (&[("part", "s"), ("part-rule", "together:")], "onepath.io/part-rule: is \"together:\""),
        (
            &[("part", "s"), ("part-rule", "at-most:0:x")],
            "onepath.io/part-rule: is \"at-most:0:x\"",
        ),
    ];
    for (marks, expected) in cases {
        let pods = ["p", "q"].map(|name| member(name, marks, json!({})));
        let objects: Vec<Value> = [node("a", &json!({}))].into_iter().chain(pods).collect();
        let why = why(&objects, "p").unwrap();
        assert!(why.starts_with(expected), "{why}");
    }
    let one = |over: Value| {
        let other = member("q", &[("gang-size", "2")], over);
        let first = member("p", &[("gang-size", "2")], json!({}));
        why(&[node("a", &json!({})), first, other], "p").unwrap()
    };
    assert!(one(json!({"spec": {"priority": 5}})).contains("have 0 and 5"));
    let size = json!({"metadata": {"annotations": {"onepath.io/gang-size": "4"}}});
    assert!(one(size).contains("say 2 and 4"));
    let gated = json!({"spec": {"schedulingGates": [{"name": "x"}]}});
    assert_eq!(one(gated), "pod default/q of its gang default/g is left");
    let lone = pod("p", json!({"metadata": {"annotations": {"onepath.io/gang-size": "4"}}}));
    assert!(why(&[node("a", &json!({})), lone], "p").unwrap().contains("is there without"));
}

#[test]
fn a_gang_that_runs_in_part_or_against_its_rule_may_stay_as_it_is() {
    let rule = [("gang-size", "3"), ("part", "s"), ("part-rule", "together:leaf")];
    let on = |node: &str| json!({"spec": {"nodeName": node}});
    let objects = [
        node("a", &json!({"leaf": "l1"})),
        node("b", &json!({"leaf": "l2"})),
        member("p", &rule, on("a")),
        member("q", &rule, on("b")),
        member("r", &rule, json!({})),
    ];
    let (problem, mapping) = problem(objects);
    assert_eq!(problem.gangs()[0].minimum, 2);
    assert!(problem.parts().is_empty());
    assert_eq!(mapping.notes.len(), 2, "{:?}", mapping.notes);
}

#[test]
fn a_gang_that_runs_in_part_is_not_moved_but_may_be_evicted() {
    let ours = |over: Value| {
        let mut pod = json!({"spec": {"schedulerName": "onepath"}});
        super::merge(&mut pod, over);
        pod
    };
    let runs = || ours(json!({"spec": {"nodeName": "a"}}));
    for (third, mobility) in [(ours(json!({})), Mobility::Evictable), (runs(), Mobility::Movable)] {
        let objects = [
            node("a", &json!({})),
            member("p", &[("gang-size", "3")], runs()),
            member("q", &[("gang-size", "3")], runs()),
            member("r", &[("gang-size", "3")], third),
        ];
        let (problem, _) = problem(objects);
        assert_eq!(find(&problem, "p").mobility, mobility);
    }
}

#[test]
fn a_member_on_its_way_out_does_not_make_a_gang_complete() {
    let size = [("gang-size", "3")];
    let goes = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": "a"}});
    let objects = [
        node("a", &json!({})),
        member("p", &size, goes),
        member("q", &size, json!({})),
        member("r", &size, json!({})),
    ];
    assert_eq!(why(&objects, "q").as_deref(), Some("gang default/g has 2 of 3 pods"));
}

#[test]
fn pods_of_a_group_that_is_not_known_are_left_unless_they_say_how_many_they_need() {
    let key = "scheduling.x-k8s.io/pod-group";
    let of_group = |name: &str| pod(name, json!({"metadata": {"labels": {key: "g"}}}));
    let mut objects = vec![node("a", &json!({})), of_group("p"), of_group("q")];
    let left = why(&objects, "p").unwrap();
    let expected = format!("{key}: is \"g\", and no PodGroup of that name is known");
    assert!(left.starts_with(&expected), "{left}");
    for pod in &mut objects[1..] {
        pod["metadata"]["annotations"] = json!({"onepath.io/gang-minimum": "2"});
    }
    assert_eq!(why(&objects, "p"), None);
}
