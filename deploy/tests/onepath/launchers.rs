//! Hostfile, rankfile and torchrun's script name the same ranks as the plan.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::run::{HOLMES, LARGE, clusters, emit, file, json};

/// Host, first rank and number of ranks of each node of the plan.
fn nodes(plan: &Value) -> Vec<(String, u64, u64)> {
    let nodes = plan["nodes"].as_array().expect("a list of nodes");
    let number = |node: &Value, field: &str| node[field].as_u64().expect("a number");
    nodes
        .iter()
        .map(|node| {
            let host = node["host"].as_str().expect("a host").to_owned();
            (host, number(node, "first_rank"), number(node, "ranks"))
        })
        .collect()
}

/// Some plans: one example, one with idle GPUs on nodes.
fn files(test: &str) -> Vec<PathBuf> {
    let large = clusters(&[6, 10, 4], LARGE);
    vec![PathBuf::from(HOLMES), file(test, "large.toml", large)]
}

#[test]
fn the_hostfile_has_nodes_in_the_order_of_their_ranks() {
    for file in files("hostfile") {
        let mut next = 0;
        let text = emit(&file, "hostfile");
        let known = nodes(&json(&file));
        assert_eq!(text.lines().count(), known.len());
        for (line, (host, first, ranks)) in text.lines().zip(known) {
            let (name, slots) = line.split_once(" slots=").expect("host slots=n");
            assert_eq!((name, slots.parse()), (host.as_str(), Ok(ranks)));
            assert_eq!(first, next);
            next += ranks;
        }
    }
}

#[test]
fn the_rankfile_has_every_rank_once_on_its_node() {
    for file in files("rankfile") {
        let text = emit(&file, "rankfile");
        let mut lines = text.lines();
        for (host, first, ranks) in nodes(&json(&file)) {
            for rank in first..first + ranks {
                let line = lines.next().expect("a line a rank");
                let (left, slot) = line.split_once(" slot=").expect("rank n=host slot=m");
                let (number, name) = left.split_once('=').expect("rank n=host");
                assert_eq!(number.strip_prefix("rank ").map(str::parse), Some(Ok(rank)));
                assert_eq!(name, host);
                assert_eq!(slot.parse(), Ok(rank - first));
            }
        }
        assert_eq!(lines.next(), None);
    }
}

/// The environment after the script was sourced on a node.
fn sourced(script: &Path, host: &str) -> Option<BTreeMap<String, String>> {
    let output = Command::new("sh")
        .args(["-c", ". \"$0\" && env", &script.display().to_string()])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("ONEPATH_HOST", host)
        .env("NCCL_IB_GID_INDEX", "99")
        .output()
        .expect("a shell starts");
    let text = String::from_utf8(output.stdout).expect("text");
    let pair = |line: &str| line.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()));
    output.status.success().then(|| text.lines().filter_map(pair).collect())
}

#[test]
fn torchrun_gets_its_number_of_node_and_processes_and_the_nics_of_its_cluster() {
    for (index, inventory) in files("torchrun").into_iter().enumerate() {
        let script = emit(&inventory, "torchrun");
        let script = file(&format!("torchrun-{index}"), "environment.sh", script);
        let plan = json(&inventory);
        let known = nodes(&plan);
        for (number, (host, _, ranks)) in known.iter().enumerate() {
            let environment = sourced(&script, host).expect("the node is in the plan");
            assert_eq!(environment["PET_NODE_RANK"], number.to_string());
            assert_eq!(environment["PET_NPROC_PER_NODE"], ranks.to_string());
            assert_eq!(environment["PET_NNODES"], known.len().to_string());
            assert_eq!(environment["PET_MASTER_ADDR"], known[0].0);
            assert_eq!(environment["PET_MASTER_PORT"], "29500");
            assert_eq!(environment["NCCL_SOCKET_IFNAME"], "=eth0");
            // What was set before does not stay.
            assert_ne!(environment.get("NCCL_IB_GID_INDEX").map(String::as_str), Some("99"));
            let same = sourced(&script, &format!("{host}.example.com"));
            assert_eq!(same.map(|all| all["PET_NODE_RANK"].clone()), Some(number.to_string()));
        }
        assert_eq!(sourced(&script, "another"), None);
    }
    let script = file("torchrun-holmes", "environment.sh", emit(Path::new(HOLMES), "torchrun"));
    let nics = |host: &str| {
        let environment = sourced(&script, host).expect("the node is in the plan");
        let value = |name: &str| environment.get(name).cloned();
        (value("NCCL_IB_HCA"), value("NCCL_IB_GID_INDEX"))
    };
    assert_eq!(nics("ib03"), (Some("=mlx5_0".to_owned()), None));
    assert_eq!(nics("roce03"), (Some("=mlx5_bond_0".to_owned()), Some("3".to_owned())));
}
