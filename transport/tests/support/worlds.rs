//! Worlds of connected transports inside one process.

use std::net::{TcpListener, TcpStream};

use onepath_topology::{Rank, WorldSize};
use onepath_transport::Transport;
use onepath_transport::local::{LocalOptions, LocalTransport, Segment};
use onepath_transport::router::Router;
use onepath_transport::tcp::{TcpOptions, TcpTransport};
use socket2::Socket;

/// One transport a rank, in rank order, connected to all others.
pub(crate) type World = Vec<Box<dyn Transport>>;

/// The size of a world as its own type.
pub(crate) fn size(ranks: usize) -> WorldSize {
    WorldSize::new(ranks as u64).expect("a world of few ranks")
}

/// TCP over loopback with this many subflows between two ranks.
pub(crate) fn tcp(ranks: usize, subflows: usize) -> World {
    tcp_between(ranks, subflows, |_, _| true)
        .into_iter()
        .map(|t| Box::new(t) as Box<dyn Transport>)
        .collect()
}

/// Shared memory.
pub(crate) fn local(ranks: usize) -> World {
    local_with(ranks, &LocalOptions::default())
}

/// Shared memory with rings of this size.
pub(crate) fn local_with(ranks: usize, options: &LocalOptions) -> World {
    let all: Vec<Rank> = size(ranks).ranks().collect();
    local_group(ranks, &all, options)
        .into_iter()
        .map(|t| Box::new(t) as Box<dyn Transport>)
        .collect()
}

/// Shared memory between ranks of the same parity, TCP between the others.
pub(crate) fn mixed(ranks: usize) -> World {
    let together = |a: Rank, b: Rank| a.index() % 2 == b.index() % 2;
    let mut locals: Vec<Option<LocalTransport>> = (0..ranks).map(|_| None).collect();
    for parity in 0..2 {
        let group: Vec<Rank> = size(ranks).ranks().filter(|r| r.index() % 2 == parity).collect();
        let transports = local_group(ranks, &group, &LocalOptions::default());
        for (rank, transport) in group.iter().zip(transports) {
            locals[rank.index()] = Some(transport);
        }
    }
    let tcps = tcp_between(ranks, 2, |a, b| !together(a, b));
    let routers =
        locals.into_iter().zip(tcps).map(|(local, tcp)| Router::new(local, Some(tcp.into())));
    routers.map(|r| Box::new(r) as Box<dyn Transport>).collect()
}

fn local_group(ranks: usize, group: &[Rank], options: &LocalOptions) -> Vec<LocalTransport> {
    let peers = group.len().saturating_sub(1);
    let segment = |_| Segment::create(peers, options).expect("there is memory for a segment");
    let segments: Vec<Segment> = group.iter().map(segment).collect();
    let addresses: Vec<_> =
        group.iter().copied().zip(segments.iter().map(Segment::address)).collect();
    let connect = |(segment, &own): (Segment, &Rank)| {
        let others: Vec<_> = addresses.iter().copied().filter(|(r, _)| *r != own).collect();
        LocalTransport::connect(size(ranks), own, segment, &others).expect("segments open")
    };
    segments.into_iter().zip(group).map(connect).collect()
}

fn tcp_between(
    ranks: usize,
    subflows: usize,
    connected: impl Fn(Rank, Rank) -> bool,
) -> Vec<TcpTransport> {
    let world = size(ranks);
    let mut sockets: Vec<Vec<(Rank, Vec<Socket>)>> = (0..ranks).map(|_| Vec::new()).collect();
    for a in world.ranks() {
        for b in world.ranks().skip(a.index() + 1).filter(|&b| connected(a, b)) {
            let (one, other) = (0..subflows).map(|_| socket_pair()).unzip();
            sockets[a.index()].push((b, one));
            sockets[b.index()].push((a, other));
        }
    }
    let make = |sockets| TcpTransport::new(world, sockets, TcpOptions::default());
    sockets.into_iter().map(|s| make(s).expect("socket options can be set")).collect()
}

fn socket_pair() -> (Socket, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
    let address = listener.local_addr().expect("a bound socket has an address");
    let one = TcpStream::connect(address).expect("loopback connects");
    let (other, _) = listener.accept().expect("a connection waits");
    (one.into(), other.into())
}
