//! Worlds over subflows pinned to paths, which may run through relays that misbehave.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use onepath_topology::Rank;
use onepath_topology::fabric::{LeafId, PathId};
use onepath_transport::share::{AssignFlows, Cut, StepFlows};
use onepath_transport::tcp::pinned::{
    Connected, Connector, PathCounters, PathEvent, PathPorts, PeerPaths, PinnedOptions, PinnedPeer,
    PinnedTransport, Redial, Sharing,
};
use socket2::{Domain, Socket, Type};

use super::worlds::{World, size};

/// Each flow in equal parts over its paths.
#[derive(Debug)]
pub(crate) struct EqualParts;

impl AssignFlows for EqualParts {
    fn assign(&self, set: StepFlows<'_>, cuts: &mut Vec<Cut>) {
        for (at, flow) in set.flows.iter().enumerate() {
            let count = flow.paths.len() as u64;
            for (number, &path) in (0..).zip(flow.paths) {
                let (from, to) = (flow.bytes * number / count, flow.bytes * (number + 1) / count);
                cuts.push(Cut { flow: at as u32, path, offset: from, bytes: to - from });
            }
        }
    }
}

/// What a connection through a relay does after so many bytes of its maker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Relay {
    /// It reads on, but passes nothing on any more, in either direction.
    Swallow(usize),
    /// It passes on 4 KiB in 20 ms.
    Crawl(usize),
    /// It breaks the connection.
    Break(usize),
}

/// What happened to the paths of one rank.
pub(crate) type Events = Arc<Mutex<Vec<PathEvent>>>;

/// What a test knows of a rank's transport beside driving it.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) counters: PathCounters,
    pub(crate) events: Events,
}

/// How a world is made.
pub(crate) struct Wiring<'a> {
    pub(crate) paths: usize,
    pub(crate) options: PinnedOptions,
    pub(crate) assigner: Option<Arc<dyn AssignFlows>>,
    /// By sender, receiver and path.
    pub(crate) relay: &'a dyn Fn(usize, usize, usize) -> Option<Relay>,
    /// Whether new connections can be made.
    pub(crate) replaces: bool,
    /// The port on which rank 1 accepts the connections of rank 0 by path, if any.
    pub(crate) ports: fn(usize) -> Option<u16>,
}

impl Wiring<'_> {
    pub(crate) fn new(paths: usize, sharing: Sharing) -> Self {
        Self {
            paths,
            options: PinnedOptions { sharing, ..PinnedOptions::default() },
            assigner: Some(Arc::new(EqualParts)),
            relay: &|_, _, _| None,
            replaces: true,
            ports: |_| None,
        }
    }

    /// Connects a world.
    pub(crate) fn make(&self, ranks: usize) -> (World, Vec<Watch>) {
        let doors: Vec<Door> = (0..ranks).map(|_| Door::open()).collect();
        let addresses: Arc<Vec<SocketAddr>> = Arc::new(doors.iter().map(|d| d.address).collect());
        let pairs: Vec<Vec<Vec<(Socket, Socket)>>> =
            (0..ranks).map(|from| (0..ranks).map(|to| self.pairs(from, to)).collect()).collect();
        let mut ends: Vec<Vec<(Vec<Socket>, Vec<Socket>)>> =
            (0..ranks).map(|_| (0..ranks).map(|_| Default::default()).collect()).collect();
        for (from, row) in pairs.into_iter().enumerate() {
            for (to, pairs) in row.into_iter().enumerate() {
                let (out, into) = pairs.into_iter().unzip();
                ends[from][to].0 = out;
                ends[to][from].1 = into;
            }
        }
        let join = |((me, ends), door): ((usize, Vec<_>), Door)| {
            let events = Events::default();
            let dialer = Dialer {
                me: Rank::from_index(me),
                addresses: Arc::clone(&addresses),
                replaces: self.replaces,
                events: Arc::clone(&events),
                door,
            };
            let peers = ends.into_iter().enumerate().filter(|&(to, _)| to != me);
            let peers = peers.map(|(to, (outgoing, incoming))| PinnedPeer {
                rank: Rank::from_index(to),
                paths: self.peer_paths(),
                outgoing,
                incoming,
            });
            let transport = PinnedTransport::new(
                size(ranks),
                peers.collect(),
                self.assigner.clone(),
                self.options,
                Box::new(dialer),
            );
            let transport = transport.expect("socket options can be set");
            let watch = Watch { counters: transport.counters(), events };
            (Box::new(transport) as Box<_>, watch)
        };
        ends.into_iter().enumerate().zip(doors).map(join).unzip()
    }

    fn peer_paths(&self) -> PeerPaths {
        let path = |number| PathPorts { path: PathId(number), ports: Vec::new() };
        PeerPaths { leaf: LeafId(0), paths: (0..self.paths as u32).map(path).collect() }
    }

    fn pairs(&self, from: usize, to: usize) -> Vec<(Socket, Socket)> {
        let pair = |path| match (self.relay)(from, to, path) {
            Some(relay) => relayed_pair(relay),
            None if (from, to) == (0, 1) => pair((self.ports)(path)),
            None => pair(None),
        };
        if from == to { Vec::new() } else { (0..self.paths).map(pair).collect() }
    }
}

/// Pinned subflows on so many paths.
pub(crate) fn pinned(ranks: usize, paths: usize, sharing: Sharing) -> World {
    Wiring::new(paths, sharing).make(ranks).0
}

/// Pinned subflows that take any chunk.
pub(crate) fn unassigned(ranks: usize, paths: usize) -> World {
    Wiring { assigner: None, ..Wiring::new(paths, Sharing::Shared) }.make(ranks).0
}

fn pair(port: Option<u16>) -> (Socket, Socket) {
    let address = ("127.0.0.1", port.unwrap_or(0));
    let listener = TcpListener::bind(address).expect("loopback can be bound");
    let address = listener.local_addr().expect("a bound socket has an address");
    let one = TcpStream::connect(address).expect("loopback connects");
    let (other, _) = listener.accept().expect("a connection waits");
    (one.into(), other.into())
}

/// A listener with little memory, so that a relay keeps few bytes, and its address.
fn narrow() -> (TcpListener, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a small buffer");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("loopback can be bound");
    socket.listen(4).expect("listens");
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().expect("a bound socket has an address");
    (listener, address)
}

fn relayed_pair(relay: Relay) -> (Socket, Socket) {
    let (listener, address) = narrow();
    let one = TcpStream::connect(address).expect("loopback connects");
    let (near, _) = listener.accept().expect("a connection waits");
    let (far, other) = pair(None);
    let far = TcpStream::from(far);
    let swallows = Arc::new(AtomicBool::new(false));
    let (near_back, far_back) = (near.try_clone().expect("clone"), far.try_clone().expect("clone"));
    let flag = Arc::clone(&swallows);
    std::thread::spawn(move || forward(near, far, relay, &flag));
    std::thread::spawn(move || backward(far_back, near_back, &swallows));
    (one.into(), other)
}

fn forward(mut from: TcpStream, mut to: TcpStream, relay: Relay, swallows: &AtomicBool) {
    let mut buffer = [0; 4 << 10];
    let mut passed = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        match relay {
            Relay::Swallow(limit) if passed + read > limit => {
                swallows.store(true, Ordering::SeqCst);
                let rest = limit.saturating_sub(passed);
                let _ = to.write_all(&buffer[..rest]);
                passed = limit;
                continue;
            }
            Relay::Crawl(limit) if passed > limit => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Relay::Break(limit) if passed + read > limit => {
                let _ = to.write_all(&buffer[..limit.saturating_sub(passed)]);
                let _ = from.shutdown(Shutdown::Both);
                break;
            }
            _ => {}
        }
        passed += read;
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    if !swallows.load(Ordering::SeqCst) {
        let _ = to.shutdown(Shutdown::Write);
    }
}

fn backward(mut from: TcpStream, mut to: TcpStream, swallows: &AtomicBool) {
    let mut buffer = [0; 4 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if !swallows.load(Ordering::SeqCst) && to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    if !swallows.load(Ordering::SeqCst) {
        let _ = to.shutdown(Shutdown::Write);
    }
}

/// Where later connections of peers come in.
#[derive(Debug)]
struct Door {
    address: SocketAddr,
    sender: SyncSender<Connected>,
    connected: Receiver<Connected>,
    closed: Arc<AtomicBool>,
}

impl Door {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (sender, connected) = sync_channel(64);
        let closed = Arc::new(AtomicBool::new(false));
        let (to, over) = (sender.clone(), Arc::clone(&closed));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let _ = to.try_send(greeted(stream));
            }
        });
        Self { address, sender, connected, closed }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn greeted(mut stream: TcpStream) -> Connected {
    let (mut peer, mut index) = ([0; 4], [0; 2]);
    let _ = stream.read_exact(&mut peer).and_then(|()| stream.read_exact(&mut index));
    let (peer, index) = (Rank::new(u32::from_le_bytes(peer)), u16::from_le_bytes(index));
    Connected::Accepted { peer, index, socket: stream.into() }
}

#[derive(Debug)]
struct Dialer {
    me: Rank,
    addresses: Arc<Vec<SocketAddr>>,
    replaces: bool,
    events: Events,
    door: Door,
}

impl Connector for Dialer {
    fn dial(&mut self, redial: Redial) -> bool {
        let (address, me) = (self.addresses[redial.peer.index()], self.me);
        let (to, replaces) = (self.door.sender.clone(), self.replaces);
        std::thread::spawn(move || {
            let connect = || {
                let mut stream = TcpStream::connect(address).ok()?;
                let mut hello = me.number().to_le_bytes().to_vec();
                hello.extend(redial.index.to_le_bytes());
                stream.write_all(&hello).ok()?;
                Some(stream.into())
            };
            let socket = if replaces { connect() } else { None };
            let _ =
                to.try_send(Connected::Dialed { peer: redial.peer, index: redial.index, socket });
        });
        true
    }

    fn next(&mut self) -> Option<Connected> {
        self.door.connected.try_recv().ok()
    }

    fn report(&mut self, event: PathEvent) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}
