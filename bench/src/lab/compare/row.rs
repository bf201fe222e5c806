//! A run as a row of the results.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::cell::Cell;
use super::kernel::TcpCounts;
use super::message::Tally;
use crate::lab::fabric::FabricSpec;

/// One run.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) cell: Cell,
    pub(super) spec: FabricSpec,
    /// Sent by all ranks together, without headers.
    pub(super) payload_bytes: u64,
    /// Nothing if it was given up after `limit_s`.
    pub(super) completion_s: Option<f64>,
    pub(super) limit_s: f64,
    pub(super) ideal_s: f64,
    /// When a spine dies; nothing if none does.
    pub(super) death_s: Option<f64>,
    /// Of the least even group of uplinks or downlinks; nothing if nothing was carried.
    pub(super) max_over_mean: Option<f64>,
    pub(super) counts: TcpCounts,
    pub(super) idle: f64,
    pub(super) cpu_bound: bool,
    /// Paths that were wanted and not found.
    pub(super) unpinned: usize,
    /// Nothing if it was given up.
    pub(super) tally: Option<Tally>,
    /// What went wrong with the ranks.
    pub(super) problem: Option<String>,
}

impl Row {
    /// The part of the ideal rate that was reached.
    pub(super) fn efficiency(&self) -> Option<f64> {
        self.completion_s.map(|completion| self.ideal_s / completion)
    }

    /// Packets sent again, and those that came behind later ones: what the hosts' kernels count of
    /// TCP, or the ranks of their datagrams. Nothing is known of datagrams of a run that was given
    /// up.
    pub(super) fn losses(&self) -> Option<TcpCounts> {
        if !self.cell.scheme.is_udp() {
            return Some(self.counts);
        }
        let tally = self.tally?;
        Some(TcpCounts { retransmits: tally.resends, out_of_order: tally.out_of_order })
    }

    /// Whether it ended in time with the right data.
    pub(super) fn is_right(&self) -> bool {
        self.completion_s.is_some() && self.tally.is_some_and(|tally| tally.wrong == 0)
    }

    /// Whether no rank failed and no element was wrong. Not to end in time is a result.
    pub(super) fn is_as_it_should_be(&self) -> bool {
        self.problem.is_none() && self.tally.is_none_or(|tally| tally.wrong == 0)
    }

    /// Whether another run was the same but for its seed.
    pub(super) fn differs_in_seed_only(&self, other: &Self) -> bool {
        let cell = Cell { seed: self.cell.seed, ..other.cell };
        self.cell == cell && self.spec.is_like(&other.spec)
    }

    /// In a few words.
    pub(super) fn summary(&self) -> String {
        if let Some(problem) = &self.problem {
            return format!("FAILED: {problem}");
        }
        let Self { completion_s, limit_s, ideal_s, .. } = self;
        let time = match completion_s {
            Some(time) => format!("{time:.2} s"),
            None => format!("not done after {limit_s:.1} s"),
        };
        let load = self.max_over_mean.unwrap_or_default();
        let wrong = match self.tally {
            Some(tally) if tally.wrong > 0 => format!(", {} ELEMENTS WRONG", tally.wrong),
            _ => String::new(),
        };
        format!("{time} (ideal {ideal_s:.2} s), max/mean {load:.3}{wrong}")
    }

    /// All there is to know, by name, in the order of columns.
    pub(super) fn fields(&self) -> Vec<(&'static str, Value)> {
        let (cell, spec) = (&self.cell, &self.spec);
        let of_tally = |of: fn(&Tally) -> u64| Value::from(self.tally.as_ref().map(of));
        vec![
            ("collective", cell.collective.name().into()),
            ("scheme", cell.scheme.name().into()),
            ("condition", cell.condition.name().into()),
            ("seed", cell.seed.into()),
            ("completion_s", self.completion_s.into()),
            ("ideal_s", self.ideal_s.into()),
            ("max_over_mean", self.max_over_mean.into()),
            ("retransmits", self.losses().map(|counts| counts.retransmits).into()),
            ("out_of_order", self.losses().map(|counts| counts.out_of_order).into()),
            ("cpu_bound", self.cpu_bound.into()),
            ("efficiency", self.efficiency().into()),
            ("idle", self.idle.into()),
            ("limit_s", self.limit_s.into()),
            ("death_s", self.death_s.into()),
            ("transport", if cell.scheme.is_udp() { "udp" } else { "tcp" }.into()),
            ("order", cell.order.name().into()),
            ("wrong", of_tally(|tally| tally.wrong)),
            ("subflows_opened", of_tally(|tally| tally.opened)),
            ("subflows_used", of_tally(|tally| tally.used)),
            ("path_deaths", of_tally(|tally| tally.deaths)),
            ("resent_chunks", of_tally(|tally| tally.resends)),
            ("taken_chunks", of_tally(|tally| tally.taken)),
            ("unpinned", self.unpinned.into()),
            ("problem", self.problem.clone().into()),
            ("bytes", cell.bytes.into()),
            ("warm_ups", cell.warm_ups.into()),
            ("payload_bytes", self.payload_bytes.into()),
            ("leaves", spec.leaf_count().into()),
            ("spines", spec.spine_count().into()),
            ("hosts", spec.host_count().into()),
            ("rate", spec.rate().to_string().into()),
            ("uplink_rate", spec.uplink_rate().to_string().into()),
            ("mtu", spec.mtu().into()),
            ("queue_packets", spec.queue_packets().into()),
        ]
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields())
    }
}
