//! Predictions of small plans that can be computed by hand, and bad input.

use super::*;
use crate::pipeline::model::Profile;
use crate::units::{Bytes, Nanos};

const NETWORK: &str = r#"{
    "inter": {"A": {"1": [[0.0, 0.0, 10.0], 1e10], "4": [[0.0, 0.0, 20.0], 2e10]},
              "B": {"1": [[0.0, 0.0, 1.0], 1e9]}},
    "intra": {"A": {"2": [[0.0, 0.0, 100.0], 1e11]}, "B": {"2": [[0.0, 0.0, 5.0], 5e9]}}}"#;

const PLAN: &str = r#"{
    "zone": "z", "mbs": 2, "gbs": 16, "real": 1.5, "red_grads": 0.25, "max_mem": 1048576,
    "pipeline_list": [{"num_stages": 2, "dp": [1, 1],
        "layers_per_stage": [[0, 1], [2]],
        "tmp_per_stage": [[[[["A", 4, "z"]], 1]], [[[["B", 8, "z"]], 1]]]}]}"#;

fn profile(times_ms: [f64; 3]) -> Profile {
    let [a, b, c] = times_ms;
    let text = format!(
        r#"{{"model": {{"parameters": {{"parameters_per_layer_bytes": [0, 0, 0],
            "activation_parameters_bytes": [10000000, 10000000, 4]}}}},
        "execution_time": {{"optimizer_time_ms": 0, "layer_compute_total_ms": [{a}, {b}, {c}]}},
        "execution_memory": {{"layer_memory_total_mb": [1, 2, 3]}}}}"#
    );
    Profile::parse(&text).expect("a good profile")
}

/// Nothing but what the test itself puts in.
fn plain() -> Constants {
    Constants {
        transfer_overhead: Nanos(0),
        kernel_launch: Nanos(0),
        hop_latency: Nanos(0),
        gpu_spread: 0.0,
        runtime_memory: Bytes(0),
        allocator_slack: 0.0,
        ..Constants::default()
    }
}

#[test]
fn two_kinds_of_gpu_in_one_plan_are_each_priced_by_their_own_profile_and_network() {
    let (plan, measured) = parse_sailor(PLAN).expect("a good plan");
    assert_eq!(measured.map(|measured| measured.max_memory), Some(Bytes::mib(1)));
    let network = NetworkTable::parse(NETWORK).expect("a good table");
    let mut profiles = Profiles::default();
    profiles.insert(Some("A".to_owned()), 2, 1, profile([1.0, 2.0, 100.0]));
    profiles.insert(Some("B".to_owned()), 2, 1, profile([100.0, 100.0, 5.0]));
    let found = predict(&plan, &profiles, &network, &plain()).expect("all is known");
    // 8 micro-batches; both transfers of 10 MB at the slower side's 1 GB/s: 20 ms.
    let right = 7.0 * (0.005 + 0.020) + 0.003 + 0.005 + 0.020;
    assert!((found.iteration_s - right).abs() < 1e-9, "{} {right}", found.iteration_s);
    // Stage 0 keeps two micro-batches of 1 + 2 MB, stage 1 one of 3 MB.
    assert_eq!(found.max_memory, Bytes::mib(6));
    let text = plan.to_json();
    assert_eq!(Plan::parse(&text).expect("its own text"), plan);
}

#[test]
fn a_profile_without_a_kind_serves_plans_of_one_kind_only() {
    let (plan, _) = parse_sailor(PLAN).expect("a good plan");
    let network = NetworkTable::parse(NETWORK).expect("a good table");
    let mut profiles = Profiles::default();
    profiles.insert(None, 2, 1, profile([1.0, 2.0, 3.0]));
    let error = predict(&plan, &profiles, &network, &plain()).expect_err("two kinds").to_string();
    assert!(error.starts_with("no profile of A at micro-batch 2"), "{error}");
    let (plan, _) = parse_sailor(&PLAN.replace("[\"B\", 8", "[\"A\", 4")).expect("a good plan");
    predict(&plan, &profiles, &network, &plain()).expect("one kind");
}

#[test]
fn replicas_of_one_node_share_its_nics() {
    let replicas = |gpu: &str, count: usize| -> Vec<Replica> {
        let replica =
            Replica { gpu: gpu.to_owned(), gpus_per_node: 4, tensor_parallel: 1, node: None };
        vec![replica; count]
    };
    let plan = |count: usize| {
        let stage = |layers: Vec<u32>| Stage { layers, replicas: replicas("A", count) };
        let stages = vec![stage(vec![0, 1]), stage(vec![2])];
        Plan::new(2, 2 * count as u64, vec![Pipeline { stages }]).expect("a good plan")
    };
    let network = NetworkTable::parse(NETWORK).expect("a good table");
    let mut profiles = Profiles::default();
    profiles.insert(None, 2, 1, profile([1.0, 2.0, 3.0]));
    let time = |count: usize| {
        predict(&plan(count), &profiles, &network, &plain()).expect("all is known").iteration_s
    };
    // One GPU a stage: both stages on one node. Four: two nodes, 4 GPUs share 20 GB/s.
    assert!((time(1) - (0.006 + 2.0 * 0.0001)).abs() < 1e-9, "{}", time(1));
    assert!((time(4) - (0.006 + 2.0 * 0.002)).abs() < 1e-9, "{}", time(4));
}

#[test]
fn a_curve_never_leaves_what_was_measured() {
    let text = r#"{"inter": {"G": {"1": [[-0.1657, 2.794, 11.744], 2.293e10]}}, "intra": {}}"#;
    let table = NetworkTable::parse(text).expect("a good table");
    let curve = table.curve(Scope::Inter, "G", 4).expect("the largest there is");
    let gigabytes = |bytes: u64| curve.bandwidth(Bytes(bytes)).gigabytes();
    assert!((gigabytes(1_000_000) - 11.744).abs() < 1e-9);
    assert!((gigabytes(1_000) - 11.744).abs() < 1e-9);
    assert!((gigabytes(64_000_000) - (-0.1657 * 36.0 + 2.794 * 6.0 + 11.744)).abs() < 1e-9);
    assert!((gigabytes(1 << 50) - 22.93).abs() < 1e-9);
    assert!(table.curve(Scope::Intra, "G", 2).is_err());
}

#[test]
fn bad_plans_and_tables_are_refused_in_one_line() {
    let plans = [
        (PLAN.replace("\"num_stages\": 2", "\"num_stages\": 3"), "layers_per_stage of pipeline 0"),
        (PLAN.replace("\"gbs\": 16", "\"gbs\": 15"), "global_batch is 15"),
        (PLAN.replace("\"mbs\": 2", "\"mbs\": 0"), "micro_batch of the plan is 0"),
        (PLAN.replace("[[\"B\", 8, \"z\"]]", "[]"), "names no node"),
        (PLAN.replace("\"z\"]], 1]], [", "\"z\"], [\"C\", 4, \"z\"]], 1]], ["), "is of A and C"),
        (PLAN.replace("\"z\"]], 1]]]}", "\"z\"]], 0]]]}"), "tensor_parallel of stage 1"),
        (PLAN.replace("[[0, 1], [2]]", "[[0, 1], []]"), "number of layers of stage 1"),
        (PLAN[..90].to_owned(), "not a plan of Sailor"),
    ];
    for (text, part) in plans {
        let message = parse_sailor(&text).expect_err(part).to_string();
        assert!(message.contains(part) && !message.contains('\n'), "{part}: {message}");
    }
    let tables = [
        (NETWORK.replace("\"4\"", "\"four\""), "has the key 'four'"),
        (NETWORK.replace("1e9", "-1"), "inter of B has the plateau -1"),
        (NETWORK.replace("intra", "inner"), "not a table"),
    ];
    for (text, part) in tables {
        let message = NetworkTable::parse(&text).expect_err(part).to_string();
        assert!(message.contains(part) && !message.contains('\n'), "{part}: {message}");
    }
    assert_eq!(profile_of_name("mbs16_tmp4.json"), Some((16, 4)));
    assert_eq!(profile_of_name("mbs16.json"), None);
}
