//! Queue pairs between the ranks of a group: each tells each other one of its own.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::str::FromStr;

use onepath_topology::{Rank, WorldSize};
use onepath_transport::verbs::ROCE_UDP_PORT;
use onepath_transport::verbs::transport::hello::HELLO_BYTES;
use onepath_transport::verbs::transport::{
    Hello, Spread, VerbsOptions, VerbsPeer, VerbsSetup, VerbsSetupError, VerbsTransport,
};
use socket2::Socket;

use super::build_error::BuildError;
use super::builder::variable;
use super::connect::{Group, first};

/// What the variables `ONEPATH_VERBS_*` say.
pub(super) fn options_from_environment() -> Result<VerbsOptions, BuildError> {
    let usual = VerbsOptions::default();
    let list = |name| Ok::<_, BuildError>(variable::<List<String>>(name)?.unwrap_or_default().0);
    Ok(VerbsOptions {
        devices: list("ONEPATH_VERBS_DEVICE")?,
        lanes: variable("ONEPATH_VERBS_LANES")?,
        labels: variable::<List<_>>("ONEPATH_VERBS_LABELS")?.unwrap_or_default().0,
        gid_index: variable("ONEPATH_VERBS_GID_INDEX")?,
        traffic_class: variable("ONEPATH_VERBS_TRAFFIC_CLASS")?.unwrap_or(usual.traffic_class),
        spread: variable("ONEPATH_VERBS_SPREAD")?.unwrap_or_default(),
        ack_timeout: variable("ONEPATH_VERBS_ACK_TIMEOUT")?.unwrap_or(usual.ack_timeout),
        ..usual
    })
}

/// Values with commas between them.
struct List<T>(Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: FromStr> FromStr for List<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        let values: Result<Vec<T>, T::Err> = text.split(',').map(|v| v.trim().parse()).collect();
        values.map(Self)
    }
}

/// Exchanges queue pairs with all ranks over their authenticated connections, and connects them.
/// The connections stay with the transport, for letters.
pub(super) fn connect(
    group: &Group,
    (me, world): (Rank, WorldSize),
    connections: Vec<(Rank, Vec<Socket>)>,
) -> Result<VerbsTransport, BuildError> {
    let options = &group.options;
    let setup = VerbsSetup::new((me, world), options.verbs.clone(), group.place_on_host(me))?;
    let failed = |rank| move |source| BuildError::VerbsExchange { rank, source };
    for (rank, sockets) in &connections {
        let hello = setup.hello(*rank).map_or_else(Vec::new, |hello| hello.encode());
        tell(group, sockets, &hello).map_err(failed(*rank))?;
    }
    let mut peers = Vec::with_capacity(connections.len());
    for (rank, sockets) in connections {
        let bytes = listen(&sockets).map_err(failed(rank))?;
        let hello = Hello::decode(&bytes);
        let hello = hello.map_err(|problem| BuildError::VerbsHello { rank, problem })?;
        let connection = sockets.into_iter().next();
        let connection = connection.ok_or_else(|| failed(rank)(not_connected()))?;
        peers.push(VerbsPeer { rank, hello, connection, paths: None });
    }
    let mut assigner = None;
    let source = setup.source().map_err(VerbsSetupError::from)?;
    // What a fabric makes of one flow is left to its hash.
    let pinning = options.pinning.as_ref().filter(|_| options.verbs.spread != Spread::Ecmp);
    if let Some((pinning, source)) = pinning.zip(source) {
        pinning.find.device(&source);
        let address = |peer: &VerbsPeer| SocketAddr::new(peer.hello.gid.address(), ROCE_UDP_PORT);
        let all: Vec<_> = peers.iter().map(|peer| (peer.rank, vec![address(peer)])).collect();
        pinning.find.expect(&all);
        for peer in &mut peers {
            peer.paths = Some(pinning.paths(peer.rank, &[address(peer)])?);
        }
        assigner = pinning.find.assigner(me).filter(|_| options.verbs.spread == Spread::Split);
    }
    let lines: io::Result<Vec<(Rank, Socket)>> =
        peers.iter().map(|peer| Ok((peer.rank, peer.connection.try_clone()?))).collect();
    let lines = lines.map_err(failed(me))?;
    let transport = setup.connect(peers, assigner)?;
    // Nobody may send before all can receive; a byte each way says so.
    for (rank, line) in &lines {
        line.set_nonblocking(false).map_err(failed(*rank))?;
        let mut line = line;
        line.write_all(&[0]).map_err(failed(*rank))?;
    }
    for (rank, line) in &lines {
        let mut line = line;
        line.read_exact(&mut [0]).map_err(failed(*rank))?;
    }
    for (rank, line) in &lines {
        line.set_nonblocking(true).map_err(failed(*rank))?;
    }
    Ok(transport)
}

fn not_connected() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

fn tell(group: &Group, sockets: &[Socket], hello: &[u8]) -> io::Result<()> {
    let mut socket = first(sockets)?;
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(group.options.join_timeout))?;
    socket.write_all(hello)
}

/// The bytes of a peer's hello: as many as its first part says.
fn listen(sockets: &[Socket]) -> io::Result<Vec<u8>> {
    let mut socket = first(sockets)?;
    let mut bytes = vec![0; HELLO_BYTES];
    socket.read_exact(&mut bytes)?;
    let head = bytes.first_chunk().ok_or_else(not_connected)?;
    // What is wrong with the first part is said when it is decoded.
    let rest = Hello::rest(head).unwrap_or(0);
    bytes.resize(HELLO_BYTES + rest, 0);
    socket.read_exact(&mut bytes[HELLO_BYTES..])?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use onepath_transport::verbs::FlowLabel;

    #[test]
    fn lists_have_commas_and_each_value_is_checked() {
        let labels: List<FlowLabel> = "1, 0x10".parse().expect("two labels");
        assert_eq!(labels.0.iter().map(|label| label.get()).collect::<Vec<_>>(), [1, 16]);
        for wrong in ["1,", "x", "0x100000"] {
            let error = wrong.parse::<List<FlowLabel>>().err().expect(wrong).to_string();
            assert!(error.contains("0xfffff"), "{error}");
        }
    }
}
