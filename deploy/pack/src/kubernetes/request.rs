//! What a pod asks for, as kube-scheduler counts it (k8s.io/component-helpers, `PodRequests`).

use std::collections::BTreeMap;

use super::objects::{Container, Pod, PodStatus, Quantities, Resources};
use super::quantity::TooLarge;
use crate::problem::LARGEST_AMOUNT;

/// Amounts in millicores, bytes or counts.
pub(super) type Counted = BTreeMap<String, i64>;

/// The resource that each pod takes one of.
pub(super) const PODS: &str = "pods";

/// A resource of which an amount is out of range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OutOfRange {
    /// The resource.
    pub(super) resource: String,
}

/// Containers run at once, and init containers before them one after another, but for those that
/// stay (sidecars); then what stands for the whole pod, and its overhead. A container that is
/// resized where it runs counts as the larger of what it asks for and what it has.
pub(super) fn of(pod: &Pod) -> Result<Counted, OutOfRange> {
    let Pod { spec, status, .. } = pod;
    let mut sum = Counted::new();
    for container in &spec.containers {
        add(&mut sum, &resized(container, status)?)?;
    }
    let mut sidecars = Counted::new();
    let mut most = Counted::new();
    for container in &spec.init_containers {
        if stays(container) {
            let own = resized(container, status)?;
            add(&mut sum, &own)?;
            add(&mut sidecars, &own)?;
            raise(&mut most, &sidecars);
        } else {
            let mut together = sidecars.clone();
            add(&mut together, &requests(&container.resources)?)?;
            raise(&mut most, &together);
        }
    }
    raise(&mut sum, &most);
    // The API server takes a limit of the whole pod for its request where no container has one.
    let whole = counted(&spec.resources.limits)?;
    for (resource, amount) in whole.into_iter().filter(|(resource, _)| of_whole_pods(resource)) {
        sum.entry(resource).or_insert(amount);
    }
    let whole = counted(&spec.resources.requests)?;
    sum.extend(whole.into_iter().filter(|(resource, _)| of_whole_pods(resource)));
    add(&mut sum, &counted(&spec.overhead)?)?;
    sum.insert(PODS.to_owned(), 1);
    Ok(sum)
}

/// Amounts in the units of their resources.
pub(super) fn counted(quantities: &Quantities) -> Result<Counted, OutOfRange> {
    let amount = |(resource, quantity): (&String, &super::quantity::Quantity)| {
        let digits = if resource == "cpu" { 3 } else { 0 };
        let out_of_range = |TooLarge| OutOfRange { resource: super::one_line(resource) };
        Ok((resource.clone(), quantity.scaled(digits).map_err(out_of_range)?))
    };
    quantities.iter().map(amount).collect()
}

/// The unit of a resource: `m` for millicores, `B` for bytes, empty for a count.
pub(super) fn unit(resource: &str) -> &'static str {
    match resource {
        "cpu" => "m",
        "memory" | "ephemeral-storage" => "B",
        other if other.starts_with("hugepages-") => "B",
        _ => "",
    }
}

/// A limit stands for a request that is not written, as the API server fills it in.
fn requests(resources: &Resources) -> Result<Counted, OutOfRange> {
    let mut all = counted(&resources.limits)?;
    all.extend(counted(&resources.requests)?);
    Ok(all)
}

/// What a container asks for, or has if that is more (`determineContainerReqs`); of a resize that
/// is out of the question, only what it has.
fn resized(container: &Container, status: &PodStatus) -> Result<Counted, OutOfRange> {
    let asked = requests(&container.resources)?;
    let mut all = status.init_container_statuses.iter().chain(&status.container_statuses);
    let of_container = all.find(|one| one.name == container.name);
    let actual = of_container.and_then(|one| Some((one, one.resources.as_ref()?)));
    let Some((of_container, actual)) = actual else { return Ok(asked) };
    let mut most = counted(&actual.requests)?;
    raise(&mut most, &counted(&of_container.allocated_resources)?);
    let pending = status.conditions.iter().find(|one| one.kind == "PodResizePending");
    if pending.is_none_or(|condition| condition.reason != "Infeasible") {
        raise(&mut most, &asked);
    }
    Ok(most)
}

fn stays(container: &Container) -> bool {
    container.restart_policy == "Always"
}

fn of_whole_pods(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory") || resource.starts_with("hugepages-")
}

fn add(sum: &mut Counted, more: &Counted) -> Result<(), OutOfRange> {
    for (resource, amount) in more {
        let total = sum.entry(resource.clone()).or_default();
        *total += amount;
        if *total > LARGEST_AMOUNT {
            return Err(OutOfRange { resource: super::one_line(resource) });
        }
    }
    Ok(())
}

fn raise(most: &mut Counted, other: &Counted) {
    for (resource, amount) in other {
        let value = most.entry(resource.clone()).or_default();
        *value = (*value).max(*amount);
    }
}
