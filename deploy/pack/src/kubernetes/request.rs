//! What a pod asks for, as kube-scheduler counts it (k8s.io/component-helpers, `PodRequests`).

use std::collections::BTreeMap;

use super::objects::{Container, PodSpec, Quantities, Resources};
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
/// stay (sidecars); then what stands for the whole pod, and its overhead.
pub(super) fn of(spec: &PodSpec) -> Result<Counted, OutOfRange> {
    let mut sum = Counted::new();
    for container in &spec.containers {
        add(&mut sum, &requests(&container.resources)?)?;
    }
    let mut sidecars = Counted::new();
    let mut most = Counted::new();
    for container in &spec.init_containers {
        let own = requests(&container.resources)?;
        if stays(container) {
            add(&mut sum, &own)?;
            add(&mut sidecars, &own)?;
            raise(&mut most, &sidecars);
        } else {
            let mut together = sidecars.clone();
            add(&mut together, &own)?;
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
