//! Who is alive: when to send a heartbeat, and when a peer has been silent for too long.
//!
//! A state machine without I/O and without a clock: the caller passes the time in.

use onepath_topology::{Nanos, Rank, WorldSize};

/// Heartbeats are at most this far apart, however long silence may be.
const LONGEST_INTERVAL: Nanos = Nanos::secs(1);

/// What is known of the silence of one peer.
#[derive(Clone, Copy, Debug)]
struct Watched {
    heard: Nanos,
    reported_late: bool,
}

/// What a tick found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tick {
    /// Whether a heartbeat to every peer is due now.
    pub(super) send: bool,
    /// Peers that have become silent for half the allowed time, and for how long.
    pub(super) late: Vec<(Rank, Nanos)>,
    /// Peers that have been silent for too long, and for how long; they are watched no more.
    pub(super) dead: Vec<(Rank, Nanos)>,
}

/// Judges peers by when something was last heard of them.
///
/// A peer is dead after `silence` without any message. But a process that was itself stopped or
/// starved finds everybody silent when it goes on; so when a tick comes late by more than half of
/// `silence`, every peer gets the whole time anew.
#[derive(Debug)]
pub(super) struct PeerMonitor {
    silence: Nanos,
    interval: Nanos,
    next_send: Nanos,
    expected: Nanos,
    peers: Vec<Option<Watched>>,
}

impl PeerMonitor {
    /// Watches nobody yet.
    pub(super) fn new(world: WorldSize, silence: Nanos, now: Nanos) -> Self {
        let interval = Nanos(silence.0 / 4).min(LONGEST_INTERVAL).max(Nanos(1));
        Self {
            silence,
            interval,
            next_send: now + interval,
            expected: now + interval,
            peers: vec![None; world.get()],
        }
    }

    /// Starts to watch a peer of which something was just heard.
    pub(super) fn watch(&mut self, rank: Rank, now: Nanos) {
        self.peers[rank.index()] = Some(Watched { heard: now, reported_late: false });
    }

    /// Stops watching a peer, which is dead or has left.
    pub(super) fn forget(&mut self, rank: Rank) {
        self.peers[rank.index()] = None;
    }

    /// Something came from a peer.
    pub(super) fn heard(&mut self, rank: Rank, now: Nanos) {
        if self.peers[rank.index()].is_some() {
            self.watch(rank, now);
        }
    }

    /// Whether anything came from a peer later than `time`.
    pub(super) fn heard_after(&self, rank: Rank, time: Nanos) -> bool {
        self.peers[rank.index()].is_some_and(|peer| peer.heard > time)
    }

    /// When [`Self::tick`] wants to be called next.
    pub(super) const fn next_tick(&self) -> Nanos {
        self.expected
    }

    /// Whether a tick now would declare somebody dead: the caller then first reads all that has
    /// already arrived.
    pub(super) fn would_judge(&self, now: Nanos) -> bool {
        !self.is_overslept(now)
            && self.peers.iter().flatten().any(|peer| now.since(peer.heard) >= self.silence)
    }

    /// Looks at all peers. Early calls do no harm.
    pub(super) fn tick(&mut self, now: Nanos) -> Tick {
        if self.is_overslept(now) {
            for peer in self.peers.iter_mut().flatten() {
                *peer = Watched { heard: now, reported_late: false };
            }
        }
        let mut tick = Tick { send: now >= self.next_send, ..Tick::default() };
        if tick.send {
            self.next_send = now + self.interval;
        }
        self.expected = self.next_send;
        for (index, entry) in self.peers.iter_mut().enumerate() {
            let Some(peer) = entry else { continue };
            let (rank, silent) = (Rank::from_index(index), now.since(peer.heard));
            if silent >= self.silence {
                tick.dead.push((rank, silent));
                *entry = None;
                continue;
            }
            if silent.0 >= self.silence.0 / 2 && !peer.reported_late {
                peer.reported_late = true;
                tick.late.push((rank, silent));
            }
            self.expected = self.expected.min(peer.heard + self.silence);
        }
        tick
    }

    /// Whether this rank itself was away for so long that what it did not hear says nothing.
    pub(super) fn is_overslept(&self, now: Nanos) -> bool {
        now.since(self.expected) > Nanos(self.silence.0 / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Nanos = Nanos::secs(2);

    fn monitor() -> PeerMonitor {
        let world = WorldSize::new(3).expect("a world size");
        let mut monitor = PeerMonitor::new(world, SILENCE, Nanos(0));
        monitor.watch(Rank::new(1), Nanos(0));
        monitor.watch(Rank::new(2), Nanos(0));
        monitor
    }

    /// Ticks when asked to until `end`; rank 2 is heard at every tick.
    fn run_until(monitor: &mut PeerMonitor, end: Nanos) -> Vec<(Nanos, Tick)> {
        let mut ticks = Vec::new();
        while monitor.next_tick() <= end {
            let now = monitor.next_tick();
            monitor.heard(Rank::new(2), now);
            ticks.push((now, monitor.tick(now)));
        }
        ticks
    }

    #[test]
    fn a_silent_peer_is_late_at_half_and_dead_at_the_whole_time() {
        let mut monitor = monitor();
        let ticks = run_until(&mut monitor, Nanos::secs(5));
        let late: Vec<_> = ticks.iter().filter(|(_, tick)| !tick.late.is_empty()).collect();
        let dead: Vec<_> = ticks.iter().filter(|(_, tick)| !tick.dead.is_empty()).collect();
        assert_eq!(late.len(), 1);
        assert_eq!(late[0].1.late, [(Rank::new(1), Nanos::secs(1))]);
        assert_eq!(dead.len(), 1);
        assert_eq!(dead[0].1.dead, [(Rank::new(1), SILENCE)]);
    }

    #[test]
    fn heartbeats_go_out_every_quarter_of_the_silence_but_at_least_every_second() {
        let mut monitor = monitor();
        let sent = run_until(&mut monitor, SILENCE).iter().filter(|(_, tick)| tick.send).count();
        assert_eq!(sent, 4);
        let world = WorldSize::new(2).expect("a world size");
        let slow = PeerMonitor::new(world, Nanos::secs(60), Nanos(0));
        assert_eq!(slow.next_tick(), Nanos::secs(1));
    }

    #[test]
    fn a_process_that_was_stopped_itself_gives_everybody_a_fresh_time() {
        let mut monitor = monitor();
        let stopped_until = Nanos::secs(100);
        assert!(!monitor.would_judge(stopped_until));
        assert_eq!(monitor.tick(stopped_until).dead, []);
        let almost = stopped_until + SILENCE - Nanos(1);
        let early = run_until(&mut monitor, almost);
        assert!(early.iter().all(|(_, tick)| tick.dead.is_empty()));
        let ticks = run_until(&mut monitor, stopped_until + SILENCE);
        assert_eq!(ticks.last().expect("a tick").1.dead, [(Rank::new(1), SILENCE)]);
    }

    #[test]
    fn a_peer_that_left_is_not_judged() {
        let mut monitor = monitor();
        monitor.forget(Rank::new(1));
        monitor.heard(Rank::new(1), Nanos::secs(1));
        let ticks = run_until(&mut monitor, Nanos::secs(10));
        assert!(ticks.iter().all(|(_, tick)| tick.dead.is_empty() && tick.late.is_empty()));
    }

    #[test]
    fn a_late_peer_that_speaks_again_can_be_late_again() {
        let mut monitor = monitor();
        run_until(&mut monitor, Nanos::millis(1_500));
        monitor.heard(Rank::new(1), Nanos::millis(1_500));
        let ticks = run_until(&mut monitor, Nanos::millis(3_000));
        let late = ticks.iter().filter(|(_, tick)| !tick.late.is_empty()).count();
        assert_eq!(late, 1);
    }
}
