//! Searches over a simulated fabric.

mod fabric;
mod property;

use fabric::*;

use super::*;
use crate::path::config::ConfigError;
use crate::path::table::{Discovery, PathId, UnpinnedReason};
use crate::path::{HopRange, Protocol};

#[test]
fn every_path_gets_its_ports_and_each_port_takes_it() {
    for spines in [1, 2, 3, 4, 16, 64] {
        let fabric = Fabric::new(spines, 11);
        let (discovery, run) = discover(&config(), &fabric, &[host(1, 0)], 1);
        let table = table(discovery);
        let [leaf] = &table.leaves[..] else { panic!("one leaf: {table:?}") };
        assert_eq!(leaf.paths.len(), usize::from(spines));
        assert!(leaf.paths.is_sorted());
        let [destination] = &leaf.destinations[..] else { panic!("one destination") };
        assert!(destination.complete && destination.ports.iter().all(|ports| ports.len() == 4));
        assert_right(&table, &fabric);
        assert!(run.most_in_flight <= 128, "{run:?}");
        let enough = u64::from(answers_to_exclude(u32::from(spines), 0.001));
        assert!(run.probes <= 4 * enough + 64, "{spines} spines: {run:?}");
    }
}

#[test]
fn a_known_number_of_paths_ends_the_search_earlier() {
    let fabric = Fabric::new(4, 11);
    let known = ProbeConfig { expected_paths: Some(4), ports_per_path: 1, ..config() };
    let (discovery, with) = discover(&known, &fabric, &[host(1, 0)], 1);
    assert_eq!(table(discovery).leaves[0].paths.len(), 4);
    let unknown = ProbeConfig { ports_per_path: 1, ..config() };
    let (_, without) = discover(&unknown, &fabric, &[host(1, 0)], 1);
    assert!(with.probes < without.probes, "{with:?} {without:?}");
}

#[test]
fn destinations_under_one_leaf_are_grouped_and_those_in_the_rack_left_alone() {
    let fabric = Fabric::new(4, 3);
    let asked = [host(2, 1), host(1, 1), host(0, 9), host(1, 0), host(2, 0), host(3, 0)];
    let table = table(discover(&config(), &fabric, &asked, 5).0);
    let groups: Vec<Vec<SocketAddr>> = table
        .leaves
        .iter()
        .map(|leaf| leaf.destinations.iter().map(|at| at.address).collect())
        .collect();
    let expected = [vec![host(1, 0), host(1, 1)], vec![host(2, 0), host(2, 1)], vec![host(3, 0)]];
    assert_eq!(groups, expected);
    assert_eq!(table.rack_local, [host(0, 9)]);
    assert_eq!(table.leaves[0].last_hops.len(), 4, "one address for each spine's link");
    assert_right(&table, &fabric);
}

#[test]
fn the_table_depends_on_the_seed_and_not_on_which_answer_comes_first() {
    let mut fabric = Fabric::new(4, 3);
    fabric.delay = Nanos::millis(90);
    let asked = [host(1, 0), host(1, 1), host(2, 0)];
    let ports = |config: &ProbeConfig, network_seed| {
        let table = table(discover(config, &fabric, &asked, network_seed).0);
        let ports: Vec<(SocketAddr, PathId, u16)> = table
            .entries()
            .map(|(destination, path, pinned)| (destination, path.clone(), pinned.port))
            .collect();
        ports
    };
    let first = ports(&config(), 0);
    for network_seed in 1..20 {
        assert_eq!(ports(&config(), network_seed), first, "network seed {network_seed}");
    }
    assert_ne!(ports(&ProbeConfig { seed: 8, ..config() }, 0), first);
}

#[test]
fn a_silent_spine_leaves_the_others_with_all_their_ports() {
    let mut fabric = Fabric::new(4, 17);
    fabric.silent.insert(2);
    let table = table(discover(&config(), &fabric, &[host(1, 0)], 1).0);
    let spines: Vec<u8> = table.leaves[0].paths.iter().map(spine_of).collect();
    assert_eq!(spines, [0, 1, 3]);
    let destination = &table.leaves[0].destinations[0];
    assert!(destination.complete && destination.silent_ports > 0, "{destination:?}");
}

#[test]
fn a_vector_of_hops_names_paths_and_a_mute_hop_is_left_open() {
    let mut fabric = Fabric::new(4, 17);
    let hops = HopRange::new(1, 3).expect("right");
    let wide = ProbeConfig { hops, ..config() };
    let whole = table(discover(&wide, &fabric, &[host(1, 0)], 1).0);
    assert_eq!(whole.leaves[0].paths[1].to_string(), "10.0.0.1>10.101.0.0>10.101.1.1");
    fabric.mute_hops.insert(1);
    let table = table(discover(&wide, &fabric, &[host(1, 0)], 1).0);
    assert_eq!(table.leaves[0].paths[1].to_string(), "*>10.101.0.0>10.101.1.1");
    assert_eq!(table.leaves[0].paths.len(), 4);
    assert_right(&table, &fabric);
}

#[test]
fn hops_that_lose_single_answers_make_no_paths_of_their_own() {
    let mut fabric = Fabric::new(4, 23);
    fabric.loss = 0.3;
    let config = ProbeConfig { hops: HopRange::new(1, 3).expect("right"), tries: 2, ..config() };
    for seed in 0..20 {
        let (discovery, run) = discover(&config, &fabric, &[host(1, 0)], seed);
        let table = table(discovery);
        let whole = |path: &PathId| path.to_string().split('>').all(|hop| hop != "*");
        assert_eq!(table.leaves[0].paths.len(), 4, "seed {seed}: {table:?}");
        assert!(table.leaves[0].paths.iter().all(whole), "seed {seed}: {table:?}");
        assert_right(&table, &fabric);
        assert!(run.probes < 2000, "seed {seed}: {run:?}");
    }
}

#[test]
fn a_port_toward_a_mute_spine_is_not_taken_for_one_of_the_only_other_path() {
    let mut fabric = Fabric::new(2, 23);
    fabric.silent.insert(1);
    let hops = HopRange::new(1, 2).expect("right");
    let config = ProbeConfig { hops, local_ports: 20_000..=20_039, ports_per_path: 30, ..config() };
    let table = table(discover(&config, &fabric, &[host(1, 0)], 1).0);
    assert_eq!(table.leaves[0].paths.len(), 1);
    assert_eq!(table.leaves[0].paths[0].to_string(), "10.0.0.1>10.100.0.0");
    assert_right(&table, &fabric);
}

#[test]
fn without_answers_it_says_so_after_few_ports() {
    let mut fabric = Fabric::new(4, 1);
    fabric.mute_hops = (1..=64).collect();
    let (discovery, run) = discover(&config(), &fabric, &[host(1, 0)], 1);
    let reason = UnpinnedReason::NoAnswers { ports: 16 };
    assert_eq!(discovery, Discovery::Unpinned { reason });
    assert!(run.probes <= 16 * 3 && run.time <= Nanos::secs(5), "{run:?}");
}

#[test]
fn without_permission_it_says_so_at_once() {
    let mut fabric = Fabric::new(4, 1);
    let refusal = Refusal { action: "send a probe", errno: 1 };
    fabric.refused = Some(Answer::Refused(refusal));
    let (discovery, _) = discover(&config(), &fabric, &[host(1, 0), host(2, 0)], 1);
    let reason = UnpinnedReason::Refused(refusal);
    assert!(reason.to_string().contains("cannot send a probe: Operation not permitted"));
    assert_eq!(discovery, Discovery::Unpinned { reason });
}

#[test]
fn a_rejection_is_named_with_who_rejects() {
    let mut fabric = Fabric::new(4, 1);
    let rejection = Rejection { by: address(0, 0, 1), kind: 3, code: 13 };
    fabric.refused = Some(Answer::Rejected(rejection));
    let (discovery, _) = discover(&config(), &fabric, &[host(1, 0)], 1);
    assert_eq!(discovery, Discovery::Unpinned { reason: UnpinnedReason::Rejected(rejection) });
}

#[test]
fn ports_in_use_are_passed_over() {
    let mut fabric = Fabric::new(2, 1);
    fabric.busy = (20_000..20_100).collect();
    let narrow = ProbeConfig { local_ports: 20_000..=20_199, ..config() };
    let table = table(discover(&narrow, &fabric, &[host(1, 0)], 1).0);
    assert!(table.entries().all(|(_, _, pinned)| pinned.port >= 20_100));
    let none = ProbeConfig { local_ports: 20_000..=20_009, ..config() };
    let (discovery, _) = discover(&none, &fabric, &[host(1, 0)], 1);
    let reason = UnpinnedReason::NoFreePorts { ports: 10 };
    assert_eq!(discovery, Discovery::Unpinned { reason });
}

#[test]
fn a_port_that_can_be_bound_once_is_never_in_flight_twice() {
    let mut fabric = Fabric::new(2, 9);
    fabric.ports_bind_once = true;
    fabric.loss = 0.2;
    let config = ProbeConfig { protocol: Protocol::Udp, local_ports: 20_000..=20_049, ..config() };
    let asked: Vec<SocketAddr> = (0..12).map(|at| host(1 + at % 3, at)).collect();
    for seed in 0..20 {
        let table = table(discover(&config, &fabric, &asked, seed).0);
        assert_eq!(table.leaves.iter().map(|leaf| leaf.destinations.len()).sum::<usize>(), 12);
        assert_right(&table, &fabric);
        let mut verifier = Verifier::new(&config, &table).expect("right");
        play(&mut verifier, &fabric, seed, Nanos::secs(3600));
        let check = verifier.finish();
        assert!(check.in_use.is_empty() && check.moved.is_empty(), "seed {seed}: {check:?}");
        assert_eq!(check.unchecked, 0, "seed {seed}");
    }
}

#[test]
fn too_few_ports_give_an_incomplete_table() {
    let fabric = Fabric::new(4, 1);
    let narrow = ProbeConfig { local_ports: 20_000..=20_009, ..config() };
    let table = table(discover(&narrow, &fabric, &[host(1, 0)], 1).0);
    let destination = &table.leaves[0].destinations[0];
    assert!(!destination.complete && destination.probed_ports == 10);
    assert_right(&table, &fabric);
    let budget = ProbeConfig { port_budget: 12, ..config() };
    let (_, run) = discover(&budget, &fabric, &[host(1, 0)], 1);
    assert!(run.probes <= 12 + 4, "12 ports and a leaf probe on each path: {run:?}");
}

#[test]
fn a_deadline_keeps_what_was_found() {
    let mut fabric = Fabric::new(4, 17);
    fabric.silent.insert(2);
    let mut prober = Prober::new(&config(), source(), &[host(1, 0)]).expect("right");
    let run = play(&mut prober, &fabric, 1, Nanos::millis(700));
    assert!(!prober.is_finished(), "{run:?}");
    match prober.finish() {
        Discovery::Pinned(table) => assert!(!table.leaves[0].destinations[0].complete),
        Discovery::Unpinned { reason } => {
            assert!(matches!(reason, UnpinnedReason::OutOfTime { .. }), "{reason}");
        }
    }
}

#[test]
fn without_descriptors_fewer_probes_are_in_flight() {
    let fabric = Fabric::new(4, 5);
    let mut prober = Prober::new(&config(), source(), &[host(1, 0)]).expect("right");
    let refusal = Refusal { action: "open a socket", errno: 24 };
    let mut open: Vec<Probe> = Vec::new();
    let mut refused = 0;
    for step in 0..100_000 {
        let now = Nanos::micros(step);
        while let Some(probe) = prober.poll_transmit(now) {
            if open.len() == 3 {
                refused += 1;
                prober.handle_answer(now, probe.id, Answer::Exhausted(refusal));
            } else {
                open.push(probe);
            }
        }
        if prober.is_finished() {
            break;
        }
        let probe = open.remove(0);
        prober.handle_answer(now, probe.id, fabric.answer(&probe).expect("an answer"));
    }
    assert_eq!(refused, 1, "once it knows");
    assert_right(&table(prober.finish()), &fabric);
}

#[test]
fn a_check_tells_moved_silent_and_busy_ports() {
    let fabric = Fabric::new(4, 5);
    let asked = [host(1, 0), host(2, 0)];
    let table = table(discover(&config(), &fabric, &asked, 1).0);
    let total = table.entries().count();
    let check = |fabric: &Fabric| {
        let mut verifier = Verifier::new(&config(), &table).expect("right");
        let run = play(&mut verifier, fabric, 3, Nanos::secs(60));
        (verifier.finish(), run)
    };
    let (same, run) = check(&fabric);
    assert!(same.holds() && same.confirmed == total, "{same:?}");
    assert_eq!(run.probes, total as u64, "one probe a port");

    let mut dead = fabric.clone();
    dead.silent.insert(1);
    let (silent, _) = check(&dead);
    assert_eq!((silent.silent.len(), silent.confirmed), (total / 4, total - total / 4));
    assert!(!silent.holds() && silent.silent.iter().all(|port| spine_of(&port.path) == 1));

    let mut rehashed = fabric.clone();
    rehashed.hash = 6;
    let (moved, _) = check(&rehashed);
    assert_eq!(moved.moved.len() + moved.confirmed, total);
    for port in &moved.moved {
        let now = port.now.as_ref().expect("another spine");
        assert_eq!(spine_of(now), rehashed.spine(port.was.destination, port.was.port));
    }

    let mut used = fabric.clone();
    let (_, _, pinned) = table.entries().next().expect("an entry");
    used.busy.insert(pinned.port);
    let (in_use, _) = check(&used);
    assert!(in_use.holds() && in_use.in_use.len() == 1, "{in_use:?}");
}

#[test]
fn a_check_over_several_hops_takes_a_mute_spine_for_silent() {
    let mut fabric = Fabric::new(4, 5);
    let config = ProbeConfig { hops: HopRange::new(1, 2).expect("right"), ..config() };
    let table = table(discover(&config, &fabric, &[host(1, 0)], 1).0);
    fabric.silent.insert(1);
    let mut verifier = Verifier::new(&config, &table).expect("right");
    play(&mut verifier, &fabric, 3, Nanos::secs(60));
    let check = verifier.finish();
    assert_eq!((check.confirmed, check.moved.len(), check.silent.len()), (12, 0, 4), "{check:?}");
}

#[test]
fn a_wrong_configuration_is_named_by_field_value_and_what_is_right() {
    let refused = |config: ProbeConfig| {
        let error = Prober::new(&config, source(), &[host(1, 0)]).expect_err("it is wrong");
        error.to_string()
    };
    for (config, expected) in [
        (ProbeConfig { ports_per_path: 0, ..config() }, "ports_per_path is 0: from 1 to 256"),
        (ProbeConfig { tries: 9, ..config() }, "tries is 9: from 1 to 8"),
        (ProbeConfig { in_flight: 0, ..config() }, "in_flight is 0"),
        (ProbeConfig { timeout: Nanos(0), ..config() }, "timeout in microseconds is 0"),
        (ProbeConfig { miss_probability: f64::NAN, ..config() }, "miss_probability is NaN"),
        (ProbeConfig { local_ports: 80..=90, ..config() }, "local_ports is 80 to 90"),
    ] {
        let error = refused(config);
        assert!(error.contains(expected), "{error}");
    }
    let new = |asked: &[SocketAddr]| Prober::new(&config(), source(), asked).expect_err("wrong");
    assert_eq!(new(&[]), ConfigError::Destinations(0));
    assert_eq!(new(&[host(1, 0), host(1, 0)]), ConfigError::Twice(host(1, 0)));
    let other: SocketAddr = "[::1]:7".parse().expect("an address");
    let family = ConfigError::Family { source_address: source(), destination: other };
    assert_eq!(new(&[other]), family);
    let silent = SocketAddr::new(address(1, 0, 2), 0);
    assert_eq!(new(&[silent]), ConfigError::Destination(silent));
    assert_eq!(Protocol::Udp.to_string().parse(), Ok(Protocol::Udp));
}
