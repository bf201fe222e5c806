//! What two ranks say to each other when a lane is closed and opened again: 48 bytes,
//! little-endian, over another lane and over the connection of the session.
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 0..4 | magic | "OPVL" |
//! | 4 | version | [`VERBS_VERSION`] |
//! | 5 | kind | 1 closed, 2 ready |
//! | 6 | lane | |
//! | 7 | | zero |
//! | 8..12 | generation | how often the lane was replaced before |
//! | 12..16 | queue pair | of the one that comes next; 24 bits |
//! | 16..20 | first packet | of the one that comes next; 24 bits |
//! | 20..24 | check | of all other bytes |
//! | 24..32 | received | messages that arrived over the closed queue pair |
//! | 32..48 | | zero |
//!
//! **A letter may be read while the next one is written to its place**: one that a bad path held up
//! while its copy over the connection was answered. Of a mixture of both the check is wrong, and it
//! is not heeded: the word of the next letter comes behind, and then that is whole.

use super::hello::VERBS_VERSION;
use super::options::MAX_LANES;

/// Bytes of an encoded [`Letter`].
pub const LETTER_BYTES: usize = 48;

const MAGIC: [u8; 4] = *b"OPVL";
const MASK_24: u32 = 0xff_ffff;

/// What a letter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matter {
    /// The queue pair of this generation is in error here and drained.
    Closed {
        /// Messages that arrived over it and count; whatever was sent behind them never will.
        received: u64,
        /// The number of the queue pair that this rank puts in its place.
        queue_pair: u32,
        /// The first packet that this rank will send over that.
        first: u32,
    },
    /// The queue pair of this generation is ready to receive here.
    Ready,
}

/// A letter about one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The lane.
    pub lane: u8,
    /// The generation of its queue pair.
    pub generation: u32,
    /// What is said of it.
    pub matter: Matter,
}

/// Bytes that are no such message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LetterError {
    /// Something else.
    #[error("bytes {found:?} where a letter begins; it begins with {MAGIC:?}")]
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
    /// Neither of the kinds.
    #[error("letter kind {found} is not known: 1 and 2 are")]
    Kind {
        /// The kind.
        found: u8,
    },
    /// A number out of range.
    #[error("letter field {field} is {found}: it must be at most {most}")]
    Field {
        /// Which.
        field: &'static str,
        /// Its value.
        found: u32,
        /// The most that would be right.
        most: u32,
    },
    /// Not whole.
    #[error("letter with check {found:#010x}, whose other bytes make {expected:#010x}")]
    Check {
        /// What it says.
        found: u32,
        /// What it should say.
        expected: u32,
    },
}

/// Where the check is.
const CHECK_AT: std::ops::Range<usize> = 20..24;

/// FNV-1a of Fowler, Noll and Vo, with 32 bits, of all bytes but the check itself.
fn check_of(bytes: &[u8; LETTER_BYTES]) -> u32 {
    let (front, back) = (&bytes[..CHECK_AT.start], &bytes[CHECK_AT.end..]);
    let step = |sum: u32, &byte: &u8| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    front.iter().chain(back).fold(0x811c_9dc5, step)
}

impl Letter {
    /// As it goes over the wire.
    pub fn encode(&self) -> [u8; LETTER_BYTES] {
        let mut out = [0; LETTER_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = VERBS_VERSION;
        out[6] = self.lane;
        out[8..12].copy_from_slice(&self.generation.to_le_bytes());
        match self.matter {
            Matter::Closed { received, queue_pair, first } => {
                out[5] = 1;
                out[12..16].copy_from_slice(&queue_pair.to_le_bytes());
                out[16..20].copy_from_slice(&first.to_le_bytes());
                out[24..32].copy_from_slice(&received.to_le_bytes());
            }
            Matter::Ready => out[5] = 2,
        }
        let check = check_of(&out);
        out[CHECK_AT].copy_from_slice(&check.to_le_bytes());
        out
    }

    /// Reads and checks it. What is behind the fields of its kind is not looked at.
    pub fn decode(bytes: &[u8; LETTER_BYTES]) -> Result<Self, LetterError> {
        let found = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if found != MAGIC {
            return Err(LetterError::Magic { found });
        }
        if bytes[4] != VERBS_VERSION {
            return Err(LetterError::Version { found: bytes[4] });
        }
        let at_most = |field, found: u32, most: u32| {
            if found <= most { Ok(found) } else { Err(LetterError::Field { field, found, most }) }
        };
        let half = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let (check, expected) = (half(CHECK_AT.start), check_of(bytes));
        if check != expected {
            return Err(LetterError::Check { found: check, expected });
        }
        let lane = at_most("lane", bytes[6].into(), u32::from(MAX_LANES) - 1)? as u8;
        let matter = match bytes[5] {
            1 => Matter::Closed {
                received: u64::from(half(24)) | u64::from(half(28)) << 32,
                queue_pair: at_most("queue pair", half(12), MASK_24)?,
                first: at_most("first packet", half(16), MASK_24)?,
            },
            2 => Matter::Ready,
            found => return Err(LetterError::Kind { found }),
        };
        Ok(Self { lane, generation: half(8), matter })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLOSED: Letter = Letter {
        lane: 15,
        generation: 7,
        matter: Matter::Closed { received: 1 << 40, queue_pair: MASK_24, first: 5 },
    };

    #[test]
    fn both_kinds_survive() {
        for letter in [CLOSED, Letter { matter: Matter::Ready, ..CLOSED }] {
            assert_eq!(Letter::decode(&letter.encode()), Ok(letter));
        }
    }

    fn sign(bytes: &mut [u8; LETTER_BYTES]) {
        let check = check_of(bytes);
        bytes[CHECK_AT].copy_from_slice(&check.to_le_bytes());
    }

    /// Devices write a line of the cache or eight bytes at once, in this order or another.
    #[test]
    fn a_letter_that_is_half_another_is_not_one_of_both() {
        let matter = Matter::Closed { received: (1 << 40) + 3, queue_pair: 17, first: 99 };
        let next = Letter { generation: 8, matter, ..CLOSED };
        let (old, new) = (CLOSED.encode(), next.encode());
        for words in 1_u32..(1 << (LETTER_BYTES / 8)) - 1 {
            let mut mixed = old;
            for word in (0..LETTER_BYTES / 8).filter(|word| words >> word & 1 == 1) {
                mixed[8 * word..8 * word + 8].copy_from_slice(&new[8 * word..8 * word + 8]);
            }
            if mixed != old && mixed != new {
                let error = Letter::decode(&mixed).expect_err("half of each");
                assert!(matches!(error, LetterError::Check { .. }), "{words:#b}: {error}");
            }
        }
    }

    #[test]
    fn each_wrong_field_is_named() {
        for (at, byte, expected) in [
            (0, 0, "begins with"),
            (4, 99, "version"),
            (5, 3, "kind 3"),
            (6, 16, "lane is 16"),
            (15, 1, "queue pair"),
            (19, 1, "first packet"),
        ] {
            let mut bytes = CLOSED.encode();
            bytes[at] = byte;
            sign(&mut bytes);
            let error = Letter::decode(&bytes).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_from_any_bytes_is_written_back(mut bytes in any::<[u8; LETTER_BYTES]>()) {
            bytes[..4].copy_from_slice(&MAGIC);
            bytes[4] = VERBS_VERSION;
            bytes[5] = 1 + bytes[5] % 2;
            sign(&mut bytes);
            if let Ok(letter) = Letter::decode(&bytes) {
                prop_assert_eq!(Letter::decode(&letter.encode()), Ok(letter));
            }
        }
    }
}
