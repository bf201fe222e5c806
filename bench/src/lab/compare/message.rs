//! What the lab and its ranks tell each other, a line of JSON each, over the rank's standard input
//! and output: nothing of it travels on the fabric.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::collective::Collective;
use super::scheme::Scheme;

/// A rank's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) address: Ipv4Addr,
    pub(crate) leaf: u32,
}

/// All that a rank needs to know, its first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) rank: u32,
    /// Where each rank is.
    pub(crate) places: Vec<Place>,
    pub(crate) spines: u32,
    /// Of the links.
    pub(crate) mtu: u32,
    /// Of a host's link, bits a second.
    pub(crate) rate_bits: u64,
    pub(crate) scheme: Scheme,
    pub(crate) collective: Collective,
    /// Elements, see [`Collective::count`].
    pub(crate) count: usize,
    /// The receiver of each rank in a permutation.
    pub(crate) targets: Vec<u32>,
    pub(crate) seed: u32,
    /// Seconds after which the call may fail.
    pub(crate) timeout_s: u64,
}

/// What a rank is told later, in this order, the first perhaps several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Command {
    /// Make the call; again, if it is not the first time.
    Go,
    /// Check what came of it.
    Check,
    /// Go away.
    Leave,
}

/// What a rank tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub(crate) enum Event {
    /// It is connected with all others.
    Joined {
        /// Peers to which no path was found, though paths were wanted, and why for the first.
        unpinned: Vec<String>,
    },
    /// The call has ended.
    Done {
        /// When it began, in nanoseconds of a clock that all processes of a machine share.
        start_ns: u64,
        /// When it ended.
        end_ns: u64,
    },
    /// The result was looked at.
    Checked(Tally),
    /// It cannot go on.
    Failed {
        /// Why.
        problem: String,
    },
}

/// What a rank knows after its last call. Counts are of that call, but those of subflows of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Elements that are wrong.
    pub(crate) wrong: u64,
    /// Subflows opened for sending, and those that carried data.
    pub(crate) opened: u64,
    pub(crate) used: u64,
    /// Paths that died (of datagrams: ports that were retired), and chunks (datagrams) that were
    /// sent again.
    pub(crate) deaths: u64,
    pub(crate) resends: u64,
    /// Chunks that changed paths to even the load.
    pub(crate) taken: u64,
    /// Datagrams that came behind later ones.
    pub(crate) out_of_order: u64,
}

impl Tally {
    /// What was counted since `before`.
    pub(crate) fn since(self, before: &Self) -> Self {
        Self {
            deaths: self.deaths - before.deaths,
            resends: self.resends - before.resends,
            taken: self.taken - before.taken,
            out_of_order: self.out_of_order - before.out_of_order,
            ..self
        }
    }

    /// Of both ranks together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            wrong: self.wrong + other.wrong,
            opened: self.opened + other.opened,
            used: self.used + other.used,
            deaths: self.deaths + other.deaths,
            resends: self.resends + other.resends,
            taken: self.taken + other.taken,
            out_of_order: self.out_of_order + other.out_of_order,
        }
    }
}
