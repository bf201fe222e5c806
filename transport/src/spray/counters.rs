//! What went to and came from each peer, readable by anybody at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use onepath_topology::Rank;

use crate::proto::Stats;

/// What a transport counts of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SprayCount {
    /// The peer.
    pub peer: Rank,
    /// What the protocol counts.
    pub stats: Stats,
    /// Source ports that carried data to it: the subflows that were needed. (Acknowledgements take
    /// all ports in turn.)
    pub ports_used: u64,
}

/// The numbers of [`Stats`] in one order.
fn numbers(stats: &mut Stats) -> [&mut u64; 15] {
    let Stats {
        data_packets,
        data_bytes,
        retransmissions,
        retransmitted_bytes,
        lost,
        timed_out,
        spurious,
        marked,
        acks_sent,
        acks_received,
        probes,
        retired,
        received,
        duplicates,
        out_of_order,
    } = stats;
    [
        data_packets,
        data_bytes,
        retransmissions,
        retransmitted_bytes,
        lost,
        timed_out,
        spurious,
        marked,
        acks_sent,
        acks_received,
        probes,
        retired,
        received,
        duplicates,
        out_of_order,
    ]
}

/// Counters of one peer, written by the data path.
#[derive(Debug)]
pub(super) struct Cell {
    peer: Rank,
    stats: [AtomicU64; 15],
    ports_used: AtomicU64,
}

impl Cell {
    pub(super) fn new(peer: Rank) -> Self {
        Self { peer, stats: Default::default(), ports_used: AtomicU64::new(0) }
    }

    /// Stores, by the one thread that writes: no lock, no ordering with anything else.
    pub(super) fn store(&self, mut stats: Stats, ports_used: u64) {
        for (cell, number) in self.stats.iter().zip(numbers(&mut stats)) {
            cell.store(*number, Ordering::Relaxed);
        }
        self.ports_used.store(ports_used, Ordering::Relaxed);
    }

    fn read(&self) -> SprayCount {
        let mut stats = Stats::default();
        for (cell, number) in self.stats.iter().zip(numbers(&mut stats)) {
            *number = cell.load(Ordering::Relaxed);
        }
        let ports_used = self.ports_used.load(Ordering::Relaxed);
        SprayCount { peer: self.peer, stats, ports_used }
    }
}

/// The counters of all peers of a transport; cheap to clone.
#[derive(Clone, Debug)]
pub struct SprayCounters(Arc<[Arc<Cell>]>);

impl SprayCounters {
    pub(super) fn new(cells: Vec<Arc<Cell>>) -> Self {
        Self(cells.into())
    }

    /// All of them, by peer. Numbers of one peer may be a poll apart.
    pub fn read(&self) -> Vec<SprayCount> {
        self.0.iter().map(|cell| cell.read()).collect()
    }
}
