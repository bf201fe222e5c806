//! What went over each path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use onepath_topology::Rank;

use onepath_topology::fabric::PathId;

/// Counters of one path, written by the data path and read by anybody.
#[derive(Debug)]
pub(super) struct PathCell {
    peer: Rank,
    path: PathId,
    pub(super) bytes: AtomicU64,
    pub(super) chunks: AtomicU64,
    pub(super) resends: AtomicU64,
    pub(super) taken: AtomicU64,
    pub(super) deaths: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) used: AtomicU64,
}

impl PathCell {
    pub(super) fn new(peer: Rank, path: PathId) -> Self {
        let zero = AtomicU64::default;
        Self {
            peer,
            path,
            bytes: zero(),
            chunks: zero(),
            resends: zero(),
            taken: zero(),
            deaths: zero(),
            opened: zero(),
            open: zero(),
            used: zero(),
        }
    }

    /// Adds, by the one thread that writes: no lock, no ordering with anything else.
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// As `add`, one less.
    pub(super) fn take_one(counter: &AtomicU64) {
        Self::add(counter, u64::MAX);
    }
}

/// What went over one path to one peer so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathCount {
    /// The receiver.
    pub peer: Rank,
    /// The path.
    pub path: PathId,
    /// Payload bytes handed to its connections, resends included.
    pub bytes: u64,
    /// Chunks, resends included.
    pub chunks: u64,
    /// Chunks that had been sent before over a connection that died.
    pub resends: u64,
    /// Chunks taken from other paths that would have finished later.
    pub taken: u64,
    /// Connections given up.
    pub deaths: u64,
    /// Connections opened.
    pub subflows_opened: u64,
    /// Connections open now: 0 or 1.
    pub subflows_open: u64,
    /// Connections that carried at least one chunk.
    pub subflows_used: u64,
}

/// The counters of all paths of a transport; cheap to clone.
#[derive(Clone, Debug)]
pub struct PathCounters(Arc<[Arc<PathCell>]>);

impl PathCounters {
    pub(super) fn new(cells: Vec<Arc<PathCell>>) -> Self {
        Self(cells.into())
    }

    /// All of them, by peer and path.
    pub fn read(&self) -> Vec<PathCount> {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let count = |cell: &Arc<PathCell>| PathCount {
            peer: cell.peer,
            path: cell.path,
            bytes: value(&cell.bytes),
            chunks: value(&cell.chunks),
            resends: value(&cell.resends),
            taken: value(&cell.taken),
            deaths: value(&cell.deaths),
            subflows_opened: value(&cell.opened),
            subflows_open: value(&cell.open),
            subflows_used: value(&cell.used),
        };
        self.0.iter().map(count).collect()
    }
}
