//! The keyed tag before every datagram.
//!
//! A universal hash shortens the payload, a pseudo-random function over the header and that digest
//! gives the tag: PRF(header, UH(payload)), a MAC as secure as its parts (Wegman and Carter, "New
//! hash functions and their use in authentication and set equality", 1981; Shoup, "On fast and
//! provably secure message authentication based on universal hashing", 1996). The PRF is
//! SipHash-2-4 (Aumasson and Bernstein, 2012), made for short inputs; over whole payloads it would
//! take a third of the time of a transfer. The universal hash is NH with 64-bit words, as in VMAC
//! (Krovetz, "Message authentication on 64-bit architectures", 2006, section 3): two payloads of
//! one length, which is hashed too, have one digest with probability 2^-64. So a stranger who does
//! not know the key hits a tag with one datagram in some 2^63, and a datagram whose bits were
//! changed on the way is refused with the same certainty.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use super::error::PacketError;
use super::packet::{DATA_HEADER_BYTES, TAG_BYTES};

/// Bytes of which NH makes a digest of 16.
const BLOCK_BYTES: usize = 512;

/// Words of the key of NH.
const KEY_WORDS: usize = BLOCK_BYTES / 8;

/// What follows this many bytes is payload, whatever the datagram is.
const HEADER_BYTES: usize = DATA_HEADER_BYTES;

/// Key of the tags of one direction of one connection; derived from the job's secret.
#[derive(Clone)]
pub struct TagKey {
    prf: SipHasher24,
    words: Box<[u64; KEY_WORDS]>,
}

impl TagKey {
    /// From 128 secret bits, of which `SipHash` in counter mode makes independent keys for the
    /// parts.
    pub fn new(key: [u8; 16]) -> Self {
        let expand = SipHasher24::new_with_key(&key);
        let word = |number: u64| {
            let mut hasher = expand;
            hasher.write(&number.to_le_bytes());
            hasher.finish()
        };
        let mut prf = [0; 16];
        prf[..8].copy_from_slice(&word(0).to_le_bytes());
        prf[8..].copy_from_slice(&word(1).to_le_bytes());
        let words = Box::new(std::array::from_fn(|at| word(at as u64 + 2)));
        Self { prf: SipHasher24::new_with_key(&prf), words }
    }

    /// The tag of a datagram of which `head` is at most the first [`HEADER_BYTES`] behind the tag.
    fn tag(&self, head: &[u8], payload: &[u8]) -> [u8; TAG_BYTES] {
        let mut hasher = self.prf;
        hasher.write(&(payload.len() as u32).to_le_bytes());
        hasher.write(head);
        for block in payload.chunks(BLOCK_BYTES) {
            hasher.write(&digest(&self.words, block).to_le_bytes());
        }
        hasher.finish().to_le_bytes()
    }

    /// Writes the tag of an encoded header and its payload into the header.
    pub fn seal(&self, header: &mut [u8], payload: &[u8]) {
        let Some((tag, rest)) = header.split_first_chunk_mut::<TAG_BYTES>() else { return };
        // A header longer than that of data has no payload behind it.
        let head = rest.len().min(HEADER_BYTES - TAG_BYTES);
        let (head, more) = rest.split_at(head);
        debug_assert!(more.is_empty() || payload.is_empty());
        *tag = if more.is_empty() && head.len() < HEADER_BYTES - TAG_BYTES && !payload.is_empty() {
            self.padded(head, payload)
        } else {
            self.tag(head, if more.is_empty() { payload } else { more })
        };
    }

    /// The tag of a short header with padding behind it, which begins before [`HEADER_BYTES`].
    fn padded(&self, head: &[u8], padding: &[u8]) -> [u8; TAG_BYTES] {
        let mut whole = [0; HEADER_BYTES - TAG_BYTES];
        let now = padding.len().min(whole.len() - head.len());
        let (front, back) = padding.split_at(now);
        whole[..head.len()].copy_from_slice(head);
        whole[head.len()..][..now].copy_from_slice(front);
        self.tag(&whole[..head.len() + now], back)
    }

    /// Checks the tag of a whole datagram.
    pub fn verify(&self, datagram: &[u8]) -> Result<(), PacketError> {
        let (tag, rest) = datagram
            .split_first_chunk::<TAG_BYTES>()
            .ok_or(PacketError::Short { missing: TAG_BYTES })?;
        let (head, payload) = rest.split_at(rest.len().min(HEADER_BYTES - TAG_BYTES));
        // One comparison of words: its time does not depend on where they differ.
        if u64::from_le_bytes(*tag) == u64::from_le_bytes(self.tag(head, payload)) {
            Ok(())
        } else {
            Err(PacketError::Tag)
        }
    }
}

/// NH: the sum over pairs of words of (m₀ + k₀ mod 2⁶⁴) · (m₁ + k₁ mod 2⁶⁴), modulo 2¹²⁸. A short
/// block is filled with zeros; lengths are hashed apart.
fn digest(key: &[u64; KEY_WORDS], block: &[u8]) -> u128 {
    let (pairs, rest) = block.as_chunks::<16>();
    let mut sum = 0_u128;
    for (pair, key) in pairs.iter().zip(key.as_chunks::<2>().0) {
        sum = sum.wrapping_add(product(pair, key));
    }
    if let (false, Some(key)) = (rest.is_empty(), key.as_chunks::<2>().0.get(pairs.len())) {
        let mut pair = [0; 16];
        pair[..rest.len()].copy_from_slice(rest);
        sum = sum.wrapping_add(product(&pair, key));
    }
    sum
}

fn product(pair: &[u8; 16], key: &[u64; 2]) -> u128 {
    let both = u128::from_le_bytes(*pair);
    let (low, high) = (both as u64, (both >> 64) as u64);
    u128::from(low.wrapping_add(key[0])) * u128::from(high.wrapping_add(key[1]))
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagKey(secret)")
    }
}

/// The keys of both directions, from one end's point of view.
#[derive(Clone, Debug)]
pub struct TagKeys {
    /// For what this end sends.
    pub send: TagKey,
    /// For what it receives.
    pub receive: TagKey,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_changed_bit_or_another_key_is_refused() {
        let key = TagKey::new([7; 16]);
        for length in [20, 61, 80, 97, 700] {
            let mut datagram = vec![3_u8; length];
            let (header, payload) = datagram.split_at_mut(20);
            key.seal(header, payload);
            assert_eq!(key.verify(&datagram), Ok(()), "{length}");
            assert_eq!(TagKey::new([8; 16]).verify(&datagram), Err(PacketError::Tag));
            for bit in 0..datagram.len() * 8 {
                datagram[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(key.verify(&datagram), Err(PacketError::Tag), "{length}: bit {bit}");
                datagram[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn zeros_at_the_end_count() {
        let key = TagKey::new([9; 16]);
        let mut datagram = vec![0_u8; 1_000];
        let (header, payload) = datagram.split_at_mut(80);
        key.seal(header, payload);
        for shorter in 80..1_000 {
            assert_eq!(key.verify(&datagram[..shorter]), Err(PacketError::Tag), "{shorter}");
        }
    }

    proptest! {
        #[test]
        fn a_tag_does_not_depend_on_where_header_and_payload_part(
            bytes in prop::collection::vec(any::<u8>(), 100..1_500),
            header in 8_usize..=80,
        ) {
            let key = TagKey::new([1; 16]);
            let mut datagram = bytes;
            let (header, payload) = datagram.split_at_mut(header);
            key.seal(header, payload);
            prop_assert_eq!(key.verify(&datagram), Ok(()));
        }

        #[test]
        fn the_digest_is_the_formula(block in prop::collection::vec(any::<u8>(), 0..=512)) {
            let key = TagKey::new([2; 16]);
            let mut whole = block.clone();
            whole.resize(BLOCK_BYTES, 0);
            let word = |at: usize| {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&whole[8 * at..][..8]);
                u64::from_le_bytes(bytes).wrapping_add(key.words[at])
            };
            // What a short block leaves out are products of keys alone.
            let used = block.len().div_ceil(16);
            let sum = (0..used).fold(0_u128, |sum, pair| {
                sum.wrapping_add(u128::from(word(2 * pair)) * u128::from(word(2 * pair + 1)))
            });
            prop_assert_eq!(digest(&key.words, &block), sum);
        }
    }
}
