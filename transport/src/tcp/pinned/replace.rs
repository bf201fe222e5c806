//! When and from which port a dead path is connected again: no clock, no socket.

use onepath_topology::Nanos;

use super::paths::PathDeath;

/// Connections that one rank makes to another over the life of a communicator, at most.
pub(super) const MAX_CONNECTIONS: u16 = 1_024;

/// After an orderly end: the peer may be leaving, and its other connections end in a moment.
const ORDERLY_PAUSE: Nanos = Nanos::millis(50);
/// Before the second try; doubled for each.
const FIRST_PAUSE: Nanos = Nanos::millis(50);
const LONGEST_PAUSE: Nanos = Nanos::secs(2);
/// Tries for each of the path's own ports, before automatic ones are tried.
const ROUNDS: usize = 2;
/// Tries from automatic ports.
const AUTOMATIC: usize = 6;

/// A path without a connection.
#[derive(Debug)]
pub(super) struct Replacing {
    cause: PathDeath,
    announced: bool,
    tries: usize,
    due: Nanos,
    /// The index of the connection that is being made.
    pub(super) dialing: Option<u16>,
    over: bool,
}

/// What to do next for a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait.
    Nothing,
    /// Connect from this port, or from any.
    Dial(Option<u16>),
    /// Give up.
    Abandon,
}

impl Replacing {
    pub(super) fn new(cause: PathDeath, now: Nanos) -> Self {
        let due = match cause {
            PathDeath::Silent => now,
            PathDeath::Closed => now + ORDERLY_PAUSE,
        };
        Self { cause, announced: false, tries: 0, due, dialing: None, over: false }
    }

    /// The death, once, when it is time to tell of it.
    pub(super) fn announce(&mut self, now: Nanos) -> Option<PathDeath> {
        let first = !self.announced && now >= self.due;
        self.announced |= first;
        first.then_some(self.cause)
    }

    /// Whether it was given up.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// What to do now. The port of the connection that died was the first of `ports`, so the
    /// others come before it.
    pub(super) fn next(&mut self, ports: &[u16], now: Nanos) -> Next {
        if self.over || self.dialing.is_some() || now < self.due {
            return Next::Nothing;
        }
        if self.tries >= ROUNDS * ports.len() + AUTOMATIC {
            self.over = true;
            return Next::Abandon;
        }
        let own = self.tries < ROUNDS * ports.len();
        let port = own.then(|| ports[(self.tries + 1) % ports.len()]);
        self.tries += 1;
        Next::Dial(port)
    }

    /// The try failed.
    pub(super) fn failed(&mut self, now: Nanos) {
        self.dialing = None;
        let pause = FIRST_PAUSE.0.saturating_mul(1 << self.tries.min(20)).min(LONGEST_PAUSE.0);
        self.due = now + Nanos(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_ports_come_first_then_automatic_ones_with_growing_pauses_until_the_end() {
        let mut replacing = Replacing::new(PathDeath::Silent, Nanos(0));
        assert_eq!(replacing.announce(Nanos(0)), Some(PathDeath::Silent));
        assert_eq!(replacing.announce(Nanos(1)), None);
        let (mut now, mut dialed, mut pauses) = (Nanos(0), Vec::new(), Vec::new());
        loop {
            match replacing.next(&[7, 8], now) {
                Next::Dial(port) => {
                    replacing.dialing = Some(3);
                    assert_eq!(replacing.next(&[7, 8], now), Next::Nothing);
                    dialed.push(port);
                    replacing.failed(now);
                    pauses.push(replacing.due.since(now));
                }
                Next::Nothing => now = replacing.due,
                Next::Abandon => break,
            }
        }
        let own = [Some(8), Some(7), Some(8), Some(7)];
        assert_eq!(dialed, [&own[..], &[None; AUTOMATIC]].concat());
        assert!(
            pauses.is_sorted()
                && pauses[0] > Nanos(0)
                && *pauses.last().expect("some") <= LONGEST_PAUSE
        );
        assert!(replacing.is_over());
    }
}
