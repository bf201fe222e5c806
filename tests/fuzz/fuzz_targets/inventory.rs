//! Inventory files.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_fuzz::{assert_readable, seed};
use onepath_topology::cluster::file::Document;
use onepath_topology::cluster::{MAX_NODES, NetworkKind};

const FILES: [&str; 3] = [
    r#"[[cluster]]
name = "a"
[[cluster.nodes]]
hosts = "n[01-04],m"
gpu = "A100"
gpus = 8
memory_gib = 80
gpu_link_gbit_s = 2400
tflops = 220.5
latency_us = 2
[[cluster.nodes.nic]]
kind = "infiniband"
rate_gbit_s = 200
hca = "mlx5_[0-3]"
interface = "ib[0-3]"
name = "rail[0-3]"
[[cluster.nodes.nic]]
kind = "ethernet"
rate_gbit_s = 25
interface = "eth0"
[[cluster]]
name = "b"
[[cluster.nodes]]
count = 2
gpu = "V100"
gpus = 4
memory_gib = 32
[[cluster.nodes.nic]]
kind = "roce"
rate_gbit_s = 100
hca = "bond0"
interface = "bond0"
gid_index = 3
[[link]]
between = ["a", "b"]
kind = "ethernet"
rate_gbit_s = 25
total_gbit_s = 100
latency_us = 50
[model]
layers = 3
"#,
    "[[cluster]]\nname = \"c\"\n[[cluster.nodes]]\nhosts_from = \"s1\"\n",
    "cluster = [{ name = \"c\", nodes = [{ count = -1, nic = [{ kind = \"x\" }] }] }]\n",
];

fuzz_target!(init: seed(FILES), |text: &str| match Document::parse(text, None) {
    Err(error) => assert_readable(&error),
    Ok(document) => {
        let inventory = document.inventory;
        assert!((1..=MAX_NODES).contains(&inventory.nodes()));
        let clusters = inventory.clusters().len() as u32;
        for pool in inventory.pools() {
            assert!(pool.inside().rate.0 > 0.0 && pool.between_gpus().0 > 0.0);
            for node in pool.node_ids().take(64) {
                assert_eq!(inventory.pool_of(node).hosts()[0], pool.hosts()[0]);
            }
            let own = pool.cluster();
            for other in (0..clusters).map(onepath_topology::cluster::ClusterId) {
                assert!((own == other) == inventory.route(own, other).is_none());
                let network = inventory.between(own, other);
                assert!(network.is_none_or(|network| network.rate.0 > 0.0));
            }
            assert!(NetworkKind::ALL.into_iter().any(|kind| pool.rate(kind).is_some()));
        }
    }
});
