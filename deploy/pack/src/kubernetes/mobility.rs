//! What may be done with a running pod.

use std::collections::BTreeMap;

use super::marks;
use super::objects::{Pod, PodDisruptionBudget};
use super::reason::{Constraint, Held};
use super::snapshot::{MovablePods, Reach, Snapshot, SnapshotOptions};
use crate::problem::Mobility;

/// Priorities from here on are the cluster's own (`system-cluster-critical`).
pub(super) const CRITICAL: i64 = 2_000_000_000;

/// What may be done with it; its budgets aside.
pub(super) fn of(pod: &Pod, priority: i64, options: &SnapshotOptions) -> Result<Mobility, Held> {
    let metadata = &pod.metadata;
    if metadata.deletion_timestamp.is_some() {
        return Err(Held::Terminating);
    }
    if metadata.annotations.contains_key("kubernetes.io/config.mirror") {
        return Err(Held::Static);
    }
    let Some(owner) = metadata.controller() else { return Err(Held::Unowned) };
    match owner.kind.as_str() {
        "DaemonSet" => return Err(Held::Daemon),
        "Node" => return Err(Held::Static),
        _ => {}
    }
    if priority >= CRITICAL {
        return Err(Held::Critical);
    }
    let ours = pod.spec.scheduler_name == options.scheduler_name
        || pod.spec.scheduling_gates.iter().any(|gate| is_ours(&gate.name))
        || metadata.mark(marks::MOVABLE) == Some("true");
    match options.movable {
        MovablePods::Owned => Ok(Mobility::Movable),
        MovablePods::Controlled if ours => Ok(Mobility::Movable),
        MovablePods::Controlled => Ok(Mobility::Evictable),
    }
}

/// Whether a scheduling gate is ours to take away.
pub(super) fn is_ours(gate: &str) -> bool {
    gate.starts_with(marks::GATE_PREFIX)
}

/// The first constraint of a pod that the model does not have; anti-affinity is judged elsewhere.
pub(super) fn unmodelled(snapshot: &Snapshot, pod: &Pod) -> Option<Constraint> {
    let spec = &pod.spec;
    if !spec.affinity.pod_affinity.required.is_empty() {
        return Some(Constraint::PodAffinity);
    }
    let strict = |one: &&super::objects::Spread| one.when_unsatisfiable != "ScheduleAnyway";
    if let Some(spread) = spec.topology_spread_constraints.iter().find(strict) {
        return Some(Constraint::TopologySpread(super::one_line(&spread.topology_key)));
    }
    if !spec.resource_claims.is_empty() {
        return Some(Constraint::ResourceClaims);
    }
    let ties =
        |volume: &&super::objects::Volume| matches!(snapshot.reach(pod, volume), Reach::Unknown);
    spec.volumes.iter().find(ties).map(|volume| Constraint::Volume(super::one_line(&volume.name)))
}

/// A budget, how many disruptions it allows, and the running pods that it is about.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) name: String,
    pub(super) allowed: i64,
    pub(super) pods: Vec<usize>,
}

/// The budgets with their running pods, `running` being indices of the snapshot's pods.
pub(super) fn budgets(snapshot: &Snapshot, running: &[usize]) -> Vec<Budget> {
    let mut by_namespace: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for &index in running {
        let namespace = snapshot.pods[index].metadata.namespace();
        by_namespace.entry(namespace).or_default().push(index);
    }
    let budget = |budget: &PodDisruptionBudget| {
        let selector = budget.spec.selector.as_ref()?;
        let inside = by_namespace.get(budget.metadata.namespace()).into_iter().flatten().copied();
        let matches = |index: &usize| selector.matches(&snapshot.pods[*index].metadata.labels);
        let pods: Vec<usize> = inside.filter(matches).collect();
        let allowed = allowed(budget, pods.len());
        Some(Budget { name: super::one_line(&budget.metadata.full_name()), allowed, pods })
    };
    snapshot.budgets.iter().filter_map(budget).collect()
}

/// What the disruption controller says, or would say of so many healthy pods.
fn allowed(budget: &PodDisruptionBudget, healthy: usize) -> i64 {
    if let Some(status) = budget.status {
        return status.disruptions_allowed;
    }
    match (&budget.spec.min_available, &budget.spec.max_unavailable) {
        // A share that cannot be read allows nothing: the controller does not either.
        (Some(least), _) => least.of(healthy).map_or(0, |least| healthy as i64 - least as i64),
        (None, Some(most)) => most.of(healthy).map_or(0, |most| most as i64),
        (None, None) => healthy as i64,
    }
}
