//! A list of Kubernetes nodes, as `kubectl get nodes -o json` prints it.
//!
//! Labels, the outermost first: `topology.kubernetes.io/region` and `/zone` (well-known labels of
//! Kubernetes), `network.topology.nvidia.com/core`, `/spine`, `/leaf` and `/accelerator` (written
//! by topograph; the last is an `NVLink` domain). A label that is missing is a layer that is not
//! there. An `NVLink` domain is inside of one leaf, or a leaf inside of one `NVLink` domain.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{MAX_FILE_BYTES, MAX_UNITS, Structure, StructureError, Unit};
use crate::cluster::hosts::MAX_HOST_NAME;
use crate::cluster::{MAX_GPUS_PER_NODE, MAX_NODES, shown};

const REGION: Layer = Layer { label: "topology.kubernetes.io/region", name: "region" };
const ZONE: Layer = Layer { label: "topology.kubernetes.io/zone", name: "zone" };
const CORE: Layer = Layer { label: "network.topology.nvidia.com/core", name: "core" };
const SPINE: Layer = Layer { label: "network.topology.nvidia.com/spine", name: "spine" };
const LEAF: Layer = Layer { label: "network.topology.nvidia.com/leaf", name: "leaf" };
const ACCELERATOR: Layer =
    Layer { label: "network.topology.nvidia.com/accelerator", name: "accelerator" };

/// The resource by which the device plugin counts GPUs.
const GPUS: &str = "nvidia.com/gpu";
/// The longest value of a label, in bytes (Kubernetes: Labels and Selectors).
const MAX_LABEL: usize = 63;

#[derive(Clone, Copy)]
struct Layer {
    label: &'static str,
    name: &'static str,
}

#[derive(Deserialize)]
struct RawList {
    kind: Option<String>,
    items: Option<Vec<RawNode>>,
}

#[derive(Deserialize)]
struct RawNode {
    kind: Option<String>,
    metadata: RawMetadata,
    #[serde(default)]
    status: RawStatus,
}

#[derive(Deserialize)]
struct RawMetadata {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct RawStatus {
    #[serde(default)]
    allocatable: BTreeMap<String, String>,
}

pub(super) fn parse(text: &str) -> Result<Structure, StructureError> {
    if text.len() > MAX_FILE_BYTES {
        return Err(StructureError::TooLong(text.len()));
    }
    let list: RawList = serde_json::from_str(text)
        .map_err(|error| StructureError::syntax(error.line() as u64, &error.to_string()))?;
    let kind = list.kind.as_deref().unwrap_or("");
    let (true, Some(nodes)) = (matches!(kind, "List" | "NodeList"), &list.items) else {
        return Err(StructureError::Kind(shown(kind)));
    };
    if let Some(kind) = nodes.iter().filter_map(|node| node.kind.as_deref()).find(|k| *k != "Node")
    {
        return Err(StructureError::Kind(shown(kind)));
    }
    if !(1..=MAX_NODES).contains(&nodes.len()) {
        return Err(StructureError::Nodes(nodes.len()));
    }
    let gpus = named(nodes)?;
    match structure(nodes, &[REGION, ZONE, CORE, SPINE, LEAF, ACCELERATOR], &gpus) {
        Err(StructureError::Overlap { unit, .. }) if unit.starts_with(ACCELERATOR.name) => {
            structure(nodes, &[REGION, ZONE, CORE, SPINE, ACCELERATOR, LEAF], &gpus)
        }
        result => result,
    }
}

/// The GPUs of each node, whose names are checked.
fn named(nodes: &[RawNode]) -> Result<BTreeMap<String, u32>, StructureError> {
    let (mut seen, mut gpus) = (BTreeSet::new(), BTreeMap::new());
    for (index, node) in nodes.iter().enumerate() {
        let name = &node.metadata.name;
        let wrong = |label, value: &str, expected| StructureError::Label {
            node: shown(name),
            label,
            value: shown(value),
            expected,
        };
        let usual = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if name.is_empty() || name.len() > MAX_HOST_NAME || !name.chars().all(usual) {
            return Err(wrong("metadata.name", name, "host name of at most 253 characters"));
        }
        if !seen.insert(name) {
            return Err(StructureError::twice(&format!("items[{index}]"), name));
        }
        let Some(count) = node.status.allocatable.get(GPUS) else { continue };
        let number = count.parse().ok().filter(|&gpus| gpus <= MAX_GPUS_PER_NODE);
        let number = number.ok_or_else(|| wrong(GPUS, count, "number of GPUs from 0 to 64"))?;
        gpus.insert(name.clone(), number);
    }
    Ok(gpus)
}

fn structure(
    nodes: &[RawNode],
    layers: &[Layer],
    gpus: &BTreeMap<String, u32>,
) -> Result<Structure, StructureError> {
    let mut units: Vec<Unit> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut hosts = Vec::with_capacity(nodes.len());
    for node in nodes {
        let name = &node.metadata.name;
        let (mut parent, mut depth) = (None, 0);
        for layer in layers {
            let Some(value) = value(name, *layer, &node.metadata.labels)? else { continue };
            let unit = format!("{}={value}", layer.name);
            let at = *known.entry(unit.clone()).or_insert_with(|| {
                units.push(Unit { name: unit.clone(), parent, depth });
                units.len() - 1
            });
            if units[at].parent != parent {
                let place = |parent: Option<usize>| {
                    parent.map_or_else(|| "no unit".to_owned(), |index| units[index].name.clone())
                };
                let (first, second) = (place(units[at].parent), place(parent));
                return Err(StructureError::Overlap { unit, first, second, node: shown(name) });
            }
            (parent, depth) = (Some(at), depth + 1);
        }
        hosts.push((name.clone(), parent));
    }
    if units.len() > MAX_UNITS {
        return Err(StructureError::Units(units.len()));
    }
    // Neighbours by their units from the outermost in; in one unit by the order of the list.
    hosts.sort_by_cached_key(|(_, unit)| way(&units, *unit));
    Ok(Structure::new(units, hosts, gpus.clone()))
}

/// The units around a host, the outermost first.
fn way(units: &[Unit], mut at: Option<usize>) -> Vec<usize> {
    let mut way = Vec::new();
    while let Some(index) = at {
        way.push(index);
        at = units[index].parent;
    }
    way.reverse();
    way
}

/// The value of a label; empty is as good as missing.
fn value<'a>(
    node: &str,
    layer: Layer,
    labels: &'a BTreeMap<String, String>,
) -> Result<Option<&'a str>, StructureError> {
    let Some(value) = labels.get(layer.label).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let usual = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if value.len() > MAX_LABEL || !value.chars().all(usual) {
        return Err(StructureError::Label {
            node: shown(node),
            label: layer.label,
            value: shown(value),
            expected: "label of at most 63 letters, digits, '-', '_' and '.'",
        });
    }
    Ok(Some(value))
}
