//! The next packet.

use onepath_topology::Nanos;

use crate::proto::packet::{Body, COMMON_BYTES, DATA_HEADER_BYTES, Entropy};

use super::Outbound;
use super::outbox::{Chosen, OutgoingPiece};
use super::sent::{Content, Fate, Sent};

/// Probe time-outs in a row after which datagrams are small.
const TIMEOUTS_UNTIL_SMALL: u32 = 3;

/// A packet on its way out.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) struct Departure {
    pub(in crate::proto) entropy: Entropy,
    pub(in crate::proto) number: u64,
    pub(in crate::proto) path_sequence: u32,
    pub(in crate::proto) prompt: bool,
    pub(in crate::proto) body: Body,
    pub(in crate::proto) piece: Option<OutgoingPiece>,
}

impl Outbound {
    /// The next numbered packet that may leave now.
    pub(in crate::proto) fn next_packet(&mut self, now: Nanos) -> Option<Departure> {
        self.paced = false;
        self.paths.restore(now);
        if !self.sent.has_room() {
            return None;
        }
        if std::mem::take(&mut self.ask) {
            let entropy = self.selector.other(self.avoided(), &self.paths);
            return Some(self.depart(entropy, &Body::Probe, Content::Probe, true, now));
        }
        if !self.outbox.is_ready() || !self.window_allows() {
            return None;
        }
        if self.probes == 0 && self.pacer.ready_at() > now {
            self.paced = true;
            return None;
        }
        if let Some(size) = self.mtu.probe(now) {
            self.mtu.probe_sent();
            let entropy = self.selector.next(0, &self.paths);
            let padding = size - COMMON_BYTES as u32;
            let body = Body::MtuProbe { padding };
            return Some(self.depart(entropy, &body, Content::MtuProbe, true, now));
        }
        let piece = self.outbox.choose(self.size() - DATA_HEADER_BYTES)?;
        Some(self.depart_piece(&piece, now))
    }

    /// Size of the next datagram. When nothing is heard for long, the network may have stopped to
    /// carry large ones, of which only the arrival of a small one would tell.
    fn size(&self) -> usize {
        let silent = self.timeouts >= TIMEOUTS_UNTIL_SMALL;
        if silent { self.mtu.safe() } else { self.mtu.current() }
    }

    fn window_allows(&self) -> bool {
        let in_flight = self.sent.in_flight_bytes();
        let next = in_flight + self.mtu.current() as u64;
        self.probes > 0 || in_flight == 0 || next <= self.window()
    }

    fn avoided(&self) -> Entropy {
        self.sent.oldest().map_or(Entropy(0), |sent| sent.entropy)
    }

    fn depart_piece(&mut self, piece: &Chosen, now: Nanos) -> Departure {
        let (header, bytes, lane) = self.outbox.describe(piece);
        let entropy = self.entropy_for(piece, lane);
        self.probes = self.probes.saturating_sub(1);
        self.stats.data_packets += 1;
        self.stats.data_bytes += u64::from(piece.length);
        if piece.transmission > 1 {
            self.stats.retransmissions += 1;
            self.stats.retransmitted_bytes += u64::from(piece.length);
        }
        let content = Content::Piece {
            chunk: piece.chunk,
            offset: piece.offset,
            length: piece.length,
            transmission: piece.transmission,
        };
        let mut departure = self.depart(entropy, &Body::Data(header), content, false, now);
        departure.piece = Some(bytes);
        departure.prompt = self.wants_answer(u64::from(piece.length));
        departure
    }

    /// A lost piece takes another entropy if the policy is free to choose, and always after a
    /// time-out: the old one may be dead.
    fn entropy_for(&mut self, piece: &Chosen, lane: u16) -> Entropy {
        let chosen = self.selector.next(lane, &self.paths);
        match piece.lost_on {
            Some(lost_on) if lost_on == chosen && (self.selector.is_free() || self.probes > 0) => {
                self.selector.other(lost_on, &self.paths)
            }
            _ => chosen,
        }
    }

    /// Whether the peer should not wait for more before it answers: nothing more is ready, or an
    /// eighth of the window has left since the last time. A batch that is a large part of the
    /// window would leave the link idle while the peer waits for its end.
    fn wants_answer(&mut self, size: u64) -> bool {
        self.unanswered += size;
        let part = 8 * self.unanswered >= self.window();
        let answer = part || !self.outbox.is_ready() || !self.sent.has_room();
        if answer {
            self.unanswered = 0;
        }
        answer
    }

    fn depart(
        &mut self,
        entropy: Entropy,
        body: &Body,
        content: Content,
        prompt: bool,
        now: Nanos,
    ) -> Departure {
        let number = self.sent.next();
        let size = match (body, content) {
            (Body::MtuProbe { padding }, _) => COMMON_BYTES as u32 + padding,
            (_, Content::Piece { length, .. }) => DATA_HEADER_BYTES as u32 + length,
            _ => COMMON_BYTES as u32,
        };
        let path_sequence = self.paths.sent(entropy, number, &mut self.sent);
        let fate = Fate::InFlight;
        let next_on_path = None;
        let at = now;
        self.sent.push(Sent {
            number,
            fate,
            at,
            size,
            entropy,
            path_sequence,
            content,
            next_on_path,
        });
        self.pacer.sent(size as usize, now);
        self.last_sent = now;
        self.waiting_since.get_or_insert(now);
        self.stats.probes += u64::from(!matches!(content, Content::Piece { .. }));
        Departure { entropy, number, path_sequence, prompt, body: *body, piece: None }
    }

    /// The entropy of the next acknowledgement: each in turn, since nothing is known of how
    /// acknowledgements fare.
    pub(in crate::proto) fn ack_entropy(&mut self) -> Entropy {
        let active = self.paths.active();
        self.ack_turn = self.ack_turn.wrapping_add(1);
        active[self.ack_turn % active.len()]
    }
}
