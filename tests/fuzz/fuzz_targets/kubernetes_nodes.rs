//! Lists of Kubernetes nodes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_fuzz::{assert_readable, seed};
use onepath_topology::cluster::MAX_GPUS_PER_NODE;
use onepath_topology::cluster::structure::Structure;

const FILES: [&str; 2] = [
    r#"{"kind": "List", "items": [
{"kind": "Node", "metadata": {"name": "a", "labels": {
"topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "z1",
"network.topology.nvidia.com/leaf": "l1", "network.topology.nvidia.com/accelerator": "n1"}},
"status": {"allocatable": {"nvidia.com/gpu": "8"}}},
{"kind": "Node", "metadata": {"name": "b", "labels": {
"topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "z1",
"network.topology.nvidia.com/leaf": "l2", "network.topology.nvidia.com/accelerator": "n1"}}}]}"#,
    r#"{"kind": "NodeList", "items": []}"#,
];

fuzz_target!(init: seed(FILES), |text: &str| match Structure::from_kubernetes(text) {
    Err(error) => assert_readable(&error),
    Ok(structure) => {
        assert!(!structure.is_flat());
        for (place, (host, _)) in structure.hosts().iter().enumerate() {
            assert_eq!(structure.place(host), Some(place));
            assert!(structure.gpus(host).is_none_or(|gpus| gpus <= MAX_GPUS_PER_NODE));
        }
    }
});
