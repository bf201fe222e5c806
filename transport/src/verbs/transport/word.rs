//! The immediates of RDMA WRITEs: 32 bits that say what has arrived.
//!
//! | bits | data | credit | letter |
//! |---|---|---|---|
//! | 30..32 | 0 | 1 | 2 |
//! | 24..30 | slot | first slot | |
//! | 0..24 | zero | set of slots, counted from the first | place of the letter |

/// Slots that one credit can name.
const CREDIT_SPAN: u32 = 24;
const KIND_SHIFT: u32 = 30;
const SLOT_SHIFT: u32 = 24;
const SLOT_MASK: u32 = 63;
const REST_MASK: u32 = (1 << SLOT_SHIFT) - 1;

/// What an immediate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A chunk is in this slot.
    Data {
        /// Less than 64.
        slot: u8,
    },
    /// The receiver has emptied these slots: nothing else came with it.
    Credit {
        /// A set of slots, not empty.
        slots: u64,
    },
    /// A letter ([`super::letter`]) is in this place.
    Letter {
        /// Its place.
        place: u8,
    },
}

/// A number that is no such immediate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("immediate {found:#010x} has no meaning")]
pub struct WordError {
    /// The number.
    pub found: u32,
}

impl Word {
    /// The number.
    pub fn encode(self) -> u32 {
        match self {
            Self::Data { slot } => (u32::from(slot) & SLOT_MASK) << SLOT_SHIFT,
            Self::Credit { slots } => {
                let first = slots.trailing_zeros() & SLOT_MASK;
                let set = (slots >> first) as u32 & REST_MASK;
                1 << KIND_SHIFT | first << SLOT_SHIFT | set
            }
            Self::Letter { place } => 2 << KIND_SHIFT | u32::from(place),
        }
    }

    /// Reads and checks it.
    pub fn decode(number: u32) -> Result<Self, WordError> {
        let (first, rest) = (number >> SLOT_SHIFT & SLOT_MASK, number & REST_MASK);
        let wrong = Err(WordError { found: number });
        match number >> KIND_SHIFT {
            0 if rest == 0 => Ok(Self::Data { slot: first as u8 }),
            1 => {
                let slots = u64::from(rest) << first;
                // What is shifted out at the top names slots that cannot be.
                let whole = slots >> first == u64::from(rest);
                if rest & 1 == 1 && whole { Ok(Self::Credit { slots }) } else { wrong }
            }
            2 if first == 0 => u8::try_from(rest).map_or(wrong, |place| Ok(Self::Letter { place })),
            _ => wrong,
        }
    }

    /// The part of a set of slots that one credit can name; nothing for the empty set.
    pub(super) fn first_credit(slots: u64) -> u64 {
        if slots == 0 {
            return 0;
        }
        let first = slots.trailing_zeros();
        slots & (u64::from(REST_MASK) << first)
    }
}

const _: () = assert!(CREDIT_SPAN == SLOT_SHIFT);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_survives_and_the_rest_means_nothing() {
        for word in [
            Word::Data { slot: 0 },
            Word::Data { slot: 63 },
            Word::Credit { slots: 1 },
            Word::Credit { slots: 1 << 63 },
            Word::Credit { slots: 0xff_ffff << 40 },
            Word::Letter { place: 31 },
        ] {
            assert_eq!(Word::decode(word.encode()), Ok(word));
        }
        for wrong in [1, 1 << 30, 1 << 30 | 2, 1 << 30 | 63 << 24 | 3, 2 << 30 | 256, 3 << 30] {
            assert_eq!(Word::decode(wrong), Err(WordError { found: wrong }));
        }
    }

    proptest! {
        #[test]
        fn any_number_is_written_back_if_it_can_be_read(number in any::<u32>()) {
            if let Ok(word) = Word::decode(number) {
                prop_assert_eq!(word.encode(), number);
            }
        }

        #[test]
        fn credits_name_every_slot_of_a_set_once(slots in any::<u64>()) {
            let mut rest = slots;
            let mut words = 0;
            while rest != 0 {
                let part = Word::first_credit(rest);
                prop_assert!(part != 0 && part & !rest == 0);
                let word = Word::Credit { slots: part };
                prop_assert_eq!(Word::decode(word.encode()), Ok(word));
                rest &= !part;
                words += 1;
            }
            prop_assert!(words <= 3);
        }
    }
}
