//! Pods that must not share a node: host ports and required anti-affinity.
//!
//! A term of anti-affinity has holders (pods that say it) and matches (pods that it is about); a
//! holder and a match must not be near each other. Against pods that stay it is a matter of nodes
//! that do not suit. Among pods that are decided on it is an amount of a made resource, where the
//! term is about hosts and all holders are matches or all matches are holders, which it mostly is.

use std::collections::{BTreeMap, BTreeSet};

use super::objects::{LabelSelector, Operator, Pod, PodAffinityTerm};
use super::reason::Constraint;
use super::snapshot::{HOSTNAME, Snapshot};
use super::survey::{Role, Survey};
use crate::problem::Mobility;

/// A made resource: what each node has of it, and what pods take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) name: String,
    pub(super) capacity: i64,
    pub(super) takes: Vec<(usize, i64)>,
}

/// A term of anti-affinity with all that it depends on of the pod that says it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Term {
    key: String,
    /// None is all.
    namespaces: Option<BTreeSet<String>>,
    selector: LabelSelector,
}

#[derive(Debug, Default)]
struct Sides {
    holders: Vec<usize>,
    matches: Vec<usize>,
}

/// Demotes pods whose anti-affinity the model does not have.
pub(super) fn demote(survey: &mut Survey<'_>) {
    by_unknown_namespaces(survey);
    let terms = terms(survey);
    loop {
        let mut changed = false;
        for (term, sides) in &terms {
            let open = |pods: &[usize]| -> BTreeSet<usize> {
                pods.iter().copied().filter(|pod| survey.roles[*pod].is_open()).collect()
            };
            let (holders, matches) = (open(&sides.holders), open(&sides.matches));
            if !concerns(&holders, &matches) || is_modelled(term, &holders, &matches) {
                continue;
            }
            changed = true;
            for pod in holders {
                survey.demote(pod, Constraint::PodAntiAffinity(super::one_line(&term.key)));
            }
        }
        if !changed {
            return;
        }
    }
}

/// Whether a selector of namespaces says something: that needs objects that nobody gives us.
fn by_unknown_namespaces(survey: &mut Survey<'_>) {
    for index in 0..survey.roles.len() {
        let required = &survey.snapshot.pods[index].spec.affinity.pod_anti_affinity.required;
        let unknown = |term: &&PodAffinityTerm| {
            term.namespace_selector.as_ref().is_some_and(|one| *one != LabelSelector::default())
        };
        if let Some(term) = required.iter().find(unknown)
            && survey.roles[index].is_open()
        {
            survey.demote(index, Constraint::PodAntiAffinity(super::one_line(&term.topology_key)));
        }
    }
}

/// Whether there are two different pods that a term keeps apart.
fn concerns(holders: &BTreeSet<usize>, matches: &BTreeSet<usize>) -> bool {
    let all: BTreeSet<_> = holders.union(matches).collect();
    !holders.is_empty() && !matches.is_empty() && all.len() > 1
}

fn is_modelled(term: &Term, holders: &BTreeSet<usize>, matches: &BTreeSet<usize>) -> bool {
    term.key == HOSTNAME && (holders.is_subset(matches) || matches.is_subset(holders))
}

/// Made resources for what the model has, of pods that are decided on or run.
pub(super) fn made(survey: &Survey<'_>) -> Vec<Made> {
    let mut made = ports(survey);
    for (number, (term, sides)) in terms(survey).iter().enumerate() {
        let open = |pods: &[usize]| -> BTreeSet<usize> {
            pods.iter().copied().filter(|pod| survey.roles[*pod].is_open()).collect()
        };
        let (holders, matches) = (open(&sides.holders), open(&sides.matches));
        if !concerns(&holders, &matches) || !is_modelled(term, &holders, &matches) {
            continue;
        }
        // Two of the smaller side, or one of it beside another pod, take more than there is.
        let both: BTreeSet<usize> = holders.intersection(&matches).copied().collect();
        let others: Vec<usize> = holders.symmetric_difference(&matches).copied().collect();
        let capacity = others.len().max(1) as i64;
        let takes = both.into_iter().map(|pod| (pod, capacity));
        let takes = takes.chain(others.into_iter().map(|pod| (pod, 1))).collect();
        made.push(Made { name: format!("anti-affinity {}", number + 1), capacity, takes });
    }
    made
}

/// Ports of hosts that a pod that is decided on asks for.
fn ports(survey: &Survey<'_>) -> Vec<Made> {
    let mut users: BTreeMap<(String, u16), BTreeSet<usize>> = BTreeMap::new();
    for (index, role) in survey.roles.iter().enumerate() {
        if role.is_open() || role.node().is_some() {
            for port in host_ports(&survey.snapshot.pods[index]) {
                users.entry(port).or_default().insert(index);
            }
        }
    }
    users.retain(|_, pods| pods.iter().any(|pod| survey.roles[*pod].is_open()));
    let made = |((protocol, port), pods): ((String, u16), BTreeSet<usize>)| Made {
        name: format!("host port {protocol} {port}"),
        capacity: 1,
        takes: pods.into_iter().map(|pod| (pod, 1)).collect(),
    };
    users.into_iter().map(made).collect()
}

fn host_ports(pod: &Pod) -> impl Iterator<Item = (String, u16)> {
    // Only sidecars among the init containers hold their ports (kube-scheduler, `GetHostPorts`).
    let sidecars = pod.spec.init_containers.iter().filter(|one| one.restart_policy == "Always");
    let ports = pod.spec.containers.iter().chain(sidecars).flat_map(|container| &container.ports);
    let host_network = pod.spec.host_network;
    ports.filter_map(move |port| {
        let number = match port.host_port {
            0 if host_network => port.container_port,
            number => number,
        };
        let protocol = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
        (number != 0).then(|| (super::one_line(protocol), number))
    })
}

/// Nodes that do not suit pods that are decided on, because of pods that stay there.
pub(super) fn unsuited(survey: &Survey<'_>) -> BTreeMap<usize, BTreeSet<usize>> {
    let mut unsuited: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (term, sides) in terms(survey) {
        let pairs = [(&sides.holders, &sides.matches), (&sides.matches, &sides.holders)];
        for (open, staying) in pairs {
            let staying = staying.iter().filter_map(|pod| match survey.roles[*pod] {
                Role::Held(node, _) | Role::Running(node, Mobility::Fixed) => Some(node),
                _ => None,
            });
            let nodes = near(survey.snapshot, &term.key, staying);
            if nodes.is_empty() {
                continue;
            }
            for pod in open.iter().filter(|pod| survey.roles[**pod].is_open()) {
                unsuited.entry(*pod).or_default().extend(&nodes);
            }
        }
    }
    unsuited
}

/// All nodes that share the value of a label with one of these.
fn near(snapshot: &Snapshot, key: &str, nodes: impl Iterator<Item = usize>) -> BTreeSet<usize> {
    let nodes: BTreeSet<usize> = nodes.collect();
    if nodes.is_empty() {
        return nodes;
    }
    let value = |node: usize| snapshot.nodes[node].metadata.labels.get(key);
    let values: BTreeSet<&String> = nodes.iter().filter_map(|node| value(*node)).collect();
    let inside = |node: &usize| value(*node).is_some_and(|value| values.contains(value));
    (0..snapshot.nodes.len()).filter(inside).collect()
}

/// All terms of pods that run or wait, with both their sides.
fn terms(survey: &Survey<'_>) -> BTreeMap<Term, Sides> {
    let live = |index: &usize| !matches!(survey.roles[*index], Role::Gone | Role::Left(_));
    let live: Vec<usize> = (0..survey.roles.len()).filter(live).collect();
    let mut terms: BTreeMap<Term, Sides> = BTreeMap::new();
    for &index in &live {
        let pod = &survey.snapshot.pods[index];
        for raw in &pod.spec.affinity.pod_anti_affinity.required {
            if let Some(term) = term(raw, pod) {
                terms.entry(term).or_default().holders.push(index);
            }
        }
    }
    for (term, sides) in &mut terms {
        let matches = |index: &&usize| {
            let metadata = &survey.snapshot.pods[**index].metadata;
            let inside = |names: &BTreeSet<String>| names.contains(metadata.namespace());
            term.namespaces.as_ref().is_none_or(inside) && term.selector.matches(&metadata.labels)
        };
        sides.matches = live.iter().filter(matches).copied().collect();
    }
    terms
}

/// The term as this pod means it; none when it is about no pod.
fn term(raw: &PodAffinityTerm, pod: &Pod) -> Option<Term> {
    let mut selector = raw.label_selector.clone()?;
    let same = raw.match_label_keys.iter().map(|key| (key, Operator::In));
    let different = raw.mismatch_label_keys.iter().map(|key| (key, Operator::NotIn));
    for (key, operator) in same.chain(different) {
        if let Some(value) = pod.metadata.labels.get(key) {
            let (key, values) = (key.clone(), vec![value.clone()]);
            selector.match_expressions.push(super::objects::Expression { key, operator, values });
        }
    }
    let own = || BTreeSet::from([pod.metadata.namespace().to_owned()]);
    let namespaces = match (&raw.namespace_selector, raw.namespaces.is_empty()) {
        (Some(_), _) => None,
        (None, true) => Some(own()),
        (None, false) => Some(raw.namespaces.iter().cloned().collect()),
    };
    Some(Term { key: raw.topology_key.clone(), namespaces, selector })
}
