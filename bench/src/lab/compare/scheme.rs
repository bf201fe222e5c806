//! The schemes that are compared, by the names of the literature and of the results.

use std::fmt;
use std::num::NonZeroU16;

use clap::ValueEnum;
use onepath_topology::assign;
use onepath_transport::spray::{EntropyChoice, MAX_SOCKETS};
use onepath_transport::tcp::pinned::Sharing;
use serde::{Deserialize, Serialize};

use crate::lab::fabric::Spray;

/// How the bytes of a collective are spread over the paths.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scheme {
    /// TCP, one connection a pair on a random port; the leaves hash
    Ecmp,
    /// TCP, as many connections a pair as there are spines, on random ports
    EcmpK,
    /// TCP pinned to paths, flows cut into equal parts; nothing moves later
    SplitEqual,
    /// TCP pinned to paths, flows laid end to end and cut where a path is full; nothing moves later
    SplitLine,
    /// As split-line, and a path that runs dry takes chunks from others
    Split,
    /// TCP, one connection a pair; the leaves give each packet the next spine
    SwitchSpray,
    /// Datagrams, one subflow a pair on a random port; the leaves hash
    EcmpUdp,
    /// Datagrams on subflows pinned to paths, cut as by split-line
    SplitUdp,
    /// Datagrams, each on the next of many ports, as many on each path
    Spray,
    /// Datagrams on many ports, of which those that proved good are used again
    Reps,
    /// Datagrams, one subflow a pair; the leaves give each packet the next spine
    SwitchSprayUdp,
}

/// What the ranks are told to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wiring {
    /// TCP from ports that the system chooses.
    Tcp {
        /// Connections to each peer.
        subflows: u16,
    },
    /// TCP pinned to paths that were found by probes.
    PinnedTcp {
        /// Which bytes take which path at first.
        assign: assign::Scheme,
        /// Whether chunks may change paths later.
        sharing: Sharing,
    },
    /// Datagrams.
    Datagrams {
        /// Which port each takes.
        entropy: EntropyChoice,
        /// Ports to choose from.
        entropies: u16,
        /// Whether ports are found by probes, as many on each path.
        pinned: bool,
        /// Which bytes take which path, if subflows keep to their paths.
        assign: Option<assign::Scheme>,
    },
}

/// Ports found on each path: the first subflow's, and those of its successors.
pub(crate) const PORTS_PER_PATH: u16 = 4;

/// The most connections of one pair by [`Scheme::EcmpK`], as many as the library makes.
const MOST_SUBFLOWS: u16 = 16;

impl Scheme {
    /// Its name in results and options.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ecmp => "ecmp",
            Self::EcmpK => "ecmp-k",
            Self::SplitEqual => "split-equal",
            Self::SplitLine => "split-line",
            Self::Split => "split",
            Self::SwitchSpray => "switch-spray",
            Self::EcmpUdp => "ecmp-udp",
            Self::SplitUdp => "split-udp",
            Self::Spray => "spray",
            Self::Reps => "reps",
            Self::SwitchSprayUdp => "switch-spray-udp",
        }
    }

    /// What it is on a fabric of so many spines.
    pub(crate) fn wiring(self, spines: usize) -> Wiring {
        let pinned = |assign, sharing| Wiring::PinnedTcp { assign, sharing };
        let unpinned = Wiring::Datagrams {
            entropy: EntropyChoice::PerSubflow,
            entropies: 1,
            pinned: false,
            assign: None,
        };
        let over_paths = |entropy, assign| Wiring::Datagrams {
            entropy,
            entropies: (spines as u16).saturating_mul(PORTS_PER_PATH).clamp(1, MAX_SOCKETS),
            pinned: true,
            assign,
        };
        match self {
            Self::Ecmp | Self::SwitchSpray => Wiring::Tcp { subflows: 1 },
            Self::EcmpK => Wiring::Tcp { subflows: (spines as u16).clamp(1, MOST_SUBFLOWS) },
            Self::SplitEqual => pinned(assign::Scheme::Equal, Sharing::Static),
            Self::SplitLine => pinned(assign::Scheme::Line, Sharing::Static),
            Self::Split => pinned(assign::Scheme::Line, Sharing::Shared),
            Self::EcmpUdp | Self::SwitchSprayUdp => unpinned,
            Self::SplitUdp => over_paths(EntropyChoice::PerSubflow, Some(assign::Scheme::Line)),
            Self::Spray => over_paths(EntropyChoice::RoundRobin, None),
            Self::Reps => over_paths(EntropyChoice::Reps, None),
        }
    }

    /// What the leaves do beside hashing flows.
    pub(crate) const fn spray(self) -> Option<Spray> {
        match self {
            Self::SwitchSpray | Self::SwitchSprayUdp => Some(Spray::RoundRobin),
            _ => None,
        }
    }

    /// Whether the library's datagrams carry it, not the kernel's TCP.
    pub(crate) fn is_udp(self) -> bool {
        matches!(self.wiring(1), Wiring::Datagrams { .. })
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Wiring {
    /// Subflows from each rank to one peer.
    pub(crate) fn subflows(self, spines: usize) -> NonZeroU16 {
        let count = match self {
            Self::Tcp { subflows } => subflows,
            Self::PinnedTcp { .. } | Self::Datagrams { assign: Some(_), .. } => spines as u16,
            Self::Datagrams { entropies, assign: None, .. } => entropies,
        };
        NonZeroU16::new(count).unwrap_or(NonZeroU16::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_reads_back_by_the_name_that_results_have() {
        for &scheme in Scheme::value_variants() {
            assert_eq!(Scheme::from_str(scheme.name(), false), Ok(scheme));
            let json = serde_json::to_value(scheme).expect("plain data");
            assert_eq!(json, scheme.name());
        }
    }

    #[test]
    fn only_the_default_split_shares_chunks_and_ecmp_k_has_a_connection_a_spine() {
        let shared = |scheme: &Scheme| {
            matches!(scheme.wiring(4), Wiring::PinnedTcp { sharing: Sharing::Shared, .. })
        };
        let sharing: Vec<&Scheme> = Scheme::value_variants().iter().filter(|s| shared(s)).collect();
        assert_eq!(sharing, [&Scheme::Split]);
        assert_eq!(Scheme::EcmpK.wiring(3), Wiring::Tcp { subflows: 3 });
        assert_eq!(Scheme::EcmpK.wiring(32), Wiring::Tcp { subflows: 16 });
    }
}
