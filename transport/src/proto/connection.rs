//! Both directions between two ranks.

use std::collections::VecDeque;
use std::ops::Range;

use onepath_topology::Nanos;

use crate::wire::ChunkHeader;

use super::config::Config;
use super::error::{ConfigError, ConnectionError, PacketError};
use super::inbound::{AckSchedule, ChunkNumber, Inbox, IncomingPiece, ReceiveWindow, Seen, Taken};
use super::outbound::{Outbound, OutgoingChunkInfo, OutgoingPiece, PathStats};
use super::packet::{
    Acknowledgement, Body, ChunkInfo, CloseReason, ConnectionId, Entropy, MAX_HEADER_BYTES, Packet,
};
use super::seal::TagKeys;
use super::stats::Stats;

/// A datagram to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// By which path.
    pub entropy: Entropy,
    /// Its header.
    pub packet: Packet,
    /// The payload behind it, if there is one.
    pub piece: Option<OutgoingPiece>,
}

/// Something that happened to the sending direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer has all bytes of a chunk; its memory is the caller's again.
    ChunkArrived {
        /// As it was handed over.
        token: u64,
    },
    /// An entropy loses everything while others deliver, and is not used for a while.
    EntropyRetired {
        /// The entropy.
        entropy: Entropy,
    },
}

/// Why a datagram brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// It is damaged or none of ours: count it and go on.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// The connection is over.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// No room for another chunk: wait for the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many chunks are under way as the peer keeps")]
pub struct OutboxFull;

/// One connection between two ranks: many packets in flight by many paths, in any order, each byte
/// placed once.
///
/// It neither reads a clock nor sends: the caller gives the time with every call, sends what
/// [`poll_transmit`](Self::poll_transmit) returns, and calls
/// [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) says. It
/// allocates when it is made, and afterwards only for chunks larger than any before in their
/// place (see [`reserve_chunks`](Self::reserve_chunks)).
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    config: Config,
    keys: TagKeys,
    outbound: Outbound,
    received: ReceiveWindow,
    schedule: AckSchedule,
    inbox: Inbox,
    events: VecDeque<Event>,
    acks: u64,
    /// The next acknowledgement is sent twice, by two entropies.
    ack_again: bool,
    highest: u64,
    close: Option<CloseReason>,
    error: Option<ConnectionError>,
}

impl Connection {
    /// A connection whose other end has the same id and configuration, and the keys exchanged.
    pub fn new(id: ConnectionId, config: &Config, keys: TagKeys) -> Result<Self, ConfigError> {
        config.validate()?;
        let events = config.chunk_window as usize + usize::from(config.entropies);
        Ok(Self {
            id,
            config: *config,
            keys,
            outbound: Outbound::new(config),
            received: ReceiveWindow::new(config.packet_window),
            schedule: AckSchedule::new(config),
            inbox: Inbox::new(config),
            events: VecDeque::with_capacity(events),
            acks: 0,
            ack_again: false,
            highest: 0,
            close: None,
            error: None,
        })
    }

    /// Makes room for chunks of up to `length` bytes in both directions, so that none of them
    /// allocates.
    pub fn reserve_chunks(&mut self, length: usize) {
        self.outbound.outbox.reserve(length);
        self.inbox.reserve(length);
    }

    /// Hands over a chunk to be sent on `lane` (which only `PerSubflow` heeds). `token` comes back
    /// with each piece and when the chunk has arrived; until then the bytes must not change.
    pub fn push_chunk(
        &mut self,
        info: &ChunkInfo,
        lane: u16,
        token: u64,
    ) -> Result<ChunkNumber, OutboxFull> {
        if !self.outbound.outbox.has_room() {
            return Err(OutboxFull);
        }
        let chunk = OutgoingChunkInfo { info: *info, token, lane };
        Ok(ChunkNumber(self.outbound.outbox.push(chunk)))
    }

    /// Whether it would soon run out of data: less than half a window is left that was never sent.
    /// Whoever shares chunks among connections gives the next one to one that wants it.
    pub fn wants_chunk(&self) -> bool {
        self.error.is_none()
            && self.outbound.outbox.has_room()
            && self.outbound.outbox.unsent_bytes() < self.outbound.window() / 2
    }

    /// Says how many connections of this host send at this time, this one included: no congestion
    /// control finds the share of each before a short step is over, and what all may have in flight
    /// together is a queue on the host's own link. A fixed window stays what it is.
    pub fn share_link(&mut self, sharers: u32) {
        self.outbound.share_link(sharers);
    }

    /// Whether all that was handed over has arrived.
    pub fn is_idle(&self) -> bool {
        self.outbound.outbox.is_idle()
    }

    /// The next datagram to send now, if there is one; call again until there is none.
    pub fn poll_transmit(&mut self, now: Nanos) -> Option<Transmit> {
        if let Some(reason) = self.close.take() {
            return Some(self.unnumbered(&Body::Close { reason }));
        }
        if self.error.is_some() {
            return None;
        }
        if let Some((latest, came)) = self.schedule.due(now) {
            let delivered = self.inbox.tell();
            let mut ack = Acknowledgement::new(now.since(came), latest, delivered);
            let more = self.received.tell(&mut ack);
            self.schedule.sent(more);
            if std::mem::take(&mut self.ack_again) {
                self.schedule.hurry();
            }
            self.outbound.stats.acks_sent += 1;
            return Some(self.unnumbered(&Body::Acknowledgement(ack)));
        }
        let departure = self.outbound.next_packet(now)?;
        let packet = Packet {
            connection: self.id,
            entropy: departure.entropy,
            number: departure.number,
            path_sequence: departure.path_sequence,
            prompt: departure.prompt,
            body: departure.body,
        };
        Some(Transmit { entropy: departure.entropy, packet, piece: departure.piece })
    }

    fn unnumbered(&mut self, body: &Body) -> Transmit {
        let entropy = self.outbound.ack_entropy();
        let number = self.acks;
        self.acks += 1;
        let (connection, prompt, body) = (self.id, false, *body);
        let packet = Packet { connection, entropy, number, path_sequence: 0, prompt, body };
        Transmit { entropy, packet, piece: None }
    }

    /// Writes the header of a packet with the tag over it and `payload`; returns its length. The
    /// payload of an MTU probe is its padding, zeros.
    pub fn seal(
        &self,
        packet: &Packet,
        payload: &[u8],
        header: &mut [u8; MAX_HEADER_BYTES],
    ) -> usize {
        let length = packet.encode(header);
        self.keys.send.seal(&mut header[..length], payload);
        length
    }

    /// Takes in a datagram that came `marked` "congestion experienced" or not. For a piece it
    /// gives its description and its payload, which has to be put in its place, or kept.
    pub fn handle_datagram<'a>(
        &mut self,
        now: Nanos,
        marked: bool,
        datagram: &'a [u8],
    ) -> Result<Option<(IncomingPiece, &'a [u8])>, ReceiveError> {
        self.keys.receive.verify(datagram)?;
        let (packet, payload) = Packet::decode(datagram)?;
        let piece = self.handle_packet(now, marked, &packet)?;
        Ok(piece.map(|piece| (piece, payload)))
    }

    /// The same for a packet whose payload is elsewhere or nowhere, as in a simulator.
    pub fn handle_packet(
        &mut self,
        now: Nanos,
        marked: bool,
        packet: &Packet,
    ) -> Result<Option<IncomingPiece>, ReceiveError> {
        if packet.connection != self.id {
            let (found, expected) = (packet.connection, self.id);
            return Err(PacketError::Connection { found, expected }.into());
        }
        if packet.entropy.0 >= self.config.accepted_entropies() {
            let (found, count) = (packet.entropy, self.config.accepted_entropies());
            return Err(PacketError::Entropy { found, count }.into());
        }
        if let Some(error) = self.error {
            return Err(error.into());
        }
        self.outbound.heard(now);
        let result = self.handle(now, marked, packet);
        if let Err(error) = result {
            self.error = Some(error);
        }
        Ok(result?)
    }

    fn handle(
        &mut self,
        now: Nanos,
        marked: bool,
        packet: &Packet,
    ) -> Result<Option<IncomingPiece>, ConnectionError> {
        let piece = match &packet.body {
            Body::Acknowledgement(ack) => {
                self.outbound.acknowledge(ack, now, &mut self.events)?;
                return Ok(None);
            }
            Body::Close { reason } => return Err(ConnectionError::Closed { reason: *reason }),
            Body::Data(piece) => Some(piece),
            Body::Probe | Body::MtuProbe { .. } => None,
        };
        if self.received.seen(packet.number) == Seen::Before {
            self.outbound.stats.duplicates += 1;
            self.received.repeat(packet.number);
            self.schedule.hurry();
            // The sender does not know that it came: the last acknowledgement may have taken a
            // path that is dead.
            self.ack_again = true;
            return Ok(None);
        }
        let mut incoming = None;
        if let Some(piece) = piece {
            let taken = self.inbox.take(piece);
            match taken.map_err(|problem| ConnectionError::Protocol { problem })? {
                Taken::New(new) => incoming = Some(new),
                Taken::Before => self.outbound.stats.duplicates += 1,
                Taken::Overtaken => {
                    self.outbound.stats.duplicates += 1;
                    return Ok(None);
                }
            }
        }
        self.outbound.stats.received += 1;
        self.outbound.stats.out_of_order += u64::from(packet.number < self.highest);
        self.highest = self.highest.max(packet.number);
        self.received.insert(packet.number, marked);
        self.schedule.arrived(packet, marked, now);
        Ok(incoming)
    }

    /// When [`handle_timeout`](Self::handle_timeout) and then
    /// [`poll_transmit`](Self::poll_transmit) are to be called, whatever comes. May lie in the
    /// past.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        if self.error.is_some() {
            return None;
        }
        let out = [self.outbound.deadline(), self.outbound.paced_until(), self.schedule.deadline()];
        out.into_iter().flatten().min()
    }

    /// Acts on the time.
    pub fn handle_timeout(&mut self, now: Nanos) -> Result<(), ConnectionError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.outbound.handle_timeout(now).inspect_err(|&error| self.error = Some(error))
    }

    /// What happened to what was sent. To be asked after each datagram, until there is nothing.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Chunks of which pieces came and whose place is not [open](Self::open), in order.
    pub fn early(&self) -> impl Iterator<Item = ChunkNumber> + '_ {
        self.inbox.early()
    }

    /// The first of those from `from` on.
    pub fn next_early(&self, from: ChunkNumber) -> Option<ChunkNumber> {
        self.inbox.next_early(from)
    }

    /// Has an acknowledgement sent at once, if anything has come: the caller may not come back for
    /// long. It tells of the newest packets even if others did.
    pub fn acknowledge_now(&mut self) {
        self.received.repeat(self.highest);
        self.schedule.hurry();
    }

    /// How much went wrong so far on the way to the peer, as far as is known, and on the way here:
    /// numbers are missing among those of the packets that came.
    pub fn troubles(&self) -> u64 {
        let stats = &self.outbound.stats;
        let missing = (self.highest + 1).saturating_sub(stats.received);
        stats.lost + stats.duplicates + if stats.received > 0 { missing } else { 0 }
    }

    /// What the flow table needs to find a chunk's place.
    pub fn header(&self, chunk: ChunkNumber) -> Option<ChunkHeader> {
        self.inbox.header(chunk)
    }

    /// The place of a chunk is known: from now on its pieces are called open. Those that came
    /// before are found by [`present`](Self::present).
    pub fn open(&mut self, chunk: ChunkNumber) {
        self.inbox.open(chunk);
    }

    /// The first run of bytes of a chunk from `from` on that has come, and where in the stream of
    /// all chunks it begins.
    pub fn present(&self, chunk: ChunkNumber, from: u32) -> Option<(Range<u32>, u64)> {
        self.inbox.present(chunk, from)
    }

    /// Whether all bytes of a chunk came.
    pub fn is_complete(&self, chunk: ChunkNumber) -> bool {
        self.inbox.is_complete(chunk)
    }

    /// A complete chunk is at its place, so the sender may go on.
    pub fn deliver(&mut self, chunk: ChunkNumber, now: Nanos) -> Result<(), ConnectionError> {
        match self.inbox.deliver(chunk) {
            Ok(true) => self.schedule.credit_grew(self.inbox.is_credit_due(), now),
            Ok(false) => {}
            Err(problem) => {
                let error = ConnectionError::Protocol { problem };
                self.error = Some(error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends the connection: [`poll_transmit`](Self::poll_transmit) gives one last datagram.
    pub fn close(&mut self, reason: CloseReason) {
        self.close = Some(reason);
        self.error.get_or_insert(ConnectionError::Closed { reason });
    }

    /// Why it is over, if it is.
    pub fn error(&self) -> Option<ConnectionError> {
        self.error
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.outbound.stats
    }

    /// Counters of each entropy.
    pub fn path_stats(&self) -> impl Iterator<Item = PathStats> + '_ {
        self.outbound.path_stats()
    }

    /// Whether packets take this entropy: whether there is such a one and it is not retired.
    pub fn is_in_use(&self, entropy: Entropy) -> bool {
        entropy.0 < self.config.entropies && self.outbound.is_in_use(entropy)
    }

    /// Round trip, smoothed over all paths.
    pub fn smoothed_rtt(&self) -> Nanos {
        self.outbound.smoothed_rtt()
    }

    /// Bytes that may be in flight, and that are.
    pub fn window(&self) -> (u64, u64) {
        (self.outbound.window(), self.outbound.in_flight())
    }

    /// Size of full datagrams now.
    pub fn datagram_bytes(&self) -> usize {
        self.outbound.datagram_bytes()
    }
}
