//! The plan itself.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde_json::Value;

use crate::run::{HOLMES, LARGE, changed, clusters, emit, file, folder, json, onepath, text};

fn numbers(value: &Value) -> Vec<u64> {
    let list = value.as_array().expect("a list");
    list.iter().map(|number| number.as_u64().expect("a number")).collect()
}

#[test]
fn the_explanation_of_the_example_names_groups_networks_and_times() {
    let text = text(&["plan", HOLMES]);
    for part in [
        "plan of holmes-hybrid: 64 of 64 GPUs on 8 of 8 nodes in 2 cluster(s)",
        "predicted iteration",
        "bubble",
        "lower bound",
        "gap",
        "memory of a GPU",
        "infiniband",
        "roce",
        "the link ib - roce",
        "GB an iteration",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!text.contains("WARNING"), "{text}");
}

#[test]
fn clusters_hold_contiguous_ranks_and_only_pipelines_cross_them() {
    let large = clusters(&[6, 10, 4], LARGE);
    for path in [Path::new(HOLMES).to_owned(), file("plans-large", "large.toml", large)] {
        let plan = json(&path);
        let nodes = plan["nodes"].as_array().expect("nodes");
        let mut clusters: Vec<&str> =
            nodes.iter().map(|node| node["cluster"].as_str().expect("a name")).collect();
        clusters.dedup();
        let different: BTreeSet<&str> = clusters.iter().copied().collect();
        assert_eq!(clusters.len(), different.len(), "{clusters:?}");
        let cluster_of = |rank: u64| {
            let node = nodes.iter().find(|node| {
                let first = node["first_rank"].as_u64().expect("a rank");
                (first..first + node["ranks"].as_u64().expect("a number")).contains(&rank)
            });
            node.expect("every rank has a node")["cluster"].as_str().expect("a name")
        };
        let mut crossing = 0;
        for group in plan["groups"].as_array().expect("groups") {
            let ranks = numbers(&group["ranks"]);
            let inside: BTreeSet<&str> = ranks.iter().map(|&rank| cluster_of(rank)).collect();
            let kind = group["kind"].as_str().expect("a kind");
            if inside.len() > 1 {
                assert!(["pp", "tp-pp"].contains(&kind), "{kind} over {inside:?}");
                assert_eq!(group["kind"], kind);
                assert_eq!(group["net_name"], "Socket", "{group}");
                crossing += 1;
            } else if kind == "dp" && group["nodes"].as_u64() > Some(1) {
                assert_eq!(group["net_name"], "IB", "{group}");
                assert_eq!(group["fallback_from"], Value::Null);
            }
        }
        assert!(crossing > 0, "no pipeline crosses");
    }
}

#[test]
fn groups_of_the_example_are_those_of_holmes_formulas() {
    let plan = json(Path::new(HOLMES));
    let degree = |name: &str| plan["degrees"][name].as_u64().expect("a degree");
    let (t, d, p) = (degree("tensor"), degree("data"), degree("pipeline"));
    let n = t * d * p;
    let groups = |kind: &str| -> Vec<Vec<u64>> {
        let all = plan["groups"].as_array().expect("groups").iter();
        all.filter(|group| group["kind"] == kind).map(|group| numbers(&group["ranks"])).collect()
    };
    let data = (0..p).flat_map(|s| {
        (0..t).map(move |j| (0..d).map(|k| s * n / p + j + k * t).collect::<Vec<_>>())
    });
    assert_eq!(groups("dp"), data.collect::<Vec<_>>());
    let pipeline = (0..n / p).map(|i| (0..p).map(|k| i + k * n / p).collect::<Vec<_>>());
    assert_eq!(groups("pp"), pipeline.collect::<Vec<_>>());
}

#[test]
fn all_layers_are_placed_and_fit_the_memory() {
    let plan = json(Path::new(HOLMES));
    let mut next = 0;
    for stage in plan["stages"].as_array().expect("stages") {
        let number = |name: &str| stage[name].as_u64().expect("a number");
        assert_eq!(number("first_layer"), next);
        next += number("layers");
        assert!(number("memory_bytes") <= number("memory_of_gpu_bytes"));
    }
    assert_eq!(next, 32);
    let number = |name: &str| plan[name].as_f64().expect("a number");
    assert!(number("lower_bound_s") <= number("iteration_s"));
    assert!((number("samples_per_s") * number("iteration_s") - 768.0).abs() < 1e-6);
    // What pipelines exchange goes over the link between the clusters.
    let bytes = |list: &str, index: usize| plan[list][index]["bytes"].as_u64().expect("bytes");
    let pipeline = plan["traffic"].as_array().expect("traffic").iter();
    let crossing: u64 = pipeline
        .filter(|class| class["kind"] == "pp" && class["carrier"] == "ethernet")
        .map(|class| class["bytes"].as_u64().expect("bytes"))
        .sum();
    assert_eq!(bytes("links", 0), crossing);
    // 768 samples of 2048 tokens, 3072 numbers of 2 bytes each, forward and backward.
    assert_eq!(crossing, 768 * 2048 * 3072 * 2 * 2);
}

#[test]
fn gpus_that_a_plan_leaves_out_are_warned_of() {
    let end = "[[cluster.nodes.nic]]\nkind = \"roce\"";
    let mixed = changed(&[
        ("[[cluster]]\nname = \"roce\"\n", ""),
        (
            "[[link]]\nbetween = [\"ib\", \"roce\"]\nkind = \"ethernet\"\nrate_gbit_s = 25\n\
             latency_us = 50\n",
            "",
        ),
        ("[training]\n", "[training]\nmax_pipeline = 1\nmax_tensor = 1\n"),
    ]);
    assert!(mixed.contains(end));
    let path = file("plans-mixed", "mixed.toml", mixed);
    // A stage lies in one pool, so the data-parallel groups stay on fast networks even here.
    let output = onepath(&["plan", &path.display().to_string()]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("warning: the best plan found leaves 32 of 64 GPUs out"), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("*** WARNING: the best plan found leaves 32 of 64"), "{text}");
}

#[test]
fn the_picture_is_well_formed_and_needs_nothing_else() {
    let page = emit(Path::new(HOLMES), "html");
    assert!(page.starts_with("<!DOCTYPE html>"));
    for outside in ["<script", "http://", "https://", "src=", "@import"] {
        let found = page.replace("http://www.w3.org/2000/svg", "").contains(outside);
        assert!(!found, "{outside}");
    }
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.as_str();
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').expect("every tag ends");
        let tag = &rest[start + 1..end];
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or("");
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed));
        } else if !tag.ends_with('/') && !["!DOCTYPE", "meta"].contains(&name) {
            open.push(name);
        }
        rest = &rest[end + 1..];
    }
    assert_eq!(open, Vec::<&str>::new());
    for part in ["stage 0", "stage 1", "class=\"forward\"", "class=\"backward\"", "ib - roce"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn csv_has_a_row_of_as_many_cells_for_each_group() {
    let csv = text(&["plan", HOLMES, "--format", "csv"]);
    let groups = json(Path::new(HOLMES))["groups"].as_array().expect("groups").len();
    assert_eq!(csv.lines().count(), 1 + groups);
    let columns = csv.lines().next().expect("names").split(',').count();
    for line in csv.lines().skip(1) {
        // The last cell is quoted and has no quotes inside.
        let (plain, quoted) = line.split_once('"').expect("a reason");
        assert_eq!(plain.split(',').count(), columns, "{line}");
        assert!(quoted.ends_with('"') && !quoted.trim_end_matches('"').contains('"'));
    }
}

#[test]
fn slurm_and_kubernetes_order_hosts_and_name_them() {
    let folder = folder("plans-structures");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).expect("a file can be written");
        folder.join(name).display().to_string()
    };
    let slurm = "- topology: main\n  cluster_default: true\n  tree:\n    switches:\n\
                 \x20     - switch: a\n        nodes: ib[03-04]\n\
                 \x20     - switch: b\n        nodes: ib[01-02]\n\
                 \x20     - switch: r\n        nodes: roce[01-04]\n";
    let slurm = write("topology.yaml", slurm);
    let hosts = text(&["plan", HOLMES, "--slurm", &slurm, "--emit", "hostfile"]);
    let names: Vec<&str> = hosts.lines().filter_map(|line| line.split(' ').next()).collect();
    let at = |name: &str| names.iter().position(|known| *known == name).expect("a host");
    assert!(at("ib03") < at("ib04") && at("ib04") < at("ib01") && at("ib01") < at("ib02"));
    let node = |name: &str, zone: &str, gpus: u32| {
        format!(
            "{{\"kind\":\"Node\",\"metadata\":{{\"name\":\"{name}\",\"labels\":\
             {{\"topology.kubernetes.io/zone\":\"{zone}\"}}}},\"status\":{{\"allocatable\":\
             {{\"nvidia.com/gpu\":\"{gpus}\"}}}}}}"
        )
    };
    let list = |gpus: u32| {
        let ib = (1..=4).map(|n| node(&format!("ib{n:02}"), "z1", gpus));
        let roce = (1..=4).map(|n| node(&format!("roce{n:02}"), "z2", 8));
        let nodes: Vec<String> = ib.chain(roce).collect();
        format!("{{\"kind\":\"List\",\"items\":[{}]}}", nodes.join(","))
    };
    let zones = changed(&[
        ("hosts = \"ib[01-04]\"", "hosts_from = \"zone=z1\""),
        ("hosts = \"roce[01-04]\"", "hosts_from = \"zone=z2\""),
    ]);
    let zones = write("zones.toml", &zones);
    let nodes = write("nodes.json", &list(8));
    let hosts = text(&["plan", &zones, "--kubernetes", &nodes, "--emit", "hostfile"]);
    assert_eq!(hosts.lines().count(), 8);
    let fewer = write("fewer.json", &list(4));
    let output = onepath(&["plan", &zones, "--kubernetes", &fewer]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("nodes[0].gpus: 8: 4 as node 'ib01' has in Kubernetes"), "{error}");
}

/// What the command writes, and the processor time that it takes: others may be on this machine.
fn timed(arguments: &[&str]) -> (String, Duration) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_onepath"))
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut text = String::new();
    let mut out = child.stdout.take().expect("a pipe");
    out.read_to_string(&mut text).expect("it writes text");
    // As a zombie it can be asked still.
    let id = Pid::from_child(&child);
    waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).expect("a child");
    let stat = format!("/proc/{}/stat", id.as_raw_nonzero());
    let stat = std::fs::read_to_string(stat).expect("it was not waited for");
    assert!(child.wait().expect("a child").success());
    // utime and stime of proc_pid_stat(5), of which the third field comes after the name. Linux
    // tells them in hundredths.
    let (_, fields) = stat.rsplit_once(") ").expect("the name of the program");
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: u64 = ticks.map(|text| text.parse::<u64>().expect("a number")).sum();
    (text, Duration::from_millis(ticks * 10))
}

#[test]
fn a_thousand_nodes_are_planned_in_a_second_and_always_alike() {
    let path = file("plans-thousand", "thousand.toml", clusters(&[500, 500], LARGE));
    let path = path.display().to_string();
    let runs = [(); 3].map(|()| timed(&["plan", &path, "--emit", "json"]));
    let fastest = runs.iter().map(|(_, time)| *time).min().expect("three");
    println!("1,000 nodes: {fastest:?}");
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
    assert!(runs.iter().all(|(plan, _)| *plan == runs[0].0), "plans differ");
}
