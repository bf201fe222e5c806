//! Which packet numbers came: a bounded window of bits, and what acknowledgements say of them.

use crate::proto::packet::{AckWord, Acknowledgement, MAX_ACK_WORDS};

/// In how many acknowledgements each news is told, so that losing one loses nothing.
const TOLD: u8 = 2;

/// What is known of a packet that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Seen {
    /// Nothing: it is new.
    New,
    /// It came before, or so long ago that its sender has given it up.
    Before,
}

#[derive(Clone, Copy, Debug, Default)]
struct Word {
    received: u64,
    marked: u64,
    /// Acknowledgements that still have to say this word.
    to_tell: u8,
}

/// The latest packet numbers. A sender never has numbers in flight that are more than its packet
/// window apart; twice that is kept.
#[derive(Debug)]
pub(in crate::proto) struct ReceiveWindow {
    words: Box<[Word]>,
    /// Index of the newest word.
    newest: u64,
}

impl ReceiveWindow {
    pub(in crate::proto) fn new(packet_window: u32) -> Self {
        let words = vec![Word::default(); packet_window as usize / 32];
        Self { words: words.into_boxed_slice(), newest: 0 }
    }

    fn place(&self, index: u64) -> usize {
        (index % self.words.len() as u64) as usize
    }

    fn oldest(&self) -> u64 {
        (self.newest + 1).saturating_sub(self.words.len() as u64)
    }

    /// Whether this packet number is new.
    pub(in crate::proto) fn seen(&self, number: u64) -> Seen {
        let index = number / 64;
        if index > self.newest {
            return Seen::New;
        }
        let word = self.words[self.place(index)];
        let before = index < self.oldest() || word.received >> (number % 64) & 1 == 1;
        if before { Seen::Before } else { Seen::New }
    }

    /// Notes a packet that [`seen`](Self::seen) called new.
    pub(in crate::proto) fn insert(&mut self, number: u64, marked: bool) {
        let index = number / 64;
        if index > self.newest {
            let kept = self.words.len() as u64;
            for cleared in (self.newest + 1).max((index + 1).saturating_sub(kept))..=index {
                self.words[(cleared % kept) as usize] = Word::default();
            }
            self.newest = index;
        }
        let place = self.place(index);
        let word = &mut self.words[place];
        word.received |= 1 << (number % 64);
        word.marked |= u64::from(marked) << (number % 64);
        word.to_tell = TOLD;
    }

    /// Has a word told again: the sender seems not to know of this packet.
    pub(in crate::proto) fn repeat(&mut self, number: u64) {
        let index = number / 64;
        if index <= self.newest && index >= self.oldest() {
            let place = self.place(index);
            self.words[place].to_tell = TOLD;
        }
    }

    /// Puts what is to be told into an acknowledgement, oldest first; whether something is left.
    pub(in crate::proto) fn tell(&mut self, ack: &mut Acknowledgement) -> bool {
        let mut told = 0;
        for index in self.oldest()..=self.newest {
            let place = self.place(index);
            let word = &mut self.words[place];
            if word.to_tell == 0 {
                continue;
            }
            if told == MAX_ACK_WORDS {
                return true;
            }
            word.to_tell -= 1;
            told += 1;
            ack.push(AckWord { index, received: word.received, marked: word.marked });
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use onepath_topology::Nanos;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_packet_is_new_once_and_told_twice(
            numbers in prop::collection::vec(0_u64..600, 1..400),
        ) {
            let mut window = ReceiveWindow::new(512);
            let mut came = HashSet::new();
            for &number in &numbers {
                let expected = if came.contains(&number) { Seen::Before } else { Seen::New };
                prop_assert_eq!(window.seen(number), expected);
                if came.insert(number) {
                    window.insert(number, number % 3 == 0);
                }
            }
            for _ in 0..2 {
                let mut ack = Acknowledgement::new(Nanos(0), 0, 0);
                prop_assert!(!window.tell(&mut ack));
                let told: HashSet<u64> = ack.words().iter()
                    .flat_map(|w| (0..64).filter(|i| w.received >> i & 1 == 1)
                    .map(|i| w.index * 64 + i))
                    .collect();
                prop_assert_eq!(&told, &came);
            }
            let mut ack = Acknowledgement::new(Nanos(0), 0, 0);
            window.tell(&mut ack);
            prop_assert!(ack.words().is_empty());
        }
    }

    #[test]
    fn a_number_that_left_the_window_counts_as_seen() {
        let mut window = ReceiveWindow::new(64);
        window.insert(0, false);
        window.insert(1_000_000, false);
        assert_eq!(window.seen(1), Seen::Before);
        assert_eq!(window.seen(999_999), Seen::New);
        assert_eq!(window.seen(1_000_000), Seen::Before);
    }
}
