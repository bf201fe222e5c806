//! Where ranks are, and what carries the bytes of their groups.

use std::collections::BTreeMap;
use std::fmt;

use onepath_topology::cluster::NetworkKind;

use super::plan::{NodeOfPlan, PlanOfJob};
use crate::lab::fabric::Rate;
use crate::lab::fabric::clusters::{ClustersSpec, LinkSpec, SwitchSpec};

/// Which way ranks are put on nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// As the plan says.
    Planned,
    /// Nodes of the clusters by turns, as a scheduler gives them that does not know of clusters.
    Naive,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Naive => "naive",
        }
    }
}

/// What carries the bytes of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Carrier {
    /// One node.
    Node,
    /// A network.
    Network(NetworkKind),
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Node => "node",
            Self::Network(kind) => kind.name(),
        })
    }
}

/// The node of each rank, by its number in the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) kind: Kind,
    pub(super) nodes: Vec<usize>,
}

/// A group of ranks with its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) ranks: Vec<usize>,
    pub(super) carrier: Carrier,
}

/// A plan that contradicts itself.
#[derive(Debug, thiserror::Error)]
#[error("the plan's group {kind} {index} has the network '{said}', its nodes have '{found}'")]
pub(crate) struct CarrierError {
    kind: String,
    index: usize,
    said: String,
    found: String,
}

impl Placement {
    pub(super) fn new(plan: &PlanOfJob, kind: Kind) -> Self {
        let order = match kind {
            Kind::Planned => (0..plan.nodes.len()).collect(),
            Kind::Naive => by_turns(&plan.nodes),
        };
        let ranks = |node: usize| std::iter::repeat_n(node, plan.nodes[node].ranks);
        Self { kind, nodes: order.into_iter().flat_map(ranks).collect() }
    }

    /// The ranks of a stage, one for each replica.
    pub(super) fn data_group(&self, plan: &PlanOfJob, stage: usize) -> Group {
        let data = plan.degrees.data as usize;
        self.group(plan, (stage * data..(stage + 1) * data).collect())
    }

    /// The ranks of a replica, one for each stage.
    pub(super) fn pipeline_group(&self, plan: &PlanOfJob, replica: usize) -> Group {
        let (data, stages) = (plan.degrees.data as usize, plan.degrees.pipeline as usize);
        self.group(plan, (0..stages).map(|stage| stage * data + replica).collect())
    }

    fn group(&self, plan: &PlanOfJob, ranks: Vec<usize>) -> Group {
        let nodes: Vec<&NodeOfPlan> = ranks.iter().map(|r| &plan.nodes[self.nodes[*r]]).collect();
        let mut carrier = Carrier::Node;
        for (a, node) in nodes.iter().enumerate() {
            for other in nodes[a + 1..].iter().filter(|other| other.host != node.host) {
                let network = plan.network(&node.cluster, &other.cluster);
                let kind = network.expect("a checked plan has all networks").kind;
                // The worst kind is what all have: see `topology::groups::select`.
                carrier = carrier.max(Carrier::Network(kind));
            }
        }
        Group { ranks, carrier }
    }

    /// Whether the plan names the same networks for its groups.
    pub(super) fn check(&self, plan: &PlanOfJob) -> Result<(), CarrierError> {
        for group in plan.groups.iter().filter(|group| ["dp", "pp"].contains(&&*group.kind)) {
            let known = group.ranks.iter().all(|rank| *rank < self.nodes.len());
            let found = match (known, group.kind.as_str()) {
                (true, _) => self.group(plan, group.ranks.clone()).carrier.to_string(),
                _ => "no such ranks".to_owned(),
            };
            if found != group.carrier {
                let (kind, said) = (group.kind.clone(), group.carrier.clone());
                return Err(CarrierError { kind, index: group.index, said, found });
            }
        }
        Ok(())
    }

    /// Of all groups, the networks without repetition.
    pub(super) fn carriers(&self, plan: &PlanOfJob, data: bool) -> Vec<Carrier> {
        let mut carriers: Vec<Carrier> = if data {
            (0..plan.degrees.pipeline as usize).map(|s| self.data_group(plan, s).carrier).collect()
        } else {
            (0..plan.degrees.data as usize).map(|r| self.pipeline_group(plan, r).carrier).collect()
        };
        carriers.sort_unstable();
        carriers.dedup();
        carriers
    }
}

/// The first node of each cluster, then the second of each, and so on.
fn by_turns(nodes: &[NodeOfPlan]) -> Vec<usize> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    // Each node with its place in its cluster and the first node of that cluster.
    let mut order = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        let first = nodes.iter().position(|other| other.cluster == node.cluster);
        let place = seen.entry(&node.cluster).or_default();
        order.push((*place, first, number));
        *place += 1;
    }
    order.sort_unstable();
    order.into_iter().map(|(_, _, number)| number).collect()
}

/// The clusters of a plan as a fabric, its rates divided by `slowdown`.
pub(super) fn fabric(plan: &PlanOfJob, slowdown: u64) -> ClustersSpec {
    let mut clusters: Vec<&str> = Vec::new();
    for node in &plan.nodes {
        if !clusters.contains(&node.cluster.as_str()) {
            clusters.push(&node.cluster);
        }
    }
    let rate = |bytes: f64| Rate::bits(((bytes * 8.0 / slowdown as f64) as u64).max(1));
    let mut spec = ClustersSpec {
        hosts: plan.nodes.iter().map(|node| node.host.clone()).collect(),
        switches: Vec::new(),
        links: Vec::new(),
    };
    let mut known: BTreeMap<(&str, NetworkKind), usize> = BTreeMap::new();
    let mut switch = |spec: &mut ClustersSpec, cluster, kind: NetworkKind, bytes: f64| {
        *known.entry((cluster, kind)).or_insert_with(|| {
            let own = plan.nodes.iter().enumerate().filter(|(_, node)| node.cluster == cluster);
            let hosts = own.map(|(host, node)| (host, node.interfaces[&kind].clone())).collect();
            let name = format!("{kind} of {cluster}");
            spec.switches.push(SwitchSpec { name, hosts, rate: rate(bytes) });
            spec.switches.len() - 1
        })
    };
    for cluster in &clusters {
        let network = plan.network(cluster, cluster).expect("a checked plan has all networks");
        switch(&mut spec, *cluster, network.kind, network.rate.0);
    }
    for (a, one) in clusters.iter().enumerate() {
        for other in &clusters[a + 1..] {
            let network = plan.network(one, other).expect("a checked plan has all networks");
            let ends = [*one, *other].map(|c| switch(&mut spec, c, network.kind, network.rate.0));
            let nodes = |cluster: &str| plan.nodes.iter().filter(|n| n.cluster == cluster).count();
            // What all nodes of the smaller side can send at once, unless a shared line has less.
            let all = network.rate.0 * nodes(one).min(nodes(other)) as f64;
            let total = network.total.map_or(all, |total| total.0.min(all));
            spec.links.push(LinkSpec { switches: (ends[0], ends[1]), rate: rate(total) });
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, cluster: &str) -> NodeOfPlan {
        NodeOfPlan {
            host: host.to_owned(),
            cluster: cluster.to_owned(),
            first_rank: 0,
            ranks: 1,
            interfaces: BTreeMap::new(),
        }
    }

    #[test]
    fn by_turns_takes_a_node_of_each_cluster() {
        let nodes = [
            node("a1", "z"),
            node("a2", "z"),
            node("b1", "b"),
            node("b2", "b"),
            node("b3", "b"),
            node("c1", "a"),
        ];
        assert_eq!(by_turns(&nodes), [0, 2, 5, 1, 3, 4]);
    }
}
