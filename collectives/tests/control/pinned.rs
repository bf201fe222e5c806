//! Connections that each rank makes for its own sending.

use std::io::{Read, Write};
use std::net::TcpListener;

use onepath_collectives::control::{PinnedPorts, Session, SessionError};
use onepath_topology::Rank;
use onepath_transport::tcp::pinned::{Connected, Connector, Redial};
use socket2::Socket;

use super::{PROMPT, endpoints, open, rank, try_open, wait_for};

/// Ports that were free a moment ago.
fn free_ports(count: usize) -> Vec<u16> {
    let any = || TcpListener::bind("127.0.0.1:0").expect("loopback");
    let listeners: Vec<TcpListener> = (0..count).map(|_| any()).collect();
    listeners.iter().map(|l| l.local_addr().expect("bound").port()).collect()
}

fn port_of(socket: &Socket) -> u16 {
    socket.local_addr().expect("connected").as_socket().expect("of IP").port()
}

fn pinned(me: usize, world: usize, ports: &[Option<u16>]) -> Vec<PinnedPorts> {
    let others = (0..world).filter(|&peer| peer != me);
    others.map(|peer| PinnedPorts { rank: rank(peer), ports: ports.to_vec() }).collect()
}

/// One byte goes from each connection's maker to the other end.
fn assert_joined(outgoing: &Socket, incoming: &Socket) {
    for socket in [outgoing, incoming] {
        socket.set_nonblocking(false).expect("an option");
    }
    let (mut from, mut to) = (outgoing, incoming);
    from.write_all(&[7]).expect("room");
    let mut byte = [0];
    to.read_exact(&mut byte).expect("a byte");
    assert_eq!(byte, [7]);
}

#[test]
fn each_rank_makes_its_own_connections_from_the_ports_it_was_told() {
    let ports: Vec<Vec<u16>> = (0..3).map(|_| free_ports(2)).collect();
    let endpoints = endpoints(3);
    let sessions = open(&endpoints, |me, config| {
        let some: Vec<Option<u16>> = ports[me].iter().copied().map(Some).collect();
        // The ranks need not have equally many.
        let some = [&some[..], &vec![None; me]].concat();
        config.pinned = pinned(me, 3, &some);
    });
    let sockets = |from: usize, to: usize| {
        let of = |s: &Session, peer| s.pinned.iter().position(|p| p.rank == rank(peer));
        let out = &sessions[from].pinned[of(&sessions[from], to).expect("pinned")].outgoing;
        let into = &sessions[to].pinned[of(&sessions[to], from).expect("pinned")].incoming;
        (out, into)
    };
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        let (out, into) = sockets(from, to);
        assert_eq!((out.len(), into.len()), (2 + from, 2 + from));
        for (number, (one, other)) in out.iter().zip(into).enumerate() {
            if let Some(&port) = ports[from].get(number) {
                assert_eq!(port_of(one), port, "connection {number} of rank {from}");
            }
            assert_joined(one, other);
        }
    }
}

#[test]
fn a_new_connection_comes_to_both_data_paths_of_an_open_session() {
    let endpoints = endpoints(2);
    let mut sessions = open(&endpoints, |me, config| config.pinned = pinned(me, 2, &[None]));
    let port = free_ports(1)[0];
    // Also upwards, where only pinned connections go.
    for (from, to) in [(0, 1), (1, 0)] {
        let redial = Redial { peer: rank(to), index: 5, port: Some(port) };
        assert!(sessions[from].redialer.dial(redial));
        let dialed = wait_for("a connection", PROMPT, || sessions[from].redialer.next());
        let Connected::Dialed { peer, index: 5, socket: Some(one) } = dialed else {
            panic!("{dialed:?}");
        };
        assert_eq!((peer, port_of(&one)), (rank(to), port));
        let accepted = wait_for("a peer's connection", PROMPT, || sessions[to].redialer.next());
        let Connected::Accepted { peer, index: 5, socket: other } = accepted else {
            panic!("{accepted:?}");
        };
        assert_eq!(peer, rank(from));
        assert_joined(&one, &other);
    }
}

#[test]
fn a_port_that_is_taken_fails_once_and_is_told() {
    let endpoints = endpoints(2);
    let mut sessions = open(&endpoints, |me, config| config.pinned = pinned(me, 2, &[None]));
    let listener = TcpListener::bind("0.0.0.0:0").expect("any address");
    let port = Some(listener.local_addr().expect("bound").port());
    assert!(sessions[1].redialer.dial(Redial { peer: rank(0), index: 1, port }));
    let dialed = wait_for("an answer", PROMPT, || sessions[1].redialer.next());
    assert!(matches!(dialed, Connected::Dialed { index: 1, socket: None, .. }), "{dialed:?}");
}

#[test]
fn a_rank_that_pins_and_one_that_does_not_refuse_each_other() {
    let endpoints = endpoints(2);
    let results = try_open(&endpoints, |me, config| {
        if me == 0 {
            config.pinned = pinned(0, 2, &[None, None]);
        }
    });
    let found = |result: &Result<Session, SessionError>| {
        matches!(result, Err(SessionError::SubflowMismatch { .. }))
    };
    assert!(results.iter().any(found), "{results:?}");
    assert!(results.iter().all(Result::is_err), "{results:?}");
}

#[test]
fn a_wrong_list_of_pinned_ranks_is_refused() {
    let endpoints = endpoints(1);
    for (wrong, text) in [(Rank::new(9), "pinned names rank 9"), (rank(0), "rank 0")] {
        let result = try_open(&endpoints, |_, config| {
            config.pinned = vec![PinnedPorts { rank: wrong, ports: vec![None] }];
        });
        let error = result[0].as_ref().expect_err("a wrong configuration").to_string();
        assert!(error.contains(text), "{error}");
    }
}
