//! How ranks tell each other where their segments are.

use std::path::PathBuf;

/// Names the segment of a rank to the other processes of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentAddress {
    /// Process that holds it.
    pub pid: u32,
    /// Number of its descriptor there.
    pub fd: u32,
    /// Size in bytes.
    pub bytes: u64,
    /// Random number in the first page: finds out a process or descriptor number used anew.
    pub token: u128,
}

impl SegmentAddress {
    /// Bytes of an encoded address.
    pub const ENCODED_BYTES: usize = 32;

    /// For exchange at bootstrap: little-endian pid, fd, bytes, token.
    pub fn encode(&self) -> [u8; Self::ENCODED_BYTES] {
        let mut out = [0; Self::ENCODED_BYTES];
        out[..4].copy_from_slice(&self.pid.to_le_bytes());
        out[4..8].copy_from_slice(&self.fd.to_le_bytes());
        out[8..16].copy_from_slice(&self.bytes.to_le_bytes());
        out[16..].copy_from_slice(&self.token.to_le_bytes());
        out
    }

    /// Any bytes are an address; whether there is a segment is found out when it is opened.
    pub fn decode(bytes: &[u8; Self::ENCODED_BYTES]) -> Self {
        let all = u128::from_le_bytes;
        let mut halves = [[0; 16]; 2];
        halves[0].copy_from_slice(&bytes[..16]);
        halves[1].copy_from_slice(&bytes[16..]);
        let first = all(halves[0]);
        Self {
            pid: first as u32,
            fd: (first >> 32) as u32,
            bytes: (first >> 64) as u64,
            token: all(halves[1]),
        }
    }

    /// Where the kernel shows the descriptor.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", self.pid, self.fd))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_survives_encoding(
            pid in any::<u32>(), fd in any::<u32>(), bytes in any::<u64>(), token in any::<u128>(),
        ) {
            let address = SegmentAddress { pid, fd, bytes, token };
            prop_assert_eq!(SegmentAddress::decode(&address.encode()), address);
        }
    }
}
