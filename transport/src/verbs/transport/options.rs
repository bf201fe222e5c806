//! What can be chosen about a transport over RDMA.

use std::fmt;
use std::str::FromStr;

use crate::tcp::pinned::Sharing;
use crate::verbs::{AckTimeout, FlowLabel};
use crate::wire::HEADER_BYTES;

/// The most queue pairs to one peer.
pub const MAX_LANES: u16 = 16;

/// The most slots of a lane: sets of slots are words of 64 bits.
pub const MAX_SLOTS: u16 = 64;

/// The fewest: one for the smallest chunk and some to keep the wire busy meanwhile.
const LEAST_SLOTS: u16 = 4;

/// Lanes to each peer, if nothing is said: enough for the spines of a small fabric and for a third
/// of the chunks to be free when one dies, few enough for the queue pairs that a device keeps in
/// its cache (several hundred) in a world of 64.
const SPLIT_LANES: u16 = 4;

/// Lanes of the spraying baseline, if nothing is said.
const SPRAY_LANES: u16 = 16;

/// Slots of all lanes to one peer, if nothing is said: 2 MiB in slots of 32 KiB, more than 100
/// Gbit/s carry in 100 µs.
const SLOTS_OF_A_PEER: u16 = 64;

/// Bytes of a slot, header included: 8 packets of the largest size and no rest. A chunk costs one
/// work request at each end, some 100 ns, in which 100 Gbit/s carry a small part of it.
const SLOT_BYTES: usize = 32 << 10;

/// Bytes of a slot for spraying: the largest packet.
const PACKET_SLOT_BYTES: usize = 4 << 10;

/// How a flow is spread over the lanes to a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Spread {
    /// Every lane carries its share of each flow, as assigned; the same bytes if nobody assigns.
    #[default]
    Split,
    /// One lane whose label is a hash: what a fabric makes of a single flow.
    Ecmp,
    /// Chunks of one packet, over many lanes in turn: packet spraying.
    Spray,
}

impl Spread {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Split, Self::Ecmp, Self::Spray];

    /// Its name, as options spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Ecmp => "ecmp",
            Self::Spray => "spray",
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that is no spread policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("spread policy '{found}' is not known: it must be split, ecmp or spray")]
pub struct UnknownSpread {
    /// The text.
    pub found: String,
}

impl FromStr for Spread {
    type Err = UnknownSpread;

    fn from_str(text: &str) -> Result<Self, UnknownSpread> {
        let unknown = || UnknownSpread { found: text.to_owned() };
        Self::ALL.into_iter().find(|spread| spread.name() == text).ok_or_else(unknown)
    }
}

/// Settings that do not fit, by themselves or with each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("verbs {field} {value}: {right}")]
pub struct VerbsOptionError {
    /// Which.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What would be right.
    pub right: String,
}

/// Numbers of a transport over RDMA. All ranks must have those that [`agreed`](Self::agreed) names;
/// the rest may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerbsOptions {
    /// Devices by name; the n-th rank of a host takes the n-th, beginning again after the last.
    /// With none: all that can be opened and have an active port, in the order of their
    /// names, each with the first such port.
    pub devices: Vec<String>,
    /// The entry of the port's GID table; nothing for the first of RoCE v2 with an IPv4 address, or
    /// else IPv6; link-local ones of either only where there is no other.
    pub gid_index: Option<u8>,
    /// The traffic class of packets (DSCP and ECN bits).
    pub traffic_class: u8,
    /// How flows are spread over lanes.
    pub spread: Spread,
    /// Queue pairs to each peer, 1 to [`MAX_LANES`]; nothing for as many as there are labels, or
    /// what the spread policy needs.
    pub lanes: Option<u16>,
    /// The flow label of each lane; with none they are derived from `seed`.
    pub labels: Vec<FlowLabel>,
    /// Slots of a lane, 4 to [`MAX_SLOTS`]; nothing for 64 over all lanes to a peer.
    pub slots: Option<u16>,
    /// Whether a lane that has run dry takes chunks of one that is full.
    pub sharing: Sharing,
    /// How long a queue pair waits for an acknowledgement: 4.096 µs × 2^this, 1 to 31; devices
    /// may take up to four times as long.
    pub ack_timeout: u8,
    /// How often a queue pair sends again in vain before its path counts as dead, 1 to 6. (Some
    /// drivers take 7 as for ever.)
    pub retries: u8,
    /// Of labels.
    pub seed: u64,
}

impl Default for VerbsOptions {
    fn default() -> Self {
        Self {
            devices: Vec::new(),
            gid_index: None,
            traffic_class: 0,
            spread: Spread::default(),
            lanes: None,
            labels: Vec::new(),
            slots: None,
            sharing: Sharing::default(),
            ack_timeout: 14,
            retries: 6,
            seed: 1,
        }
    }
}

impl VerbsOptions {
    /// Queue pairs to each peer.
    pub fn lanes(&self) -> u16 {
        let said =
            self.lanes.or_else(|| (!self.labels.is_empty()).then_some(self.labels.len() as u16));
        said.unwrap_or(match self.spread {
            Spread::Split => SPLIT_LANES,
            Spread::Ecmp => 1,
            Spread::Spray => SPRAY_LANES,
        })
    }

    /// Slots of each lane and direction.
    pub fn slots(&self) -> u16 {
        let most = match self.spread {
            // So many packets may be under way on each path that a lane is never the limit.
            Spread::Spray => MAX_SLOTS,
            Spread::Split | Spread::Ecmp => SLOTS_OF_A_PEER / self.lanes().max(1),
        };
        self.slots.unwrap_or(most.clamp(LEAST_SLOTS, MAX_SLOTS))
    }

    /// Bytes of a slot.
    pub(super) fn slot_bytes(&self) -> usize {
        match self.spread {
            Spread::Split | Spread::Ecmp => SLOT_BYTES,
            Spread::Spray => PACKET_SLOT_BYTES,
        }
    }

    /// The largest payload of a chunk where packets have at most so many bytes.
    pub(super) fn chunk_bytes(&self, mtu: usize) -> usize {
        match self.spread {
            Spread::Split | Spread::Ecmp => SLOT_BYTES - HEADER_BYTES,
            Spread::Spray => mtu.min(PACKET_SLOT_BYTES) - HEADER_BYTES,
        }
    }

    /// The time-out, if it is one.
    pub(super) fn timeout(&self) -> AckTimeout {
        AckTimeout::from_code(self.ack_timeout).unwrap_or(AckTimeout::LONGEST)
    }

    /// The devices that are named, without their ports.
    pub fn device_names(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().map(|text| text.split_once(':').map_or(&text[..], |(name, _)| name))
    }

    /// Checks that a transport can work with them.
    pub fn check(&self) -> Result<(), VerbsOptionError> {
        let range = |field, value: u16, (least, most): (u16, u16)| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            let right = format!("it must be from {least} to {most}");
            Err(VerbsOptionError { field, value: value.to_string(), right })
        };
        range("lanes", self.lanes(), (1, MAX_LANES))?;
        range("slots", self.slots(), (LEAST_SLOTS, MAX_SLOTS))?;
        range("ack timeout", self.ack_timeout.into(), (1, 31))?;
        range("retries", self.retries.into(), (1, 6))?;
        let wrong = |field, value: String, right: &str| {
            Err(VerbsOptionError { field, value, right: right.to_owned() })
        };
        if self.spread == Spread::Ecmp && self.lanes() != 1 {
            let right = "the spread policy ecmp has one: say 1, or another policy";
            return wrong("lanes", self.lanes().to_string(), right);
        }
        if !self.labels.is_empty() && self.labels.len() != usize::from(self.lanes()) {
            let right = format!("there must be one for each of the {} lanes", self.lanes());
            return wrong("labels", format!("{} of them", self.labels.len()), &right);
        }
        for (at, label) in self.labels.iter().enumerate() {
            if self.labels[..at].contains(label) {
                return wrong("labels", label.get().to_string(), "it is there twice: each once");
            }
        }
        for (at, device) in self.devices.iter().enumerate() {
            if device.is_empty() {
                return wrong("device", format!("'' at {at}"), "name devices as rxe0,rxe1");
            }
        }
        Ok(())
    }

    /// What must be the same on all ranks, as text.
    pub fn agreed(&self) -> String {
        format!("{} over {} lanes of {} slots", self.spread, self.lanes(), self.slots())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(number: u32) -> FlowLabel {
        FlowLabel::new(number).expect("20 bits")
    }

    #[test]
    fn every_policy_has_lanes_and_slots_of_its_own_and_is_read_back() {
        let mut found = Vec::new();
        for spread in Spread::ALL {
            assert_eq!(spread.to_string().parse(), Ok(spread));
            let options = VerbsOptions { spread, ..Default::default() };
            assert_eq!(options.check(), Ok(()));
            found.push((options.lanes(), options.slots(), options.chunk_bytes(1024)));
        }
        assert_eq!(found, [(4, 16, 32_704), (1, 64, 32_704), (16, 64, 960)]);
        let error = "flowlet".parse::<Spread>().expect_err("unknown").to_string();
        assert!(error.contains("flowlet") && error.contains("spray"), "{error}");
    }

    #[test]
    fn devices_are_looked_for_without_their_ports() {
        let devices = ["rxe0", "mlx5_1:2"].map(str::to_owned).into();
        let options = VerbsOptions { devices, ..Default::default() };
        assert_eq!(options.device_names().collect::<Vec<_>>(), ["rxe0", "mlx5_1"]);
    }

    #[test]
    fn labels_give_the_number_of_lanes() {
        let labels = vec![label(1), label(2)];
        let options = VerbsOptions { labels, ..Default::default() };
        assert_eq!((options.lanes(), options.slots(), options.check()), (2, 32, Ok(())));
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_value_and_what_would_be_right() {
        let good = VerbsOptions::default();
        let labels = vec![label(7), label(7)];
        for (options, parts) in [
            (VerbsOptions { lanes: Some(17), ..good.clone() }, ["lanes 17", "1 to 16"]),
            (VerbsOptions { lanes: Some(0), ..good.clone() }, ["lanes 0", "1 to 16"]),
            (VerbsOptions { slots: Some(65), ..good.clone() }, ["slots 65", "4 to 64"]),
            (VerbsOptions { ack_timeout: 0, ..good.clone() }, ["timeout 0", "1 to 31"]),
            (VerbsOptions { retries: 7, ..good.clone() }, ["retries 7", "1 to 6"]),
            (
                VerbsOptions { spread: Spread::Ecmp, lanes: Some(2), ..good.clone() },
                ["lanes 2", "say 1"],
            ),
            (VerbsOptions { labels: labels.clone(), ..good.clone() }, ["labels 7", "twice"]),
            (
                VerbsOptions { lanes: Some(3), labels: labels[..1].to_vec(), ..good.clone() },
                ["1 of them", "the 3 lanes"],
            ),
        ] {
            let error = options.check().expect_err(parts[0]).to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
