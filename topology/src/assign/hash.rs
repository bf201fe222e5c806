//! ECMP: what a switch does that knows nothing but headers.

use super::demand::{AssignError, MAX_PIECES, Piece, StepSet};
use super::group::{Candidate, Group, push_parts};
use super::shuffle::{Random, Seed};
use crate::fabric::{HostId, LeafId, PathId};

/// What a leaf hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FiveTuple {
    /// Source address (IPv4, or any number that names the host).
    pub source: u32,
    /// Destination address.
    pub destination: u32,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// IP protocol: 6 for TCP, 17 for UDP.
    pub protocol: u8,
}

impl FiveTuple {
    /// The hash of a leaf whose secret is `key`: SipHash-2-4, as Linux hashes flow keys
    /// (`__flow_hash_from_keys`), over the tuple in this order, little endian, padded to 16 bytes.
    /// The layout is not the kernel's: ports chosen by this hash are not those of a real host.
    pub fn hash(&self, key: [u64; 2]) -> u32 {
        let addresses = u64::from(self.source) | u64::from(self.destination) << 32;
        let ports = u64::from(self.source_port) | u64::from(self.destination_port) << 16;
        let words = [addresses, ports | u64::from(self.protocol) << 32];
        siphash(key, words) as u32
    }
}

/// The hash key of a leaf: every switch has its own, else all would choose alike.
pub fn leaf_key(seed: Seed, leaf: LeafId) -> [u64; 2] {
    // Streams of sources have a host's number in the upper half; no host has this one.
    let mut random = Random::new(seed, u64::MAX - u64::from(leaf.0));
    [random.next(), random.next()]
}

/// SipHash-2-4 of 16 bytes (Aumasson, Bernstein, INDOCRYPT 2012).
fn siphash(key: [u64; 2], words: [u64; 2]) -> u64 {
    let mut state = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    // The last word holds the length in its highest byte.
    for word in [words[0], words[1], 16 << 56] {
        state[3] ^= word;
        round(&mut state);
        round(&mut state);
        state[0] ^= word;
    }
    state[2] ^= 0xff;
    for _ in 0..4 {
        round(&mut state);
    }
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

const fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

/// Which path a hash selects: hash-threshold (RFC 2992) by capacity, as Linux does with the weights
/// of next hops (`fib_select_multipath`).
pub(super) fn select(paths: &[Candidate], hash: u32) -> PathId {
    let total: u128 = paths.iter().map(|path| u128::from(path.weight)).sum();
    let mark = (u128::from(hash) * total) >> 32;
    let mut upper = 0;
    for path in paths {
        upper += u128::from(path.weight);
        if mark < upper {
            return path.path;
        }
    }
    unreachable!("the mark is below the total weight")
}

/// The ports that Linux gives to connections (`ip_local_port_range`).
const FIRST_PORT: u16 = 32_768;
const PORTS: u64 = 28_232;
const PORT_OF_RECEIVER: u16 = 4791;
const TCP: u8 = 6;

fn tuple(source: HostId, destination: HostId, random: &mut Random) -> FiveTuple {
    FiveTuple {
        source: source.0,
        destination: destination.0,
        source_port: FIRST_PORT + random.below(PORTS) as u16,
        destination_port: PORT_OF_RECEIVER,
        protocol: TCP,
    }
}

/// Each flow in `subflows` equal subflows, each on a random source port; the leaf's hash chooses.
pub(super) fn assign(
    set: &StepSet,
    group: &Group,
    paths: &[Candidate],
    (subflows, key): (usize, [u64; 2]),
    random: &mut Random,
    out: &mut Vec<Piece>,
) -> Result<(), AssignError> {
    let pieces = group.flows.len() as u64 * subflows as u64 + out.len() as u64;
    if pieces > MAX_PIECES {
        return Err(AssignError::TooManyPieces { pieces });
    }
    for &flow in &group.flows {
        let destination = set.flows[flow as usize].destination;
        let path = |_| select(paths, tuple(set.source, destination, random).hash(key));
        push_parts(set, flow, subflows, path, out);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_gives_the_published_vector() {
        // Key 00..0f and message 00..0f: vector 16 of the reference implementation.
        let bytes =
            |first: u8| u64::from_le_bytes(std::array::from_fn(|index| first + index as u8));
        let words = [bytes(0), bytes(8)];
        assert_eq!(siphash(words, words), 0x3f2a_cc7f_57c2_9bdb);
    }

    #[test]
    fn hashes_fall_on_paths_by_capacity() {
        let path = |id, weight| Candidate { path: PathId(id), weight };
        let paths = [path(0, 1 << 40), path(1, 1 << 39), path(2, 1 << 39)];
        assert_eq!(select(&paths, 0), PathId(0));
        assert_eq!(select(&paths, (1 << 31) - 1), PathId(0));
        assert_eq!(select(&paths, 1 << 31), PathId(1));
        assert_eq!(select(&paths, u32::MAX), PathId(2));
    }

    #[test]
    fn leaves_have_different_keys() {
        assert_ne!(leaf_key(Seed(1), LeafId(0)), leaf_key(Seed(1), LeafId(1)));
        assert_ne!(leaf_key(Seed(1), LeafId(0)), leaf_key(Seed(2), LeafId(0)));
    }
}
