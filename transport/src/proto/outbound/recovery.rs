//! Which packets are lost.
//!
//! Inside one entropy packets do not overtake each other (but for accidents in hosts, to which the
//! threshold adapts), so a packet that enough later ones of its entropy have overtaken is lost:
//! RFC 9002, section 6.1.1, with a count of its own for every path. Between entropies order means
//! nothing, so there only time counts: RFC 8985 (RACK) with the round trips of all paths. When
//! nothing is heard at all, probe time-outs send the oldest pieces again, by another entropy.

use std::collections::VecDeque;

use onepath_topology::Nanos;

use crate::proto::config::MAX_ENTROPIES;
use crate::proto::congestion::Loss;
use crate::proto::connection::Event;
use crate::proto::error::ConnectionError;
use crate::proto::packet::Entropy;

use super::Outbound;
use super::outbox::Chosen;
use super::sent::{Content, Fate, LossCause, Sent};

/// Packets that a probe time-out sends again.
const PROBES: u32 = 2;

/// A set of entropies.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EntropySet([u64; MAX_ENTROPIES as usize / 64]);

impl EntropySet {
    pub(super) fn insert(&mut self, entropy: Entropy) {
        self.0[entropy.index() / 64] |= 1 << (entropy.index() % 64);
    }

    fn remove(&mut self, entropy: Entropy) {
        self.0[entropy.index() / 64] &= !(1 << (entropy.index() % 64));
    }

    fn iter(self) -> impl Iterator<Item = Entropy> {
        (0_u16..).zip(self.0).flat_map(|(word, bits)| {
            let set = move |bit: &u16| bits >> bit & 1 == 1;
            let bits = if bits == 0 { 0..0 } else { 0..64 };
            bits.filter(set).map(move |bit| Entropy(word * 64 + bit))
        })
    }
}

impl Outbound {
    /// Losses inside the entropies of which something arrived.
    pub(super) fn detect_overtaken(
        &mut self,
        entropies: &EntropySet,
        now: Nanos,
    ) -> Result<(), ConnectionError> {
        for entropy in entropies.iter() {
            while let Some(number) = self.paths.overtaken(entropy, &self.sent) {
                let Some(sent) = self.sent.get(number).copied() else { break };
                self.lose(&sent, LossCause::Overtaken, now)?;
            }
        }
        Ok(())
    }

    /// Losses by time.
    pub(super) fn detect_late(&mut self, now: Nanos) -> Result<(), ConnectionError> {
        while self.late_at().is_some_and(|at| at <= now) {
            let Some(sent) = self.sent.oldest().copied() else { break };
            self.lose(&sent, LossCause::Late, now)?;
        }
        Ok(())
    }

    /// When the oldest packet in flight counts as lost, if anything that left later arrived.
    fn late_at(&self) -> Option<Nanos> {
        let oldest = self.sent.oldest()?;
        let evidence = self.newest_arrived.is_some_and(|at| at > oldest.at);
        evidence.then(|| oldest.at + self.rtt.loss_delay())
    }

    fn lose(&mut self, sent: &Sent, cause: LossCause, now: Nanos) -> Result<(), ConnectionError> {
        self.sent.decide(sent.number, Fate::Lost(cause));
        self.paths.advance(sent.entropy, &self.sent);
        if sent.content == Content::MtuProbe {
            self.mtu.probe_lost(sent.size);
            return Ok(());
        }
        let timeout = cause == LossCause::Timeout;
        self.stats.lost += 1;
        self.stats.timed_out += u64::from(timeout);
        self.paths.lost(sent.entropy, sent.at);
        self.suspects.insert(sent.entropy);
        let in_flight = self.sent.in_flight_bytes();
        let bytes = u64::from(sent.size);
        self.congestion.lost(&Loss { now, bytes, timeout, in_flight });
        if !timeout && self.mtu.lost(sent.size, sent.at, now) {
            self.congestion.set_datagram_bytes(self.mtu.current() as u32);
        }
        if let Content::Piece { chunk, offset, length, transmission } = sent.content {
            if !self.outbox.misses(chunk, offset, length) {
                return Ok(());
            }
            if transmission >= self.config.max_transmissions && !timeout {
                let transmissions = transmission;
                return Err(ConnectionError::Undeliverable { chunk, offset, transmissions });
            }
            // Silence is no evidence against a piece: the peer may be computing for minutes.
            let again = if timeout { transmission } else { transmission.saturating_add(1) };
            let transmission = again.max(2);
            let lost_on = Some(sent.entropy);
            self.outbox.lose(Chosen { chunk, offset, length, transmission, lost_on });
        }
        Ok(())
    }

    /// Retires entropies that lose everything while others deliver. Called when something arrived:
    /// that is the proof that the peer lives.
    pub(super) fn judge_suspects(&mut self, now: Nanos, events: &mut VecDeque<Event>) {
        // A packet that is late has been so for one such delay: only what is sent afterwards and
        // lost too speaks against the path.
        let patience = Nanos(2 * self.rtt.loss_delay().get());
        for entropy in self.suspects.iter() {
            if self.paths.judge(entropy, now, (patience, self.rtt.smoothed())) {
                self.selector.retired(entropy, &self.paths);
                self.stats.retired += 1;
                events.push_back(Event::EntropyRetired { entropy });
            }
            if !self.paths.is_suspect(entropy) {
                self.suspects.remove(entropy);
            }
        }
    }

    /// When to act without having heard anything.
    pub(in crate::proto) fn deadline(&self) -> Option<Nanos> {
        if let Some(late) = self.late_at() {
            return Some(late);
        }
        let waiting = self.sent.in_flight_packets() > 0 || self.outbox.is_blocked();
        waiting.then(|| self.last_sent + self.rtt.probe_timeout(self.timeouts))
    }

    /// When pacing lets the next packet go, if pacing alone holds it.
    pub(in crate::proto) fn paced_until(&self) -> Option<Nanos> {
        self.paced.then(|| self.pacer.ready_at())
    }

    /// Acts on the time: losses, probe time-outs, giving up.
    pub(in crate::proto) fn handle_timeout(&mut self, now: Nanos) -> Result<(), ConnectionError> {
        self.paths.restore(now);
        let silence = self.waiting_since.map_or(Nanos(0), |since| now.since(since));
        if silence > self.config.give_up_after {
            return Err(ConnectionError::Silent { silence });
        }
        if self.deadline().is_none_or(|at| at > now) {
            return Ok(());
        }
        if self.late_at().is_some() {
            return self.detect_late(now);
        }
        self.timeouts = self.timeouts.saturating_add(1);
        self.probes = PROBES;
        self.selector.timed_out(now);
        for _ in 0..PROBES {
            if let Some(sent) = self.sent.oldest().copied() {
                self.lose(&sent, LossCause::Timeout, now)?;
            }
        }
        self.last_sent = now;
        self.ask = !self.outbox.is_ready() && self.outbox.is_blocked();
        self.repace();
        Ok(())
    }

    /// The peer lives.
    pub(in crate::proto) fn heard(&mut self, now: Nanos) {
        let waiting = self.sent.in_flight_packets() > 0 || self.outbox.is_blocked();
        self.waiting_since = waiting.then_some(now);
    }
}
