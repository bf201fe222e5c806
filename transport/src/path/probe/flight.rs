//! Probes in flight: how many at once, how long each waits, how often it is tried.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use onepath_topology::Nanos;

use super::{ProbeId, Target};
use crate::path::ProbeConfig;

/// In flight before anything is known of the routers.
const FIRST_WINDOW: usize = 32;
/// A window that losses do not shrink further: at the default time-outs about 30 probes a second,
/// and a few silent ports among others do not hold the search up.
const LEAST_WINDOW: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Flying {
    target: Target,
    /// Tries before this one.
    tried: u8,
    sent: Nanos,
    deadline: Nanos,
}

/// A probe whose time is over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expired {
    /// It will be tried again.
    Again,
    /// It was tried often enough.
    Silent(Target),
}

/// The probes in flight.
///
/// Routers make few ICMP errors a second, so their number follows the answers, as a TCP window
/// does: one more with each answer until the first loss, half after a loss, then one more with
/// each window of answers.
#[derive(Debug)]
pub(super) struct Flight {
    tries: u8,
    timeout: Nanos,
    limit: usize,
    window: usize,
    /// Answers since the window last grew.
    answers: usize,
    /// Losses of probes sent before do not shrink the window again; none before the first loss.
    recovery: Option<Nanos>,
    next: u64,
    flying: BTreeMap<ProbeId, Flying>,
    deadlines: BTreeSet<(Nanos, ProbeId)>,
    again: VecDeque<(Target, u8)>,
    /// Local ports in flight, where a port can only be bound once: those of datagrams, toward
    /// whatever destination. `None` for TCP.
    ports: Option<BTreeSet<u16>>,
    /// Targets that wait for their port.
    held: VecDeque<(Target, u8)>,
    abandoned: VecDeque<ProbeId>,
}

impl Flight {
    pub(super) fn new(config: &ProbeConfig) -> Self {
        let limit = usize::from(config.in_flight);
        Self {
            tries: config.tries,
            timeout: config.timeout,
            limit,
            window: limit.min(FIRST_WINDOW),
            answers: 0,
            recovery: None,
            next: 0,
            flying: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            again: VecDeque::new(),
            ports: config.protocol.is_datagram().then(BTreeSet::new),
            held: VecDeque::new(),
            abandoned: VecDeque::new(),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.flying.len() < self.window
    }

    pub(super) const fn launched(&self) -> u64 {
        self.next
    }

    /// A target that is to be tried again, with the number of its tries.
    pub(super) fn next_again(&mut self) -> Option<(Target, u8)> {
        self.again.pop_front()
    }

    pub(super) fn next_abandoned(&mut self) -> Option<ProbeId> {
        self.abandoned.pop_front()
    }

    /// Whether the port is free; if not, the target comes again when it is.
    pub(super) fn may_launch(&mut self, target: Target, tried: u8) -> bool {
        let free = self.ports.as_ref().is_none_or(|ports| !ports.contains(&target.port));
        if !free {
            self.held.push_back((target, tried));
        }
        free
    }

    /// All that wait for the port come again: those that find it taken will wait again, and some
    /// may not be wanted any more.
    fn free_port(&mut self, port: u16) {
        let Some(ports) = &mut self.ports else { return };
        ports.remove(&port);
        let of_port = |(target, _): &(Target, u8)| target.port == port;
        self.again.extend(self.held.iter().filter(|held| of_port(held)));
        self.held.retain(|held| !of_port(held));
    }

    pub(super) fn launch(&mut self, now: Nanos, target: Target, tried: u8) -> ProbeId {
        let id = ProbeId(self.next);
        self.next += 1;
        let deadline = now + Nanos(self.timeout.get() << tried);
        self.flying.insert(id, Flying { target, tried, sent: now, deadline });
        self.deadlines.insert((deadline, id));
        if let Some(ports) = &mut self.ports {
            ports.insert(target.port);
        }
        id
    }

    /// An answer came: the target, and the time since it was sent.
    pub(super) fn land(&mut self, now: Nanos, id: ProbeId) -> Option<(Target, Nanos)> {
        let flying = self.flying.remove(&id)?;
        self.deadlines.remove(&(flying.deadline, id));
        self.free_port(flying.target.port);
        self.answers += 1;
        if self.recovery.is_none() || self.answers >= self.window {
            self.answers = 0;
            self.window = self.limit.min(self.window + 1);
        }
        Some((flying.target, now.since(flying.sent)))
    }

    /// No more than are in flight from now on; the target is tried again. False if none is.
    pub(super) fn shrink(&mut self, target: Target) -> bool {
        if self.flying.is_empty() {
            return false;
        }
        self.limit = self.flying.len();
        self.window = self.window.min(self.limit);
        // No try of it was sent.
        self.again.push_front((target, 0));
        true
    }

    pub(super) fn first_deadline(&self) -> Option<Nanos> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// Takes one probe whose time is over, if there is one.
    pub(super) fn expire(&mut self, now: Nanos) -> Option<Expired> {
        let &(deadline, id) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.deadlines.pop_first();
        let flying = self.flying.remove(&id)?;
        self.abandoned.push_back(id);
        self.free_port(flying.target.port);
        if self.recovery.is_none_or(|since| flying.sent >= since) {
            self.window = LEAST_WINDOW.min(self.limit).max(self.window / 2);
            self.answers = 0;
            self.recovery = Some(now);
        }
        let tried = flying.tried + 1;
        if tried >= self.tries {
            return Some(Expired::Silent(flying.target));
        }
        self.again.push_back((flying.target, tried));
        Some(Expired::Again)
    }
}
