//! What an acknowledgement changes.

use std::collections::VecDeque;

use onepath_topology::Nanos;

use crate::proto::congestion::Acknowledged;
use crate::proto::connection::Event;
use crate::proto::error::ConnectionError;
use crate::proto::packet::Acknowledgement;

use super::Outbound;
use super::recovery::EntropySet;
use super::sent::{Content, Fate, LossCause, Sent};

/// What one acknowledgement told that was not known.
#[derive(Debug, Default)]
struct News {
    packets: u32,
    bytes: u64,
    marked: bool,
    rtt: Option<Nanos>,
    /// That round trip was one of a datagram of about the full size.
    full: bool,
    entropies: EntropySet,
}

impl Outbound {
    /// Takes in an acknowledgement. Its words may repeat what is known and may come in any order.
    pub(in crate::proto) fn acknowledge(
        &mut self,
        ack: &Acknowledgement,
        now: Nanos,
        events: &mut VecDeque<Event>,
    ) -> Result<(), ConnectionError> {
        self.stats.acks_received += 1;
        let mut news = News::default();
        for word in ack.words() {
            let mut bits = self.sent.news(word);
            while bits != 0 {
                let bit = bits.trailing_zeros();
                bits &= bits - 1;
                let number = word.index * 64 + u64::from(bit);
                let marked = word.marked >> bit & 1 == 1;
                if let Some(sent) = self.sent.get(number).copied() {
                    // Packets that waited for company look a little slower than they were.
                    let elapsed = now.since(sent.at);
                    let rtt = if ack.delay < elapsed { elapsed - ack.delay } else { elapsed };
                    let crowded = marked || self.congestion.is_congested(rtt);
                    if sent.fate != Fate::Arrived && !crowded {
                        self.selector.good(sent.entropy, now);
                    }
                    self.packet_arrived(&sent, marked, &mut news, events);
                    if number == ack.latest {
                        news.rtt = Some(rtt);
                        news.full = 2 * sent.size as usize > self.mtu.current();
                    }
                }
            }
        }
        let complete = |token| events.push_back(Event::ChunkArrived { token });
        let delivered = self.outbox.delivered(ack.delivered, complete);
        delivered.map_err(|problem| ConnectionError::Protocol { problem })?;
        if news.packets > 0 {
            self.learn(&news, now, events)?;
        }
        Ok(())
    }

    fn learn(
        &mut self,
        news: &News,
        now: Nanos,
        events: &mut VecDeque<Event>,
    ) -> Result<(), ConnectionError> {
        self.timeouts = 0;
        self.probes = 0;
        if let Some(rtt) = news.rtt {
            self.rtt.sample(rtt);
        }
        let in_flight = self.sent.in_flight_bytes();
        // A short packet is faster by what links need for a long one: it says nothing of queues.
        let (bytes, marked, rtt) = (news.bytes, news.marked, news.rtt.filter(|_| news.full));
        self.congestion.acknowledged(&Acknowledged { now, bytes, marked, rtt, in_flight });
        self.detect_overtaken(&news.entropies, now)?;
        self.detect_late(now)?;
        self.judge_suspects(now, events);
        self.repace();
        Ok(())
    }

    pub(super) fn repace(&mut self) {
        if self.rtt.is_sampled() {
            self.pacer.set_rate(self.window(), self.rtt.smoothed());
        }
    }

    fn packet_arrived(
        &mut self,
        sent: &Sent,
        marked: bool,
        news: &mut News,
        events: &mut VecDeque<Event>,
    ) {
        match sent.fate {
            Fate::InFlight => news.bytes += u64::from(sent.size),
            Fate::Lost(cause) => self.was_not_lost(sent, cause),
            Fate::Arrived | Fate::Unused => return,
        }
        self.sent.decide(sent.number, Fate::Arrived);
        self.paths.arrived(sent.entropy, sent.path_sequence, marked);
        self.paths.advance(sent.entropy, &self.sent);
        self.mtu.arrived(sent.size, sent.at);
        self.stats.marked += u64::from(marked);
        news.packets += 1;
        news.marked |= marked;
        news.entropies.insert(sent.entropy);
        self.newest_arrived = self.newest_arrived.max(Some(sent.at));
        match sent.content {
            Content::Piece { chunk, offset, length, .. } => {
                if let Some(token) = self.outbox.arrived(chunk, offset, length) {
                    events.push_back(Event::ChunkArrived { token });
                }
            }
            Content::MtuProbe => {
                self.mtu.probe_arrived(sent.size);
                self.congestion.set_datagram_bytes(self.mtu.current() as u32);
            }
            Content::Probe => {}
        }
    }

    fn was_not_lost(&mut self, sent: &Sent, cause: LossCause) {
        self.stats.spurious += 1;
        self.paths.vindicate(sent.entropy, sent.at);
        match cause {
            LossCause::Overtaken => self.paths.reordered(sent.entropy, sent.path_sequence),
            LossCause::Late => self.rtt.be_patient(),
            LossCause::Timeout => {}
        }
    }
}
