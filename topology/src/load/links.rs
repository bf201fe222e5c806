//! Loads by link.

use crate::assign::{FlowDemand, Piece, Share, StepSet};
use crate::fabric::{HostId, LeafId, LeafSpine, Link, PathId, RailId};
use crate::units::Bandwidth;

/// Why flows cannot be counted on a fabric: they name a part that it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// No such host.
    #[error("host {host} is not of this fabric: it has {hosts} hosts")]
    Host {
        /// What was named.
        host: HostId,
        /// How many there are.
        hosts: u32,
    },
    /// The host is under another leaf.
    #[error("host {host} is said to be on leaf {leaf}, but is on leaf {right}")]
    Leaf {
        /// The host.
        host: HostId,
        /// What was said.
        leaf: LeafId,
        /// Where it is.
        right: LeafId,
    },
    /// No such rail.
    #[error("rail {rail} is not of this fabric: it has {rails} rails")]
    Rail {
        /// What was named.
        rail: RailId,
        /// How many there are.
        rails: u32,
    },
    /// No such path.
    #[error("path {path} is not of this fabric: a pair of leaves has {paths} paths")]
    Path {
        /// What was named.
        path: PathId,
        /// How many there are.
        paths: u32,
    },
    /// A piece names a flow beyond the end of the step set.
    #[error("a piece is of flow {flow}, but the step set has {flows} flows")]
    Flow {
        /// What was named.
        flow: u32,
        /// How many there are.
        flows: usize,
    },
}

/// The busiest link: the time it needs is a lower bound of the collective's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Congestion {
    /// Which one.
    pub link: Link,
    /// What it carries.
    pub bytes: f64,
    /// Its rate; `None` when it is dead.
    pub rate: Option<Bandwidth>,
}

impl Congestion {
    /// Bytes over rate, in seconds: infinite for a dead link that should carry something.
    pub fn seconds(&self) -> f64 {
        match self.rate {
            _ if self.bytes <= 0.0 => 0.0,
            Some(rate) if rate.0 > 0.0 => self.bytes / rate.0,
            _ => f64::INFINITY,
        }
    }
}

/// Bytes on every link of a fabric, summed over sources.
///
/// A piece on a path uses its source's host link, one uplink, one downlink and its destination's
/// host link, all of the path's rail. A rack-local flow uses the two host links, of its rail or,
/// when it is tied to none, evenly of all rails. A flow from a host to itself uses no link.
#[derive(Clone, Debug)]
pub struct LinkLoads<'f> {
    fabric: &'f LeafSpine,
    bytes: Vec<f64>,
}

impl<'f> LinkLoads<'f> {
    /// Nothing on any link.
    pub fn new(fabric: &'f LeafSpine) -> Self {
        Self { fabric, bytes: vec![0.0; fabric.links()] }
    }

    /// Adds the pieces of one source.
    pub fn add(&mut self, set: &StepSet, pieces: &[Piece]) -> Result<(), LoadError> {
        check(self.fabric, set)?;
        let mut pieces = pieces.iter();
        pieces.try_for_each(|piece| self.put(set, piece.flow, piece.path, piece.bytes.0 as f64))
    }

    /// Adds what [`crate::assign::ideal_spray`] gave for one source.
    pub fn add_spray(&mut self, set: &StepSet, shares: &[Share]) -> Result<(), LoadError> {
        check(self.fabric, set)?;
        let mut shares = shares.iter();
        shares.try_for_each(|share| self.put(set, share.flow, share.path, share.bytes))
    }

    fn put(
        &mut self,
        set: &StepSet,
        flow: u32,
        path: Option<PathId>,
        bytes: f64,
    ) -> Result<(), LoadError> {
        let beyond = LoadError::Flow { flow, flows: set.flows.len() };
        let flow = set.flows.get(flow as usize).ok_or(beyond)?;
        if flow.destination == set.source {
            return Ok(());
        }
        let Some(path) = path else {
            let rails = rails_of(self.fabric, flow);
            let share = bytes / rails.len() as f64;
            for rail in rails.map(RailId) {
                self.put_on(Link::HostUp(set.source, rail), share);
                self.put_on(Link::HostDown(flow.destination, rail), share);
            }
            return Ok(());
        };
        let shape = self.fabric.shape();
        let paths = shape.spines * shape.rails;
        if path.0 >= paths {
            return Err(LoadError::Path { path, paths });
        }
        let (spine, rail) = self.fabric.spine_of(path);
        self.put_on(Link::HostUp(set.source, rail), bytes);
        self.put_on(Link::Up(set.leaf, spine, rail), bytes);
        self.put_on(Link::Down(spine, flow.leaf, rail), bytes);
        self.put_on(Link::HostDown(flow.destination, rail), bytes);
        Ok(())
    }

    fn put_on(&mut self, link: Link, bytes: f64) {
        self.bytes[self.fabric.number(link)] += bytes;
    }

    /// The bytes on one link.
    pub fn bytes(&self, link: Link) -> f64 {
        self.bytes[self.fabric.number(link)]
    }

    /// Every link with its load, host links too.
    pub fn iter(&self) -> impl Iterator<Item = Congestion> {
        self.bytes.iter().enumerate().map(|(number, &bytes)| {
            let link = self.fabric.link(number);
            Congestion { link, bytes, rate: self.fabric.rate(link) }
        })
    }

    /// The link that needs the longest, host links too; `None` when no link carries anything.
    pub fn max_congestion(&self) -> Option<Congestion> {
        busiest(self.iter())
    }

    /// The same among links between leaves and spines.
    pub fn max_fabric_congestion(&self) -> Option<Congestion> {
        busiest(self.iter().filter(|load| matches!(load.link, Link::Up(..) | Link::Down(..))))
    }

    /// How unevenly the links of a leaf are loaded: the largest over the mean of the bytes of its
    /// live uplinks, or of its live downlinks, at the worst leaf of those that carry load; 1.0 is
    /// perfect. Counts bytes, not bytes over rate: a slower spine should carry less.
    pub fn max_over_mean(&self) -> f64 {
        let shape = self.fabric.shape();
        let groups = (0..shape.leaves).flat_map(|leaf| [true, false].map(|up| (LeafId(leaf), up)));
        let ratio = |(leaf, up)| {
            let link = |path| {
                let (spine, rail) = self.fabric.spine_of(PathId(path));
                if up { Link::Up(leaf, spine, rail) } else { Link::Down(spine, leaf, rail) }
            };
            let links = (0..shape.spines * shape.rails).map(link);
            let live = links.filter(|link| self.fabric.rate(*link).is_some());
            let loads: Vec<f64> = live.map(|link| self.bytes(link)).collect();
            let sum: f64 = loads.iter().sum();
            let most = loads.iter().copied().fold(0.0, f64::max);
            if sum > 0.0 { most * loads.len() as f64 / sum } else { 1.0 }
        };
        groups.map(ratio).fold(1.0, f64::max)
    }
}

fn busiest(loads: impl Iterator<Item = Congestion>) -> Option<Congestion> {
    let loaded = loads.filter(|load| load.bytes > 0.0);
    loaded.reduce(|a, b| if b.seconds() > a.seconds() { b } else { a })
}

/// The rails that a flow may use.
pub(super) fn rails_of(fabric: &LeafSpine, flow: &FlowDemand) -> std::ops::Range<u32> {
    flow.rail.map_or(0..fabric.shape().rails, |rail| rail.0..rail.0 + 1)
}

/// Checks that a fabric has all that a step set names.
pub(super) fn check(fabric: &LeafSpine, set: &StepSet) -> Result<(), LoadError> {
    let destinations = set.flows.iter().map(|flow| (flow.destination, flow.leaf));
    for (host, leaf) in std::iter::once((set.source, set.leaf)).chain(destinations) {
        if host.0 >= fabric.hosts() {
            return Err(LoadError::Host { host, hosts: fabric.hosts() });
        }
        let right = fabric.leaf_of(host);
        if leaf != right {
            return Err(LoadError::Leaf { host, leaf, right });
        }
    }
    let rails = fabric.shape().rails;
    let unknown = set.flows.iter().filter_map(|flow| flow.rail).find(|rail| rail.0 >= rails);
    unknown.map_or(Ok(()), |rail| Err(LoadError::Rail { rail, rails }))
}
