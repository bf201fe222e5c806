//! Bytes of an iteration by what carries them.
//!
//! Tensor parallel: four all-reduces of the boundary a block and micro-batch, as rings. Data
//! parallel: reduce-scatter of gradients and all-gather of parameters, as rings in order of the
//! ranks. Pipeline: activations forward, gradients backward, at each boundary of (virtual) stages.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use onepath_topology::cluster::{Inventory, NodeId};
use onepath_topology::groups::{
    Carrier, Dimension, GroupKind, Layout, Placement, SelectError, select,
};
use onepath_topology::pipeline::model::{LayerCost, layers_of_shape};
use onepath_topology::pipeline::search::{Found, Sites};
use onepath_topology::{Bytes, Rank};

use super::PlanError;
use crate::job::Job;

/// Bytes of an iteration.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// By kind of group and what carries them.
    pub(crate) classes: BTreeMap<(GroupKind, Carrier), Bytes>,
    /// Between clusters, in both directions together, the smaller first.
    pub(crate) links: Vec<LinkLoad>,
}

/// Bytes of an iteration between two clusters.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct LinkLoad {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) bytes: Bytes,
}

/// Adds up what goes between ranks.
struct Meter<'a> {
    inventory: &'a Inventory,
    placement: &'a Placement,
    /// By first nodes of the pools.
    known: HashMap<(NodeId, NodeId), Carrier>,
    classes: BTreeMap<(GroupKind, Carrier), Bytes>,
    links: BTreeMap<(u32, u32), Bytes>,
}

impl Meter<'_> {
    fn add(
        &mut self,
        kind: GroupKind,
        from: Rank,
        to: Rank,
        bytes: Bytes,
    ) -> Result<(), SelectError> {
        let nodes = [from, to].map(|rank| self.placement.seat(rank).node);
        let carrier = if nodes[0] == nodes[1] { Carrier::Node } else { self.between(nodes)? };
        *self.classes.entry((kind, carrier)).or_default() += bytes;
        let clusters = nodes.map(|node| self.inventory.pool_of(node).cluster().0);
        if clusters[0] != clusters[1] {
            let ends = (clusters[0].min(clusters[1]), clusters[0].max(clusters[1]));
            *self.links.entry(ends).or_default() += bytes;
        }
        Ok(())
    }

    /// What carries bytes between two nodes; all nodes of a pool are alike.
    fn between(&mut self, mut nodes: [NodeId; 2]) -> Result<Carrier, SelectError> {
        nodes.sort_unstable();
        let key = nodes.map(|node| self.inventory.pool_of(node).first_node());
        if let Some(&carrier) = self.known.get(&(key[0], key[1])) {
            return Ok(carrier);
        }
        let carrier = select(self.inventory, &nodes)?.carrier;
        self.known.insert((key[0], key[1]), carrier);
        Ok(carrier)
    }

    /// The same bytes from each member to the next, around the ring.
    fn ring(&mut self, kind: GroupKind, ranks: &[Rank], bytes: Bytes) -> Result<(), SelectError> {
        for (index, &rank) in ranks.iter().enumerate() {
            self.add(kind, rank, ranks[(index + 1) % ranks.len()], bytes)?;
        }
        Ok(())
    }
}

/// The traffic of a plan.
pub(super) fn of(
    job: &Job,
    found: &Found,
    layout: &Layout,
    placement: &Placement,
) -> Result<Traffic, PlanError> {
    let inventory = &job.document.inventory;
    let (classes, links) = (BTreeMap::new(), BTreeMap::new());
    let mut meter = Meter { inventory, placement, known: HashMap::new(), classes, links };
    let sites = Sites::new(inventory)?;
    let degrees = found.degrees;
    let layers: Vec<Vec<LayerCost>> = found
        .stages
        .iter()
        .map(|stage| {
            let device = &sites.sites()[stage.pool].device;
            let all = layers_of_shape(
                &job.shape,
                device,
                degrees.micro_batch,
                degrees.tensor,
                degrees.data,
            );
            all[stage.first_layer..stage.first_layer + stage.layers].to_vec()
        })
        .collect();
    let stage_of = |rank| layout.dense().coordinate(rank, Dimension::Pipeline) as usize;
    let micro_batches = degrees.micro_batches(job.options.global_batch);
    if degrees.tensor > 1 {
        let part = f64::from(degrees.tensor - 1) / f64::from(degrees.tensor);
        let all_reduce = 2.0 * part * job.shape.boundary(degrees.micro_batch).0 as f64;
        for group in GroupKind::Tensor.groups(layout) {
            let stage = &found.stages[stage_of(group[0])];
            let (first, end) = (stage.first_layer, stage.first_layer + stage.layers);
            let blocks = end.min(job.shape.layers as usize + 1).saturating_sub(first.max(1));
            let count = 4 * blocks as u64 * micro_batches;
            meter.ring(GroupKind::Tensor, &group, Bytes((all_reduce * count as f64) as u64))?;
        }
    }
    if degrees.data > 1 {
        let part = f64::from(degrees.data - 1) / f64::from(degrees.data);
        for group in GroupKind::Data.groups(layout) {
            let own = &layers[stage_of(group[0])];
            let all: u64 = own.iter().map(|layer| layer.gradients.0 + layer.parameters.0).sum();
            meter.ring(GroupKind::Data, &group, Bytes((part * all as f64) as u64))?;
        }
    }
    if degrees.pipeline > 1 {
        for group in GroupKind::Pipeline.groups(layout) {
            boundaries(&mut meter, &group, &layers, micro_batches, degrees.virtual_stages)?;
        }
    }
    let link = |((from, to), bytes)| LinkLoad { from, to, bytes };
    let links = meter.links.into_iter().map(link).collect();
    Ok(Traffic { classes: meter.classes, links })
}

/// Activations and gradients of one pipeline.
fn boundaries(
    meter: &mut Meter<'_>,
    ranks: &[Rank],
    layers: &[Vec<LayerCost>],
    micro_batches: u64,
    virtual_stages: u32,
) -> Result<(), SelectError> {
    for (stage, &rank) in ranks.iter().enumerate() {
        let output = layers[stage].last().map_or(0, |layer| layer.output.0);
        let last = stage + 1 == ranks.len();
        // Interleaved, the last rank hands on to the first between its virtual stages.
        let times = u64::from(virtual_stages) - u64::from(last);
        if times == 0 {
            continue;
        }
        let next = ranks[(stage + 1) % ranks.len()];
        let bytes = Bytes(output * times * micro_batches);
        meter.add(GroupKind::Pipeline, rank, next, bytes)?;
        meter.add(GroupKind::Pipeline, next, rank, bytes)?;
    }
    Ok(())
}
