//! What is tried: from a plan to ranks that reduce, and what goes wrong on the way.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota, Secret, Service};
use kube::api::{EvictParams, ListParams};
use serde_json::{Value, json};

use super::plane::{NodeSpec, Plane, eventually};
use crate::ports::free_port;
use crate::run::{PLAN, command, file, texts};

/// Two clusters of two nodes with two GPUs; the slow link between them makes two stages.
const INVENTORY: &str = r#"
[[cluster]]
name = "left"
[[cluster.nodes]]
hosts = "left[1-2]"
gpu = "A100"
gpus = 2
memory_gib = 80
gpu_link_gbit_s = 2400
tflops = 150
[[cluster.nodes.nic]]
kind = "infiniband"
rate_gbit_s = 200
hca = "mlx5_0"
[[cluster.nodes.nic]]
kind = "ethernet"
rate_gbit_s = 25
interface = "eth0"

[[cluster]]
name = "right"
[[cluster.nodes]]
hosts = "right[1-2]"
gpu = "A100"
gpus = 2
memory_gib = 80
gpu_link_gbit_s = 2400
tflops = 150
[[cluster.nodes.nic]]
kind = "roce"
rate_gbit_s = 200
hca = "mlx5_0"
[[cluster.nodes.nic]]
kind = "ethernet"
rate_gbit_s = 25
interface = "eth0"

[[link]]
between = ["left", "right"]
rate_gbit_s = 10

[model]
layers = 48
hidden = 6144
heads = 48
sequence = 1024
vocabulary = 32000
precision = "bf16"
optimizer = "adam"
recompute = "full"

[training]
global_batch = 64
"#;

const NODES: [NodeSpec<'static>; 4] =
    [("left1", "left", 2), ("left2", "left", 2), ("right1", "right", 2), ("right2", "right", 2)];

/// The program whose ranks are started, if it was built beside ours or is named.
pub(super) fn bench() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_BIN_EXE_onepath")).with_file_name("onepath-bench");
    let named = std::env::var_os("ONEPATH_BENCH").map(PathBuf::from);
    let found = named.or(Some(beside)).filter(|path| path.exists());
    if found.is_none() {
        drop(writeln!(
            std::io::stderr(),
            "skipped: no onepath-bench: cargo build --release -p onepath-bench makes it"
        ));
    }
    found
}

/// All that the pods of a job have written.
pub(super) fn logs(folder: &Path) -> String {
    let folders = fs::read_dir(folder).expect("the folder of the test").map_while(Result::ok);
    let logs = folders.filter_map(|pod| fs::read_to_string(pod.path().join("log")).ok());
    logs.collect::<Vec<_>>().join("---\n")
}

async fn pods(plane: &Plane) -> Vec<Pod> {
    plane.api::<Pod>().list(&ListParams::default()).await.expect("an answer").items
}

/// Waits until `onepath status` says so.
async fn until(plane: &Plane, what: &str, job: &str, so: impl Fn(&Value) -> bool) -> Value {
    let mut report = Value::Null;
    eventually(what, async || {
        let (_, out, errors) = plane.onepath(&["status", job, "--format", "json"]).await;
        assert_eq!(errors, "");
        report = serde_json::from_str(&out).expect("JSON");
        so(&report)
    })
    .await;
    report
}

/// The rows of a report.
fn rows(report: &Value) -> &[Value] {
    report["pods"].as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn a_plan_is_launched_and_its_ranks_reduce_what_is_checked() {
    let Some(bench) = bench() else { return };
    Plane::run("launch-reduce", &NODES, async |plane| {
        let inventory = file(&plane.folder, "inventory.toml", INVENTORY);
        let emitted = command(&["plan", &inventory, "--emit", "json"]).output().expect("it starts");
        let plan = file(&plane.folder, "plan.json", &texts(&emitted).0);
        let (bench, port) = (bench.display().to_string(), free_port());
        let options = format!("--name reduce --cpu 1 --port {port}");
        let ranks =
            [&bench, "allreduce", "--max", "64K", "--transport", "tcp", "--iterations", "5"];
        plane.launch(&plan, &format!("{options} --dry-run"), &ranks).await;
        let jobs = plane.api::<Job>().list(&ListParams::default()).await.expect("an answer");
        assert!(jobs.items.is_empty(), "a dry run makes nothing");
        plane.launch(&plan, &options, &ranks).await;
        let (code, out, errors) = plane.onepath(&["status", "reduce", "--watch"]).await;
        let logs = logs(&plane.folder);
        assert_eq!((code, &*errors), (Some(0), ""), "{out}\n{logs}");
        assert!(out.contains("job reduce: succeeded"), "{out}");
        assert!(logs.contains("# ranks 8, transport tcp"), "{logs}");
        assert!(logs.contains("# Wrong elements: 0 OK"), "{logs}");
        let mut used: BTreeMap<String, usize> = BTreeMap::new();
        for pod in pods(&plane).await {
            *used.entry(pod.spec.and_then(|spec| spec.node_name).expect("a node")).or_default() +=
                1;
        }
        assert_eq!(
            used.into_values().collect::<Vec<_>>(),
            [1; 4],
            "each node has GPUs for one pod"
        );
        plane
    });
}

#[test]
fn a_rank_that_fails_fails_the_job_and_is_named_by_its_status() {
    let nodes = [("a", "x", 2), ("b", "x", 2), ("c", "x", 8)];
    Plane::run("launch-failure", &nodes, async |plane| {
        let plan = file(&plane.folder, "plan.json", PLAN);
        let script = "[ $RANK = 1 ] && exit 7; exec sleep 1000";
        plane.launch(&plan, "--grace 60", &["sh", "-c", script]).await;
        let (code, out, errors) = plane.onepath(&["status", "small", "--watch"]).await;
        assert_eq!((code, &*errors), (Some(1), ""), "{out}");
        let failed = |report: &Value| report["pods"][0]["phase"] == "Failed";
        let report = until(&plane, "the pod of rank 1 fails", "small", failed).await;
        assert_eq!(report["state"], "failed");
        let why = report["pods"][0]["why"].as_str().expect("text");
        assert!(
            why.contains("exit status 7") && why.contains("rank 1 exited with status 7"),
            "{why}"
        );
        plane
    });
}

#[test]
fn pods_that_find_no_node_say_why() {
    let nodes = [("a", "x", 2), ("b", "x", 2)];
    Plane::run("launch-pending", &nodes, async |plane| {
        let plan = file(&plane.folder, "plan.json", PLAN);
        plane.launch(&plan, "--grace 1", &["sleep", "1000"]).await;
        let so = |report: &Value| {
            let rows = rows(report);
            let run = rows.iter().filter(|row| row["phase"] == "Running").count();
            let says = |row: &Value| row["why"].to_string().contains("Insufficient nvidia.com/gpu");
            run == 2 && rows.iter().any(says)
        };
        let what = "two pods have room, and the third one says why it has not";
        let report = until(&plane, what, "small", so).await;
        assert_eq!(report["state"], "pending");
        let (code, out, _) = plane.onepath(&["status", "small"]).await;
        assert_eq!(code, Some(1));
        assert!(out.starts_with("job small: pending, 2 of 3 pods run\n"), "{out}");
        assert!(out.contains("Unschedulable: 0/"), "{out}");
        assert!(out.contains("FailedScheduling"), "{out}");
        plane
    });
}

#[test]
fn a_pod_that_is_evicted_is_made_anew_without_restarts_and_the_job_ends_well() {
    let nodes = [("a", "x", 2), ("b", "x", 2), ("c", "x", 2)];
    Plane::run("launch-evicted", &nodes, async |plane| {
        let plan = file(&plane.folder, "plan.json", PLAN);
        let over = plane.folder.join("over");
        let script = format!("while [ ! -e {} ]; do sleep 0.1; done", over.display());
        plane.launch(&plan, "--grace 1 --restarts 0", &["sh", "-c", &script]).await;
        let runs = |report: &Value| report["state"] == "running";
        let report = until(&plane, "all pods run", "small", runs).await;
        let name = report["pods"][0]["pod"].as_str().expect("text").to_owned();
        let evicted = plane.api::<Pod>().evict(&name, &EvictParams::default()).await;
        evicted.expect("no budget forbids it");
        let again = |report: &Value| runs(report) && report["pods"][0]["pod"] != *name;
        until(&plane, "another pod runs in its place", "small", again).await;
        fs::write(&over, "").expect("a file");
        let (code, out, errors) = plane.onepath(&["status", "small", "--watch"]).await;
        assert_eq!((code, &*errors), (Some(0), ""), "{out}");
        let job = plane.api::<Job>().get("small-s0").await.expect("ours");
        let spec = job.spec.expect("a spec");
        assert_eq!(spec.backoff_limit, Some(0), "the next failure would have been one too many");
        let status = job.status.expect("a status");
        assert_eq!((status.succeeded, status.failed.unwrap_or(0)), (Some(2), 0));
        plane
    });
}

#[test]
fn where_no_node_tells_its_leaf_the_default_rule_is_dropped_and_that_is_said() {
    Plane::run_alone("launch-no-leaf", &[("a", "", 2)], async |plane| {
        let plan = file(&plane.folder, "plan.json", PLAN);
        let rule = async |job: &str| {
            let job = plane.api::<Job>().get(job).await.expect("ours");
            let marks = job.spec.and_then(|spec| spec.template.metadata).expect("marks");
            assert!(marks.annotations.as_ref().is_some_and(|all| all.len() > 3), "{marks:?}");
            (
                marks.labels.expect("labels").remove("onepath.io/part"),
                marks.annotations.expect("annotations").remove("onepath.io/part-rule"),
            )
        };
        let said = plane.launch(&plan, "--name unsaid", &["true"]).await;
        let no_label = "no node has the label network.topology.nvidia.com/leaf";
        assert!(said.starts_with("stages may lie anywhere, ") && said.contains(no_label), "{said}");
        assert_eq!(rule("unsaid-s0").await, (None, None));
        let asked = "together:network.topology.nvidia.com/leaf";
        let options = format!("--name asked --stage-rule {asked}");
        let said = plane.launch(&plan, &options, &["true"]).await;
        assert!(said.starts_with("secret/asked created\n"), "{said}");
        let expected = (Some("stage-1".to_owned()), Some(asked.to_owned()));
        assert_eq!(rule("asked-s1").await, expected);
        plane
    });
}

#[test]
fn a_job_of_which_a_part_is_refused_leaves_nothing_behind() {
    Plane::run("launch-refused", &[], async |plane| {
        let plan = file(&plane.folder, "plan.json", PLAN);
        let words = [
            "launch",
            "--kubernetes",
            "--plan",
            &plan,
            "--image",
            "none:1",
            "--node-selector",
            // No node is of this pool: kubelets of other tests are to leave its pods alone.
            "pool=launch-refused",
            "--",
            "true",
        ];
        // The server's check of one Job does not count the other one.
        let hard = json!({ "count/jobs.batch": "1" });
        let quota = json!({ "metadata": { "name": "one" }, "spec": { "hard": hard } });
        let _: ResourceQuota = plane.create(quota).await;
        let ready = async || {
            let quota = plane.api::<ResourceQuota>().get("one").await.expect("ours");
            quota.status.is_some_and(|status| status.hard.is_some() && status.used.is_some())
        };
        eventually("the quota counts", ready).await;
        let (code, out, errors) = plane.onepath(&words).await;
        assert_eq!((code, &*out), (Some(1), ""));
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.contains("job.batch/small-s1") && errors.contains("quota"), "{errors}");
        let all = ListParams::default();
        eventually("the first Job goes", async || {
            plane.api::<Job>().list(&all).await.expect("jobs").items.is_empty()
        })
        .await;
        assert!(plane.api::<Service>().list(&all).await.expect("services").items.is_empty());
        assert!(plane.api::<Secret>().list(&all).await.expect("secrets").items.is_empty());
        let missing = plane.onepath(&["status", "small"]).await;
        assert_eq!(missing.0, Some(1));
        assert!(
            missing.2.contains("has no Job with the label onepath.io/job=small"),
            "{}",
            missing.2
        );
        plane
    });
}
