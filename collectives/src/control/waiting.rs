//! Which sessions are open on an endpoint, and the connections that came before their session.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::hello::Hello;

/// Connections that wait for their session to be opened.
pub(super) const MAX_HELD: usize = 4_096;
/// How long they wait: a peer may be ahead of this process, but not by more.
pub(super) const HELD_FOR: Duration = Duration::from_mins(1);

/// A connection that proved to be of the job and said what it wants.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) hello: Hello,
    pub(super) stream: TcpStream,
    pub(super) from: SocketAddr,
}

/// A connection nobody wants, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undelivered {
    /// Too many wait already.
    NoRoom,
    /// The session takes no more connections.
    Unwanted,
}

/// The sessions of an endpoint and who waits for one.
#[derive(Debug, Default)]
pub(super) struct WaitingRoom {
    open: HashMap<u128, mpsc::Sender<Arrival>>,
    /// Oldest first.
    held: VecDeque<(Instant, Arrival)>,
}

impl WaitingRoom {
    /// Opens a session with room for `capacity` connections that have not been looked at, and
    /// passes on those that waited. Nothing if it is open already.
    pub(super) fn open(
        &mut self,
        session: u128,
        capacity: usize,
    ) -> Option<mpsc::Receiver<Arrival>> {
        if self.open.contains_key(&session) {
            return None;
        }
        let belongs = |arrival: &Arrival| arrival.hello.session == session;
        let (mine, rest): (VecDeque<_>, _) =
            self.held.drain(..).partition(|(_, arrival)| belongs(arrival));
        self.held = rest;
        let (sender, receiver) = mpsc::channel(capacity + mine.len());
        for (_, arrival) in mine {
            // There is room for all of them: dropping a failed one closes it, and it comes again.
            let _ = sender.try_send(arrival);
        }
        self.open.insert(session, sender);
        Some(receiver)
    }

    /// Ends a session.
    pub(super) fn close(&mut self, session: u128) {
        self.open.remove(&session);
    }

    /// Passes a connection on to its session, or holds it.
    pub(super) fn deliver(&mut self, arrival: Arrival, now: Instant) -> Result<(), Undelivered> {
        if let Some(session) = self.open.get(&arrival.hello.session) {
            return session.try_send(arrival).map_err(|_| Undelivered::Unwanted);
        }
        if self.held.len() >= MAX_HELD {
            return Err(Undelivered::NoRoom);
        }
        self.held.push_back((now, arrival));
        Ok(())
    }

    /// Takes out those that have waited too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Arrival> {
        let fresh = |&(since, _): &(Instant, Arrival)| now.duration_since(since) < HELD_FOR;
        let expired = self.held.iter().position(fresh).unwrap_or(self.held.len());
        self.held.drain(..expired).map(|(_, arrival)| arrival).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use onepath_topology::Rank;
    use tokio::net::TcpListener;

    use super::super::hello::Purpose;
    use super::*;

    async fn arrival(session: u128, from: u32) -> Arrival {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind");
        let address = listener.local_addr().expect("address");
        let stream = TcpStream::connect(address).await.expect("connect");
        let hello =
            Hello { session, from: Rank::new(from), to: Rank::new(0), purpose: Purpose::Control };
        Arrival { hello, stream, from: address }
    }

    #[tokio::test]
    async fn a_connection_ahead_of_its_session_is_passed_on_when_that_opens() {
        let mut room = WaitingRoom::default();
        let now = Instant::now();
        for (session, from) in [(1, 1), (2, 2), (1, 3)] {
            room.deliver(arrival(session, from).await, now).expect("held");
        }
        let mut arrivals = room.open(1, 1).expect("not open yet");
        assert_eq!(arrivals.recv().await.expect("first").hello.from, Rank::new(1));
        assert_eq!(arrivals.recv().await.expect("second").hello.from, Rank::new(3));
        assert!(arrivals.try_recv().is_err());
        assert!(room.open(1, 1).is_none());
        room.deliver(arrival(1, 4).await, now).expect("passed on");
        assert_eq!(arrivals.recv().await.expect("third").hello.from, Rank::new(4));
    }

    #[tokio::test]
    async fn a_session_that_does_not_look_gets_no_more_connections_than_it_has_room_for() {
        let mut room = WaitingRoom::default();
        let now = Instant::now();
        let _arrivals = room.open(1, 2).expect("not open yet");
        for from in [1, 2] {
            room.deliver(arrival(1, from).await, now).expect("room");
        }
        assert_eq!(room.deliver(arrival(1, 3).await, now), Err(Undelivered::Unwanted));
    }

    #[tokio::test]
    async fn who_has_waited_for_a_minute_is_sent_away() {
        let mut room = WaitingRoom::default();
        let start = Instant::now();
        room.deliver(arrival(1, 1).await, start).expect("held");
        room.deliver(arrival(1, 2).await, start + HELD_FOR / 2).expect("held");
        assert!(room.expire(start + HELD_FOR / 2).is_empty());
        let expired = room.expire(start + HELD_FOR);
        assert_eq!(expired.len(), 1);
        assert_eq!(expired[0].hello.from, Rank::new(1));
    }
}
