//! All groups of a job with their networks.

use std::collections::HashMap;

use serde::Serialize;

use super::grid::Layout;
use super::kind::GroupKind;
use super::placement::Placement;
use super::select::{SelectError, Selection, select};
use crate::Rank;
use crate::cluster::{Inventory, NodeId};

/// A group with its network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SurveyedGroup {
    /// What it is for.
    pub kind: GroupKind,
    /// Its number among those of its kind.
    pub index: usize,
    /// Its members.
    pub ranks: Vec<Rank>,
    /// How many nodes they are on.
    pub nodes: usize,
    /// Its network.
    #[serde(flatten)]
    pub selection: Selection,
}

impl SurveyedGroup {
    /// Whether it matters that it is not on the best network of its members.
    pub const fn is_bad_fallback(&self) -> bool {
        self.kind.must_be_fast() && self.selection.fallback_from.is_some()
    }
}

/// The groups of these kinds that have more than one member, each with its network.
pub fn survey(
    inventory: &Inventory,
    layout: &Layout,
    placement: &Placement,
    kinds: &[GroupKind],
) -> Result<Vec<SurveyedGroup>, SelectError> {
    let mut known: HashMap<Vec<NodeId>, Selection> = HashMap::new();
    let mut groups = Vec::new();
    for &kind in kinds.iter().filter(|kind| kind.has_peers(layout)) {
        for (index, ranks) in kind.groups(layout).into_iter().enumerate() {
            let nodes = placement.nodes_of(&ranks);
            let count = nodes.len();
            let selection = if let Some(selection) = known.get(&nodes) {
                selection.clone()
            } else {
                let selection = select(inventory, &nodes)?;
                known.entry(nodes).or_insert(selection).clone()
            };
            groups.push(SurveyedGroup { kind, index, ranks, nodes: count, selection });
        }
    }
    Ok(groups)
}
