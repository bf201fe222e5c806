//! What can be chosen about a spraying transport.

use std::fmt;
use std::str::FromStr;

use onepath_topology::Nanos;

use crate::proto::{Config, ConfigError, CongestionConfig, EntropyPolicy, MtuConfig};
use crate::wire::MAX_CHUNK_BYTES;

/// The most sockets of a rank, so the most entropy values.
pub const MAX_SOCKETS: u16 = 256;

/// Packets of a burst, if nothing is said: a few tens of microseconds on a fast link.
const BURST_PACKETS: u32 = 16;

/// Packets in flight to one peer, with holes: a window of 1 MiB in datagrams of the smallest size,
/// twice. The record of each takes 100 bytes.
const PACKET_WINDOW: u32 = 2_048;

/// Chunks under way to one peer: twice as many as there may be early bytes, in chunks of the usual
/// 64 KiB.
const CHUNK_WINDOW: u32 = 128;

/// Which source port each datagram takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EntropyChoice {
    /// A share of a flow keeps to the port of its path, as assigned; a flow without shares to one
    /// port at random.
    PerSubflow,
    /// The next one for each datagram.
    RoundRobin,
    /// Any one for each datagram.
    Random,
    /// Any one for so many datagrams.
    Burst(u32),
    /// Those that proved good are used again (REPS).
    #[default]
    Reps,
}

impl EntropyChoice {
    /// Every choice, bursts of the usual length.
    pub const ALL: [Self; 5] =
        [Self::PerSubflow, Self::RoundRobin, Self::Random, Self::Burst(BURST_PACKETS), Self::Reps];

    /// Its name, as options spell it, without the length of bursts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PerSubflow => "per-subflow",
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::Burst(_) => "burst",
            Self::Reps => "reps",
        }
    }

    /// As the protocol has it.
    pub(super) fn policy(self, lanes: u16, seed: u64) -> EntropyPolicy {
        match self {
            Self::PerSubflow => EntropyPolicy::PerSubflow { lanes },
            Self::RoundRobin => EntropyPolicy::RoundRobin,
            Self::Random => EntropyPolicy::Random { seed },
            Self::Burst(packets) => EntropyPolicy::Burst { packets, seed },
            Self::Reps => EntropyPolicy::Reps { seed },
        }
    }
}

impl fmt::Display for EntropyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Burst(packets) => write!(f, "burst:{packets}"),
            other => f.pad(other.name()),
        }
    }
}

/// A text that is no entropy policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "entropy policy '{found}' is not known: it must be per-subflow, round-robin, random, reps, \
     burst or burst:PACKETS"
)]
pub struct UnknownEntropy {
    /// The text.
    pub found: String,
}

impl FromStr for EntropyChoice {
    type Err = UnknownEntropy;

    fn from_str(text: &str) -> Result<Self, UnknownEntropy> {
        let unknown = || UnknownEntropy { found: text.to_owned() };
        if let Some(packets) = text.strip_prefix("burst:") {
            let packets = packets.parse().ok().filter(|&packets| packets > 0);
            return packets.map(Self::Burst).ok_or_else(unknown);
        }
        Self::ALL.into_iter().find(|choice| choice.name() == text).ok_or_else(unknown)
    }
}

/// Numbers of a spraying transport. All ranks must have those that [`agreed`](Self::agreed) names;
/// the rest may differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SprayOptions {
    /// Which source port a datagram takes.
    pub entropy: EntropyChoice,
    /// How many sockets this rank sends from, 1 to [`MAX_SOCKETS`].
    pub entropies: u16,
    /// How much may be in flight to each peer. A fixed window is an upper bound: peers that share
    /// a receiver's socket buffer do not overfill it together.
    pub congestion: CongestionConfig,
    /// Whether departures are spread over the round trip.
    pub pacing: bool,
    /// Sizes of datagrams, UDP payload bytes.
    pub mtu: MtuConfig,
    /// Bytes that each peer may be ahead of this rank; so much is kept for each peer at most.
    pub early_bytes: u32,
    /// Bytes of the receiving socket's buffer, as far as the system allows.
    pub receive_bytes: usize,
    /// Flows up to this length are copied, so that a call need not wait for the acknowledgement.
    pub eager_bytes: usize,
    /// How long silence is borne while an answer is due.
    pub give_up_after: Nanos,
    /// Of random choices.
    pub seed: u64,
}

impl Default for SprayOptions {
    fn default() -> Self {
        let proto = Config::default();
        Self {
            entropy: EntropyChoice::default(),
            entropies: 16,
            congestion: proto.congestion,
            pacing: false,
            mtu: proto.mtu,
            early_bytes: MAX_CHUNK_BYTES as u32,
            receive_bytes: 4 << 20,
            eager_bytes: 32 << 10,
            give_up_after: proto.give_up_after,
            seed: 1,
        }
    }
}

impl SprayOptions {
    /// Checks that a transport can work with them.
    pub fn check(&self) -> Result<(), ConfigError> {
        let (value, most) = (u64::from(self.entropies), u64::from(MAX_SOCKETS));
        if !(1..=most).contains(&value) {
            return Err(ConfigError { field: "entropies", value, least: 1, most, also: "" });
        }
        self.config(self.entropies, self.entropies, 0).validate()
    }

    /// What must be the same on all ranks, as text.
    pub fn agreed(&self) -> String {
        format!("early bytes {}", self.early_bytes)
    }

    /// The protocol's configuration for a connection with so many entropies and lanes.
    pub(super) fn config(&self, entropies: u16, lanes: u16, salt: u64) -> Config {
        Config {
            entropies,
            peer_entropies: Some(MAX_SOCKETS),
            policy: self.entropy.policy(lanes, self.seed ^ salt),
            congestion: self.congestion,
            pacing: self.pacing,
            mtu: self.mtu,
            early_bytes: self.early_bytes,
            give_up_after: self.give_up_after,
            packet_window: PACKET_WINDOW,
            chunk_window: CHUNK_WINDOW,
            ..Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_read_back_from_its_name() {
        for choice in EntropyChoice::ALL.into_iter().chain([EntropyChoice::Burst(3)]) {
            assert_eq!(choice.to_string().parse(), Ok(choice));
            assert_eq!(SprayOptions { entropy: choice, ..Default::default() }.check(), Ok(()));
        }
        for wrong in ["", "burst:0", "burst:x", "ecmp"] {
            let error = wrong.parse::<EntropyChoice>().expect_err(wrong).to_string();
            assert!(error.contains("round-robin"), "{error}");
        }
    }

    #[test]
    fn no_sockets_or_too_many_are_refused_by_name() {
        for entropies in [0, MAX_SOCKETS + 1] {
            let error = SprayOptions { entropies, ..Default::default() }.check();
            assert_eq!(error.expect_err("out of range").field, "entropies");
        }
    }
}
