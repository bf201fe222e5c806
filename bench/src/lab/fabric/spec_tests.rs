use std::collections::HashSet;

use super::*;

fn sized(leaves: u32, spines: u32, hosts: u32) -> FabricOptions {
    let (leaves, spines, hosts) = (Some(leaves), Some(spines), Some(hosts));
    FabricOptions { leaves, spines, hosts, ..FabricOptions::default() }
}

#[test]
fn a_fabric_without_a_word_is_four_by_four_by_sixteen() {
    let spec = FabricSpec::new(&FabricOptions::default()).expect("the defaults are right");
    assert_eq!((spec.leaf_count(), spec.spine_count(), spec.host_count()), (4, 4, 16));
    assert_eq!((spec.rate(), spec.uplink_rate()), (spec.uplink_rate(), spec.rate()));
    assert!((spec.oversubscription() - 1.0).abs() < 1e-9);
}

#[test]
fn oversubscription_makes_uplinks_slower() {
    let options = FabricOptions { oversubscription: Some(2.0), ..sized(4, 3, 12) };
    let spec = FabricSpec::new(&options).expect("it is right");
    assert_eq!(spec.uplink_rate(), Rate::bits(10_000_000));
    let options = FabricOptions { uplink_rate: Some(Rate::bits(40_000_000)), ..sized(2, 1, 4) };
    let spec = FabricSpec::new(&options).expect("it is right");
    assert!((spec.oversubscription() - 1.0).abs() < 1e-9);
}

#[test]
fn each_wrong_field_is_named_with_its_value_and_what_would_be_right() {
    let with = |change: fn(&mut FabricOptions)| {
        let mut options = FabricOptions::default();
        change(&mut options);
        FabricSpec::new(&options).expect_err("it is wrong").to_string()
    };
    for (message, expected) in [
        (with(|o| o.leaves = Some(1)), ["leaves = 1", "2 to 64"]),
        (with(|o| o.spines = Some(0)), ["spines = 0", "1 to 32"]),
        (with(|o| o.hosts = Some(15)), ["hosts = 15", "multiple"]),
        (with(|o| o.hosts = Some(1 << 20)), ["hosts = 1048576", "2 to 512"]),
        (with(|o| (o.leaves, o.hosts) = (Some(2), Some(512))), ["hosts of a leaf = 256", "128"]),
        (with(|o| o.rate = Some(Rate::bits(1))), ["rate = 1bit", "64kbit to 100gbit"]),
        (with(|o| o.uplink_rate = Some(Rate::bits(0))), ["uplink_rate = 0bit", "64kbit"]),
        (with(|o| o.oversubscription = Some(f64::NAN)), ["oversubscription = NaN", "64"]),
        (with(|o| o.mtu = Some(100)), ["mtu = 100", "576 to 9216"]),
        (with(|o| o.queue_packets = Some(0)), ["queue_packets = 0", "2 to 10000"]),
    ] {
        for part in expected {
            assert!(message.contains(part), "{message}: {part}");
        }
    }
}

#[test]
fn every_host_and_every_link_end_has_its_own_address() {
    let spec = FabricSpec::new(&sized(64, 32, 512)).expect("the largest");
    let mut seen = HashSet::new();
    for host in spec.hosts() {
        assert!(spec.hosts_of(spec.leaf_of(host)).any(|other| other == host));
        assert!(seen.insert(spec.address(host)) && seen.insert(spec.gateway(host)));
        assert_eq!(spine_at(spec.gateway(host)), None);
    }
    for (leaf, spine) in spec.leaves().flat_map(|leaf| spec.spines().map(move |s| (leaf, s))) {
        assert!(seen.insert(leaf_side(leaf, spine)) && seen.insert(spine_side(leaf, spine)));
        assert_eq!(spine_at(spine_side(leaf, spine)), Some(spine));
    }
}

#[test]
fn every_leaf_has_a_hash_of_its_own() {
    for seed in [0, 1, u32::MAX, 0x61c8_8647] {
        let spec = FabricSpec::new(&FabricOptions { seed: Some(seed), ..sized(64, 2, 64) });
        let spec = spec.expect("it is right");
        let seeds: HashSet<u32> = spec.leaves().map(|leaf| spec.hash_seed(leaf)).collect();
        assert!(seeds.len() == 64 && !seeds.contains(&0), "seed {seed}");
    }
}
