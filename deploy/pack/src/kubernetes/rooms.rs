//! Resources, what nodes have of them, and what pods take.

use std::collections::{BTreeSet, HashMap};

use super::apart::{self, Made};
use super::reason::Held;
use super::request::{self, Counted};
use super::snapshot::{Snapshot, SnapshotError};
use super::survey::{Role, Survey};
use crate::problem::{Amounts, Mobility, Resource};

/// Resources with what nodes have and pods take of them.
pub(super) struct Rooms {
    names: Vec<String>,
    made: Vec<Made>,
    /// What each node offers in all.
    pub(super) offers: Vec<Amounts>,
    /// What pods take of made resources, by their places in the snapshot.
    extra: HashMap<usize, Vec<(usize, i64)>>,
}

impl Rooms {
    pub(super) fn new(survey: &Survey<'_>) -> Result<Self, SnapshotError> {
        let open = (0..survey.roles.len()).filter(|pod| survey.roles[*pod].is_open());
        let asked: BTreeSet<&String> = open.flat_map(|pod| survey.requests[pod].keys()).collect();
        let mut names: Vec<String> = ["cpu", "memory", request::PODS].map(str::to_owned).into();
        let more = asked.into_iter().filter(|name| !names.contains(name)).cloned();
        let more: Vec<String> = more.collect();
        names.extend(more);
        let made = apart::made(survey);
        let mut extra: HashMap<usize, Vec<(usize, i64)>> = HashMap::new();
        for (number, made) in made.iter().enumerate() {
            for (pod, amount) in &made.takes {
                extra.entry(*pod).or_default().push((names.len() + number, *amount));
            }
        }
        let offers = offers(survey.snapshot)?.into_iter().map(|offer| {
            let real = names.iter().map(|name| offer.get(name).copied().unwrap_or(0));
            real.chain(made.iter().map(|made| made.capacity)).collect()
        });
        let offers = offers.collect();
        Ok(Self { names, made, offers, extra })
    }

    pub(super) fn resources(&self) -> Vec<Resource> {
        let real = self.names.iter();
        let real =
            real.map(|name| Resource { name: super::one_line(name), unit: request::unit(name) });
        let made = self.made.iter().map(|made| Resource { name: made.name.clone(), unit: "" });
        real.chain(made).collect()
    }

    pub(super) fn request(&self, survey: &Survey<'_>, pod: usize) -> Amounts {
        let asked = &survey.requests[pod];
        let real = self.names.iter().map(|name| asked.get(name).copied().unwrap_or(0));
        let mut amounts: Amounts = real.chain(self.made.iter().map(|_| 0)).collect();
        for (resource, amount) in self.extra.get(&pod).into_iter().flatten() {
            amounts[*resource] = *amount;
        }
        amounts
    }

    /// What each node has for the pods that are decided on: less what others use, and never less
    /// than what runs there already.
    pub(super) fn capacities(&self, survey: &Survey<'_>) -> Vec<Amounts> {
        let held = self.used(survey, |role| matches!(role, Role::Held(..)));
        let open = self.used(survey, Role::is_open);
        let capacity = |((offer, held), open): ((&Amounts, Vec<i128>), Vec<i128>)| {
            let left = offer.iter().zip(held).map(|(offer, held)| i128::from(*offer) - held);
            let amounts = left.zip(open).map(|(left, open)| left.max(open).max(0));
            amounts.map(|amount| i64::try_from(amount).unwrap_or(i64::MAX)).collect()
        };
        self.offers.iter().zip(held).zip(open).map(capacity).collect()
    }

    /// What the pods on each node take, of those that a filter takes in.
    fn used(&self, survey: &Survey<'_>, filter: impl Fn(&Role) -> bool) -> Vec<Vec<i128>> {
        let mut used = vec![vec![0; self.names.len() + self.made.len()]; self.offers.len()];
        for (pod, role) in survey.roles.iter().enumerate() {
            if let Some(node) = role.node().filter(|_| filter(role)) {
                let request = self.request(survey, pod);
                used[node].iter_mut().zip(&request).for_each(|(sum, one)| *sum += i128::from(*one));
            }
        }
        used
    }

    /// Where more runs than there is room for, everything stays: a pod that took another's place
    /// would be refused by the kubelet. Pods of gangs stay in the problem.
    pub(super) fn freeze(&self, survey: &mut Survey<'_>, in_gangs: &BTreeSet<usize>) {
        let resources = self.resources();
        let used = self.used(survey, |_| true);
        let mut short: HashMap<usize, &str> = HashMap::new();
        for (node, (used, offer)) in used.iter().zip(&self.offers).enumerate() {
            let over = used.iter().zip(offer).position(|(used, has)| *used > i128::from(*has));
            if let Some(resource) = over {
                let Resource { name, unit } = &resources[resource];
                let host = &survey.snapshot.nodes[node].metadata.name;
                let (used, has) = (used[resource], offer[resource]);
                survey.notes.push(format!(
                    "node {host}: its pods ask for {used}{unit} of {name}, it has {has}{unit}: \
                     they stay"
                ));
                short.insert(node, name);
            }
        }
        for (pod, role) in survey.roles.iter_mut().enumerate() {
            if let Role::Running(node, _) = role
                && let Some(name) = short.get(node)
            {
                *role = if in_gangs.contains(&pod) {
                    Role::Running(*node, Mobility::Fixed)
                } else {
                    Role::Held(*node, Held::Overfull((*name).to_owned()))
                };
            }
        }
    }
}

/// What each node offers.
fn offers(snapshot: &Snapshot) -> Result<Vec<Counted>, SnapshotError> {
    let offer = |node: &super::objects::Node| {
        request::counted(node.status.offer()).map_err(|error| SnapshotError::Allocatable {
            node: node.metadata.name.clone(),
            resource: error.resource,
        })
    };
    snapshot.nodes.iter().map(offer).collect()
}
