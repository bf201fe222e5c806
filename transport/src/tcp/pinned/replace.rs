//! When and from which port a dead path is connected again: no clock, no socket.

use onepath_topology::Nanos;

use super::paths::PathDeath;

/// Connections that one rank makes to another over the life of a communicator, at most.
pub(super) const MAX_CONNECTIONS: u16 = 1_024;

/// After an orderly end: the peer may be leaving, and its other connections end in a moment.
const ORDERLY_PAUSE: Nanos = Nanos::millis(50);
/// Between two tries, doubled after each [`TRIES_A_PAUSE`].
const FIRST_PAUSE: Nanos = Nanos::millis(250);
const LONGEST_PAUSE: Nanos = Nanos::secs(2);
const TRIES_A_PAUSE: usize = 4;
/// Tries for each of the path's own ports.
const ROUNDS: usize = 2;
/// Tries from automatic ports, beside those that alternate with the path's own.
const AUTOMATIC: usize = 6;
/// Tries under way at once.
const MOST_DIALING: usize = 8;

/// A path without a connection.
///
/// Tries do not wait for each other's end, as in RFC 8305 ("Happy Eyeballs"): a network that
/// swallows the first packet of one lets it time out only after seconds, and so may the way back
/// of another, which is not known. Ports of the path, over which packets get lost now, and
/// automatic ones, which may take any, alternate. The first connection that is made counts.
#[derive(Debug)]
pub(super) struct Replacing {
    cause: PathDeath,
    announced: bool,
    tries: usize,
    due: Nanos,
    dialing: [Option<Dialing>; MOST_DIALING],
    over: bool,
}

/// A try under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Dialing {
    index: u16,
    /// Whether it is from a port of the path.
    own: bool,
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
        let dialing = [None; MOST_DIALING];
        Self { cause, announced: false, tries: 0, due, dialing, over: false }
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
        if self.over || now < self.due || self.dialing.iter().all(Option::is_some) {
            return Next::Nothing;
        }
        let own_tries = ROUNDS * ports.len();
        if self.tries >= 2 * own_tries + AUTOMATIC {
            self.over = self.dialing.iter().all(Option::is_none);
            return if self.over { Next::Abandon } else { Next::Nothing };
        }
        let own = self.tries < 2 * own_tries && self.tries.is_multiple_of(2);
        let port = own.then(|| ports[(self.tries / 2 + 1) % ports.len()]);
        let doublings = (self.tries / TRIES_A_PAUSE).min(20);
        let pause = FIRST_PAUSE.0.saturating_mul(1 << doublings).min(LONGEST_PAUSE.0);
        // What was swallowed once is likely to be swallowed again.
        let at_once = self.tries == 0 && self.cause == PathDeath::Silent;
        self.due = if at_once { now } else { now + Nanos(pause) };
        self.tries += 1;
        Next::Dial(port)
    }

    /// A try has begun, from a port of the path or from any.
    pub(super) fn began(&mut self, index: u16, own: bool) {
        if let Some(free) = self.dialing.iter_mut().find(|dialing| dialing.is_none()) {
            *free = Some(Dialing { index, own });
        }
    }

    /// A try has ended, one way or the other: whether it was from a port of the path; nothing if it
    /// is none of these.
    pub(super) fn ended(&mut self, index: u16) -> Option<bool> {
        let is_it = |dialing: &Option<Dialing>| dialing.is_some_and(|d| d.index == index);
        let dialing = self.dialing.iter_mut().find(|dialing| is_it(dialing))?.take()?;
        Some(dialing.own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ports tried and when, each try ending so long after it began.
    fn tries(cause: PathDeath, ports: &[u16], takes: Nanos) -> Vec<(Option<u16>, Nanos)> {
        let mut replacing = Replacing::new(cause, Nanos(0));
        let (mut now, mut dialed, mut ends) = (Nanos(0), Vec::new(), Vec::new());
        for index in 0.. {
            ends.retain(|&(at, index)| now < at || replacing.ended(index).is_none());
            match replacing.next(ports, now) {
                Next::Dial(port) => {
                    replacing.began(index, port.is_some());
                    ends.push((now + takes, index));
                    dialed.push((port, now));
                    assert!(ends.len() <= MOST_DIALING);
                }
                Next::Nothing => now = now + Nanos::millis(10),
                Next::Abandon => break,
            }
        }
        assert!(ends.is_empty() && replacing.is_over());
        dialed
    }

    #[test]
    fn the_paths_ports_and_any_port_alternate_without_waiting_for_each_other() {
        for takes in [Nanos(0), Nanos::secs(3)] {
            let dialed = tries(PathDeath::Silent, &[7, 8], takes);
            let ports: Vec<Option<u16>> = dialed.iter().map(|(port, _)| *port).collect();
            let alternating = [Some(8), None, Some(7), None, Some(8), None, Some(7), None];
            assert_eq!(ports, [&alternating[..], &[None; AUTOMATIC]].concat());
            assert_eq!((dialed[0].1, dialed[1].1), (Nanos(0), Nanos(0)));
            assert!(dialed[3].1 <= Nanos::millis(600), "{dialed:?}");
            assert!(dialed.last().expect("some").1 <= Nanos::secs(30), "{dialed:?}");
        }
    }

    #[test]
    fn a_closed_connection_is_tried_again_from_one_port_at_first_after_a_moment() {
        let dialed = tries(PathDeath::Closed, &[7, 8], Nanos(0));
        assert_eq!(dialed[0], (Some(8), ORDERLY_PAUSE));
        assert!(dialed[1].1 >= ORDERLY_PAUSE + FIRST_PAUSE);
        let unknown = tries(PathDeath::Closed, &[], Nanos(0));
        assert_eq!(unknown.len(), AUTOMATIC);
    }

    #[test]
    fn a_try_ends_once_and_is_known_by_its_number() {
        let mut replacing = Replacing::new(PathDeath::Silent, Nanos(0));
        replacing.began(3, true);
        replacing.began(4, false);
        assert_eq!((replacing.ended(4), replacing.ended(4)), (Some(false), None));
        assert_eq!((replacing.ended(9), replacing.ended(3)), (None, Some(true)));
        assert_eq!(replacing.announce(Nanos(0)), Some(PathDeath::Silent));
        assert_eq!(replacing.announce(Nanos(1)), None);
    }
}
