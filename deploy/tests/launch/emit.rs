//! YAML of a job is read back, and says what the plan says.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Secret, Service};
use onepath_pack::kubernetes::{Snapshot, SnapshotOptions};
use onepath_pack::problem::Rule;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::run::{PLAN, file, folder, launch, texts};

/// The documents that are written with these options.
fn documents(test: &str, options: &[&str]) -> Vec<Value> {
    let plan = file(&folder(test), "plan.json", PLAN);
    let mut arguments = vec!["--kubernetes", "--plan", &plan, "--image", "r/x:1", "--emit"];
    arguments.extend(options);
    arguments.extend(["--", "train", "--seed", "$(date)"]);
    let (out, errors) = texts(&launch(&arguments));
    assert_eq!(errors, "");
    out.split("---\n").skip(1).map(|text| serde_saphyr::from_str(text).expect(text)).collect()
}

/// Nothing is lost on the way through the type, so each field is one that Kubernetes knows.
fn typed<K: DeserializeOwned + Serialize>(value: &Value) -> K {
    let object: K = serde_json::from_value(value.clone()).expect("an object of its kind");
    assert_eq!(&serde_json::to_value(&object).expect("it is written"), value);
    object
}

fn field<'a>(value: &'a Value, path: &str) -> &'a Value {
    value.pointer(path).unwrap_or_else(|| panic!("no {path} in {value:#}"))
}

const TEMPLATE: &str = "/spec/template/spec";

#[test]
fn a_plan_becomes_a_secret_a_service_and_an_indexed_job_for_each_stage() {
    let all = documents("emit", &["--namespace", "ns"]);
    let [secret, service, first, second] = all.as_slice() else { panic!("{}", all.len()) };
    let secret: Secret = typed(secret);
    assert_eq!(secret.string_data.expect("data")["secret"].len(), 64);
    let service: Service = typed(service);
    assert_eq!(service.spec.and_then(|spec| spec.cluster_ip), Some("None".to_owned()));
    for (job, name, pods, per_pod, from) in
        [(first, "small-s0", 2, "2", "0"), (second, "small-s1", 1, "2", "3")]
    {
        typed::<Job>(job);
        assert_eq!(field(job, "/metadata/name"), name);
        assert_eq!(field(job, "/metadata/namespace"), "ns");
        assert_eq!(field(job, "/spec/completionMode"), "Indexed");
        assert_eq!(field(job, "/spec/completions"), pods);
        assert_eq!(field(job, "/spec/parallelism"), pods);
        let meta = field(job, "/spec/template/metadata");
        assert_eq!(field(meta, "/labels/onepath.io~1gang"), "small");
        assert_eq!(field(meta, "/labels/onepath.io~1job"), "small");
        assert_eq!(
            field(meta, "/labels/onepath.io~1part"),
            &json!(format!("stage-{}", &name[7..]))
        );
        assert_eq!(field(meta, "/annotations/onepath.io~1gang-size"), "3");
        assert_eq!(field(meta, "/annotations/onepath.io~1gang-minimum"), "3");
        let rule = "together:network.topology.nvidia.com/leaf";
        assert_eq!(field(meta, "/annotations/onepath.io~1part-rule"), rule);
        let pod = field(job, TEMPLATE);
        assert_eq!(field(pod, "/subdomain"), "small");
        assert_eq!(pod.get("schedulerName"), None);
        let container = field(pod, "/containers/0");
        assert_eq!(field(container, "/image"), "r/x:1");
        // Kubernetes takes $(NAME) for a variable: the command gets what was written.
        assert_eq!(field(container, "/args"), &json!(["train", "--seed", "$$(date)"]));
        assert_eq!(field(container, "/resources/limits/nvidia.com~1gpu"), per_pod);
        let variable = |name: &str| {
            let all = field(container, "/env").as_array().expect("a list");
            let found = all.iter().find(|variable| variable["name"] == name);
            found.map(|variable| variable["value"].as_str().expect("text").to_owned())
        };
        assert_eq!(variable("WORLD_SIZE").as_deref(), Some("5"));
        assert_eq!(variable("MASTER_ADDR").as_deref(), Some("small-s0-0.small"));
        assert_eq!(variable("ONEPATH_STAGE_FIRST_RANK").as_deref(), Some(from));
        assert_eq!(variable("NCCL_SOCKET_IFNAME"), None);
        assert_eq!(
            variable("NCCL_IB_HCA"),
            Some(if pods == 2 { "=mlx5_0" } else { "=mlx5_9" }.into())
        );
    }
}

const OPTIONS: &str = "\
    --name other --scheduler onepath --gate --priority-class high --stage-rule \
    at-most:1:kubernetes.io/hostname --ranks-per-pod 1 --gpu-resource amd.com/gpu \
    --gpu-label gpu.product --node-selector pool=a --cpu 500m --memory 1Gi --resource \
    rdma/hca=1 --shm 2Gi --host-network --restarts 2 --port 1234 --grace 7 --workdir /w \
    --env COLOUR=red";

#[test]
fn each_option_stands_where_kubernetes_looks_for_it() {
    let options: Vec<&str> = OPTIONS.split_whitespace().collect();
    let all = documents("emit-options", &options);
    let job = &all[2];
    typed::<Job>(job);
    assert_eq!(field(job, "/metadata/name"), "other-s0");
    assert_eq!(field(job, "/spec/completions"), 3);
    assert_eq!(field(job, "/spec/backoffLimit"), 6);
    let meta = field(job, "/spec/template/metadata");
    assert_eq!(field(meta, "/labels/onepath.io~1movable"), "true");
    let rule = "at-most:1:kubernetes.io/hostname";
    assert_eq!(field(meta, "/annotations/onepath.io~1part-rule"), rule);
    let pod = field(job, TEMPLATE);
    for (path, expected) in [
        ("/schedulerName", json!("onepath")),
        ("/priorityClassName", json!("high")),
        ("/schedulingGates", json!([{ "name": "onepath.io/gang" }])),
        ("/nodeSelector", json!({ "pool": "a", "gpu.product": "A100" })),
        ("/hostNetwork", json!(true)),
        ("/terminationGracePeriodSeconds", json!(12)),
        ("/containers/0/workingDir", json!("/w")),
        ("/containers/0/ports/0/containerPort", json!(1234)),
        (
            "/containers/0/resources",
            json!({
                "limits": { "amd.com/gpu": "1", "memory": "1Gi", "rdma/hca": "1" },
                "requests": { "amd.com/gpu": "1", "memory": "1Gi", "rdma/hca": "1", "cpu": "500m" },
            }),
        ),
    ] {
        assert_eq!(field(pod, path), &expected, "{path}");
    }
    let variables = field(pod, "/containers/0/env");
    let text = variables.to_string();
    for part in ["COLOUR", "NCCL_SOCKET_IFNAME"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn another_run_has_another_secret_and_another_mark() {
    for path in ["/stringData/secret", "/metadata/annotations/onepath.io~1launch"] {
        let of = |test| field(&documents(test, &[])[0], path).clone();
        assert_ne!(of("emit-once"), of("emit-twice"), "{path}");
    }
}

#[test]
fn a_rule_that_nobody_asked_for_is_said_before_the_objects() {
    let plan = file(&folder("emit-rule"), "plan.json", PLAN);
    let written = |more: &[&str]| {
        let words = ["--kubernetes", "--plan", &plan, "--image", "r/x:1", "--emit"];
        texts(&launch(&[&words[..], more, &["--", "true"]].concat())).0
    };
    let text = written(&[]);
    let (comment, _) = text.split_once("---\n").expect("documents");
    assert!(comment.lines().all(|line| line.starts_with("# ")), "{comment}");
    assert!(comment.contains("nvidia.com/leaf") && comment.contains("--stage-rule"), "{comment}");
    assert!(written(&["--stage-rule", "none"]).starts_with("---\n"));
}

/// The pods of a Job as its controller makes them (`pkg/controller/job`).
fn pods_of(job: &Value) -> Vec<Value> {
    let name = field(job, "/metadata/name").as_str().expect("a name");
    let pod = |index: u64| {
        let mut pod = field(job, "/spec/template").clone();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["spec"]["hostname"] = json!(format!("{name}-{index}"));
        let metadata = &mut pod["metadata"];
        metadata["name"] = json!(format!("{name}-{index}-x7k2p"));
        metadata["namespace"] = field(job, "/metadata/namespace").clone();
        metadata["finalizers"] = json!(["batch.kubernetes.io/job-tracking"]);
        metadata["ownerReferences"] = json!([{
            "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": name,
            "controller": true, "blockOwnerDeletion": true,
        }]);
        for (place, mark, value) in [
            ("labels", "batch.kubernetes.io/job-name", name),
            ("labels", "batch.kubernetes.io/job-completion-index", &index.to_string()),
            ("annotations", "batch.kubernetes.io/job-completion-index", &index.to_string()),
        ] {
            metadata[place][mark] = json!(value);
        }
        pod["status"] = json!({"phase": "Pending"});
        pod
    };
    (0..field(job, "/spec/completions").as_u64().expect("a number")).map(pod).collect()
}

#[test]
fn the_pod_scheduler_reads_its_pods_as_one_gang_with_the_rule_of_each_stage() {
    let leaf = "network.topology.nvidia.com/leaf";
    let host = "kubernetes.io/hostname";
    for (options, rule) in [
        (&["--gate"][..], Some((Rule::Together(0), leaf))),
        (&["--scheduler", "onepath"], Some((Rule::Together(0), leaf))),
        (
            &["--stage-rule", "at-most:1:kubernetes.io/hostname"],
            Some((Rule::AtMost { level: 0, pods: 1 }, host)),
        ),
        (&["--stage-rule", "none"], None),
    ] {
        let all = documents("emit-gang", &[&["--namespace", "ns"], options].concat());
        // Made by the controller, and as the packer expects them of Jobs in a file.
        let made: Vec<Value> = all[2..].iter().flat_map(pods_of).collect();
        for objects in [made, all[2..].to_vec()] {
            let mut snapshot = Snapshot::default();
            for (name, leaf) in [("a1", "x"), ("a2", "x"), ("b1", "y")] {
                let has = json!({"cpu": "8", "memory": "8Gi", "pods": "9", "nvidia.com/gpu": "2"});
                let node = json!({"kind": "Node", "status": {"allocatable": has}, "metadata": {
                    "name": name, "labels": {"network.topology.nvidia.com/leaf": leaf}}});
                snapshot.add(node).expect("a node");
            }
            for object in objects {
                snapshot.add(object).expect("an object");
            }
            let (problem, mapping) =
                snapshot.problem(&SnapshotOptions::default()).expect("a problem");
            assert!(mapping.left.is_empty(), "{options:?}: {:?}", mapping.left);
            let [gang] = problem.gangs() else { panic!("{:?}", problem.gangs()) };
            assert_eq!((&*gang.name, gang.minimum, gang.pods.len()), ("ns/small", 3, 3));
            let parts = problem.parts().iter();
            let parts: Vec<_> =
                parts.map(|part| (&*part.name, part.pods.len(), part.rule)).collect();
            let Some((rule, label)) = rule else {
                assert!(parts.is_empty(), "{parts:?}");
                continue;
            };
            assert_eq!(parts, [("stage-0", 2, rule), ("stage-1", 1, rule)], "{options:?}");
            assert_eq!(problem.levels()[0].label, label);
        }
    }
}
