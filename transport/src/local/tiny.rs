//! Payloads of at most one word travel inside the header, in the word that acknowledges on TCP: one
//! cache line less between the cores.

/// The longest payload that fits.
pub(super) const MOST_BYTES: usize = size_of::<u64>();

/// The word for a payload, if it is short enough.
pub(super) fn pack(payload: &[u8]) -> Option<u64> {
    if payload.len() > MOST_BYTES {
        return None;
    }
    let mut word = [0; MOST_BYTES];
    word[..payload.len()].copy_from_slice(payload);
    Some(u64::from_le_bytes(word))
}

/// The word's bytes again, of which the first are the payload.
pub(super) fn unpack(word: u64) -> [u8; MOST_BYTES] {
    word.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_up_to_a_word_come_back_and_longer_ones_are_refused() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        for length in 0..=8 {
            let word = pack(&bytes[..length]).expect("it fits");
            assert_eq!(unpack(word)[..length], bytes[..length]);
        }
        assert_eq!(pack(&bytes), None);
    }
}
