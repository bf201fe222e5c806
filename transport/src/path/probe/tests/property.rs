//! What holds whatever the network does.

use core::net::SocketAddr;

use onepath_topology::Nanos;
use proptest::prelude::{ProptestConfig, any};
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::fabric::{Fabric, OWN_LEAF, discover, host, leaf_of, spine_of};
use crate::path::table::{Discovery, PathId};
use crate::path::{HopRange, ProbeConfig, Protocol};

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever the network does, the search ends, within its budget, and no port is wrong.
    #[test]
    fn any_network_gives_a_right_table_within_the_budget(
        spines in 1_u8..=12,
        hash in any::<u64>(),
        seed in any::<u64>(),
        loss in 0.0..0.6_f64,
        delay_ms in 1_u64..1500,
        silent in proptest::collection::btree_set(0_u8..12, 0..4),
        hops in (1_u8..=2, 2_u8..=3),
        ports_per_path in 1_u16..6,
        in_flight in 1_u16..200,
        udp in any::<bool>(),
        leaves in proptest::collection::btree_set((0_u8..4, 0_u8..3), 1..6),
    ) {
        let mut fabric = Fabric::new(spines, hash);
        fabric.loss = loss;
        fabric.delay = Nanos::millis(delay_ms);
        fabric.silent = silent;
        fabric.ports_bind_once = udp;
        let config = ProbeConfig {
            protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
            local_ports: 20_000..=20_399,
            hops: HopRange::new(hops.0, hops.1).expect("right"),
            ports_per_path,
            in_flight,
            seed,
            port_budget: 300,
            ..ProbeConfig::default()
        };
        let asked: Vec<SocketAddr> = leaves.iter().map(|&(leaf, at)| host(leaf, at)).collect();
        let (discovery, run) = discover(&config, &fabric, &asked, seed);
        let most = asked.len() as u64 * (300 * 3 + 24) * u64::from(config.tries);
        prop_assert!(run.probes <= most && run.most_in_flight <= usize::from(in_flight));
        if let Discovery::Pinned(table) = discovery {
            let known = table.leaves.iter().map(|leaf| leaf.destinations.len()).sum::<usize>();
            prop_assert_eq!(
                known + table.rack_local.len() + table.unpinned.len(),
                asked.len()
            );
            let spine_named = |path: &PathId| match path {
                PathId::Hops(found) => found[usize::from(2 - hops.0)].is_some(),
                PathId::Named(_) => false,
            };
            for (destination, path, pinned) in table.entries() {
                if spine_named(path) && leaf_of(destination) != OWN_LEAF {
                    prop_assert_eq!(spine_of(path), fabric.spine(destination, pinned.port));
                }
            }
        }
    }
}
