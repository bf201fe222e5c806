//! Which destinations are below the same leaf.

use std::collections::{BTreeMap, BTreeSet};

use core::net::{IpAddr, SocketAddr};

use super::table::{Destination, Leaf, PathId, PinnedPort};

/// What shows that destinations are below the same leaf: a mark in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// An address of the last router before it. An address belongs to one router, which may answer
    /// with another on every link.
    Router(IpAddr),
    /// The entry of a path file that it was found in.
    Entry(u32),
}

/// What was found of one destination.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) address: SocketAddr,
    pub(crate) paths: BTreeMap<PathId, Vec<PinnedPort>>,
    pub(crate) marks: BTreeSet<Mark>,
    pub(crate) probed_ports: u32,
    pub(crate) silent_ports: u32,
    pub(crate) complete: bool,
}

/// Merges destinations that have a mark in common.
pub(crate) fn merge(mut found: Vec<Found>) -> Vec<Leaf> {
    found.sort_by_key(|found| found.address);
    let mut groups: Vec<(BTreeSet<Mark>, Vec<Found>)> = Vec::new();
    for destination in found {
        let mut marks = destination.marks.clone();
        let mut members = Vec::new();
        // One destination may join several groups, each seen over another path.
        for (others, group) in &mut groups {
            if !others.is_disjoint(&destination.marks) {
                marks.append(others);
                members.append(group);
            }
        }
        groups.retain(|(_, group)| !group.is_empty());
        members.push(destination);
        groups.push((marks, members));
    }
    let mut leaves: Vec<Leaf> =
        groups.into_iter().map(|(marks, group)| leaf(&marks, group)).collect();
    leaves.sort_by_key(|leaf| leaf.destinations.first().map(|first| first.address));
    leaves
}

fn leaf(marks: &BTreeSet<Mark>, mut group: Vec<Found>) -> Leaf {
    group.sort_by_key(|found| found.address);
    let ids: BTreeSet<PathId> =
        group.iter().flat_map(|found| found.paths.keys().cloned()).collect();
    let paths: Vec<PathId> = ids.into_iter().collect();
    let destination = |mut found: Found| Destination {
        address: found.address,
        ports: paths.iter().map(|path| found.paths.remove(path).unwrap_or_default()).collect(),
        probed_ports: found.probed_ports,
        silent_ports: found.silent_ports,
        complete: found.complete,
    };
    let destinations = group.into_iter().map(destination).collect();
    let router = |mark: &Mark| match mark {
        Mark::Router(address) => Some(*address),
        Mark::Entry(_) => None,
    };
    Leaf { last_hops: marks.iter().filter_map(router).collect(), paths, destinations }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(host: u8, hops: &[u8]) -> Found {
        let ip = |last| IpAddr::from([10, 0, 0, last]);
        let port = PinnedPort { port: 20_000, round_trip: None };
        Found {
            address: SocketAddr::new(ip(host), 7),
            paths: BTreeMap::from([(PathId::Hops(vec![Some(ip(host + 100))]), vec![port])]),
            marks: hops.iter().map(|&hop| Mark::Router(ip(hop))).collect(),
            probed_ports: 1,
            silent_ports: 0,
            complete: true,
        }
    }

    fn hosts(leaves: &[Leaf]) -> Vec<Vec<String>> {
        let names =
            |leaf: &Leaf| leaf.destinations.iter().map(|at| at.address.ip().to_string()).collect();
        leaves.iter().map(names).collect()
    }

    #[test]
    fn destinations_behind_one_router_merge_though_it_has_many_addresses() {
        let leaves =
            merge(vec![found(4, &[70]), found(1, &[50]), found(2, &[60]), found(3, &[50, 60])]);
        assert_eq!(hosts(&leaves), [vec!["10.0.0.1", "10.0.0.2", "10.0.0.3"], vec!["10.0.0.4"]]);
        assert_eq!(leaves[0].last_hops.len(), 2);
        assert_eq!(leaves[0].paths.len(), 3);
        let ports: Vec<usize> = leaves[0].destinations[1].ports.iter().map(Vec::len).collect();
        assert_eq!(ports, [0, 1, 0], "a path that only another destination saw has no ports");
    }

    #[test]
    fn destinations_whose_last_router_is_silent_stay_apart() {
        let leaves = merge(vec![found(1, &[]), found(2, &[])]);
        assert_eq!(leaves.len(), 2);
    }
}
