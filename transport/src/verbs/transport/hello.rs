//! How two ranks tell each other of their queue pairs, over an authenticated connection: 64 bytes
//! and 8 for each lane, little-endian.
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 0..4 | magic | "OPVB" |
//! | 4 | version | [`VERBS_VERSION`] |
//! | 5 | lanes | 1 to [`MAX_LANES`] |
//! | 6 | slots | of each lane, 1 to [`MAX_SLOTS`] |
//! | 7 | link | 1 Ethernet, 2 InfiniBand |
//! | 8..12 | slot | bytes of a slot |
//! | 12..16 | packet | bytes of the largest packet of its port: 256, 512, ... 4096 |
//! | 16..32 | address | GID of its port |
//! | 32..34 | lid | of its port; 0 over Ethernet |
//! | 34 | kind | of the address: 1 InfiniBand, 2 RoCE v1, 3 RoCE v2 |
//! | 35 | | zero |
//! | 36..40 | key | of the region that the peer writes to |
//! | 40..48 | start | address of that region |
//! | 48..56 | length | bytes of that region |
//! | 56..64 | | zero |
//! | then | queue pair | of each lane: number and first packet, 24 bits in 4 bytes each |
//!
//! Whoever knows the key can write to the region, so this goes over connections of the session
//! only, which a stranger without the job secret cannot have. That connection is kept for letters.

use std::fmt;

use crate::verbs::{Gid, GidType, LinkLayer, Packet, PathMtu, QueuePairNumber, RemoteRegion};

use super::options::{MAX_LANES, MAX_SLOTS};

/// Bytes of a [`Hello`] before its lanes.
pub const HELLO_BYTES: usize = 64;

/// Bytes of each lane behind them.
pub const LANE_BYTES: usize = 8;

/// Version of this format, of letters and of immediates.
pub const VERBS_VERSION: u8 = 2;

const MAGIC: [u8; 4] = *b"OPVB";
const MOST_SLOT_BYTES: u32 = 4 << 20;

/// One lane of a [`Hello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneCard {
    /// The queue pair.
    pub number: QueuePairNumber,
    /// The first packet that it sends.
    pub first: Packet,
}

/// What a rank says to one peer.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// Slots of each lane.
    pub slots: u8,
    /// Bytes of a slot.
    pub slot_bytes: u32,
    /// What is below RDMA at its port.
    pub link: LinkLayer,
    /// The largest packets of its port.
    pub mtu: PathMtu,
    /// The address of its port.
    pub gid: Gid,
    /// What packets from there look like.
    pub kind: GidType,
    /// The InfiniBand address of its port.
    pub lid: u16,
    /// Where this peer writes to.
    pub region: RemoteRegion,
    /// The queue pairs for this peer.
    pub lanes: Vec<LaneCard>,
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("gid", &self.gid)
            .field("mtu", &self.mtu)
            .field("lanes", &self.lanes.len())
            .field("slots", &self.slots)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// Bytes that are no such message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Something else.
    #[error("bytes {found:?} where a verbs address begins; it begins with {MAGIC:?}")]
    Magic {
        /// The first bytes.
        found: [u8; 4],
    },
    /// Another version.
    #[error("verbs protocol version {found} where this rank speaks {VERBS_VERSION}")]
    Version {
        /// The peer's.
        found: u8,
    },
    /// A number out of range.
    #[error("verbs address: {field} is {found}, it must be from {least} to {most}")]
    Field {
        /// Which.
        field: &'static str,
        /// Its value.
        found: u64,
        /// The least that would be right.
        least: u64,
        /// The most that would be right.
        most: u64,
    },
    /// A packet size that the verbs do not have.
    #[error("verbs address: packets of {found} bytes; 256, 512, 1024, 2048 or 4096 can be")]
    Packet {
        /// The size.
        found: u32,
    },
    /// Fewer or more bytes than its lanes need.
    #[error("verbs address of {found} bytes: with {lanes} lanes it has {expected}")]
    Length {
        /// How many there are.
        found: usize,
        /// How many lanes it names.
        lanes: u8,
        /// How many there should be.
        expected: usize,
    },
}

fn within(field: &'static str, found: u64, least: u64, most: u64) -> Result<u64, HelloError> {
    if (least..=most).contains(&found) {
        Ok(found)
    } else {
        Err(HelloError::Field { field, found, least, most })
    }
}

fn kind_number(kind: GidType) -> u8 {
    match kind {
        GidType::InfiniBand => 1,
        GidType::RoceV1 => 2,
        GidType::RoceV2 => 3,
    }
}

impl Hello {
    /// As it goes over the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; HELLO_BYTES + LANE_BYTES * self.lanes.len()];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = VERBS_VERSION;
        out[5] = self.lanes.len() as u8;
        out[6] = self.slots;
        out[7] = if self.link == LinkLayer::InfiniBand { 2 } else { 1 };
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(8, &self.slot_bytes.to_le_bytes());
        put(12, &(self.mtu.bytes() as u32).to_le_bytes());
        put(16, &self.gid.0);
        put(32, &self.lid.to_le_bytes());
        put(34, &[kind_number(self.kind)]);
        put(36, &self.region.key.to_le_bytes());
        put(40, &self.region.address.to_le_bytes());
        put(48, &self.region.bytes.to_le_bytes());
        for (lane, at) in self.lanes.iter().zip((HELLO_BYTES..).step_by(LANE_BYTES)) {
            put(at, &lane.number.get().to_le_bytes());
            put(at + 4, &lane.first.get().to_le_bytes());
        }
        out
    }

    /// How many bytes follow the first [`HELLO_BYTES`] of a message.
    pub fn rest(head: &[u8; HELLO_BYTES]) -> Result<usize, HelloError> {
        let found = [head[0], head[1], head[2], head[3]];
        if found != MAGIC {
            return Err(HelloError::Magic { found });
        }
        if head[4] != VERBS_VERSION {
            return Err(HelloError::Version { found: head[4] });
        }
        let lanes = within("lanes", head[5].into(), 1, MAX_LANES.into())?;
        Ok(LANE_BYTES * lanes as usize)
    }

    /// Reads and checks a whole message.
    pub fn decode(bytes: &[u8]) -> Result<Self, HelloError> {
        let Some(head) = bytes.first_chunk::<HELLO_BYTES>() else {
            let found = bytes.len();
            return Err(HelloError::Length { found, lanes: 0, expected: HELLO_BYTES });
        };
        let expected = HELLO_BYTES + Self::rest(head)?;
        if bytes.len() != expected {
            return Err(HelloError::Length { found: bytes.len(), lanes: head[5], expected });
        }
        let array = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let half = |at: usize| u32::from_le_bytes(array(at));
        let word = |at: usize| u64::from(half(at)) | u64::from(half(at + 4)) << 32;
        let mut gid = [0; 16];
        gid.copy_from_slice(&bytes[16..32]);
        let link = match within("link", bytes[7].into(), 1, 2)? {
            2 => LinkLayer::InfiniBand,
            _ => LinkLayer::Ethernet,
        };
        let mtu = PathMtu::of_bytes(half(12)).ok_or(HelloError::Packet { found: half(12) })?;
        let lane = |at: usize| {
            let number = within("queue pair", half(at).into(), 0, 0xff_ffff)? as u32;
            let first = within("first packet", half(at + 4).into(), 0, 0xff_ffff)? as u32;
            let most = HelloError::Field { field: "queue pair", found: 0, least: 0, most: 0 };
            let number = QueuePairNumber::new(number).ok_or(most)?;
            Ok(LaneCard { number, first: Packet::new(first) })
        };
        let lanes: Result<Vec<LaneCard>, HelloError> =
            (HELLO_BYTES..expected).step_by(LANE_BYTES).map(lane).collect();
        Ok(Self {
            slots: within("slots", bytes[6].into(), 1, MAX_SLOTS.into())? as u8,
            slot_bytes: within("slot bytes", half(8).into(), 256, MOST_SLOT_BYTES.into())? as u32,
            link,
            mtu,
            gid: Gid(gid),
            kind: match within("kind of address", bytes[34].into(), 1, 3)? {
                1 => GidType::InfiniBand,
                2 => GidType::RoceV1,
                _ => GidType::RoceV2,
            },
            lid: u16::from_le_bytes([bytes[32], bytes[33]]),
            region: RemoteRegion { address: word(40), bytes: word(48), key: half(36) },
            lanes: lanes?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello(lanes: u32) -> Hello {
        let lane = |at| LaneCard {
            number: QueuePairNumber::new(0xff_fff0 + at).expect("24 bits"),
            first: Packet::new(77 * at),
        };
        Hello {
            slots: 16,
            slot_bytes: 32 << 10,
            link: LinkLayer::Ethernet,
            mtu: PathMtu::Bytes4096,
            gid: Gid([7; 16]),
            kind: GidType::RoceV2,
            lid: 0x1234,
            region: RemoteRegion { address: 1 << 47, bytes: 1 << 33, key: 0xdead_beef },
            lanes: (0..lanes).map(lane).collect(),
        }
    }

    #[test]
    fn it_survives_with_one_lane_and_with_the_most() {
        for lanes in [1, 16] {
            assert_eq!(Hello::decode(&hello(lanes).encode()), Ok(hello(lanes)));
        }
        for kind in [GidType::InfiniBand, GidType::RoceV1, GidType::RoceV2] {
            let hello = Hello { kind, ..hello(1) };
            assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }
    }

    #[test]
    fn each_wrong_field_is_named() {
        for (at, byte, expected) in [
            (0, 0, "begins with"),
            (4, 99, "version"),
            (5, 0, "lanes is 0"),
            (5, 17, "lanes is 17"),
            (5, 3, "with 3 lanes"),
            (6, 65, "slots is 65"),
            (7, 3, "link is 3"),
            (11, 1, "slot bytes"),
            (12, 1, "packets of 4097 bytes"),
            (34, 0, "kind of address is 0"),
            (34, 4, "kind of address is 4"),
            (67, 1, "queue pair"),
            (71, 1, "first packet"),
        ] {
            let mut bytes = hello(2).encode();
            bytes[at] = byte;
            let error = Hello::decode(&bytes).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
        let short = Hello::decode(&hello(1).encode()[..63]).expect_err("too short").to_string();
        assert!(short.contains("63 bytes"), "{short}");
    }

    #[test]
    fn the_key_is_not_shown() {
        let text = format!("{:?}", hello(1));
        assert!(!text.contains(&0xdead_beef_u32.to_string()), "{text}");
    }

    proptest! {
        #[test]
        fn what_is_read_from_any_bytes_is_written_back(
            mut bytes in prop::collection::vec(any::<u8>(), HELLO_BYTES..200),
        ) {
            bytes[..4].copy_from_slice(&MAGIC);
            bytes[4] = VERBS_VERSION;
            bytes[12..16].copy_from_slice(&1024_u32.to_le_bytes());
            bytes[34] = 1 + bytes[34] % 3;
            if let Ok(hello) = Hello::decode(&bytes) {
                prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
            }
        }
    }
}
