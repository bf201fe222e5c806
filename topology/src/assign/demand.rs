//! What goes into an assignment and what comes out.

use std::num::NonZeroU64;

use crate::fabric::{HostId, LeafId, PathId, RailId};
use crate::units::Bytes;

/// The most flows of one source in one step set.
pub const MAX_FLOWS: usize = 1 << 20;

/// The most bytes of one source in one step set: what the arithmetic is exact for.
pub const MAX_BYTES: u64 = 1 << 56;

/// The most pieces of one source in one step set.
pub const MAX_PIECES: u64 = 1 << 24;

/// One flow: what the source sends one peer in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowDemand {
    /// The host it goes to.
    pub destination: HostId,
    /// The leaf of that host.
    pub leaf: LeafId,
    /// Its size.
    pub bytes: Bytes,
    /// The rail that it must stay on; `None` lets it use the paths of every rail.
    pub rail: Option<RailId>,
}

/// All flows of one source that start together.
///
/// For ranks that share a host, the source is the host when one assignment is made for all of
/// them, or each rank in turn with its own [`StepSet::stream`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepSet {
    /// The host that sends.
    pub source: HostId,
    /// Its leaf. Flows to the same leaf are rack-local: they come back whole and without a path.
    pub leaf: LeafId,
    /// Tells sources on one host apart (the rank, say), so that they are shuffled differently.
    pub stream: u32,
    /// Cuts fall only on multiples of this many bytes from the start of a flow: the size of an
    /// element, so that a receiver never combines half of one. 1 cuts anywhere.
    pub cut_unit: NonZeroU64,
    /// The flows, in the caller's order; [`Piece::flow`] is an index here.
    pub flows: Vec<FlowDemand>,
}

impl StepSet {
    /// No flows yet, cut at any byte.
    pub const fn new(source: HostId, leaf: LeafId) -> Self {
        Self { source, leaf, stream: 0, cut_unit: NonZeroU64::MIN, flows: Vec::new() }
    }

    /// Adds a flow on any rail.
    pub fn push(&mut self, destination: HostId, leaf: LeafId, bytes: Bytes) {
        self.flows.push(FlowDemand { destination, leaf, bytes, rail: None });
    }

    /// Whether a flow stays under the source's own leaf.
    pub fn is_local(&self, flow: &FlowDemand) -> bool {
        flow.leaf == self.leaf
    }
}

/// A range of one flow on one path: a subflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Index in [`StepSet::flows`].
    pub flow: u32,
    /// The path; `None` for a rack-local flow, which takes none.
    pub path: Option<PathId>,
    /// First byte within the flow.
    pub offset: Bytes,
    /// Number of bytes; 0 only for a flow of 0 bytes.
    pub bytes: Bytes,
}

/// The pieces of one source's step set.
///
/// Pieces stand in the order in which they should start (destinations and flows shuffled per
/// source against incast). Those of one flow stand together, in order of offset, and cover it
/// exactly once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    pieces: Vec<Piece>,
    /// By flow: the index of its first piece and how many there are.
    spans: Vec<(u32, u32)>,
}

impl Assignment {
    /// Indexes `pieces` of `flows` flows; pieces of a flow stand together.
    pub(super) fn new(pieces: Vec<Piece>, flows: usize) -> Self {
        let mut spans = vec![(0, 0); flows];
        for (index, piece) in pieces.iter().enumerate() {
            let (first, count) = &mut spans[piece.flow as usize];
            if *count == 0 {
                *first = index as u32;
            }
            *count += 1;
        }
        Self { pieces, spans }
    }

    /// All pieces in the order in which they should start.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The pieces of one flow, in order of offset.
    pub fn of_flow(&self, flow: usize) -> &[Piece] {
        let (first, count) = self.spans[flow];
        &self.pieces[first as usize..(first + count) as usize]
    }

    /// How many flows were cut.
    pub fn cut_flows(&self) -> usize {
        self.spans.iter().filter(|(_, count)| *count > 1).count()
    }
}

/// Why flows cannot be assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignError {
    /// Every path that the flows may take is dead, or none is known.
    #[error("no live path from leaf {from} to leaf {to}{}", on_rail(*rail))]
    NoLivePath {
        /// The source's leaf.
        from: LeafId,
        /// The destination leaf.
        to: LeafId,
        /// The rail that the flow is tied to.
        rail: Option<RailId>,
    },
    /// The table is that of ranks on another leaf, or there is none for this leaf.
    #[error("the source is on leaf {source_leaf}, but no path table for that leaf was given")]
    WrongTable {
        /// Where the source is.
        source_leaf: LeafId,
    },
    /// More than [`MAX_FLOWS`].
    #[error("{flows} flows of one source: at most {MAX_FLOWS} are accepted")]
    TooManyFlows {
        /// How many.
        flows: usize,
    },
    /// More than [`MAX_BYTES`].
    #[error("the flows of one source have more than {MAX_BYTES} bytes together")]
    TooManyBytes,
    /// Bursts so short, or subflows so many, that there would be more than [`MAX_PIECES`].
    #[error("the flows of one source would be {pieces} pieces: at most {MAX_PIECES} are accepted")]
    TooManyPieces {
        /// How many pieces there would be, at least.
        pieces: u64,
    },
}

fn on_rail(rail: Option<RailId>) -> String {
    rail.map(|rail| format!(" on rail {rail}")).unwrap_or_default()
}
