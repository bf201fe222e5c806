//! Worlds over RDMA inside one process, whose ranks may be told what is not so.

use std::net::{TcpListener, TcpStream};

use onepath_topology::Rank;
use onepath_transport::verbs::transport::{
    Hello, VerbsCounters, VerbsOptions, VerbsPeer, VerbsSetup, VerbsTransport,
};
use socket2::Socket;

use super::worlds::{World, size};

/// Of 4.096 µs × 2^this, for devices that are emulated.
const ACK_TIMEOUT: u8 = 16;

/// The devices of `ONEPATH_VERBS_DEVICE` or all that there are, with two lanes to each peer.
pub(crate) fn options() -> VerbsOptions {
    let devices = std::env::var("ONEPATH_VERBS_DEVICE").ok();
    let devices = devices.iter().flat_map(|text| text.split(',')).map(str::to_owned).collect();
    VerbsOptions { devices, lanes: Some(2), ack_timeout: ACK_TIMEOUT, ..VerbsOptions::default() }
}

/// Two ranks; `through` says what one is told of another.
pub(crate) fn verbs_through(
    options: &VerbsOptions,
    through: impl Fn(Rank, Rank, Hello) -> Hello,
) -> (World, Vec<VerbsCounters>) {
    let ranks = [Rank::new(0), Rank::new(1)];
    let setups = ranks.map(|me| {
        VerbsSetup::new((me, size(2)), options.clone(), me.index()).expect("there are devices")
    });
    let hellos = ranks.map(|from| {
        let to = ranks[1 - from.index()];
        through(from, to, setups[from.index()].hello(to).expect("a peer"))
    });
    let [first, second] = hellos;
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is bound");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let (far, _) = listener.accept().expect("somebody connects");
    // Each is told of the other.
    let peers = [(ranks[1], second, near), (ranks[0], first, far)];
    let join = |(setup, (rank, hello, connection)): (VerbsSetup, (Rank, Hello, TcpStream))| {
        let connection = Socket::from(connection);
        let peer = VerbsPeer { rank, hello, connection, paths: None };
        setup.connect(vec![peer], None).expect("queue pairs can be connected")
    };
    let transports: Vec<_> = setups.into_iter().zip(peers).map(join).collect();
    let counters = transports.iter().map(VerbsTransport::counters).collect();
    (transports.into_iter().map(|t| Box::new(t) as _).collect(), counters)
}
