//! The keyed tag before every datagram.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use super::error::PacketError;
use super::packet::TAG_BYTES;

/// Key of the tags of one direction of one connection; derived from the job's secret.
///
/// SipHash-2-4 (Aumasson and Bernstein, 2012) is a pseudo-random function made for short inputs: a
/// stranger who does not know the key hits a tag with one datagram in 2^64, and a datagram whose
/// bits were changed on the way is refused with the same certainty.
#[derive(Clone, Copy)]
pub struct TagKey(SipHasher24);

impl TagKey {
    /// From 128 secret bits.
    pub fn new(key: [u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(&key))
    }

    fn tag(&self, rest: &[u8], payload: &[u8]) -> [u8; TAG_BYTES] {
        let mut hasher = self.0;
        hasher.write(rest);
        hasher.write(payload);
        hasher.finish().to_le_bytes()
    }

    /// Writes the tag of an encoded header and its payload into the header.
    pub fn seal(&self, header: &mut [u8], payload: &[u8]) {
        if let Some((tag, rest)) = header.split_first_chunk_mut::<TAG_BYTES>() {
            *tag = self.tag(rest, payload);
        }
    }

    /// Checks the tag of a whole datagram.
    pub fn verify(&self, datagram: &[u8]) -> Result<(), PacketError> {
        let (tag, rest) = datagram
            .split_first_chunk::<TAG_BYTES>()
            .ok_or(PacketError::Short { missing: TAG_BYTES })?;
        // One comparison of words: its time does not depend on where they differ.
        if u64::from_le_bytes(*tag) == u64::from_le_bytes(self.tag(rest, &[])) {
            Ok(())
        } else {
            Err(PacketError::Tag)
        }
    }
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagKey(secret)")
    }
}

/// The keys of both directions, from one end's point of view.
#[derive(Clone, Copy, Debug)]
pub struct TagKeys {
    /// For what this end sends.
    pub send: TagKey,
    /// For what it receives.
    pub receive: TagKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_bit_or_another_key_is_refused() {
        let key = TagKey::new([7; 16]);
        let mut datagram = [3_u8; 61];
        let (header, payload) = datagram.split_at_mut(20);
        key.seal(header, payload);
        assert_eq!(key.verify(&datagram), Ok(()));
        assert_eq!(TagKey::new([8; 16]).verify(&datagram), Err(PacketError::Tag));
        for bit in 0..datagram.len() * 8 {
            datagram[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.verify(&datagram), Err(PacketError::Tag), "bit {bit}");
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
