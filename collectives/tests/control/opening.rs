//! Opening sessions, with and without success.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use onepath_collectives::control::{
    AbortReason, DeathCause, Endpoint, EndpointConfig, Failure, Loss, Parent, Session, SessionError,
};
use onepath_topology::WorldSize;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use super::*;

#[test]
fn five_ranks_in_random_order_are_connected_and_no_data_byte_is_lost() {
    let seed = 11;
    println!("seed {seed}");
    let mut places: Vec<u64> = (0..5).collect();
    places.shuffle(&mut SmallRng::seed_from_u64(seed));
    let endpoints = endpoints(5);
    let peers = addresses(&endpoints);
    std::thread::scope(|scope| {
        for (me, endpoint) in endpoints.iter().enumerate() {
            let delay = Duration::from_millis(30 * places[me]);
            let mut config = config(me, peers.clone());
            config.data = full_mesh(me, 5, 2);
            scope.spawn(move || {
                std::thread::sleep(delay);
                greet_over_data(me, endpoint.open(config).expect("open"));
            });
        }
    });
}

/// Says who, to whom and the subflow's index over each data socket, at once after opening.
fn greet_over_data(me: usize, session: Session) {
    let mut streams = Vec::new();
    for (peer, sockets) in session.data {
        assert_eq!(sockets.len(), 2);
        for (index, socket) in sockets.into_iter().enumerate() {
            let mut stream = TcpStream::from(socket);
            stream.set_nonblocking(false).expect("blocking");
            stream.set_read_timeout(Some(PROMPT)).expect("a limit");
            stream.write_all(&[me as u8, peer.number() as u8, index as u8]).expect("write");
            streams.push((peer, index, stream));
        }
    }
    for (peer, index, mut stream) in streams {
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).expect("read");
        assert_eq!(greeting, [peer.number() as u8, me as u8, index as u8]);
    }
}

#[test]
fn a_rank_alone_opens_and_agrees_at_once() {
    let session = open(&endpoints(1), |_, _| ()).remove(0);
    assert!(!session.control.failure_flag());
    assert_eq!(session.control.agree(LIMIT).expect("agreed").ranks, ranks(&[0]));
}

#[test]
fn an_endpoint_on_both_families_is_reached_on_the_address_that_answers() {
    let listen = vec![IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let Ok(both) = Endpoint::start(EndpointConfig { listen, trust: trust() }) else {
        println!("this machine has no IPv6: skipped");
        return;
    };
    assert!(both.addresses()[0].is_ipv6() && both.addresses()[1].is_ipv4());
    open(&[both, endpoint_with(trust())], |_, config| {
        // Nobody listens there.
        config.peers[0].insert(0, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    });
}

#[test]
fn subflows_leave_from_the_ports_that_were_asked_for() {
    // Found free a moment ago, which is as good as it gets.
    let ports: Vec<u16> = [(); 2]
        .map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind"))
        .iter()
        .map(|listener| listener.local_addr().expect("address").port())
        .collect();
    let sessions = open(&endpoints(3), |me, config| {
        config.data = full_mesh(me, 3, 3);
        if me == 2 {
            config.local_ports.clone_from(&ports);
        }
    });
    for (_, sockets) in &sessions[2].data {
        for (index, socket) in sockets.iter().enumerate() {
            let local = socket.local_addr().expect("address").as_socket().expect("an IP address");
            assert_eq!(ports.contains(&local.port()), index < 2);
        }
    }
}

#[test]
fn a_rank_that_is_ahead_waits_for_the_others_to_open_the_session() {
    let endpoints = endpoints(2);
    let peers = addresses(&endpoints);
    std::thread::scope(|scope| {
        let ahead = config(1, peers.clone());
        let ahead = scope.spawn(|| endpoints[1].open(ahead));
        let admitted = &endpoints[0].counters().admitted;
        wait_for("the rank ahead", PROMPT, || (count(admitted) == 1).then_some(()));
        let session = endpoints[0].open(config(0, peers)).expect("open");
        let other = ahead.join().expect("no panic").expect("open");
        assert!(!session.control.failure_flag() && !other.control.failure_flag());
    });
}

#[test]
fn missing_ranks_are_named_with_their_addresses_at_the_deadline() {
    let endpoints = endpoints(3);
    let mut peers = addresses(&endpoints);
    peers[0] = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 1))];
    let mut config = config(1, peers);
    config.deadline = Duration::from_secs(3);
    let error = endpoints[1].open(config).expect_err("nobody is there").to_string();
    assert!(error.contains("rank 0 at 127.0.0.1:1: cannot connect"), "{error}");
    assert!(error.contains("rank 2 has not connected"), "{error}");
}

#[test]
fn different_numbers_of_subflows_are_found_with_both_values() {
    let results = try_open(&endpoints(2), |me, config| {
        config.data = vec![(rank(1 - me), 1 + me as u16)];
    });
    for (me, result) in results.into_iter().enumerate() {
        let error = result.expect_err("a mismatch");
        let SessionError::SubflowMismatch { rank, ours, theirs } = error else { panic!("{error}") };
        assert_eq!(
            (rank.index(), usize::from(ours), usize::from(theirs)),
            (1 - me, me + 1, 2 - me)
        );
    }
}

#[test]
fn different_worlds_are_found_with_both_values() {
    let results = try_open(&endpoints(2), |me, config| {
        if me == 0 {
            config.peers.push(Vec::new());
            config.world = WorldSize::new(3).expect("a world size");
        }
    });
    for result in results {
        let error = result.expect_err("a mismatch");
        let SessionError::WorldMismatch { ours, theirs, .. } = error else { panic!("{error}") };
        assert_eq!(ours.get() + theirs as usize, 5);
    }
}

#[test]
fn sessions_live_side_by_side_and_a_number_is_open_only_once() {
    let pair = endpoints(2);
    let first = open(&pair, |_, _| ());
    let second = open(&pair, |_, config| config.session = 2);
    let error = pair[0].open(config(0, addresses(&pair))).expect_err("open already");
    assert!(matches!(error, SessionError::AlreadyOpen { session: SESSION }));
    let reason = AbortReason::Requested;
    second[0].control.abort(reason.clone());
    assert_eq!(wait_for_failure(&second[1].control), Failure::Aborted { by: rank(0), reason });
    assert_eq!(first[1].control.failure(), None);
}

#[test]
fn a_rank_that_is_dead_in_the_parent_session_fails_the_opening_alike_on_all_others() {
    let all = endpoints(4);
    let parents = open(&all, |_, _| ());
    all[3].kill_for_test();
    let start = Instant::now();
    let results = try_open(&all[..3], |me, config| {
        config.session = 77;
        config.peers = addresses(&all);
        config.world = parents[me].control.world();
        let control = parents[me].control.clone();
        config.parent = Some(Parent { control, ranks: ranks(&[0, 1, 2, 3]) });
    });
    assert!(start.elapsed() < PROMPT, "the deadline was waited for");
    for result in results {
        let error = result.expect_err("a rank is dead");
        let SessionError::Lost { ranks } = &error else { panic!("{error}") };
        assert_eq!(ranks.len(), 1, "{error}");
        assert_eq!((ranks[0].rank, &ranks[0].loss), (rank(3), &Loss::Dead(DeathCause::Closed)));
    }
}

#[test]
fn a_rank_that_dies_while_others_are_awaited_fails_the_opening_of_those_that_are_there() {
    let all = endpoints(4);
    let peers = addresses(&all);
    let errors = std::thread::scope(|scope| {
        // Ranks 0 to 2 of four: rank 3 comes only when rank 1 is dead.
        let open = |me: usize| {
            let (endpoint, config) = (&all[me], config(me, peers.clone()));
            scope.spawn(move || endpoint.open(config))
        };
        let threads = [0, 1, 2].map(open);
        // One connection came from each higher rank.
        let both =
            || count(&all[0].counters().admitted) == 2 && count(&all[1].counters().admitted) == 1;
        wait_for("three ranks are connected", PROMPT, || both().then_some(()));
        all[1].kill_for_test();
        let last = open(3);
        let [zero, one, two] = threads.map(|thread| thread.join().expect("no panic"));
        assert!(matches!(one, Err(SessionError::Stopped)));
        [zero, two, last.join().expect("no panic")]
            .map(|result| result.expect_err("rank 1 is dead"))
    });
    for error in errors {
        let SessionError::Lost { ranks } = &error else { panic!("{error}") };
        assert!(ranks.len() == 1 && ranks[0].rank == rank(1), "{error}");
    }
}

#[test]
fn dropping_everything_ends_the_threads_promptly() {
    let endpoints = endpoints(3);
    let sessions = open(&endpoints, |_, _| ());
    let start = Instant::now();
    drop(sessions);
    drop(endpoints);
    assert!(start.elapsed() < PROMPT);
}
