//! Problems made from a seed, the same byte for byte wherever they are made.
//!
//! [`paper`] makes them as "Priority Matters" does (arXiv 2511.08373, section 5), [`large`] makes
//! clusters with gangs and leaves.

pub mod large;
pub mod paper;

use crate::placement::Placement;
use crate::problem::{Amounts, BuildError, Builder, PodSpec, Problem, Resource};

fn resource(name: &str, unit: &'static str) -> Resource {
    Resource { name: name.to_owned(), unit }
}

/// What each of equal nodes has, when all pods together ask for `percent` of everything: rounded
/// up, and enough for the largest pod.
fn capacity(requests: &[&Amounts], nodes: u32, percent: u32) -> Amounts {
    let kinds = requests.first().map_or(0, |request| request.len());
    let of_kind = |kind: usize| {
        let sum: i64 = requests.iter().map(|request| request[kind]).sum();
        let largest = requests.iter().map(|request| request[kind]).max().unwrap_or(0);
        let divisor = i64::from(percent) * i64::from(nodes);
        ((sum * 100 + divisor - 1) / divisor).max(largest)
    };
    (0..kinds).map(of_kind).collect()
}

/// A problem of a frame (resources, nodes, gangs, ...) and pods.
fn build(frame: &Builder, pods: &[PodSpec]) -> Result<Problem, BuildError> {
    let mut builder = frame.clone();
    for pod in pods {
        builder.pod(pod.clone());
    }
    builder.finish()
}

/// Lets pods run where they were placed.
fn settle(pods: &mut [PodSpec], placement: &Placement) {
    for (pod, node) in pods.iter_mut().zip(placement.nodes()) {
        pod.runs_on = *node;
    }
}
