//! Whether predicted ports take the predicted spine: real connections and datagrams over kernel
//! ECMP between network namespaces, held against the counters of the links.

mod fabric;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use onepath_transport::path::{
    Check, Discovery, PathFile, PathId, PathTable, ProbeConfig, Protocol, UnpinnedReason, discover,
    pinned_socket, roce, verify,
};
use onepath_transport::verbs::ROCE_UDP_PORT;

use fabric::{SPINES, host, ip, socket_address, spine_address, uplinks, within};

/// Port of the destinations.
const PORT: u16 = 29_500;
/// Ports on each path; 40 in all.
const PORTS: u16 = 10;
/// Bytes of a flow: far more than anything else on the links meanwhile.
const BYTES: usize = 64 << 10;
/// Bytes of a datagram.
const DATAGRAM: usize = 1024;
/// Longer than any discovery takes.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn predicted_ports_take_the_predicted_spines() {
    match fabric::enter("predicted_ports_take_the_predicted_spines") {
        Err(reason) => {
            drop(writeln!(std::io::stderr(), "skipped: no network namespaces here: {reason}"));
        }
        Ok(false) => {}
        Ok(true) => {
            fabric::build();
            nothing_to_find_is_said();
            for six in [false, true] {
                for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Roce] {
                    flows_follow_the_table(protocol, six);
                }
            }
            destinations_are_grouped_by_leaf();
            a_device_in_the_rack_is_near_though_it_swallows_probes();
            changes_of_the_fabric_are_noticed();
        }
    }
}

fn config(protocol: Protocol) -> ProbeConfig {
    let default = match protocol {
        Protocol::Roce => ProbeConfig::roce(),
        Protocol::Tcp | Protocol::Udp => ProbeConfig::default(),
    };
    ProbeConfig { protocol, ports_per_path: PORTS, seed: 5, ..default }
}

/// What a device of the first host would be.
fn device(six: bool) -> roce::RoceSource {
    roce::RoceSource { address: host(0, 0, six), interface: "eth0".to_owned() }
}

fn table(config: &ProbeConfig, destinations: &[SocketAddr]) -> PathTable {
    let found = within("h00", || match config.protocol {
        Protocol::Roce => {
            let addresses: Vec<IpAddr> = destinations.iter().map(SocketAddr::ip).collect();
            roce::discover(config, &device(addresses[0].is_ipv6()), &addresses, LIMIT)
        }
        Protocol::Tcp | Protocol::Udp => discover(config, None, destinations, LIMIT),
    });
    match found.expect("it is well configured") {
        Discovery::Pinned(table) => table,
        Discovery::Unpinned { reason } => panic!("unpinned: {reason}"),
    }
}

fn check(config: &ProbeConfig, table: &PathTable) -> Check {
    let check = within("h00", || match config.protocol {
        Protocol::Roce => roce::verify(config, &device(table.source.is_ipv6()), table, LIMIT),
        Protocol::Tcp | Protocol::Udp => verify(config, table, LIMIT),
    });
    check.expect("it is well configured")
}

/// The spine that a path names.
fn spine(path: &PathId, six: bool) -> usize {
    let address = |spine: &usize| PathId::Hops(vec![Some(spine_address(*spine, six))]);
    let found = (0..SPINES).find(|spine| *path == address(spine));
    found.unwrap_or_else(|| panic!("{path} is no spine"))
}

/// Every port of a table carries a real flow, whose bytes show on one uplink.
fn flows_follow_the_table(protocol: Protocol, six: bool) {
    let port = if protocol == Protocol::Roce { ROCE_UDP_PORT } else { PORT };
    let destination = socket_address(1, 0, six, port);
    let began = Instant::now();
    let table = table(&config(protocol), &[destination]);
    let took = began.elapsed();
    assert_eq!(table.source, host(0, 0, six));
    let server = Server::new(protocol, destination);
    let (mut right, mut asked) = (0, 0);
    for (_, path, pinned) in table.entries() {
        let before = uplinks();
        server.flow(SocketAddr::new(table.source, pinned.port));
        let after = uplinks();
        let taken: Vec<usize> =
            (0..SPINES).filter(|&spine| after[spine] - before[spine] > BYTES as u64 / 2).collect();
        asked += 1;
        right += usize::from(taken == [spine(path, six)]);
    }
    let family = if six { "IPv6" } else { "IPv4" };
    let probed = table.leaves[0].destinations[0].probed_ports;
    println!("{protocol} over {family}: {right} of {asked} right, {probed} ports in {took:.0?}");
    assert_eq!((right, asked), (SPINES * usize::from(PORTS), SPINES * usize::from(PORTS)));
    let check = check(&config(protocol), &table);
    assert_eq!(check.confirmed, asked, "{check:?}");
}

/// Takes what flows send.
enum Server {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Server {
    fn new(protocol: Protocol, at: SocketAddr) -> Self {
        within("h10", || match protocol {
            Protocol::Tcp => Self::Tcp(TcpListener::bind(at).expect("a free port")),
            Protocol::Udp | Protocol::Roce => Self::Udp(UdpSocket::bind(at).expect("a free port")),
        })
    }

    /// Sends [`BYTES`] from a pinned socket and waits for them.
    fn flow(&self, local: SocketAddr) {
        let protocol = match self {
            Self::Tcp(_) => Protocol::Tcp,
            Self::Udp(_) => Protocol::Udp,
        };
        let socket = within("h00", || pinned_socket(protocol, local)).expect("the port is free");
        socket.set_nonblocking(false).expect("an option");
        match self {
            Self::Tcp(listener) => {
                let at = listener.local_addr().expect("bound");
                socket.connect(&at.into()).expect("it listens");
                socket.set_linger(Some(Duration::ZERO)).expect("an option");
                let (mut incoming, peer) = listener.accept().expect("somebody connects");
                assert_eq!(peer, local, "nobody else connects, no probe either");
                let mut outgoing = TcpStream::from(socket);
                outgoing.write_all(&vec![1; BYTES]).expect("the window is large enough");
                incoming.read_exact(&mut vec![0; BYTES]).expect("all of it comes");
            }
            Self::Udp(server) => {
                let at = server.local_addr().expect("bound");
                socket.connect(&at.into()).expect("a local matter");
                for _ in 0..BYTES / DATAGRAM {
                    socket.send(&[1; DATAGRAM]).expect("there is room");
                    let (count, peer) = server.recv_from(&mut [0; DATAGRAM]).expect("it comes");
                    assert_eq!((count, peer), (DATAGRAM, local), "no probe comes so far");
                }
            }
        }
    }
}

fn destinations_are_grouped_by_leaf() {
    let [one, two, near] =
        [(1, 0), (1, 1), (0, 1)].map(|(leaf, number)| socket_address(leaf, number, false, PORT));
    let table = table(&config(Protocol::Tcp), &[near, two, one]);
    assert_eq!(table.rack_local, [near]);
    let [leaf] = &table.leaves[..] else { panic!("both are below leaf 1: {table:?}") };
    let addresses: Vec<SocketAddr> = leaf.destinations.iter().map(|at| at.address).collect();
    assert_eq!(addresses, [one, two]);
    assert_eq!(leaf.paths.len(), SPINES);
    let saved = PathFile::of(&table).to_string();
    let Ok(Discovery::Pinned(read)) =
        PathFile::parse(&saved).map(|file| file.table(table.source, &[one, two]))
    else {
        panic!("it was saved so:\n{saved}");
    };
    assert_eq!(read.entries().count(), table.entries().count());
}

/// A device throws empty datagrams to its port away, so its distance is asked about at another.
fn a_device_in_the_rack_is_near_though_it_swallows_probes() {
    let [near, far] =
        [(0, 1), (1, 0)].map(|(leaf, number)| socket_address(leaf, number, false, ROCE_UDP_PORT));
    let _silent = within("h01", || UdpSocket::bind(near).expect("a free port"));
    let table = table(&config(Protocol::Roce), &[near, far]);
    assert_eq!(table.rack_local, [near]);
    assert_eq!(roce::labels(&table, near.ip()), None);
    let by_path = roce::labels(&table, far.ip()).expect("it has paths");
    assert_eq!(by_path.len(), SPINES);
    for roce::LabelsOfPath { path, labels } in by_path {
        let found = table.entries().filter(|(_, other, _)| **other == path);
        let ports: Vec<Option<u16>> = found.map(|(.., pinned)| Some(pinned.port)).collect();
        let foretold: Vec<Option<u16>> = labels.iter().map(|label| label.source_port()).collect();
        assert_eq!(foretold, ports, "{path}");
    }
}

/// A table is checked while one spine swallows packets, and after a link was taken out.
fn changes_of_the_fabric_are_noticed() {
    let config = config(Protocol::Tcp);
    let table = table(&config, &[socket_address(1, 0, false, PORT)]);
    let ports = usize::from(PORTS);
    let check = || check(&config, &table);

    ip(Some("s2"), "route replace blackhole 10.1.0.0/16\n");
    let silent = check();
    assert_eq!((silent.silent.len(), silent.confirmed), (ports, (SPINES - 1) * ports));
    assert!(silent.silent.iter().all(|port| spine(&port.path, false) == 2), "{silent:?}");

    ip(Some("s2"), "route replace 10.1.0.0/16 via 10.202.1.0 dev l1\n");
    assert!(check().holds());
    ip(Some("l0"), "link set s1 down\n");
    let moved = check();
    assert!(moved.moved.len() >= ports, "{moved:?}");
    for port in &moved.moved {
        let now = port.now.as_ref().expect("another spine");
        assert_ne!(spine(now, false), 1);
    }
    let held = moved.moved.iter().filter(|port| spine(&port.was.path, false) == 1).count();
    assert_eq!(held, ports, "none stays on the spine that is gone");
}

fn nothing_to_find_is_said() {
    let far = [socket_address(1, 0, false, PORT)];
    let reason = |namespace: &str, destinations: &[SocketAddr]| {
        let found = within(namespace, || {
            discover(&config(Protocol::Tcp), None, destinations, LIMIT).expect("well configured")
        });
        match found {
            Discovery::Unpinned { reason } => reason,
            Discovery::Pinned(table) => panic!("{table:?}"),
        }
    };
    let alone = reason("alone", &far);
    assert!(matches!(alone, UnpinnedReason::Refused(_)), "{alone}");
    println!("without a route: {alone}");

    let spines: Vec<String> = (0..SPINES).map(|spine| format!("s{spine}")).collect();
    for name in &spines {
        ip(Some(name), "route add blackhole 10.0.0.0/24\n");
    }
    let silent = reason("h00", &far);
    assert!(matches!(silent, UnpinnedReason::NoAnswers { .. }), "{silent}");
    println!("without answers: {silent}");
    for name in &spines {
        ip(Some(name), "route del blackhole 10.0.0.0/24\n");
    }
}
