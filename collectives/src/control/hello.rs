//! What the connecting side says after it has proved to be of the job, and the answer.
//!
//! Hello: version `u16`, session `u128`, from `u32`, to `u32`, purpose `u8` (1 control, 2 data,
//! 3 pinned), index `u16`; little-endian, 29 bytes. Answer: version `u16`, verdict `u8` (1
//! accepted, 0 refused because of the version).

use bytes::{Buf, BufMut};
use onepath_topology::Rank;
use onepath_topology::rank::MAX_WORLD_SIZE;
use onepath_transport::wire::WIRE_VERSION;

/// What the handshake's proofs are tied to, so that a proof made for the rendezvous store, which
/// has the same secret, is of no use here.
pub(super) const AUTH_CONTEXT: &[u8] = b"onepath endpoint";

/// Version of this exchange and the messages after it (high byte) and of the chunk headers on data
/// connections (low byte).
pub(super) const VERSION: u16 = 1 << 8 | WIRE_VERSION as u16;

/// Length of a [`Hello`] on the wire.
const HELLO_BYTES: usize = 29;

/// The longest frame of this exchange; room for later versions, which begin alike.
pub(super) const MAX_HELLO_BYTES: usize = 256;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// Heartbeats and agreement.
    Control,
    /// The subflow with this index.
    Data { index: u16 },
    /// The connecting rank's own connection with this index, for its sending over one path.
    Pinned { index: u16 },
}

/// Who connects to whom, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) session: u128,
    pub(super) from: Rank,
    pub(super) to: Rank,
    pub(super) purpose: Purpose,
}

/// Why a frame is not a hello, or not an answer to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HelloError {
    /// The other side speaks another version.
    #[error("the other side speaks version {theirs:#06x}, this side {VERSION:#06x}")]
    Version { theirs: u16 },
    /// The frame has no version, or another length or content than this version has.
    #[error("the greeting makes no sense")]
    Malformed,
}

impl Hello {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (purpose, index) = match self.purpose {
            Purpose::Control => (1, 0),
            Purpose::Data { index } => (2, index),
            Purpose::Pinned { index } => (3, index),
        };
        let mut out = Vec::with_capacity(HELLO_BYTES);
        out.put_u16_le(VERSION);
        out.put_u128_le(self.session);
        out.put_u32_le(self.from.number());
        out.put_u32_le(self.to.number());
        out.put_u8(purpose);
        out.put_u16_le(index);
        out
    }

    /// Reads a hello. Connections go from the higher rank to the lower one, but for pinned ones.
    pub(super) fn decode(mut bytes: &[u8]) -> Result<Self, HelloError> {
        check_version(&mut bytes)?;
        if bytes.len() != HELLO_BYTES - 2 {
            return Err(HelloError::Malformed);
        }
        let session = bytes.get_u128_le();
        let (from, to) = (bytes.get_u32_le(), bytes.get_u32_le());
        let purpose = match (bytes.get_u8(), bytes.get_u16_le()) {
            (1, 0) => Purpose::Control,
            (2, index) => Purpose::Data { index },
            (3, index) => Purpose::Pinned { index },
            _ => return Err(HelloError::Malformed),
        };
        let downwards = to < from;
        let upwards = to > from && matches!(purpose, Purpose::Pinned { .. });
        if from.max(to) >= MAX_WORLD_SIZE || !(downwards || upwards) {
            return Err(HelloError::Malformed);
        }
        Ok(Self { session, from: Rank::new(from), to: Rank::new(to), purpose })
    }
}

/// The answer to a hello.
pub(super) fn encode_answer(accepted: bool) -> Vec<u8> {
    let mut out = VERSION.to_le_bytes().to_vec();
    out.put_u8(u8::from(accepted));
    out
}

/// Reads the answer to a hello.
pub(super) fn decode_answer(mut bytes: &[u8]) -> Result<(), HelloError> {
    check_version(&mut bytes)?;
    if bytes == [1] { Ok(()) } else { Err(HelloError::Malformed) }
}

fn check_version(bytes: &mut &[u8]) -> Result<(), HelloError> {
    match bytes.try_get_u16_le() {
        Ok(VERSION) => Ok(()),
        Ok(theirs) => Err(HelloError::Version { theirs }),
        Err(_) => Err(HelloError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(from: u32, to: u32, purpose: Purpose) -> Hello {
        Hello { session: u128::MAX - 5, from: Rank::new(from), to: Rank::new(to), purpose }
    }

    #[test]
    fn a_hello_survives_the_wire() {
        let (data, pinned) = (Purpose::Data { index: 900 }, Purpose::Pinned { index: 1 });
        for purpose in [Purpose::Control, Purpose::Data { index: 0 }, data, pinned] {
            let hello = hello(7, 3, purpose);
            assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }
    }

    #[test]
    fn another_version_is_named_whatever_follows_it() {
        let mut bytes = hello(1, 0, Purpose::Control).encode();
        bytes[0] ^= 0xFF;
        bytes.push(1);
        let theirs = VERSION ^ 0xFF;
        assert_eq!(Hello::decode(&bytes), Err(HelloError::Version { theirs }));
        assert_eq!(decode_answer(&bytes), Err(HelloError::Version { theirs }));
    }

    #[test]
    fn a_connection_upwards_to_itself_or_from_outside_every_world_makes_no_sense() {
        for (from, to) in [(3, 7), (3, 3), (MAX_WORLD_SIZE, 0), (u32::MAX, 1)] {
            let bytes = hello(from, to, Purpose::Control).encode();
            assert_eq!(Hello::decode(&bytes), Err(HelloError::Malformed), "{from} to {to}");
        }
        let pinned = |from, to| hello(from, to, Purpose::Pinned { index: 0 });
        assert_eq!(Hello::decode(&pinned(3, 7).encode()), Ok(pinned(3, 7)));
        for (from, to) in [(3, 3), (3, MAX_WORLD_SIZE)] {
            let bytes = pinned(from, to).encode();
            assert_eq!(Hello::decode(&bytes), Err(HelloError::Malformed), "{from} to {to}");
        }
    }

    #[test]
    fn a_cut_longer_or_unknown_hello_makes_no_sense() {
        let mut bytes = hello(1, 0, Purpose::Control).encode();
        for length in 0..bytes.len() {
            assert_eq!(Hello::decode(&bytes[..length]), Err(HelloError::Malformed));
        }
        bytes[26] = 4;
        assert_eq!(Hello::decode(&bytes), Err(HelloError::Malformed));
        bytes[26] = 1;
        bytes.push(0);
        assert_eq!(Hello::decode(&bytes), Err(HelloError::Malformed));
    }

    #[test]
    fn only_an_acceptance_is_an_answer() {
        assert_eq!(decode_answer(&encode_answer(true)), Ok(()));
        assert_eq!(decode_answer(&encode_answer(false)), Err(HelloError::Malformed));
        assert_eq!(decode_answer(&[]), Err(HelloError::Malformed));
    }
}
