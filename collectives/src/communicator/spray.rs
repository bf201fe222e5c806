//! Datagrams between the ranks of a group: each tells the others where it receives.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use onepath_topology::{Rank, WorldSize};
use onepath_transport::proto::{TagKey, TagKeys};
use onepath_transport::spray::hello::HELLO_BYTES;
use onepath_transport::spray::{EntropyChoice, Hello, ReceivePort, SprayPeer, SprayTransport};
use socket2::Socket;

use super::build_error::BuildError;
use super::connect::{Group, first};

/// Size of chunks: what is matched, gated and dealt to paths. Pieces are combined as they come, so
/// a chunk need not fit a cache.
pub(super) const CHUNK_BYTES: usize = 64 << 10;

/// Exchanges addresses with all ranks over their (otherwise unused, authenticated) connections,
/// and makes the transport.
pub(super) fn connect(
    group: &Group,
    (me, world): (Rank, WorldSize),
    connections: &[(Rank, Vec<Socket>)],
) -> Result<SprayTransport, BuildError> {
    let options = &group.options;
    let listens = group.cards[me.index()].addresses.first();
    let ip = listens.ok_or(BuildError::Missing { what: "address of this rank" })?.ip();
    let port = ReceivePort::bind(ip, options.spray.receive_bytes)?;
    let mine = Hello { address: port.address(), receive_bytes: port.receive_bytes() };
    for (rank, sockets) in connections {
        let rank = *rank;
        tell(group, sockets, &mine).map_err(|source| BuildError::SprayExchange { rank, source })?;
    }
    let hellos: Result<Vec<(Rank, Hello)>, BuildError> =
        connections.iter().map(|(rank, sockets)| hear(group, *rank, sockets)).collect();
    let hellos = hellos?;
    let pinning = options.pinning.as_ref();
    if let Some(pinning) = pinning {
        let peers: Vec<_> = hellos.iter().map(|&(rank, h)| (rank, vec![h.address])).collect();
        pinning.find.expect(&peers);
    }
    let peer = |(rank, hello): (Rank, Hello)| {
        let key = |from, to| TagKey::new(options.trust.tag_key(group.session, from, to));
        let keys = TagKeys { send: key(me, rank), receive: key(rank, me) };
        let paths = pinning.map(|pinning| pinning.paths(rank, &[hello.address])).transpose()?;
        Ok(SprayPeer { rank, hello, keys, paths })
    };
    let peers: Result<Vec<SprayPeer>, BuildError> = hellos.into_iter().map(peer).collect();
    let per_subflow = options.spray.entropy == EntropyChoice::PerSubflow;
    let assigner = pinning.filter(|_| per_subflow).and_then(|pinning| pinning.find.assigner(me));
    let session = group.session as u32;
    Ok(SprayTransport::new((me, world), session, port, peers?, assigner, options.spray)?)
}

fn tell(group: &Group, sockets: &[Socket], hello: &Hello) -> io::Result<()> {
    let mut socket = first(sockets)?;
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(group.options.join_timeout))?;
    socket.write_all(&hello.encode())
}

fn listen(sockets: &[Socket]) -> io::Result<([u8; HELLO_BYTES], Option<SocketAddr>)> {
    let mut socket = first(sockets)?;
    let mut bytes = [0; HELLO_BYTES];
    socket.read_exact(&mut bytes)?;
    Ok((bytes, socket.peer_addr()?.as_socket()))
}

/// What another rank says of itself.
fn hear(group: &Group, rank: Rank, sockets: &[Socket]) -> Result<(Rank, Hello), BuildError> {
    let (bytes, from) =
        listen(sockets).map_err(|source| BuildError::SprayExchange { rank, source })?;
    let mut hello =
        Hello::decode(&bytes).map_err(|problem| BuildError::SprayHello { rank, problem })?;
    // The scope of a link-local address is this host's name for the link.
    if let (SocketAddr::V6(to), Some(SocketAddr::V6(from))) = (&mut hello.address, from) {
        to.set_scope_id(from.scope_id());
    }
    let trusted = group.options.trust.check_address(hello.address.ip());
    trusted.map_err(|problem| BuildError::SprayUntrusted { rank, problem })?;
    Ok((rank, hello))
}
