//! Everything that can be chosen about a connection.

use onepath_topology::Nanos;

use crate::wire::MAX_CHUNK_BYTES;

use super::congestion::NsccConfig;
use super::error::ConfigError;
use super::packet::{DATA_HEADER_BYTES, GRANULE_BYTES, MAX_DATAGRAM_BYTES};

/// The most entropies of one connection.
pub const MAX_ENTROPIES: u16 = 1024;

/// Which entropy each packet takes: the one thing in which single-path and spraying transports
/// differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntropyPolicy {
    /// Every chunk keeps to the entropy of its lane; lane `i` begins on entropy `i`. A lane changes
    /// only while its entropy is retired. This is one 5-tuple a subflow: `ecmp-udp`, `split-udp`.
    PerSubflow {
        /// How many lanes; at most as many as entropies.
        lanes: u16,
    },
    /// The next one for each packet.
    RoundRobin,
    /// Any one for each packet.
    Random {
        /// Of the choices.
        seed: u64,
    },
    /// Any one for each burst of packets (as flowlets, or UCCL's chunks).
    Burst {
        /// Packets of a burst.
        packets: u32,
        /// Of the choices.
        seed: u64,
    },
    /// Those that were acknowledged without a mark are used again, others are explored at random:
    /// REPS (Bonato et al., "REPS: Recycled Entropy Packet Spraying for Adaptive Load Balancing
    /// and Failure Mitigation", 2024).
    Reps {
        /// Of the exploration.
        seed: u64,
    },
}

/// How much may be in flight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CongestionConfig {
    /// By delay and marks.
    Nscc(NsccConfig),
    /// Always so many bytes.
    Fixed {
        /// Bytes of datagrams in flight.
        window: u32,
    },
}

/// Sizes of datagrams, UDP payload bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MtuConfig {
    /// What every path carries.
    pub safe: u32,
    /// What is tried at most; equal to `safe`: no discovery.
    pub most: u32,
}

/// The configuration of one connection; both ends have the same, but for what is their own
/// business: entropies and policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Number of entropies, from 0.
    pub entropies: u16,
    /// How many the peer may use; if nothing is said, as many.
    pub peer_entropies: Option<u16>,
    /// Which of them a packet takes.
    pub policy: EntropyPolicy,
    /// How much may be in flight.
    pub congestion: CongestionConfig,
    /// Whether departures are spread over the round trip.
    pub pacing: bool,
    /// Bytes that may leave at once in spite of pacing.
    pub burst_bytes: u32,
    /// Sizes of datagrams.
    pub mtu: MtuConfig,
    /// Packets between the oldest one of unknown fate and the newest; a power of two.
    pub packet_window: u32,
    /// Chunks between the first one that is not delivered and the last one sent; a power of two.
    pub chunk_window: u32,
    /// Bytes between the first one that is not delivered and the last one sent. The receiver
    /// keeps that much for what comes before its place is known, never more.
    pub early_bytes: u32,
    /// Packets for one acknowledgement when nothing is wrong.
    pub ack_every: u32,
    /// The longest wait for them.
    pub max_ack_delay: Nanos,
    /// Taken for the round trip until there is a sample.
    pub initial_rtt: Nanos,
    /// Timers are not set finer than this.
    pub granularity: Nanos,
    /// The longest probe time-out.
    pub max_probe_timeout: Nanos,
    /// Packets of one entropy that overtake another before it counts as lost; grows by itself.
    pub reordering: u32,
    /// Losses in a row, while other entropies deliver, after which the entropy of a lane is
    /// retired. Policies that are free to choose avoid an entropy after its first loss, for some
    /// round trips.
    pub losses_until_retired: u32,
    /// How long the entropy of a lane is retired the first time; doubles each time.
    pub probation: Nanos,
    /// How often a piece is lost, while others come through, before the connection is given up.
    pub max_transmissions: u8,
    /// How long silence is borne while an answer is due. A process that is alive but computes
    /// answers late, so this is no measure of life.
    pub give_up_after: Nanos,
}

impl Default for Config {
    /// For sockets in a data centre.
    fn default() -> Self {
        Self {
            entropies: 16,
            peer_entropies: None,
            policy: EntropyPolicy::Reps { seed: 1 },
            congestion: CongestionConfig::Fixed { window: 256 << 10 },
            pacing: true,
            burst_bytes: 32 << 10,
            mtu: MtuConfig { safe: 1_232, most: 8_952 },
            packet_window: 4_096,
            chunk_window: 256,
            early_bytes: 8 << 20,
            ack_every: 8,
            max_ack_delay: Nanos::micros(200),
            initial_rtt: Nanos::millis(1),
            granularity: Nanos::micros(100),
            max_probe_timeout: Nanos::millis(200),
            reordering: 3,
            losses_until_retired: 3,
            probation: Nanos::millis(500),
            max_transmissions: 64,
            give_up_after: Nanos::secs(600),
        }
    }
}

impl Config {
    /// How many entropies the peer may use.
    pub(super) fn accepted_entropies(&self) -> u16 {
        self.peer_entropies.unwrap_or(self.entropies)
    }

    /// Checks what the rest relies on.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = |field, value: u64, least: u64, most: u64| {
            let fits = (least..=most).contains(&value);
            let error = ConfigError { field, value, least, most, also: "" };
            fits.then_some(()).ok_or(error)
        };
        check("entropies", self.entropies.into(), 1, MAX_ENTROPIES.into())?;
        check("peer_entropies", self.accepted_entropies().into(), 1, MAX_ENTROPIES.into())?;
        match self.policy {
            EntropyPolicy::PerSubflow { lanes } => {
                check("lanes", lanes.into(), 1, self.entropies.into())?;
            }
            EntropyPolicy::Burst { packets, .. } => {
                check("packets of a burst", packets.into(), 1, u32::MAX.into())?;
            }
            EntropyPolicy::RoundRobin
            | EntropyPolicy::Random { .. }
            | EntropyPolicy::Reps { .. } => {}
        }
        let smallest = (DATA_HEADER_BYTES + GRANULE_BYTES).max(512) as u64;
        check("mtu.safe", self.mtu.safe.into(), smallest, MAX_DATAGRAM_BYTES as u64)?;
        check("mtu.most", self.mtu.most.into(), self.mtu.safe.into(), MAX_DATAGRAM_BYTES as u64)?;
        power_of_two("packet_window", self.packet_window, 64, 1 << 20)?;
        power_of_two("chunk_window", self.chunk_window, 2, 1 << 16)?;
        check("early_bytes", self.early_bytes.into(), MAX_CHUNK_BYTES as u64, 1 << 30)?;
        if !self.early_bytes.is_multiple_of(GRANULE_BYTES as u32) {
            let (value, also) = (self.early_bytes.into(), ", and a multiple of 32");
            let (least, most) = (MAX_CHUNK_BYTES as u64, 1 << 30);
            return Err(ConfigError { field: "early_bytes", value, least, most, also });
        }
        check("ack_every", self.ack_every.into(), 1, 64)?;
        check("burst_bytes", self.burst_bytes.into(), 1, u32::MAX.into())?;
        check("initial_rtt", self.initial_rtt.get(), 1, Nanos::secs(10).get())?;
        check("granularity", self.granularity.get(), 1, Nanos::secs(1).get())?;
        check("max_ack_delay", self.max_ack_delay.get(), 0, Nanos::secs(1).get())?;
        let most = Nanos::secs(60).get();
        check("max_probe_timeout", self.max_probe_timeout.get(), self.granularity.get(), most)?;
        check("reordering", self.reordering.into(), 1, 1 << 10)?;
        check("losses_until_retired", self.losses_until_retired.into(), 1, 1 << 10)?;
        check("max_transmissions", self.max_transmissions.into(), 1, u8::MAX.into())?;
        if let CongestionConfig::Fixed { window } = self.congestion {
            check("window", window.into(), self.mtu.safe.into(), u32::MAX.into())?;
        }
        Ok(())
    }
}

fn power_of_two(field: &'static str, value: u32, least: u64, most: u64) -> Result<(), ConfigError> {
    let value_fits = value.is_power_of_two() && (least..=most).contains(&value.into());
    let also = ", and a power of two";
    let error = ConfigError { field, value: value.into(), least, most, also };
    value_fits.then_some(()).ok_or(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_a_wrong_window_is_named() {
        assert_eq!(Config::default().validate(), Ok(()));
        let error = Config { packet_window: 100, ..Config::default() }.validate();
        let text = error.expect_err("100 is no power of two").to_string();
        assert!(text.contains("packet_window is 100") && text.contains("power of two"), "{text}");
    }
}
