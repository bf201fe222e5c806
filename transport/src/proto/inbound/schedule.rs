//! When an acknowledgement is due.

use onepath_topology::Nanos;

use crate::proto::config::Config;
use crate::proto::packet::Packet;

/// Collects reasons to acknowledge.
#[derive(Debug)]
pub(in crate::proto) struct AckSchedule {
    every: u32,
    max_delay: Nanos,
    /// Packets since the last acknowledgement.
    pending: u32,
    now: bool,
    deadline: Option<Nanos>,
    /// The latest packet and when it came.
    latest: Option<(u64, Nanos)>,
    /// Per entropy: the path sequence that should come next.
    expected: Box<[u32]>,
}

impl AckSchedule {
    pub(in crate::proto) fn new(config: &Config) -> Self {
        Self {
            every: config.ack_every,
            max_delay: config.max_ack_delay,
            pending: 0,
            now: false,
            deadline: None,
            latest: None,
            expected: vec![0; usize::from(config.accepted_entropies())].into_boxed_slice(),
        }
    }

    /// A numbered packet came. At once for a mark (the sender should slow down), for a gap in what
    /// one path carried (a loss: paths do not reorder), and when the sender asks.
    pub(in crate::proto) fn arrived(&mut self, packet: &Packet, marked: bool, now: Nanos) {
        let expected = &mut self.expected[packet.entropy.index()];
        let ahead = packet.path_sequence.wrapping_sub(*expected) as i32;
        if ahead >= 0 {
            *expected = packet.path_sequence.wrapping_add(1);
        }
        self.latest = Some((packet.number, now));
        self.pending += 1;
        self.now |= marked || ahead > 0 || packet.prompt || self.pending >= self.every;
        self.deadline.get_or_insert(now + self.max_delay);
    }

    /// The credit grew: tell it soon, or at once if the sender may be waiting for it.
    pub(in crate::proto) fn credit_grew(&mut self, at_once: bool, now: Nanos) {
        self.now |= at_once;
        self.deadline.get_or_insert(now + self.max_delay);
    }

    /// Have one sent at once.
    pub(in crate::proto) fn hurry(&mut self) {
        self.now = true;
    }

    /// The latest packet and when it came, if an acknowledgement is due.
    pub(in crate::proto) fn due(&self, now: Nanos) -> Option<(u64, Nanos)> {
        let due = self.now || self.deadline.is_some_and(|at| at <= now);
        self.latest.filter(|_| due)
    }

    /// One was sent; `more` if not everything found room in it.
    pub(in crate::proto) fn sent(&mut self, more: bool) {
        self.pending = 0;
        self.now = more;
        self.deadline = None;
    }

    pub(in crate::proto) fn deadline(&self) -> Option<Nanos> {
        if self.now && self.latest.is_some() { Some(Nanos(0)) } else { self.deadline }
    }
}
