//! What went over each lane, readable by anybody at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use onepath_topology::Rank;
use onepath_topology::fabric::PathId;

use crate::verbs::FlowLabel;

/// Counters of one lane, written by the data path.
#[derive(Debug)]
pub(super) struct LaneCell {
    peer: Rank,
    lane: u8,
    /// One more than its number; 0 where it is not known.
    path: AtomicU64,
    label: AtomicU32,
    pub(super) bytes: AtomicU64,
    pub(super) chunks: AtomicU64,
    pub(super) packets: AtomicU64,
    pub(super) direct: AtomicU64,
    pub(super) resends: AtomicU64,
    pub(super) taken: AtomicU64,
    pub(super) deaths: AtomicU64,
    pub(super) replacements: AtomicU64,
}

impl LaneCell {
    pub(super) fn new(peer: Rank, lane: u8, path: Option<PathId>, label: FlowLabel) -> Self {
        let zero = AtomicU64::default;
        Self {
            peer,
            lane,
            path: AtomicU64::new(coded(path)),
            label: AtomicU32::new(label.get()),
            bytes: zero(),
            chunks: zero(),
            packets: zero(),
            direct: zero(),
            resends: zero(),
            taken: zero(),
            deaths: zero(),
            replacements: zero(),
        }
    }

    /// Adds, by the one thread that writes: no lock, no ordering with anything else.
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    pub(super) fn set_label(&self, label: FlowLabel, path: Option<PathId>) {
        self.path.store(coded(path), Ordering::Relaxed);
        self.label.store(label.get(), Ordering::Relaxed);
    }

    fn read(&self) -> VerbsCount {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        VerbsCount {
            peer: self.peer,
            lane: self.lane,
            path: value(&self.path).checked_sub(1).map(|number| PathId(number as u32)),
            label: self.label.load(Ordering::Relaxed),
            bytes: value(&self.bytes),
            chunks: value(&self.chunks),
            packets: value(&self.packets),
            direct: value(&self.direct),
            resends: value(&self.resends),
            taken: value(&self.taken),
            deaths: value(&self.deaths),
            replacements: value(&self.replacements),
        }
    }
}

fn coded(path: Option<PathId>) -> u64 {
    path.map_or(0, |path| u64::from(path.0) + 1)
}

/// What this rank has sent over one lane so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerbsCount {
    /// The receiver.
    pub peer: Rank,
    /// The lane.
    pub lane: u8,
    /// The path that its label takes, where paths are known.
    pub path: Option<PathId>,
    /// The flow label that it has now.
    pub label: u32,
    /// Payload bytes, resends included.
    pub bytes: u64,
    /// Chunks, resends included.
    pub chunks: u64,
    /// Packets of these chunks, as foretold by the path MTU; what a device sends again, credits and
    /// acknowledgements are others.
    pub packets: u64,
    /// Chunks whose payload came from registered memory, without a copy; each counted once.
    pub direct: u64,
    /// Chunks that had been lost with a queue pair.
    pub resends: u64,
    /// Chunks taken from lanes that were full.
    pub taken: u64,
    /// Queue pairs that failed.
    pub deaths: u64,
    /// Queue pairs that took the place of one that failed, and proved good.
    pub replacements: u64,
}

/// The counters of all lanes of a transport; cheap to clone.
#[derive(Clone, Debug)]
pub struct VerbsCounters(Arc<[Arc<LaneCell>]>);

impl VerbsCounters {
    pub(super) fn new(cells: Vec<Arc<LaneCell>>) -> Self {
        Self(cells.into())
    }

    /// All of them, by peer and lane.
    pub fn read(&self) -> Vec<VerbsCount> {
        self.0.iter().map(|cell| cell.read()).collect()
    }
}
