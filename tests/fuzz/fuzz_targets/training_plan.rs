//! Plans of others and what their prediction needs: our plans, Sailor's, profiles, networks.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_fuzz::{assert_readable, seed};
use onepath_topology::pipeline::model::Profile;
use onepath_topology::pipeline::predict::{
    Constants, NetworkTable, Plan, Profiles, parse_sailor, predict,
};

const FILES: [&str; 4] = [
    r#"{"format": "onepath-plan/1", "micro_batch": 2, "global_batch": 8, "schedule": "gpipe",
"pipelines": [{"stages": [{"layers": [0], "replicas": [
{"gpu": "A", "gpus_per_node": 4, "tensor_parallel": 1, "node": 0}]},
{"layers": [1], "replicas": [{"gpu": "A", "gpus_per_node": 4, "tensor_parallel": 1}]}]}]}"#,
    r#"{"mbs": 2, "gbs": 8, "real": 1.5, "pipeline_list": [{"num_stages": 1,
"layers_per_stage": [[0, 1]], "tmp_per_stage": [[[[["A", 4, "z"]], 1]]]}]}"#,
    r#"{"inter": {"A": {"1": [[-0.1, 2.5, 10.0], 2e10]}},
"intra": {"A": {"2": [[0, 0, 9], 1e10]}}}"#,
    r#"{"model": {"parameters": {"parameters_per_layer_bytes": [8, 8],
"activation_parameters_bytes": [4, 4]}}, "execution_time": {"optimizer_time_ms": 2.5,
"layer_compute_total_ms": [1.5, 0.25]}, "execution_memory": {"layer_memory_total_mb": [7.0, 1]}}"#,
];

/// A prediction by the good files of above is a number.
fn check(plan: &Plan) {
    let network = NetworkTable::parse(FILES[2]).expect("a good table");
    let profile = Profile::parse(FILES[3]).expect("a good profile");
    let mut profiles = Profiles::default();
    profiles.insert(None, plan.micro_batch, 1, profile);
    match predict(plan, &profiles, &network, &Constants::default()) {
        Err(error) => assert_readable(&error),
        Ok(found) => assert!(found.iteration_s.is_finite() && found.iteration_s >= 0.0),
    }
}

fuzz_target!(init: seed(FILES), |text: &str| {
    match Plan::parse(text) {
        Err(error) => assert_readable(&error),
        Ok(plan) => {
            assert_eq!(Plan::parse(&plan.to_json()).expect("its own text"), plan);
            check(&plan);
        }
    }
    match parse_sailor(text) {
        Err(error) => assert_readable(&error),
        Ok((plan, _)) => check(&plan),
    }
    if let Err(error) = NetworkTable::parse(text) {
        assert_readable(&error);
    }
    if let Err(error) = Profile::parse(text) {
        assert_readable(&error);
    }
});
