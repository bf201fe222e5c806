//! The packets in flight: a ring by packet number, allocated once.

use onepath_topology::Nanos;

use crate::proto::packet::{AckWord, Entropy};

/// What a packet carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A piece of a chunk, sent for the `transmission`th time.
    Piece { chunk: u64, offset: u32, length: u32, transmission: u8 },
    /// Nothing, to be answered.
    Probe,
    /// Nothing, of a size under test.
    MtuProbe,
}

/// How a packet was found to be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LossCause {
    /// Enough later packets of the same entropy arrived.
    Overtaken,
    /// It is too old, and something that left later arrived.
    Late,
    /// Nothing was heard for too long.
    Timeout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Unused,
    InFlight,
    Lost(LossCause),
    Arrived,
}

/// A packet that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) number: u64,
    pub(super) fate: Fate,
    pub(super) at: Nanos,
    pub(super) size: u32,
    pub(super) entropy: Entropy,
    pub(super) path_sequence: u32,
    pub(super) content: Content,
    /// The next packet of the same entropy.
    pub(super) next_on_path: Option<u64>,
}

impl Sent {
    const UNUSED: Self = Self {
        number: u64::MAX,
        fate: Fate::Unused,
        at: Nanos(0),
        size: 0,
        entropy: Entropy(0),
        path_sequence: 0,
        content: Content::Probe,
        next_on_path: None,
    };
}

/// Packets `oldest..next`, of which those in flight are never more than the window apart.
#[derive(Debug)]
pub(super) struct SentRing {
    records: Box<[Sent]>,
    next: u64,
    /// No smaller number is in flight.
    oldest: u64,
    in_flight_bytes: u64,
    in_flight_packets: u32,
    /// By word of 64 numbers: which are known to have arrived, so that acknowledgements, which
    /// repeat themselves, are read in the time of their news.
    known: Box<[(u64, u64)]>,
}

impl SentRing {
    pub(super) fn new(packet_window: u32) -> Self {
        let window = packet_window as usize;
        Self {
            records: vec![Sent::UNUSED; window].into_boxed_slice(),
            next: 0,
            oldest: 0,
            in_flight_bytes: 0,
            in_flight_packets: 0,
            known: vec![(0, 0); window / 32].into_boxed_slice(),
        }
    }

    fn place(&self, number: u64) -> usize {
        (number % self.records.len() as u64) as usize
    }

    /// Whether another packet finds room.
    pub(super) fn has_room(&self) -> bool {
        self.next - self.oldest < self.records.len() as u64
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    pub(super) fn in_flight_packets(&self) -> u32 {
        self.in_flight_packets
    }

    /// Adds the next packet.
    pub(super) fn push(&mut self, sent: Sent) {
        let place = self.place(sent.number);
        debug_assert!(sent.number == self.next && self.has_room());
        self.in_flight_bytes += u64::from(sent.size);
        self.in_flight_packets += 1;
        self.records[place] = sent;
        self.next += 1;
    }

    /// The record of a number, while it is kept.
    pub(super) fn get(&self, number: u64) -> Option<&Sent> {
        let sent = &self.records[self.place(number)];
        (sent.number == number).then_some(sent)
    }

    /// Says what the next packet of the same entropy is.
    pub(super) fn link(&mut self, number: u64, next: u64) {
        let place = self.place(number);
        if self.records[place].number == number {
            self.records[place].next_on_path = Some(next);
        }
    }

    /// Decides the fate of a packet.
    pub(super) fn decide(&mut self, number: u64, fate: Fate) {
        let place = self.place(number);
        let sent = &mut self.records[place];
        if sent.number == number {
            if sent.fate == Fate::InFlight {
                self.in_flight_bytes -= u64::from(sent.size);
                self.in_flight_packets -= 1;
            }
            sent.fate = fate;
        }
        while self.oldest < self.next && !self.is_in_flight(self.oldest) {
            self.oldest += 1;
        }
    }

    pub(super) fn is_in_flight(&self, number: u64) -> bool {
        self.get(number).is_some_and(|sent| sent.fate == Fate::InFlight)
    }

    /// The oldest packet in flight.
    pub(super) fn oldest(&self) -> Option<&Sent> {
        self.get(self.oldest).filter(|sent| sent.fate == Fate::InFlight)
    }

    /// The bits of a word that are news; they are not news again.
    pub(super) fn news(&mut self, word: &AckWord) -> u64 {
        let first = word.index.saturating_mul(64);
        let kept_from = self.next.saturating_sub(self.records.len() as u64);
        if first >= self.next || first + 63 < kept_from {
            return 0;
        }
        let sent = self.next - first;
        let possible = if sent >= 64 { u64::MAX } else { (1 << sent) - 1 };
        let place = (word.index % self.known.len() as u64) as usize;
        let (index, bits) = &mut self.known[place];
        if *index != word.index {
            (*index, *bits) = (word.index, 0);
        }
        let news = word.received & possible & !*bits;
        *bits |= news;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ring: &mut SentRing) {
        let number = ring.next();
        ring.push(Sent { number, fate: Fate::InFlight, size: 10, ..Sent::UNUSED });
    }

    #[test]
    fn the_ring_is_full_until_its_oldest_packet_is_decided() {
        let mut ring = SentRing::new(64);
        while ring.has_room() {
            push(&mut ring);
        }
        assert_eq!((ring.next(), ring.in_flight_bytes()), (64, 640));
        ring.decide(1, Fate::Arrived);
        assert!(!ring.has_room());
        ring.decide(0, Fate::Lost(LossCause::Late));
        assert!(ring.has_room());
        assert_eq!(ring.oldest().map(|sent| sent.number), Some(2));
        assert_eq!(ring.in_flight_packets(), 62);
    }

    #[test]
    fn news_are_told_once_and_never_of_what_was_not_sent() {
        let mut ring = SentRing::new(64);
        (0..10).for_each(|_| push(&mut ring));
        let word = AckWord { index: 0, received: u64::MAX, marked: 0 };
        assert_eq!(ring.news(&AckWord { received: 5, ..word }), 5);
        assert_eq!(ring.news(&word), 0x3FF & !5);
        assert_eq!(ring.news(&word), 0);
        assert_eq!(ring.news(&AckWord { index: 1, ..word }), 0);
        assert_eq!(ring.news(&AckWord { index: u64::MAX, ..word }), 0);
    }
}
