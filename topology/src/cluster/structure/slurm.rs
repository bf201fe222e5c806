//! Slurm's `topology.yaml`.
//!
//! Source: topology.yaml(5). A list of topologies; each has a name and one of
//! - `tree`: `switches`, each with `switch` (its name) and `children` (switches) or `nodes`;
//! - `block`: `block_sizes` (a base and multiples by powers of two) and `blocks`, each with `block`
//!   and `nodes`;
//! - `flat: true`.
//!
//! Names are host list expressions. Slurm's other kinds (ring, torus) are refused by name.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{
    MAX_DEPTH, MAX_FILE_BYTES, MAX_LINE_BYTES, MAX_UNITS, Structure, StructureError, Unit,
};
use crate::cluster::hosts::expand;
use crate::cluster::{MAX_NODES, shown};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTopology {
    topology: String,
    #[serde(default)]
    cluster_default: bool,
    tree: Option<RawTree>,
    block: Option<RawBlocks>,
    /// `true`, or a table of options that say nothing of the network.
    flat: Option<Value>,
    /// Kinds that are known to Slurm and not read here.
    #[serde(default, rename = "ring")]
    _ring: IgnoredAny,
    #[serde(default, rename = "torus3d")]
    _torus: IgnoredAny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTree {
    switches: Vec<RawSwitch>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSwitch {
    switch: String,
    children: Option<String>,
    nodes: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBlocks {
    block_sizes: Vec<u64>,
    blocks: Vec<RawBlock>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBlock {
    block: String,
    nodes: Option<String>,
}

pub(super) fn parse(text: &str, wanted: Option<&str>) -> Result<Structure, StructureError> {
    if text.len() > MAX_FILE_BYTES {
        return Err(StructureError::TooLong(text.len()));
    }
    let mut lines = text.lines().enumerate();
    if let Some((index, line)) = lines.find(|(_, line)| line.len() > MAX_LINE_BYTES) {
        return Err(StructureError::LongLine { line: index + 1, bytes: line.len() });
    }
    let topologies: Vec<RawTopology> = serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        StructureError::syntax(line, &error.without_snippet().to_string())
    })?;
    let mut names = BTreeSet::new();
    for (index, topology) in topologies.iter().enumerate() {
        if !names.insert(&topology.topology) {
            return Err(StructureError::twice(&format!("topology[{index}]"), &topology.topology));
        }
    }
    let found = match wanted {
        Some(name) => topologies.iter().find(|topology| topology.topology == name),
        None => topologies.iter().find(|one| one.cluster_default).or_else(|| topologies.first()),
    };
    let Some(found) = found else {
        let known: Vec<String> = names.iter().take(10).map(|name| shown(name)).collect();
        let known = if known.is_empty() { "- topology: NAME".to_owned() } else { known.join(", ") };
        return Err(StructureError::Topology { wanted: shown(wanted.unwrap_or("")), known });
    };
    structure(found)
}

fn structure(topology: &RawTopology) -> Result<Structure, StructureError> {
    let name = shown(&topology.topology);
    match (&topology.tree, &topology.block, &topology.flat) {
        (Some(tree), None, None) => self::tree(&name, tree),
        (None, Some(blocks), None) => self::blocks(&name, blocks),
        (None, None, Some(Value::Bool(true) | Value::Object(_))) => Ok(Structure::default()),
        (None, None, Some(_)) => Err(StructureError::NotFlat(name)),
        (tree, block, flat) => {
            let given = [tree.is_some(), block.is_some(), flat.is_some()];
            let count = given.into_iter().filter(|&given| given).count();
            Err(StructureError::Kinds { topology: name, count })
        }
    }
}

/// Children and nodes of each switch, by index.
struct Tree {
    children: Vec<Vec<usize>>,
    nodes: Vec<Vec<String>>,
    parents: Vec<Option<usize>>,
}

fn tree(topology: &str, raw: &RawTree) -> Result<Structure, StructureError> {
    if raw.switches.len() > MAX_UNITS {
        return Err(StructureError::Units(raw.switches.len()));
    }
    let mut index = BTreeMap::new();
    for (number, switch) in raw.switches.iter().enumerate() {
        if index.insert(switch.switch.as_str(), number).is_some() {
            let place = format!("topology '{topology}', switches[{number}]");
            return Err(StructureError::twice(&place, &switch.switch));
        }
    }
    let tree = connected(topology, raw, &index)?;
    ordered(raw, &tree)
}

fn connected(
    topology: &str,
    raw: &RawTree,
    index: &BTreeMap<&str, usize>,
) -> Result<Tree, StructureError> {
    let count = raw.switches.len();
    let (mut children, mut nodes) = (vec![Vec::new(); count], vec![Vec::new(); count]);
    let mut parents: Vec<Option<usize>> = vec![None; count];
    let mut homes: BTreeMap<String, usize> = BTreeMap::new();
    let name = |number: usize| shown(&raw.switches[number].switch);
    for (number, switch) in raw.switches.iter().enumerate() {
        let place = || format!("topology '{topology}', switch '{}'", name(number));
        if switch.children.is_none() && switch.nodes.is_none() {
            return Err(StructureError::Childless { place: place() });
        }
        let listed = |list: &Option<String>, field: &str| {
            let hosts = list.as_deref().map_or(Ok(Vec::new()), expand);
            hosts.map_err(|problem| StructureError::hosts(format!("{}.{field}", place()), problem))
        };
        for child in listed(&switch.children, "children")? {
            let Some(&below) = index.get(child.as_str()) else {
                return Err(StructureError::Child { place: place(), child: shown(&child) });
            };
            if let Some(first) = parents[below].replace(number) {
                let (what, first, second) = ("switch", name(first), name(number));
                return Err(StructureError::TwoParents { what, name: child, first, second });
            }
            children[number].push(below);
        }
        for node in listed(&switch.nodes, "nodes")? {
            if let Some(first) = homes.insert(node.clone(), number) {
                let (what, first, second) = ("node", name(first), name(number));
                return Err(StructureError::TwoParents { what, name: node, first, second });
            }
            nodes[number].push(node);
        }
        if homes.len() > MAX_NODES {
            return Err(StructureError::Nodes(homes.len()));
        }
    }
    Ok(Tree { children, nodes, parents })
}

/// Units and hosts in depth-first order from the roots. Each switch has one parent at most, so what
/// no root reaches lies on a cycle or hangs from one.
fn ordered(raw: &RawTree, tree: &Tree) -> Result<Structure, StructureError> {
    let count = raw.switches.len();
    let mut units = Vec::with_capacity(count);
    let mut hosts = Vec::new();
    let mut reached = vec![false; count];
    let roots = (0..count).filter(|&number| tree.parents[number].is_none());
    let mut open: Vec<(usize, Option<usize>, usize)> =
        roots.rev().map(|root| (root, None, 0)).collect();
    while let Some((number, parent, depth)) = open.pop() {
        let name = raw.switches[number].switch.clone();
        if depth > MAX_DEPTH {
            return Err(StructureError::Deep(shown(&name)));
        }
        reached[number] = true;
        let unit = units.len();
        units.push(Unit { name, parent, depth });
        hosts.extend(tree.nodes[number].iter().map(|node| (node.clone(), Some(unit))));
        let below = tree.children[number].iter().rev();
        open.extend(below.map(|&child| (child, Some(unit), depth + 1)));
    }
    if let Some(left) = reached.iter().position(|&reached| !reached) {
        return Err(StructureError::Cycle(shown(&raw.switches[on_cycle(tree, left)].switch)));
    }
    if hosts.is_empty() {
        return Err(StructureError::Nodes(0));
    }
    Ok(Structure::new(units, hosts, BTreeMap::new()))
}

/// A switch on the cycle that a switch without a root hangs from.
fn on_cycle(tree: &Tree, start: usize) -> usize {
    let (mut at, mut seen) = (start, BTreeSet::new());
    while seen.insert(at) {
        match tree.parents[at] {
            Some(above) => at = above,
            None => break,
        }
    }
    at
}

fn blocks(topology: &str, raw: &RawBlocks) -> Result<Structure, StructureError> {
    let place = format!("topology '{topology}'");
    let base = base_size(&place, &raw.block_sizes)?;
    if raw.blocks.len() > MAX_UNITS {
        return Err(StructureError::Units(raw.blocks.len()));
    }
    let (mut names, mut homes) = (BTreeSet::new(), BTreeMap::<String, usize>::new());
    let (mut units, mut hosts) = (Vec::new(), Vec::new());
    for (number, block) in raw.blocks.iter().enumerate() {
        if !names.insert(&block.block) {
            return Err(StructureError::twice(&format!("{place}, blocks[{number}]"), &block.block));
        }
        let name = shown(&block.block);
        // Nodes that come and go are not listed (dynamic nodes).
        let Some(list) = &block.nodes else { continue };
        let nodes = expand(list).map_err(|problem| {
            StructureError::hosts(format!("{place}, block '{name}'.nodes"), problem)
        })?;
        if (nodes.len() as u64) < base {
            let (block, nodes) = (name, nodes.len());
            return Err(StructureError::SmallBlock { place, block, nodes, base });
        }
        for node in nodes {
            if let Some(first) = homes.insert(node.clone(), number) {
                let (what, first) = ("node", shown(&raw.blocks[first].block));
                return Err(StructureError::TwoParents { what, name: node, first, second: name });
            }
            hosts.push((node, Some(units.len())));
        }
        units.push(Unit { name: block.block.clone(), parent: None, depth: 0 });
        if hosts.len() > MAX_NODES {
            return Err(StructureError::Nodes(hosts.len()));
        }
    }
    if hosts.is_empty() {
        return Err(StructureError::Nodes(0));
    }
    Ok(Structure::new(units, hosts, BTreeMap::new()))
}

/// The first size, if each is a power of two larger than the one before.
fn base_size(place: &str, sizes: &[u64]) -> Result<u64, StructureError> {
    let wrong = |size| StructureError::BlockSize { place: format!("{place}, block_sizes"), size };
    let base = sizes.first().copied().filter(|&base| base > 0).ok_or_else(|| wrong(0))?;
    for pair in sizes.windows(2) {
        let factor = pair[1].checked_div(pair[0]).unwrap_or(0);
        if factor < 2 || pair[1] % pair[0] != 0 || !factor.is_power_of_two() {
            return Err(wrong(pair[1]));
        }
    }
    Ok(base)
}
